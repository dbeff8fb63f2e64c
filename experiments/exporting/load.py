"""Runs as learners for export, and back: what a run's folder holds, with its provenance."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments.data import Dataset, Sequences
from experiments.runs.build import build_learner, load_data
from experiments.runs.folder import RunFolder
from experiments.runs.machine import machine_info
from experiments.runs.spec import RunSpec
from experiments.runs.writer import copy_run
from exports.describe.learners import describe_learner
from exports.describe.neurons import TICK
from exports.graph.model import Model
from hwmodels.errors import NeurofaError
from hwmodels.profile import Profile
from hwmodels.registry import build
from neurofa.core.events import Events
from neurofa.spiking.sequence import has_memory
from neurofa.training.checkpoint import save_checkpoint, save_network
from neurofa.training.learner import Learner


@dataclass
class LoadedRun:
    """A finished run, loaded from its folder: its settings, and its trained network in a learner."""

    folder: RunFolder
    spec: RunSpec
    learner: Learner
    """The learner with the network that the run reports, on the CPU."""
    extra: dict[str, Any]
    """What the checkpoint stores beside the learner."""

    @functools.cached_property
    def dataset(self) -> Dataset | Sequences | None:
        """The data set of the run; None where its files are missing."""
        try:
            return load_data(self.spec.data)
        except NeurofaError:
            return None

    def model(self, **more: Any) -> Model:
        """Describe the learner as the neutral graph that all exporters read.

        A network with a memory takes the length of a tick from the data. Where they are missing or have no time, it is
        a default, and the provenance says so.

        Args:
            more: further entries of the provenance.
        """
        tick, about = TICK, self.provenance() | more
        if has_memory(self.learner.network):
            timed = self.dataset if isinstance(self.dataset, Sequences) else None
            tick = TICK if timed is None else timed.tick
            about["tick"] = {"seconds": tick, "from": "default" if timed is None else f"data {timed.name}"}
        return describe_learner(self.learner, self.spec.rule, about, tick)

    def provenance(self) -> dict[str, Any]:
        """Return spec, seed, versions, and the recipe that builds the learner again."""
        network, spec = self.learner.network, self.spec
        recipe = {key: getattr(spec, key) for key in ("device", "periphery", "rule", "loss", "feedback_scale")}
        recipe |= {"network": network.spec, "input_shape": list(network.input_shape)}
        recipe |= {"outputs": network.outputs, "seed": network.seed}
        about = {"spec": spec.to_json(), "key": spec.key, "seed": spec.seed, "run": self.folder.path.name}
        return {**about, "versions": machine_info()["versions"], "recipe": recipe}

    def sample_inputs(self, count: int) -> Tensor | None:
        """Return some inputs of the validation data, or of the training data where there is none.

        Args:
            count: samples, at most.

        Returns:
            (B, *input_shape); of sequences (T, B, *input_shape), events as dense counts. None where data are missing.
        """
        dataset = self.dataset
        if dataset is None:
            return None
        where = "validation" if len(dataset.splits()["validation"]) else "train"
        x, _ = next(iter(dataset.batches(where, count)))
        if isinstance(x, Events):
            x = x.dense()
            x = x.view(*x.shape[:2], *dataset.input_shape)
        return x.to(torch.float32)

    def save_as(self, out: Path, origin: dict[str, Any]) -> None:
        """Write the run with the present state of its learner into a new folder.

        Args:
            out: the new folder; the run's own stays as it is.
            origin: JSON values: what the state was taken from, for ``run.json``.

        Raises:
            NeurofaError: ``out`` exists, or cannot be written.
        """
        with copy_run(self.folder, out, {"imported": origin}) as writer:
            copy, learner = writer.folder, self.learner
            kept = copy.best if self.spec.select == "best" else None
            for path in (copy.model, kept):
                if path is not None:
                    writer.put(path, lambda part: save_network(learner.network, part))
            writer.put(copy.checkpoint, lambda part: save_checkpoint(part, learner, self.extra))


def load_run(path: Path) -> LoadedRun:
    """Return the learner of a finished run, with the network that the run reports, on the CPU.

    Raises:
        NeurofaError: no finished run, or a damaged one.
    """
    folder = RunFolder(path)
    spec = replace(folder.spec(), compute="cpu")
    folder.require_finished()
    folder.read_result()
    network = folder.network()
    reported = {key: value.clone() for key, value in network.state_dict().items()}
    network.attach(spec.periphery)
    learner = build_learner(network, replace(spec, fused=False))
    extra = folder.load_checkpoint(learner)
    if spec.select == "best":  # the checkpoint holds the last epoch, the model the reported one
        network.load_state_dict(reported)
    return LoadedRun(folder, spec, learner, extra)


def chip_formats(profile: Profile) -> dict[str, Any]:
    """Return the export options that a chip's profile decides.

    Returns:
        ``bits``, the width of its weights (where that is 16 or less), and ``conductance``, the spec of a conductance
        map over the range of its memory device; an entry that the profile does not decide is missing.
    """
    formats: dict[str, Any] = {}
    if profile.weight_bits is not None and profile.weight_bits <= 16:
        formats["bits"] = profile.weight_bits
    if profile.memory is not None:
        limits = build("device", profile.memory).describe().conductance
        if limits is not None:
            formats["conductance"] = f"pair(g_min={float(limits[0])}, g_max={float(limits[1])})"
    return formats
