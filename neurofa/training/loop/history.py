"""The history of a training: one row of numbers for every epoch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hwmodels.errors import NeurofaError

Row = dict[str, Any]
"""Numbers of one epoch by name: ``epoch``, ``train_loss``, ``train_accuracy``, ``validation_loss``, ``lr``, ..."""


class History:
    """Rows of finished epochs; ``pandas.DataFrame(history.rows)`` is a table of them.

    Args:
        rows: of epochs that are finished already, with which a training is continued.
        rates: learning rates of the optimizer's groups before any schedule changed them; None: not known yet.
    """

    def __init__(self, rows: Iterable[Row] = (), rates: Iterable[float] | None = None) -> None:
        self.rows: list[Row] = [dict(row) for row in rows]
        self.rates: list[float] | None = None if rates is None else list(rates)
        self.stopped: str = ""
        """Why training ended before the last epoch; empty: it did not."""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> list[Any]:
        """Return one column, an entry for every epoch.

        Raises:
            NeurofaError: there is no such column.
        """
        known = list(dict.fromkeys(key for row in self.rows for key in row))
        if name not in known:
            raise NeurofaError(
                f"got column '{name}' of a history; expected {', '.join(known) or 'a history with rows'}; name another"
            )
        return [row.get(name) for row in self.rows]

    def best(self, name: str = "validation_accuracy") -> Row:
        """Return the row with the highest value of a column; of a loss, with the lowest.

        Args:
            name: of the column.

        Raises:
            NeurofaError: there is no such column, or no value in it.
        """
        rows = [row for row, value in zip(self.rows, self[name], strict=True) if value is not None]
        if not rows:
            raise NeurofaError(f"got column '{name}' without values; expected numbers; train with validation data")
        return (min if falls(name) else max)(rows, key=lambda row: row[name])

    def __repr__(self) -> str:
        names = list(dict.fromkeys(key for row in self.rows for key in row))
        lines = [names, *[[_text(row.get(name)) for name in names] for row in self.rows]]
        widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
        table = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
        return "\n".join([*table, *([f"stopped: {self.stopped}"] if self.stopped else [])])


def falls(name: str) -> bool:
    """Return whether the lowest value of a column is the best."""
    return name.endswith(("loss", "error", "perplexity"))


def _text(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
