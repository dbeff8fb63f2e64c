"""Runs as learners for export, and back: what stands in a run's folder, with where it came from."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments.data import Dataset, Sequences
from experiments.runs.folder import RunFolder, machine
from experiments.runs.spec import RunSpec
from experiments.runs.trainer import load_data
from exports.describe.learners import describe_learner
from exports.describe.neurons import TICK
from exports.graph.model import Model
from hwmodels.errors import NeurofaError
from hwmodels.profile import Profile
from hwmodels.registry import build
from neurofa.core.events import Events
from neurofa.spiking.sequence import has_memory
from neurofa.training.checkpoint import load_checkpoint, load_network, save_checkpoint, save_network
from neurofa.training.learner import Learner


@dataclass
class Held:
    """A finished run in memory."""

    folder: RunFolder
    spec: RunSpec
    learner: Learner
    extra: dict[str, Any]
    """What the checkpoint keeps beside the learner."""

    @functools.cached_property
    def dataset(self) -> Dataset | Sequences | None:
        """The run's data; None where they are missing."""
        try:
            return load_data(self.spec.data)
        except NeurofaError:
            return None

    def model(self, **more: Any) -> Model:
        """Its neutral graph; ``more`` joins the provenance.

        A network with a memory takes the length of a tick from the data; where they are missing or know no time, it is
        a default, and the provenance says so.
        """
        tick, about = TICK, self.provenance() | more
        if has_memory(self.learner.network):
            timed = self.dataset if isinstance(self.dataset, Sequences) else None
            tick = TICK if timed is None else timed.tick
            about["tick"] = {"seconds": tick, "from": "default" if timed is None else f"data {timed.name}"}
        return describe_learner(self.learner, self.spec.rule, about, tick)

    def provenance(self) -> dict[str, Any]:
        """Spec, seed, versions, and the recipe that builds the learner again."""
        network = self.learner.network
        recipe = {
            "network": network.spec, "input_shape": list(network.input_shape), "outputs": network.outputs,
            "seed": network.seed, "device": self.spec.device, "periphery": self.spec.periphery, "rule": self.spec.rule,
            "loss": self.spec.loss,
        }  # fmt: skip
        about = machine()
        return {
            "spec": self.spec.to_json(), "key": self.spec.key, "seed": self.spec.seed, "run": self.folder.path.name,
            "versions": about["versions"], "recipe": recipe,
        }  # fmt: skip

    def save(self) -> None:
        """Write network and learner back into the folder."""
        save_network(self.learner.network, self.folder.model)
        save_checkpoint(self.folder.checkpoint, self.learner, self.extra)


def load_run(path: Path) -> Held:
    """The learner of a finished run as the run reports it, on the CPU.

    Raises:
        NeurofaError: no finished run, or a damaged one.
    """
    folder = RunFolder(path)
    spec = replace(folder.spec(), compute="cpu")
    if not folder.finished or not folder.checkpoint.is_file():
        raise NeurofaError(
            f"got '{path}', which holds no finished run; expected one; go on with --resume, or train first"
        )
    network = load_network(folder.model)
    network.attach(spec.periphery)
    optimizer = build("optimizer", spec.optimizer)(network.parameters())
    learner = Learner(
        network, spec.rule, optimizer=optimizer, loss=spec.loss, seed=spec.seed, accumulate=spec.accumulate,
        clip=spec.clip, feedback_seed=spec.feedback_seed,
    )  # fmt: skip
    extra = load_checkpoint(folder.checkpoint, learner)
    if spec.select == "best":  # the checkpoint holds the last epoch, the model the reported one
        load_network(folder.model, network)
    return Held(folder, spec, learner, extra)


def samples(held: Held, count: int) -> Tensor | None:
    """Some inputs of the run's validation data (or training data, where there is none); None where data are missing.

    Args:
        held: the run.
        count: samples, at most.

    Returns:
        (B, *input_shape); of sequences (T, B, *input_shape), events as dense counts.
    """
    dataset = held.dataset
    if dataset is None:
        return None
    where = "validation" if len(dataset.splits()["validation"]) else "train"
    x, _ = next(iter(dataset.batches(where, count)))
    if isinstance(x, Events):
        x = x.dense()
        x = x.view(*x.shape[:2], *dataset.input_shape)
    return x.to(torch.float32)


def profile_content(profile: Profile) -> dict[str, Any]:
    """What a chip says of numbers and conductances: ``bits`` and ``conductance``, as far as it says it."""
    found: dict[str, Any] = {}
    if profile.weight_bits is not None and profile.weight_bits <= 16:
        found["bits"] = profile.weight_bits
    if profile.memory is not None:
        held = build("device", profile.memory)
        if getattr(held, "g_max", None) is not None:
            found["conductance"] = f"pair(g_min={float(held.g_min)}, g_max={float(held.g_max)})"
    return found
