"""One task from its runs to the figures that are reported: what NeuroBench counts, and what learning takes beside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments.data import Sequences
from experiments.reports.forecast import autonomous, smape
from experiments.runs.build import compute_device, load_data
from experiments.runs.folder import RunFolder, machine_info
from experiments.runs.progress import Progress
from experiments.runs.run import train_run
from experiments.runs.spec import RunSpec
from hwmodels.device import Device
from hwmodels.device_models.pulses import PulseDriven
from hwmodels.errors import NeurofaError
from hwmodels.profile import Profile
from hwmodels.registry import build
from hwmodels.spec import Spec, parse
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.costs.learning import energies, operations, trace_bytes, writes
from neurofa.costs.neurobench import Meter, connection_sparsity, footprint_bytes, state_bytes, stored_bytes
from neurofa.costs.writes import countable
from neurofa.spiking.sequence import rest, sweep
from neurofa.training.checkpoint import load_network
from neurofa.training.learner import Learner

BATCH = 250
"""Samples in a batch of the evaluation."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One trained network on the test data."""

    figures: dict[str, Any]
    network: Network


def with_ledger(device: str) -> str:
    """A device that counts its writes and otherwise does what it did.

    Memory elements, inside other devices too, count their pulses or programming writes; anything else counts the
    writes whose change is not zero.
    """
    spec = parse(device)
    made: Device = build("device", spec)
    inner = spec.options.get("device")
    if spec.name == "wear" or (isinstance(inner, Spec) and inner.name == "wear"):
        return device
    if inner is not None and not isinstance(made, PulseDriven) and countable(made):
        return str(Spec(spec.name, {**spec.options, "device": parse(with_ledger(str(inner)))}))
    return str(Spec("wear", {"device": spec, "endurance": 1e999}))


def judge(spec: RunSpec, folder: Path, *, chip: Profile | None, progress: Progress) -> Judged:
    """Train one network, or take it from its folder, and measure it.

    Args:
        spec: the run.
        folder: of the run.
        chip: for the energy of an operation.
        progress: listens.

    Raises:
        NeurofaError: data that are no sequences; a run that cannot be.
    """
    # looked at first, so that nothing is trained in vain
    where = compute_device(spec.compute)
    dataset = load_data(spec.data).to(where)
    if not isinstance(dataset, Sequences):
        raise NeurofaError(
            f"got data {spec.data}, which are no sequences; expected spikes over time; use encoded(data={spec.data})"
        )
    result = train_run(spec, folder, progress=progress, resume=True)
    network = load_network(RunFolder(folder).model).to(where)
    meter = Meter(network, gen=generator(spec.seed, "workload", device=where))
    scores = _scores(network, dataset, meter)
    load = meter.workload()
    learner = Learner(
        network, spec.rule, optimizer=build("optimizer", spec.optimizer)(network.parameters()), loss=spec.loss,
        seed=spec.seed, feedback_seed=spec.feedback_seed,
    )  # fmt: skip
    xs, targets = next(dataset.batches("train", spec.batch_size, generator(spec.seed, "workload")))
    updates = len(result.rows) * -(-result.samples // (spec.batch_size * spec.accumulate))
    written = writes(network, updates)
    energy, missing = energies(network, load, written, chip)
    state, traces = state_bytes(network), trace_bytes(learner, dataset.ticks, spec.chunk)
    stored = stored_bytes(network)
    learning = operations(learner, xs, targets, chunk=spec.chunk, teach=dataset.teach)
    figures: dict[str, Any] = {
        **scores,
        "footprint_bytes": footprint_bytes(network),
        "stored_bytes": stored.bytes,
        "memory_elements": stored.elements,
        "connection_sparsity": connection_sparsity(network),
        "activation_sparsity": load.activation_sparsity,
        "activation_sparsity_by_layer": load.sparsity_by_layer,
        "synaptic_operations": {
            "effective_macs": load.effective_macs, "effective_acs": load.effective_acs, "dense": load.dense,
        },
        "membrane_updates": load.membrane_updates,
        "trace_bytes": traces.bytes,
        "trace_bytes_stored": traces.stored,
        "state_bytes": state.bytes,
        "state_bytes_stored": state.stored,
        "training_operations": asdict(learning),
        "writes_per_weight": None if written is None else asdict(written),
        "energy": [asdict(each) for each in energy],
        "no_energy": missing,
        "training_seconds": result.seconds,
    }  # fmt: skip
    return Judged(figures=figures, network=network)


@torch.no_grad()
def _scores(network: Network, dataset: Sequences, meter: Meter) -> dict[str, Any]:
    """Accuracy by the mean output in the taught ticks, or the error of a forecast in the units of its series."""
    begin, end = dataset.teach or (0, dataset.ticks)
    hits = 0
    answers, truths, inputs = list[Tensor](), list[Tensor](), list[Tensor]()
    for xs, target in dataset.batches("test", BATCH):
        ys = meter.run(xs)[begin:end]
        if dataset.regression:
            answers.append(ys.cpu())
            truths.append(target[begin:end].cpu())
            if isinstance(xs, Tensor):
                inputs.append(xs)
        else:
            hits += int((ys.mean(0).argmax(1) == target).sum())
    if not dataset.regression:
        return {"accuracy": hits / len(dataset.test)}
    std, mean = (float(dataset.provenance.get(key, default)) for key, default in (("std", "1"), ("mean", "0")))

    def unscaled(values: Tensor) -> Tensor:
        return values.double() * std + mean

    found: dict[str, Any] = {"smape": smape(unscaled(torch.cat(answers, 1)), unscaled(torch.cat(truths, 1)))}
    if begin > 0 and len(inputs) == len(answers) and dataset.input_shape == (network.outputs,):
        # closed loop: the washout is heard, and then the network hears itself
        whole = torch.cat(inputs, 1)
        forecast = autonomous(_stepping(network, whole.shape[1]), whole[: begin + 1], end - begin)
        found["smape_autonomous"] = smape(unscaled(forecast.cpu()), unscaled(torch.cat(truths, 1)))
    return found


def _stepping(network: Network, batch: int) -> Callable[[Tensor], Tensor]:
    """One tick of a network that goes on from where the tick before left it."""
    network.eval()
    states = rest(network, batch)

    def step(x: Tensor) -> Tensor:
        nonlocal states
        tick, states = sweep(network, x, 1, states)
        return tick.y

    return step


def summary(task: str, spec: RunSpec, judged: list[dict[str, Any]], extra: Mapping[str, Any]) -> dict[str, Any]:
    """One object for all seeds: means of every number, and the figures of each seed.

    Args:
        task: its name.
        spec: of the first seed.
        judged: figures by seed.
        extra: other entries.
    """
    means = {key: _mean([figures[key] for figures in judged]) for key in judged[0] if key != "training_seconds"}
    return {
        "task": task, "rule": spec.rule, **means,
        "seeds": [
            {"seed": spec.seed + index, **{k: f[k] for k in ("accuracy", "smape", "smape_autonomous") if k in f},
             "training_seconds": f["training_seconds"]}
            for index, f in enumerate(judged)
        ],
        **extra, "spec": spec.to_json(), "versions": machine_info()["versions"],
    }  # fmt: skip


def _mean(values: list[Any]) -> Any:
    """Mean of equal trees of numbers; what is no number is taken from the first."""
    first = values[0]
    if isinstance(first, dict):
        return {key: _mean([value[key] for value in values]) for key in first}
    if isinstance(first, list):
        return [_mean(list(each)) for each in zip(*values, strict=True)]
    if isinstance(first, bool) or not isinstance(first, int | float):
        return first
    total = sum(values) / len(values)
    return int(total) if isinstance(first, int) and total == int(total) else total


def spec_of(fields: Mapping[str, Any], *, count_writes: bool) -> RunSpec:
    """The run of those fields, its device with a ledger where writes are counted."""
    spec = RunSpec(**fields)
    spec.check()
    return replace(spec, device=with_ledger(spec.device)) if count_writes else spec
