"""Diagnostics of a running network: alignment of gradients, weights and feedback, and the phases of training."""
