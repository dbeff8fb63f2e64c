"""Learning rules, one file each; the folder registers itself."""
