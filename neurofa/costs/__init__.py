"""What a step costs: floating-point operations, memory, energy, writes."""
