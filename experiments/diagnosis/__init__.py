"""What the measurements of a run mean, in words."""
