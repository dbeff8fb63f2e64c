"""How fast the software is: times and memory of steps, beside baselines in the same process."""
