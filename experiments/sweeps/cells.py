"""Computations that are no training runs: one function, many cells, each kept when it is done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from experiments.files import make_folder, write_json
from experiments.sweeps.study import Setup
from experiments.sweeps.sweep import Row, load_rows
from experiments.sweeps.workers import map_processes
from experiments.tables import Record
from hwmodels.errors import NeurofaError

Cell = Mapping[str, object]
"""Keyword arguments, plain enough for JSON."""


def run_cells(
    function: Callable[..., Record], cells: Sequence[Cell], setup: Setup, *, name: str, kept_as: str = ""
) -> list[Record]:
    """Call a function once for every cell, in worker processes; what the folder holds already is not done again.

    Args:
        function: importable by its name; gives a JSON object and depends on its arguments alone.
        cells: keyword arguments of each call.
        setup: folder, workers and threads; ``rows/<key>.json`` are written into the folder.
        name: of the part, for the bar.
        kept_as: name of the function in keys of rows, where earlier rows have another; empty: its own.

    Returns:
        One answer a cell, in their order.

    Raises:
        NeurofaError: a call failed, or the folder cannot be written.
    """
    kept_as = kept_as or f"{function.__module__}.{function.__qualname__}"
    keys = [_key(kept_as, cell) for cell in cells]
    wanted = dict(zip(keys, cells, strict=True))
    rows_folder = make_folder(setup.folder / "rows")
    rows = {key: row for key, row in load_rows(setup.folder).items() if key in wanted and row.done}
    setup.watch.expect(len(wanted), name)
    for _ in rows:
        setup.watch.see()

    def open_cells() -> Iterator[tuple[Callable[..., Record], str, Cell]]:
        for key, cell in wanted.items():
            if key not in rows:
                yield function, key, cell

    for (_, key, cell), answer in map_processes(_call, open_cells(), workers=setup.workers, threads=setup.threads):
        if isinstance(answer, Exception):
            raise NeurofaError(
                f"got a failed cell of {name} ({dict(cell)}: {' '.join(str(answer).split()) or repr(answer)}); expected"
                " all to finish; start the experiment again"
            )
        rows[key] = Row(key=key, spec={"function": kept_as, **cell}, result=answer)
        write_json(_path(rows_folder, key), asdict(rows[key]))
        setup.watch.see()
    return [dict(rows[key].result or {}) for key in keys]


def _call(item: tuple[Callable[..., Record], str, Cell]) -> Record:
    function, _, cell = item
    return function(**cell)


def _key(function: str, cell: Cell) -> str:
    text = json.dumps([function, cell], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _path(folder: Path, key: str) -> Path:
    return folder / f"{key}.json"
