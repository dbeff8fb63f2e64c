"""Training: the learner and its step, extra passes, updates, evaluation, checkpoints."""
