"""The folder of one run: what is in it, and who may write into it."""

from __future__ import annotations

import json
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from experiments.files import make_folder, read_json, write_json, write_jsonl
from experiments.runs.result import Result, Row
from experiments.runs.spec import RunSpec
from hwmodels.errors import NeurofaError


class RunFolder:
    """Paths and contents of a run's folder.

    ``run.json`` (the run and the machine), ``metrics.jsonl`` (a row an epoch), ``checkpoint.safetensors`` (the state at
    the end of the last finished epoch), ``best.safetensors`` (with ``select=best``), and at the end
    ``model.safetensors``, ``curves.png``, ``result.json``. A folder with ``result.json`` holds a whole run.
    ``neurofa diagnose`` adds ``diagnosis.png``.

    Args:
        path: the folder; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run, self.metrics, self.result = (path / n for n in ("run.json", "metrics.jsonl", "result.json"))
        self.checkpoint, self.best = path / "checkpoint.safetensors", path / "best.safetensors"
        self.model, self.curves = path / "model.safetensors", path / "curves.png"
        self.diagnosis = path / "diagnosis.png"
        self.control = path / "control"

    @property
    def finished(self) -> bool:
        """Whether it holds a whole run."""
        return self.result.is_file()

    def spec(self) -> RunSpec:
        """The run that it holds.

        Raises:
            NeurofaError: it holds none.
        """
        if not self.run.is_file():
            raise NeurofaError(
                f"got '{self.path}' without run.json; expected the folder of a run; check the path or train first"
            )
        return RunSpec.from_json(read_json(self.run).get("spec", {}))

    def open(self, spec: RunSpec, *, resume: bool, overwrite: bool) -> None:
        """Make sure that this run may be written here.

        Raises:
            NeurofaError: the folder holds a run and neither flag allows to touch it, the run to resume is another one,
                or the folder cannot be written.
        """
        if self.run.exists() and resume:
            field = spec.difference(self.spec())
            if field is not None:
                raise NeurofaError(
                    f"got --resume with {field}={getattr(spec, field)} where '{self.path}' was begun with"
                    f" {field}={getattr(self.spec(), field)}; expected the same run; change --{field.replace('_', '-')}"
                    " or --out"
                )
        elif self.run.exists() and not overwrite:
            held = "a finished run" if self.finished else "an unfinished run"
            raise NeurofaError(
                f"got '{self.path}', which holds {held}; expected a new folder; use --resume to go on with it,"
                " --overwrite to begin anew, or another --out"
            )
        make_folder(self.path)
        if not resume:
            for old in (self.result, self.checkpoint, self.best, self.metrics, self.model, self.curves, self.diagnosis):
                old.unlink(missing_ok=True)
            if RunFolder(self.control).run.exists():
                shutil.rmtree(self.control)

    def begin(self, spec: RunSpec, about: dict[str, Any]) -> None:
        """Write ``run.json``."""
        write_json(self.run, {"spec": spec.to_json(), "key": spec.key, "seed": spec.seed} | about)

    def write_rows(self, rows: list[Row]) -> None:
        """Write ``metrics.jsonl``."""
        write_jsonl(self.metrics, rows)

    def finish(self, result: Result) -> None:
        """Write ``result.json``, which says that everything else is there."""
        write_json(self.result, result.to_dict())

    def read_result(self) -> Result:
        """The finished run that it holds, its control included.

        Raises:
            NeurofaError: it holds none, or a damaged one.
        """
        content = read_json(self.result)
        control = RunFolder(self.control)
        try:
            rows = tuple(json.loads(line) for line in self.metrics.read_text(encoding="utf-8").splitlines())
            return Result(
                spec=self.spec(), test_accuracy=content["test_accuracy"], test_loss=content["test_loss"],
                epoch=content["epoch"], rows=rows, samples=content["samples"],
                control=control.read_result() if "control_test_accuracy" in content else None,
            )  # fmt: skip
        except (OSError, KeyError, json.JSONDecodeError) as error:
            raise NeurofaError(
                f"got '{self.path}' with a damaged run ({error}); expected whole files; train again with --overwrite"
            ) from None


def machine() -> dict[str, Any]:
    """Versions and machine, for ``run.json``: the same run repeats bit for bit only where these are the same."""
    import torch

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
        from neurofa import __version__  # a checkout that is not installed

        return __version__
