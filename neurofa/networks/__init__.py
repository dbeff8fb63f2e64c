"""Network recipes, one file each; ``build("network", "mlp(hidden=[800, 800])", input_shape=..., outputs=...)``."""
