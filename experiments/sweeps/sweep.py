"""Many runs: a row a run, keyed by the hash of its spec, picked up again after any interruption."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from experiments.files import make_folder, read_json, write_json
from experiments.runs.folder import RunFolder
from experiments.runs.run import train_run
from experiments.runs.spec import PARTS, RunSpec
from experiments.sweeps.watch import Unwatched, Watch
from experiments.sweeps.workers import map_processes
from experiments.tables import Record
from hwmodels.errors import NeurofaError
from hwmodels.registry import build, find
from hwmodels.spec import parse


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is known of one run."""

    key: str
    """Hash of the spec."""
    spec: Mapping[str, object]
    result: Mapping[str, object] | None
    """What the run measured, with its epochs as ``metrics``; None when it failed."""
    error: str | None = None
    """One line: why it failed."""

    @property
    def done(self) -> bool:
        """Whether the run came to its end."""
        return self.result is not None

    @property
    def metrics(self) -> list[Record]:
        """A line an epoch, with what the run logged; empty for a failed run."""
        found = None if self.result is None else self.result["metrics"]
        return list(found) if isinstance(found, list) else []

    @property
    def settings(self) -> Record:
        """The spec with its loss called ``objective``, since ``loss`` is what a run measures."""
        return {"objective" if name == "loss" else name: value for name, value in self.spec.items()}

    def flat(self) -> Record:
        """One line for a table: key, status, settings, measures, error."""
        measured = {} if self.result is None else {k: v for k, v in self.result.items() if k not in ("spec", "metrics")}
        status = "done" if self.done else "failed"
        return {"key": self.key, "status": status, **self.settings, **measured, "error": self.error}


def grid(axes: Mapping[str, Sequence[object]]) -> list[RunSpec]:
    """Every combination of the values of all axes.

    Args:
        axes: values by the name of a field of :class:`~experiments.runs.spec.RunSpec`; the last axis turns fastest.

    Raises:
        NeurofaError: a value that no run can have.
    """
    specs = [RunSpec.from_json(dict(zip(axes, values, strict=True))) for values in itertools.product(*axes.values())]
    for kind in PARTS:
        for text in dict.fromkeys(str(getattr(spec, kind)) for spec in specs):
            # the others need their data, and tell when they run
            if kind in ("data", "network"):
                find(kind, parse(text).name)
            else:
                build(kind, text)
    return specs


def load_rows(folder: Path) -> dict[str, Row]:
    """The rows of a folder by key; empty when there are none.

    Raises:
        NeurofaError: a file that is no row.
    """
    rows = {}
    for path in sorted((folder / "rows").glob("*.json")):
        row = _read(path)
        rows[row.key] = row
    return rows


def _read(path: Path) -> Row:
    found = read_json(path)
    if found.keys() != {"key", "spec", "result", "error"}:
        raise NeurofaError(f"got '{path}', which is no row of a sweep; expected one; delete it and start again")
    return Row(**found)


def sweep(
    specs: Sequence[RunSpec], folder: Path, *, workers: int = 2, threads: int = 1,
    watch: Watch | None = None, what: str = "sweep", keep: bool = False,
) -> list[Row]:  # fmt: skip
    """Do every run once, in worker processes.

    Runs whose row is there are not done again; failed ones are. A row is written whole when its run ends, so that a
    sweep that is killed at any time goes on where it was.

    Args:
        specs: the runs; a spec that is given twice is done once.
        folder: ``rows/<key>.json`` are written into it; several sweeps may share it.
        workers: processes; 0: none but this one.
        threads: of torch in each.
        watch: told of every row, those that were there first.
        what: name of this sweep for ``watch``.
        keep: leave each run's own folder, with its trained network, in ``runs/<key>``; a row without it is done again.

    Returns:
        The rows of these specs, in their order.

    Raises:
        NeurofaError: the folder cannot be written, a row in it cannot be read, or workers or threads are out of range.
    """
    wanted = {spec.key: spec for spec in specs}
    make_folder(folder / "rows")
    rows = {
        key: row
        for key, row in load_rows(folder).items()
        if key in wanted and row.done and (not keep or run_folder(folder, key).finished)
    }
    watch = watch or Unwatched()
    watch.expect(len(wanted), what)
    for row in rows.values():
        watch.see(failed=not row.done)

    def open_runs() -> Iterator[RunSpec]:
        for key, spec in wanted.items():
            if key in rows:
                continue
            path = _path(folder, key)
            # another sweep into the same folder may have done it by now
            row = _read(path) if path.exists() and not keep else None
            if row is not None and row.done:
                rows[key] = row
                watch.see(failed=not row.done)
            else:
                yield spec

    work = functools.partial(_work, kept=folder if keep else None)
    for spec, answer in map_processes(work, open_runs(), workers=workers, threads=threads):
        if isinstance(answer, Exception):
            row = Row(key=spec.key, spec=spec.to_json(), result=None, error=_one_line(answer))
        else:
            row = Row(key=spec.key, spec=spec.to_json(), result=answer)
        rows[spec.key] = row
        write_json(_path(folder, row.key), asdict(row))
        watch.see(failed=not row.done)
    return [rows[key] for key in wanted]


def _path(folder: Path, key: str) -> Path:
    return folder / "rows" / f"{key}.json"


def run_folder(folder: Path, key: str) -> RunFolder:
    """The folder of one run of a sweep that keeps them."""
    return RunFolder(folder / "runs" / key)


def _work(spec: RunSpec, kept: Path | None) -> Record:
    """Do one run; called in a worker."""
    own = None if kept is None else run_folder(kept, spec.key).path
    result = train_run(spec, own, resume=own is not None)
    return {**result.to_dict(), "metrics": list(result.rows)}


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or repr(error)
    return text if isinstance(error, NeurofaError) else f"{type(error).__name__}: {text}"
