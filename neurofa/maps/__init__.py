"""Arithmetic of affine maps: products, derivatives, activations, normalisation."""
