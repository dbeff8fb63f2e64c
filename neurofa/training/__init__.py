"""The learner: the training step, extra passes, updates, checkpoints."""
