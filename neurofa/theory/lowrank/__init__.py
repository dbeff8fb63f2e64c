"""Deep linear networks with feedback of low rank: equations of learning, their solution, and a simulation."""
