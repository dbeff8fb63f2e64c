"""Many runs: sweeps, studies, experiments, workers."""
