"""Tables over many runs: means and standard deviations over seeds, on the terminal and as CSV.

rich draws the tables; the means and groups are a few lines of ``math.fsum``, no reason for pandas as a dependency.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

Record = dict[str, Any]
"""One line of a table, by column."""

RUN_MEASURES = ("test_accuracy", "validation_accuracy", "train_accuracy", "loss", "seconds")


def column_numbers(records: Sequence[Mapping[str, Any]], column: str) -> list[float]:
    """Return the numbers in a column; lines without one are left out."""
    values = [record.get(column) for record in records]
    return [float(x) for x in values if isinstance(x, int | float) and not isinstance(x, bool)]


def mean(values: Sequence[float]) -> float | None:
    """Return the arithmetic mean; None of no values."""
    return math.fsum(values) / len(values) if values else None


def standard_deviation(values: Sequence[float]) -> float | None:
    """Return the standard deviation of a sample, sqrt(sum (x - mean)^2 / (n - 1)); None below two values."""
    centre = mean(values)
    if centre is None or len(values) < 2:
        return None
    return math.sqrt(math.fsum((x - centre) ** 2 for x in values) / (len(values) - 1))


def summarise_runs(records: Sequence[Mapping[str, Any]], by: Sequence[str]) -> list[Record]:
    """Return one line for each combination of the columns ``by``, in order of appearance.

    Args:
        records: one line a run, with ``status`` and the measures.
        by: columns that tell the lines apart.

    Returns:
        Lines with the columns ``by``, ``n`` (finished runs), ``failed``, and mean and ``_std`` of every measure.
    """
    lines = []
    for runs in _groups(records, by):
        done = [run for run in runs if run.get("status") == "done"]
        line: Record = {column: runs[0].get(column) for column in by}
        line |= {"n": len(done), "failed": len(runs) - len(done)}
        for measure in RUN_MEASURES:
            values = column_numbers(done, measure)
            line |= {measure: mean(values), f"{measure}_std": standard_deviation(values)}
        lines.append(line)
    return lines


def group_means(records: Sequence[Mapping[str, Any]], by: Sequence[str], columns: Sequence[str]) -> list[Record]:
    """Return one line for each combination of values in the columns ``by``, with the means of the records that have it.

    Args:
        records: one line a seed.
        by: columns that tell the lines apart.
        columns: names of the columns of numbers that are averaged.

    Returns:
        Lines in order of appearance, with the columns ``by``, ``n`` (records), the mean and ``_std`` of every column,
        and all its numbers as ``<column>_each``.
    """
    lines = []
    for group in _groups(records, by):
        line: Record = {**{column: group[0][column] for column in by}, "n": len(group)}
        for column in columns:
            values = column_numbers(group, column)
            line |= {column: mean(values), f"{column}_std": standard_deviation(values), f"{column}_each": values}
        lines.append(line)
    return lines


def _groups(records: Sequence[Mapping[str, Any]], by: Sequence[str]) -> list[list[Mapping[str, Any]]]:
    """Return the records of every combination of the columns ``by``."""
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for record in records:
        groups.setdefault(tuple(str(record.get(column)) for column in by), []).append(record)
    return list(groups.values())


def varying_columns(records: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
    """Return those columns that hold more than one value."""
    return [column for column in columns if len({str(record.get(column)) for record in records}) > 1]


def csv_text(records: Sequence[Mapping[str, Any]]) -> str:
    """Return the records as CSV with a header; columns in order of appearance, missing values empty."""
    columns = list(dict.fromkeys(column for record in records for column in record))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()


def percent_text(share: object, deviation: object = None) -> str:
    """Return a share as a percentage with its deviation, as ``97.80 ± 0.12``; a dash where there is none."""
    if not isinstance(share, int | float):
        return "-"
    return f"{100 * share:.2f}" + (f" ± {100 * deviation:.2f}" if isinstance(deviation, int | float) else "")


def percent(share: object) -> float | None:
    """Return a share (0 to 1) as percent, rounded to six decimals, so that equal accuracies differ by exactly zero.

    Anything that is no number gives None.
    """
    return round(100 * share, 6) if isinstance(share, int | float) else None


def cell_text(value: object) -> str:
    """Return the text of a table cell: a float with four significant digits, None as a dash, all else by ``str``."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-" if value is None else str(value)


def text_table(title: str, headers: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> Table:
    """Return a table for the terminal.

    Args:
        title: above it.
        headers: of the columns.
        rows: cells as text.
        left: number of first columns that are text; the others are numbers, set to the right.
    """
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), box=box.SIMPLE_HEAD, title_justify="left")
    for index, header in enumerate(headers):
        table.add_column(escape(header), justify="left" if index < left else "right", overflow="fold")
    for row in rows:
        table.add_row(*[escape(cell) for cell in row])
    return table


def summary_table(title: str, records: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Table:
    """Return a table for the terminal: for every setting of a sweep, mean and standard deviation over its seeds.

    Args:
        title: above it.
        records: one line a run, with ``status`` and the measures.
        columns: names of the settings of a run; the table shows those that vary, but for the seed.
    """
    by = varying_columns(records, [c for c in columns if c != "seed"]) or ["rule"]
    lines = summarise_runs(records, by)
    classifies = any(line["test_accuracy"] is not None for line in lines)
    headers = [*by, *(["test %", "validation %"] if classifies else []), "loss", "seconds", "n", "failed"]
    rows = []
    for line in lines:
        cells = [cell_text(line[column]) for column in by]
        if classifies:
            cells += [percent_text(line[m], line[f"{m}_std"]) for m in ("test_accuracy", "validation_accuracy")]
        rows.append([*cells, cell_text(line["loss"]), cell_text(line["seconds"]), str(line["n"]), str(line["failed"])])
    return text_table(title, headers, rows, left=len(by))
