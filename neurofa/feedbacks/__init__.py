"""Feedback pathways, one file each; the folder registers itself."""
