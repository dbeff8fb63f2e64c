"""Random numbers, bfloat16, accurate sums, moments of noise."""
