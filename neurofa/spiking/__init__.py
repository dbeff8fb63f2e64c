"""Neurons, surrogate derivatives, eligibility traces and the layers that hold them."""
