"""Arithmetic of dense and convolutional maps: products, derivatives, activations, normalisation."""
