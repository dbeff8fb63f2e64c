"""Experiments, one file each; the folder registers itself."""
