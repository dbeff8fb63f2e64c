"""Speed suites, one file each; the folder registers itself."""
