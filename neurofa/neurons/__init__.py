"""Models of neurons, one a file."""
