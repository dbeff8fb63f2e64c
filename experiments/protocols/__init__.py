"""Declarations and measures that several experiments share."""
