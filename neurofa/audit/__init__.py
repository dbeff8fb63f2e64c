"""Audits of locality: the dependencies of an update, found by overwriting weights and comparing the update."""
