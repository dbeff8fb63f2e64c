"""One training run: its spec, folder, loop, measurements and result."""
