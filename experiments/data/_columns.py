"""Columns of numbers in files, whatever types and byte orders they were written in."""

from __future__ import annotations

from typing import Any

import numpy as np

from hwmodels.errors import NeurofaError


def real_column(values: Any, what: str, source: object) -> Any:
    """Return a column (n,) of real numbers in the byte order of this machine.

    Args:
        values: as read.
        what: name of the column, for messages.
        source: the file, for messages.

    Raises:
        NeurofaError: text, complex numbers, records, or another shape.
    """
    column = np.asarray(values)
    if column.dtype.kind not in "fiub" or column.ndim != 1:
        raise NeurofaError(
            f"got {what} of {column.dtype} and shape {column.shape} in {source}; expected (n,) real numbers; write"
            " them so, or fetch the file again"
        )
    return column.astype(column.dtype.newbyteorder("="), copy=False)


def whole_column(values: Any, what: str, source: object) -> Any:
    """Return a column (n,) of whole numbers as int64; raises as :func:`real_column`, and for NaN and fractions."""
    column = real_column(values, what, source)
    if column.dtype.kind == "f" and not (np.isfinite(column).all() and (column == np.floor(column)).all()):
        raise NeurofaError(
            f"got {what} that are no whole numbers in {source}; expected whole numbers; clean them, or fetch the file"
            " again"
        )
    return column.astype(np.int64)
