"""Neurons, surrogate derivatives, eligibility traces, and layers with a memory."""
