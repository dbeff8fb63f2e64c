"""Numbers a chip is programmed with: conductances, integers, probe vectors."""
