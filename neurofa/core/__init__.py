"""The parts that everything else is made of: layers, networks, rules, feedback, synapses, losses, events."""
