"""Tracing of a torch module: what it calls, what every call gives, and where one tensor alone crosses."""
