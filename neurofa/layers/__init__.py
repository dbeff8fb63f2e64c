"""Layers, one kind a file; the folder registers itself."""
