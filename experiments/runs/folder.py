"""The folder of one run: what it holds, and which run may be written into it."""

from __future__ import annotations

import json
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import neurofa
from experiments.files import make_folder, read_json, write_json, write_jsonl
from experiments.runs.result import EpochRow, Result
from experiments.runs.spec import RunSpec
from hwmodels.errors import NeurofaError


class RunFolder:
    """Paths and contents of a run's folder.

    ``run.json`` (the run and the machine), ``metrics.jsonl`` (one row for each epoch), ``checkpoint.safetensors`` (the
    state at the end of the last finished epoch), ``best.safetensors`` (with ``select=best``), and at the end
    ``model.safetensors``, ``curves.png``, ``result.json``. A folder with ``result.json`` holds a finished run.
    ``neurofa diagnose`` adds ``diagnosis.png``.

    Args:
        path: the folder; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run, self.metrics, self.result = path / "run.json", path / "metrics.jsonl", path / "result.json"
        self.checkpoint, self.best = path / "checkpoint.safetensors", path / "best.safetensors"
        self.model, self.curves = path / "model.safetensors", path / "curves.png"
        self.diagnosis = path / "diagnosis.png"
        self.control = path / "control"

    @property
    def finished(self) -> bool:
        """Whether the folder holds the result of a finished run."""
        return self.result.is_file()

    def spec(self) -> RunSpec:
        """Return the run that it holds.

        Raises:
            NeurofaError: it holds none.
        """
        if not self.run.is_file():
            raise NeurofaError(
                f"got '{self.path}' without run.json; expected the folder of a run; check the path or train first"
            )
        return RunSpec.from_stored(read_json(self.run).get("spec", {}))

    def open(self, spec: RunSpec, *, resume: bool, overwrite: bool) -> None:
        """Create the folder, or clear it, where this run may be written into it.

        Args:
            spec: the run.
            resume: leave what the folder holds of the same run.
            overwrite: delete the files of the run that the folder holds.

        Raises:
            NeurofaError: the folder holds a run and neither flag is set, the run to resume is another one, or the
                folder cannot be written.
        """
        if self.run.exists() and resume:
            held = self.spec()
            field = spec.difference(held)
            if field is not None:
                raise NeurofaError(
                    f"got --resume with {field}={getattr(spec, field)} where '{self.path}' was begun with"
                    f" {field}={getattr(held, field)}; expected the same run; change --{field.replace('_', '-')}"
                    " or --out"
                )
        elif self.run.exists() and not overwrite:
            state = "a finished run" if self.finished else "an unfinished run"
            raise NeurofaError(
                f"got '{self.path}', which holds {state}; expected a new folder; use --resume to go on with it,"
                " --overwrite to begin anew, or another --out"
            )
        make_folder(self.path)
        if not resume:
            for old in (self.result, self.checkpoint, self.best, self.metrics, self.model, self.curves, self.diagnosis):
                old.unlink(missing_ok=True)
            if RunFolder(self.control).run.exists():
                shutil.rmtree(self.control)

    def begin(self, spec: RunSpec, about: dict[str, Any]) -> None:
        """Write ``run.json``: the run, with what else is known of it."""
        write_json(self.run, {"spec": spec.to_json(), "key": spec.key, "seed": spec.seed} | about)

    def write_rows(self, rows: list[EpochRow]) -> None:
        """Write ``metrics.jsonl``."""
        write_jsonl(self.metrics, rows)

    def finish(self, result: Result) -> None:
        """Write ``result.json``, whose presence means that everything else is there."""
        write_json(self.result, result.to_dict())

    def read_result(self) -> Result:
        """Return the finished run that it holds, with its control.

        Raises:
            NeurofaError: it holds none, or a damaged one.
        """
        content = read_json(self.result)
        control = RunFolder(self.control).read_result() if "control_test_accuracy" in content else None
        try:
            rows = tuple(json.loads(line) for line in self.metrics.read_text(encoding="utf-8").splitlines())
            figures = {key: content[key] for key in ("test_accuracy", "test_loss", "epoch", "samples")}
        except (OSError, KeyError, json.JSONDecodeError) as error:
            raise NeurofaError(
                f"got '{self.path}' with a damaged run ({error}); expected whole files; train again with --overwrite"
            ) from None
        return Result(spec=self.spec(), rows=rows, control=control, **figures)


def machine_info() -> dict[str, Any]:
    """Return versions and machine for ``run.json``: a run repeats bit for bit only where these are the same."""
    names = ("neurofa", "torch", "numpy", "safetensors")
    return {
        "versions": {name: _version(name) for name in names} | {"python": platform.python_version()},
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        if name != "neurofa":
            raise
        return neurofa.__version__  # a checkout that is not installed
