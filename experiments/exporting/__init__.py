"""Runs as learners for export, and the files of an export."""
