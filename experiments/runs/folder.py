"""The folder of one run: what it holds, and how it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from experiments.runs.ingredients import Ingredients, run_code, same_ingredients
from experiments.runs.manifest import NAME, Manifest, read_manifest
from experiments.runs.result import Result
from experiments.runs.spec import RunSpec
from experiments.runs.stored import check_rows, read_about, read_figures, read_rows
from hwmodels.errors import NeurofaError
from hwmodels.registry.code import code_named
from neurofa.core.network import Network
from neurofa.training.checkpoint import load_checkpoint, load_network, network_states
from neurofa.training.learner import Learner


class RunFolder:
    """Paths and contents of a run's folder.

    ``run.json`` (the run and the machine), ``metrics.jsonl`` (one row for each epoch), ``checkpoint.safetensors`` (the
    state at the end of the last finished epoch), ``best.safetensors`` (with ``select=best``), and at the end
    ``model.safetensors``, ``curves.png``, ``result.json``. A folder with ``result.json`` holds a finished run.
    ``manifest.json`` lists the digests of all of them, and whatever is read is compared with it. Folders of earlier
    versions have none: there the files are compared with each other, as far as they say the same.
    ``neurofa diagnose`` adds ``diagnosis.png``.

    Args:
        path: the folder; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run, self.metrics, self.result = path / "run.json", path / "metrics.jsonl", path / "result.json"
        self.checkpoint, self.best = path / "checkpoint.safetensors", path / "best.safetensors"
        self.model, self.curves = path / "model.safetensors", path / "curves.png"
        self.diagnosis, self.manifest = path / "diagnosis.png", path / NAME
        self.control = path / "control"

    @property
    def files(self) -> tuple[Path, ...]:
        """All files of a run but ``run.json``, manifest and diagnosis, whether they are there or not."""
        return (self.result, self.checkpoint, self.best, self.metrics, self.model, self.curves)

    @property
    def finished(self) -> bool:
        """Whether the folder holds the result of a finished run."""
        return self.result.is_file()

    @property
    def remark(self) -> str:
        """What a reader should know of the folder, on one line; empty: nothing."""
        if self.manifest.exists() or not self.run.exists():
            return ""
        return f"{self.path} has no manifest (an earlier version wrote it): its files have no digests to compare with"

    def about(self) -> dict[str, Any]:
        """Return the content of ``run.json``.

        Raises:
            NeurofaError: there is none, or a damaged one.
        """
        if not self.run.is_file():
            raise NeurofaError(
                f"got '{self.path}' without run.json; expected the folder of a run; check the path or train first"
            )
        manifest = self._compare(self.run)
        about = read_about(self.run)
        if manifest is not None and manifest.key != about["key"]:
            raise NeurofaError(
                f"got '{self.path}' whose manifest is that of another run ({manifest.key[:8]}, not {about['key'][:8]});"
                " expected files of one run; train again with --overwrite"
            )
        return about

    def spec(self) -> RunSpec:
        """Return the run that it holds.

        Raises:
            NeurofaError: it holds none, or a damaged one.
        """
        return RunSpec.from_stored(self.about()["spec"])

    def is_made_of(self, present: Ingredients) -> bool:
        """Return whether the run that it holds was made of these data and this code of other people."""
        return same_ingredients(self.about().get("ingredients"), present)

    def require_finished(self) -> None:
        """Refuse a folder without a finished run.

        Raises:
            NeurofaError: it holds none.
        """
        self.about()
        if not self.finished:
            raise NeurofaError(
                f"got '{self.path}' with an unfinished run; expected a finished one; go on with it: neurofa train"
                " --resume"
            )

    def network(self) -> Network:
        """Return the network that the finished run reports, on the CPU.

        Raises:
            NeurofaError: no finished run, a damaged one, or a network that is not that of the run.
        """
        self.require_finished()
        spec = self.spec()
        if self._compare(self.model) is None:
            kept, kind = (self.best, "network") if spec.select == "best" else (self.checkpoint, "checkpoint")
            if kept.is_file() and not _same(network_states(self.model, "network"), network_states(kept, kind)):
                raise NeurofaError(
                    f"got '{self.model}' with other weights than {kept.name}; expected those of the same run; train"
                    " again with --overwrite"
                )
        self._require_same_code(spec)
        network = load_network(self.model)
        if network.seed != spec.seed:
            raise NeurofaError(
                f"got '{self.model}' of seed {network.seed} in the folder of a run of seed {spec.seed}; expected files"
                " of one run: somebody else wrote into it; train again with --overwrite"
            )
        return network

    def _require_same_code(self, spec: RunSpec) -> None:
        """Refuse code files that have changed since the run was made of them."""
        texts = (spec.network, spec.data)
        if not code_named(texts):
            return
        files = ", ".join(f"'{part.options['path']}'" for part in code_named(texts))
        present, stored = run_code(spec), self.about().get("ingredients")
        if present != (stored.get("code") if isinstance(stored, dict) else None):
            raise NeurofaError(
                f"got {files} with another content than when '{self.path}' was made; expected the same code and"
                " weights; put the files back, or make the run anew with --overwrite"
            )

    def load_best(self, network: Network) -> None:
        """Fill a network with the best epoch so far."""
        self._compare(self.best)
        load_network(self.best, network)

    def load_checkpoint(self, learner: Learner) -> dict[str, Any]:
        """Fill a learner with the last finished epoch, and return what is stored beside it: ``rows`` and ``best``.

        Raises:
            NeurofaError: no such file, or a damaged one.
        """
        self._compare(self.checkpoint)
        extra = load_checkpoint(self.checkpoint, learner)
        rows, best = check_rows(self.checkpoint, extra.get("rows")), extra.get("best")
        if not isinstance(best, int) or not 0 <= best <= len(rows):
            raise NeurofaError(
                f"got best={best!r:.40} in '{self.checkpoint}'; expected one of {len(rows)} epochs; train again with"
                " --overwrite"
            )
        return extra | {"rows": list(rows)}

    def read_result(self) -> Result:
        """Return the finished run that it holds, with its control.

        Raises:
            NeurofaError: it holds none, or a damaged one.
        """
        about = self.about()
        for path in (self.metrics, self.result):
            self._compare(path)
        rows = read_rows(self.metrics)
        content = read_figures(self.result, about["key"], rows)
        control = RunFolder(self.control).read_result() if "control_test_accuracy" in content else None
        figures = {key: content[key] for key in ("test_accuracy", "test_loss", "epoch", "samples")}
        return Result(spec=RunSpec.from_stored(about["spec"]), rows=rows, control=control, **figures)

    def _compare(self, path: Path) -> Manifest | None:
        """Compare a file with the manifest, and return that; None where the folder has none."""
        manifest = read_manifest(self.path)
        if manifest is not None:
            manifest.check(path)
        return manifest


def _same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(
        ours[key].shape == theirs[key].shape and torch.equal(ours[key], theirs[key]) for key in ours
    )
