"""Sweeps of functions: one call for each set of arguments, for computations that are no training runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence

from experiments.runs.ingredients import code_ingredients, same_ingredients
from experiments.sweeps.rows import INGREDIENTS, SweepRow, compute_rows
from experiments.sweeps.setup import Setup
from experiments.tables import Record
from hwmodels.errors import NeurofaError

Arguments = Mapping[str, object]
"""Keyword arguments of one call, plain enough for JSON."""


def run_function_sweep(
    function: Callable[..., Record], calls: Sequence[Arguments], setup: Setup, *, name: str, kept_as: str = ""
) -> list[Record]:
    """Call a function once for every set of arguments, in worker processes; results in the folder are not recomputed.

    Args:
        function: importable by its name; returns a JSON object and depends on its arguments alone.
        calls: keyword arguments of each call.
        setup: folder, workers and threads; ``rows/<key>.json`` are written into the folder.
        name: of the part, for the progress.
        kept_as: name of the function in keys of rows, where earlier rows have another; empty: its own.

    Returns:
        One result a call, in their order.

    Raises:
        NeurofaError: a call failed, or the folder cannot be written.
    """
    kept_as = kept_as or f"{function.__module__}.{function.__qualname__}"
    keys = [_key(kept_as, arguments) for arguments in calls]
    jobs = {key: (function, arguments) for key, arguments in zip(keys, calls, strict=True)}
    present = code_ingredients((), [function])

    def valid(row: SweepRow) -> bool:
        return same_ingredients(row.ingredients, present)

    rows = compute_rows(jobs, _call, lambda job: {"function": kept_as, **job[1]}, setup, title=name, valid=valid)
    for key, row in rows.items():
        if row.error is not None:
            raise NeurofaError(
                f"got a failed call of {name} ({dict(jobs[key][1])}: {row.error}); expected all to finish; start the"
                " experiment again"
            )
    return [dict(rows[key].result or {}) for key in keys]


def _call(job: tuple[Callable[..., Record], Arguments]) -> Record:
    function, arguments = job
    return {**function(**arguments), INGREDIENTS: code_ingredients((), [function])}


def _key(function: str, arguments: Arguments) -> str:
    text = json.dumps([function, arguments], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
