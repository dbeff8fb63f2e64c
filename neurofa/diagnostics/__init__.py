"""Measurements of a running network: alignment, Jacobians, phases of training."""
