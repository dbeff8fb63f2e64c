"""Memory devices, one a file; ``hwmodels.parts("device")`` imports and lists them."""
