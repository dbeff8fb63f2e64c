"""The tasks of the field's benchmarks, and the figures that are reported of them."""
