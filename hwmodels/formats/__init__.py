"""Number formats, one a file; ``hwmodels.parts("format")`` imports and lists them."""
