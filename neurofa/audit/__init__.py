"""Audits of locality: what does an update depend on? Everything else is poisoned, and the update compared."""
