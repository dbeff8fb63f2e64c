"""NIR: spiking networks for other libraries and neuromorphic chips, with the feedback in a graph of its own."""
