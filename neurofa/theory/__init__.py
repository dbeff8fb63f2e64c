"""Theory of learning with fixed, learnt and low-rank feedback: predictions without training a network."""
