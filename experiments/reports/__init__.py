"""Reports of devices, budgets, chips and forecasts."""
