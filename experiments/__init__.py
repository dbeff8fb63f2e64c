"""Data, training runs, sweeps, reproductions of papers, and the ``neurofa`` command."""
