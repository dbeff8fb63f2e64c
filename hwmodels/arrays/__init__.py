"""Analog arrays: converters, periphery, conductances, tiles, wires."""
