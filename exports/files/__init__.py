"""Files written whole or not at all, memory behind them, optional libraries."""
