"""Networks and learners described as neutral graphs."""
