"""Projections, one a file; ``hwmodels.parts("projection")`` imports and lists them."""
