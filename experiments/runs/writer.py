"""Writing into the folder of a run: one writer at a time, who makes sure before every file that nobody took it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.files import make_folder, write_json, write_jsonl
from experiments.runs.folder import RunFolder
from experiments.runs.lock import folder_lock
from experiments.runs.manifest import Manifest, read_manifest
from experiments.runs.result import EpochRow, Result
from experiments.runs.spec import RunSpec
from hwmodels.errors import NeurofaError
from hwmodels.files import atomic_folder, atomic_path, file_digest


class RunWriter:
    """Write the files of one run, whole or not at all, each listed in the manifest.

    Args:
        folder: held for this writer.
        key: of the run.
        resume: keep what the folder holds.
    """

    def __init__(self, folder: RunFolder, key: str, *, resume: bool) -> None:
        self.folder, self.resume = folder, resume
        self.manifest = Manifest(key)

    def begin(self, about: dict[str, Any]) -> None:
        """Take the folder: clear it, or take over what it holds, and write ``run.json``.

        Args:
            about: content of ``run.json``.
        """
        folder, files = self.folder, self.folder.files
        held = read_manifest(folder.path)
        if self.resume and held is not None:
            self.manifest.files = held.files
        elif self.resume:
            self.manifest.files = {path.name: [file_digest(path)] for path in files if path.is_file()}
        self.manifest.write(folder.path)
        if not self.resume:
            for old in (*files, folder.diagnosis):
                old.unlink(missing_ok=True)
            if RunFolder(folder.control).run.exists():
                shutil.rmtree(folder.control)
        self.put(folder.run, lambda part: write_json(part, about))

    def put(self, path: Path, write: Callable[[Path], None]) -> None:
        """Write one file of the folder.

        Args:
            path: of the file.
            write: writes it to the path that it is given.

        Raises:
            NeurofaError: the folder has been taken by another writer, or is gone.
            StorageError: it cannot be written.
        """
        found = read_manifest(self.folder.path)
        if found is None or (found.key, found.writer) != (self.manifest.key, self.manifest.writer):
            other = "nobody's any more" if found is None else f"written by another process (run {found.key[:8]})"
            raise NeurofaError(
                f"got '{self.folder.path}', which is {other}; expected it to stay that of run {self.manifest.key[:8]}"
                " while that is trained; train again with another --out"
            )
        with atomic_path(path) as part:
            write(part)
            self.manifest.announce(self.folder.path, path.name, file_digest(part))

    def write_rows(self, rows: list[EpochRow]) -> None:
        """Write ``metrics.jsonl``."""
        self.put(self.folder.metrics, lambda part: write_jsonl(part, rows))

    def finish(self, result: Result) -> None:
        """Write ``result.json``, whose presence means that everything else is there."""
        self.put(self.folder.result, lambda part: write_json(part, result.to_dict()))


@contextmanager
def hold_folder(folder: RunFolder, spec: RunSpec, *, resume: bool, overwrite: bool) -> Iterator[RunWriter]:
    """Hold a folder for a run, where this run may be written into it; nothing in it is changed yet.

    Args:
        folder: created where it is missing.
        spec: the run.
        resume: leave what the folder holds of the same run.
        overwrite: a run that the folder holds may be deleted.

    Raises:
        NeurofaError: another process writes into it, it holds a run and neither flag is set, or the run to resume is
            another one.
        StorageError: it cannot be written.
    """
    make_folder(folder.path)
    with folder_lock(folder.path):
        _refuse_held_run(folder, spec, resume=resume, overwrite=overwrite)
        yield RunWriter(folder, spec.key, resume=resume)


@contextmanager
def copy_run(source: RunFolder, out: Path, more: dict[str, Any]) -> Iterator[RunWriter]:
    """Copy a run into a new folder, whole or not at all; the files that the block writes replace those of the copy.

    Args:
        source: the run, which stays as it is.
        out: the new folder.
        more: further entries of ``run.json`` of the copy.

    Raises:
        NeurofaError: ``out`` exists.
        StorageError: it cannot be written.
    """
    if out.exists():
        raise NeurofaError(f"got '{out}', which exists; expected a new folder; choose another --out")
    about = source.about()
    with atomic_folder(out) as part:
        for path in source.files:
            if path.is_file():
                shutil.copy2(path, part)
        if source.control.is_dir():
            shutil.copytree(source.control, part / source.control.name)
        writer = RunWriter(RunFolder(part), about["key"], resume=True)
        writer.begin(about | more)
        yield writer


def _refuse_held_run(folder: RunFolder, spec: RunSpec, *, resume: bool, overwrite: bool) -> None:
    if not folder.run.exists():
        return
    if resume:
        held = folder.spec()
        field = spec.difference(held)
        if field is not None:
            raise NeurofaError(
                f"got --resume with {field}={getattr(spec, field)} where '{folder.path}' was begun with"
                f" {field}={getattr(held, field)}; expected the same run; change --{field.replace('_', '-')} or --out"
            )
    elif not overwrite:
        state = "a finished run" if folder.finished else "an unfinished run"
        raise NeurofaError(
            f"got '{folder.path}', which holds {state}; expected a new folder; use --resume to go on with it,"
            " --overwrite to begin anew, or another --out"
        )
