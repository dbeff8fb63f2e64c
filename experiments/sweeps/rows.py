"""Rows of a folder: one JSON file for each computation, named by its key, computed once whatever interrupts it."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from experiments.files import make_folder, read_json, write_json
from experiments.runs.divergence import MARK
from experiments.runs.spec import stored_meaning
from experiments.sweeps.setup import Setup
from experiments.sweeps.workers import map_processes
from experiments.tables import Record
from hwmodels.errors import NeurofaError

Job = TypeVar("Job")
INGREDIENTS, DIGEST = "ingredients", "sha256"
"""Of what a row was made, beside its spec; and the digest of all of it."""
_TYPES: Mapping[str, tuple[type, ...]] = {
    "key": (str,),
    "spec": (dict,),
    "result": (dict, type(None)),
    "error": (str, type(None)),
    INGREDIENTS: (dict, type(None)),
}
"""Fields of a row in its file."""


@dataclass(frozen=True, kw_only=True)
class SweepRow:
    """The stored outcome of one training run of a sweep, or of one call of a function."""

    key: str
    """Hash of the spec."""
    spec: Mapping[str, object]
    """Fields of the run, or the function's name with its arguments."""
    result: Mapping[str, object] | None
    """What was measured (of a run, with the rows of its epochs as ``metrics``); None when it failed."""
    error: str | None = None
    """One line: why it failed."""
    ingredients: Mapping[str, str] | None = None
    """Digests of data and of other people's code, see :mod:`experiments.runs.ingredients`; None: not known."""

    @property
    def done(self) -> bool:
        """Whether the run came to its end."""
        return self.result is not None

    @property
    def diverged(self) -> bool:
        """Whether the run ended because its loss rose far above the first, or was no number any more."""
        return MARK in (self.error or "")

    @property
    def metrics(self) -> list[Record]:
        """The rows of the epochs, with what the run logged; empty for a failed run."""
        epochs = (self.result or {}).get("metrics")
        return list(epochs) if isinstance(epochs, list) else []

    @property
    def settings(self) -> Record:
        """The spec with its loss called ``objective``, since ``loss`` is what a run measures."""
        return {"objective" if name == "loss" else name: value for name, value in self.spec.items()}

    def flat(self) -> Record:
        """Return one line for a table: key, status, settings, measures, error."""
        measured = {k: v for k, v in (self.result or {}).items() if k not in ("spec", "metrics")}
        status = "done" if self.done else "diverged" if self.diverged else "failed"
        return {"key": self.key, "status": status, **self.settings, **measured, "error": self.error}


def load_rows(folder: Path) -> dict[str, SweepRow]:
    """Return the rows of a folder by key; empty when there are none.

    Raises:
        NeurofaError: a file that is no row.
    """
    # files of other systems beside the rows (._name.json) are none
    rows = map(_read, sorted(p for p in (folder / "rows").glob("*.json") if not p.name.startswith(".")))
    return {row.key: row for row in rows}


def _read(path: Path) -> SweepRow:
    content = read_json(path)
    written = content.pop(DIGEST, None)  # rows of earlier versions have none, and no ingredients
    content = {INGREDIENTS: None} | content
    fault = next((f"'{name}' of another type" for name, kinds in _TYPES.items() if not _has(content, name, kinds)), "")
    if content.keys() != _TYPES.keys():
        fault = f"other fields than {', '.join(_TYPES)}"
    elif not fault and written is not None and written != _digest(content):
        fault = "other values than were written"
    elif not fault and path.stem != content["key"]:
        fault = f"the key {content['key'][:8]}"
    if fault:
        raise NeurofaError(
            f"got '{path}' with {fault}, which is no row of a sweep; expected one; delete it and start again"
        )
    if "function" not in content["spec"]:  # a training run
        content["spec"] = stored_meaning(content["spec"])
    return SweepRow(**content)


def _has(content: Mapping[str, object], name: str, kinds: tuple[type, ...]) -> bool:
    return isinstance(content.get(name), kinds)


def _write(path: Path, row: SweepRow) -> None:
    content = asdict(row)
    write_json(path, content | {DIGEST: _digest(content)})


def _digest(content: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def compute_rows(
    jobs: Mapping[str, Job],
    compute: Callable[[Job], Record],
    describe: Callable[[Job], Mapping[str, object]],
    setup: Setup,
    *,
    title: str,
    valid: Callable[[SweepRow], bool] = lambda row: True,  # noqa: ARG005
) -> dict[str, SweepRow]:
    """Return a row for every job, computed in worker processes where the folder does not hold it.

    Failed jobs are computed again. A row is written whole when its job ends, so that a sweep which is killed at any
    time continues where it was.

    Args:
        jobs: the jobs by key.
        compute: importable by its name; returns the result of a job as a JSON object, which may have
            :data:`INGREDIENTS`.
        describe: returns the spec of a job.
        setup: folder, workers, threads and progress; ``rows/<key>.json`` are written into the folder.
        title: for the progress.
        valid: whether a row may be taken from the folder.

    Raises:
        NeurofaError: the folder cannot be written, a row in it cannot be read, or workers or threads are out of range.
    """
    folder = make_folder(setup.folder / "rows")
    rows: dict[str, SweepRow] = {}

    def keep(row: SweepRow, *, reused: bool = False) -> None:
        rows[row.key] = row
        setup.progress.finish_run(failed=not row.done, reused=reused)

    def stored(key: str) -> SweepRow | None:
        """Return what another sweep into the same folder may have done by now."""
        path = folder / f"{key}.json"
        row = _read(path) if path.exists() else None
        return row if row is not None and row.done and valid(row) else None

    def open_jobs() -> Iterator[tuple[str, Job]]:
        for key, job in jobs.items():
            if key in rows:
                continue
            row = stored(key)
            if row is not None:
                keep(row, reused=True)
            else:
                yield key, job

    setup.progress.begin(len(jobs), title)
    for row in load_rows(setup.folder).values():
        if row.key in jobs and row.done and valid(row):
            keep(row, reused=True)
    call = functools.partial(_compute, compute)
    for (key, job), answer in map_processes(call, open_jobs(), workers=setup.workers, threads=setup.threads):
        if isinstance(answer, Exception):
            row = stored(key) or SweepRow(key=key, spec=describe(job), result=None, error=_one_line(answer))
        else:
            result = dict(answer)
            made_of = result.pop(INGREDIENTS, None)
            row = SweepRow(key=key, spec=describe(job), result=result, ingredients=made_of)
        _write(folder / f"{key}.json", row)
        keep(row)
    return {key: rows[key] for key in jobs}


def _compute(compute: Callable[[Job], Record], keyed: tuple[str, Job]) -> Record:
    """Compute one job; called in a worker."""
    return compute(keyed[1])


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or repr(error)
    return text if isinstance(error, NeurofaError) else f"{type(error).__name__}: {text}"
