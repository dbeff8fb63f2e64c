"""Memory behind large files, and optional libraries."""
