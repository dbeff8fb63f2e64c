"""A table of one's own: a text file of comma-separated values with a heading."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.data import _files
from experiments.data._own_data import own_dataset
from experiments.data._own_files import own_path, reading
from experiments.data.base import Dataset
from hwmodels.errors import NeurofaError
from hwmodels.registry import recipe


@recipe("data", "table", source="a file of the user's own")
def table(
    *,
    path: str,
    target: str,
    drop: Sequence[str] = (),
    separator: str = ",",
    regression: bool = False,
    standardise: bool = True,
    validation: float = 0.1,
    test: float = 0.1,
) -> Dataset:
    """Rows of a CSV file; one column is the target, all others are inputs.

    Args:
        path: the file, UTF-8, with the names of the columns in the first line.
        target: column of the target: text or whole numbers 0 to k - 1 for classes, numbers with ``regression``. Classes
            that are written as text are numbered in the order of the alphabet.
        drop: columns that are left out.
        separator: between two values.
        regression: whether the target is a number to predict rather than a class.
        standardise: whether every column is scaled to mean 0 and deviation 1 of the training rows.
        validation: share of the rows for validation.
        test: share of the rows for the test.

    Raises:
        NeurofaError: no such file or column, a row of another length, a value that is missing or no number (with its
            line), or labels that are not 0 to k - 1.
    """
    if len(separator) != 1 or separator in '"\r\n':
        raise NeurofaError(f"got table(separator={separator!r}); expected one character; use ',' or ';'")
    file = own_path("table", path)
    blob = _files.read_file(file)
    heading, lines, rows = _rows(file, blob, separator)
    for wanted in (target, *drop):
        if wanted not in heading:
            raise NeurofaError(
                f"got '{path}' with columns {', '.join(heading[:20])}; expected '{wanted}'; name a column of the file"
            )
    inputs = [name for name in heading if name != target and name not in drop]
    if not inputs:
        raise NeurofaError(f"got '{path}' without a column beside '{target}'; expected inputs; drop fewer")
    columns = dict(zip(heading, zip(*rows, strict=True), strict=True))
    x = np.stack([_numbers(file, name, columns[name], lines) for name in inputs], 1)
    provenance = {file.name: f"sha256:{_files.sha256(blob)}", "inputs": ", ".join(inputs)}
    y: Any
    if regression:
        y = _numbers(file, target, columns[target], lines)
    else:
        y, names = _labels(file, target, columns[target], lines)
        provenance |= {"classes": ", ".join(names)} if names else {}
    return own_dataset(
        "table",
        {"all": (x, y)},
        regression=regression,
        standardise=standardise,
        validation=validation,
        test=test,
        provenance=provenance,
    )


def _rows(path: Path, blob: bytes, separator: str) -> tuple[list[str], list[int], list[list[str]]]:
    """Return the heading, and the line number and cells of every row."""
    with reading(path, "a table in UTF-8"):
        reader = csv.reader(io.StringIO(blob.decode("utf-8-sig"), newline=""), delimiter=separator, strict=True)
        heading = [name.strip() for name in next(reader, [])]
        lines, rows = [], []
        for cells in reader:
            if cells:  # an empty line is no row
                lines.append(reader.line_num)
                rows.append([cell.strip() for cell in cells])
    if len(set(heading)) < len(heading) or "" in heading or all(_is_number(name) for name in heading):
        raise NeurofaError(
            f"got '{path}' whose first line is {', '.join(heading[:8]) or 'empty'}; expected the names of the columns,"
            " each once; add them"
        )
    for line, cells in zip(lines, rows, strict=True):
        if len(cells) != len(heading):
            raise NeurofaError(
                f"got {len(cells)} values in line {line} of '{path}'; expected {len(heading)}, one a column; mend the"
                " line, or give the separator"
            )
    if not rows:
        raise NeurofaError(f"got '{path}' without rows; expected some below the heading; fill it")
    return heading, lines, rows


def _numbers(path: Path, name: str, cells: Sequence[str], lines: Sequence[int]) -> Any:
    try:
        values = np.array([float(cell) for cell in cells])
    except ValueError:
        at = next(i for i, cell in enumerate(cells) if not _is_number(cell))
        _refuse(path, name, cells[at], lines[at])
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        _refuse(path, name, cells[wrong[0]], lines[wrong[0]])
    return values


def _refuse(path: Path, name: str, cell: str, line: int) -> None:
    raise NeurofaError(
        f"got {cell!r:.40} in column '{name}', line {line} of '{path}'; expected a finite number; mend it, or leave the"
        f" column out with drop=[{name}]"
    )


def _labels(path: Path, name: str, cells: Sequence[str], lines: Sequence[int]) -> tuple[Any, list[str]]:
    """Return the classes of the rows, and their names where they are written as text."""
    if "" in cells:
        line = lines[list(cells).index("")]
        raise NeurofaError(f"got no class in column '{name}', line {line} of '{path}'; expected one a row; mend it")
    if not all(_is_number(cell) for cell in cells):
        names = sorted(set(cells))
        if len(names) > len(cells) // 2 and len(cells) > 10:
            raise NeurofaError(
                f"got {len(names)} different words in {len(cells)} rows of column '{name}' of '{path}'; expected"
                " classes with several rows each; name another target"
            )
        order = {word: label for label, word in enumerate(names)}
        return np.array([order[cell] for cell in cells]), names
    values = _numbers(path, name, cells, lines)
    if (values != np.floor(values)).any() or np.abs(values).max() > 2**53:
        at = int(np.flatnonzero(values != np.floor(values))[0]) if (values != np.floor(values)).any() else 0
        raise NeurofaError(
            f"got {cells[at]} in column '{name}', line {lines[at]} of '{path}'; expected whole-number labels; say"
            " regression=True if it is a number to predict"
        )
    return values.astype(np.int64), []


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
