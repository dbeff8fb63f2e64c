"""Chip profiles, one chip a file; ``hwmodels.parts("profile")`` imports and lists them."""
