"""Chip profiles against networks and rules: which limits are broken, and by how much."""
