"""Base classes and arithmetic shared by the rules of one family."""
