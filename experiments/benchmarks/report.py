"""One task from its runs to the figures that are reported: what NeuroBench counts, and what learning takes beside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from experiments.benchmarks.scores import evaluate_scores
from experiments.data import Sequences
from experiments.runs.build import build_learner, compute_device, load_data
from experiments.runs.folder import RunFolder
from experiments.runs.ingredients import run_ingredients
from experiments.runs.machine import machine_info
from experiments.runs.progress import Progress
from experiments.runs.run import train_run
from experiments.runs.spec import CHUNK, RunSpec
from hwmodels.device import Device
from hwmodels.device_models.pulses import PulseDriven
from hwmodels.errors import NeurofaError
from hwmodels.profile import Profile
from hwmodels.registry import build
from hwmodels.spec import Spec, parse
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.costs.learning import learning_operations, run_energies, trace_storage
from neurofa.costs.neurobench import WorkloadMeter, connection_sparsity, footprint_bytes, state_storage, weight_storage
from neurofa.costs.writes import write_summary

SCORES = ("accuracy", "smape", "smape_autonomous")
ENERGY = ("what", "low", "high", "source", "sure")
"""Fields of an energy that a report holds."""


@dataclass(frozen=True, kw_only=True)
class TaskRun:
    """A network that was trained on a task, with the figures that are reported of it."""

    figures: dict[str, Any]
    """Scores on the test data, sizes in bytes, sparsities, operations, writes and energies, by the names that
    ``neurofa benchmark --json`` shows."""
    network: Network
    reused: bool
    """Whether the network was in the folder already."""


def with_write_counter(device: str) -> str:
    """Return the spec of a device that counts its writes and otherwise does the same.

    Memory elements, inside other devices too, count their pulses or programming writes; anything else counts the
    writes whose change is not zero.
    """
    spec = parse(device)
    whole: Device = build("device", spec)
    inner = spec.options.get("device")
    if spec.name == "wear" or (isinstance(inner, Spec) and inner.name == "wear"):
        return device
    if inner is not None and not isinstance(whole, PulseDriven) and whole.describe().write:
        return str(Spec(spec.name, {**spec.options, "device": parse(with_write_counter(str(inner)))}))
    return str(Spec("wear", {"device": spec, "endurance": 1e999}))


def task_spec(fields: Mapping[str, Any], *, count_writes: bool) -> RunSpec:
    """Return the run that some fields describe.

    Args:
        fields: of :class:`~experiments.runs.spec.RunSpec`, by name; the others have their defaults.
        count_writes: whether its weights live on a device that counts its writes (:func:`with_write_counter`).
    """
    spec = RunSpec(**fields)
    spec.check()
    return replace(spec, device=with_write_counter(spec.device)) if count_writes else spec


def run_task(spec: RunSpec, folder: Path, *, chip: Profile | None, progress: Progress) -> TaskRun:
    """Train a network on a task, or load it from its folder, and compute the figures that are reported of it.

    Args:
        spec: the run.
        folder: folder of the run.
        chip: the chip whose energy of an operation is taken; None: none.
        progress: shows the training.

    Raises:
        NeurofaError: data that are no sequences; an unknown or impossible part.
    """
    # checked first, so that nothing is trained in vain
    where = compute_device(spec.compute)
    dataset = load_data(spec.data).to(where)
    if not isinstance(dataset, Sequences):
        raise NeurofaError(
            f"got data {spec.data}, which are no sequences; expected spikes over time; use encoded(data={spec.data})"
        )
    held = RunFolder(folder)
    reused = held.finished and held.is_made_of(run_ingredients(spec))
    result = train_run(spec, folder, progress=progress, resume=True, renew=True)
    network = RunFolder(folder).network().to(where)
    meter = WorkloadMeter(network, gen=generator(spec.seed, "workload", device=where))
    scores = evaluate_scores(network, dataset, meter)
    load = meter.workload()
    learner = build_learner(network, spec)
    xs, targets = next(dataset.batches("train", spec.batch_size, generator(spec.seed, "workload")))
    updates = len(result.rows) * -(-result.samples // (spec.batch_size * spec.accumulate))
    written = write_summary(network, updates)
    energy = run_energies(network, load, written, chip)
    stored, state = weight_storage(network), state_storage(network)
    traces = trace_storage(learner, dataset.ticks, spec.chunk or CHUNK)
    learning = learning_operations(learner, xs, targets, chunk=spec.chunk or CHUNK, teach=dataset.teach)
    synaptic = {"effective_macs": load.effective_macs, "effective_acs": load.effective_acs, "dense": load.dense}
    figures: dict[str, Any] = {
        **scores,
        "footprint_bytes": footprint_bytes(network),
        "stored_bytes": stored.bytes,
        "memory_elements": stored.elements,
        "connection_sparsity": connection_sparsity(network),
        "activation_sparsity": load.activation_sparsity,
        "activation_sparsity_by_layer": load.sparsity_by_layer,
        "synaptic_operations": synaptic,
        "membrane_updates": load.membrane_updates,
        "trace_bytes": traces.bytes,
        "trace_bytes_stored": traces.stored,
        "state_bytes": state.bytes,
        "state_bytes_stored": state.stored,
        "training_operations": asdict(learning),
        "writes_per_weight": None if written is None else asdict(written),
        "energy": [{key: getattr(line, key) for key in ENERGY} for line in energy.lines],
        "no_energy": list(energy.missing),
        "training_seconds": result.seconds,
    }
    return TaskRun(figures=figures, network=network, reused=reused)


def task_summary(task: str, spec: RunSpec, runs: list[dict[str, Any]], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return the summary of a task over seeds: means of all figures, and the scores of each seed.

    Args:
        task: name of the task.
        spec: run of the first seed.
        runs: figures by seed.
        extra: other entries.
    """
    seeds = []
    for index, figures in enumerate(runs):
        scores = {key: figures[key] for key in SCORES if key in figures}
        seeds.append({"seed": spec.seed + index, **scores, "training_seconds": figures["training_seconds"]})
    means = {key: _mean([figures[key] for figures in runs]) for key in runs[0] if key != "training_seconds"}
    head = {"task": task, "rule": spec.rule, **means, "seeds": seeds}
    return {**head, **extra, "spec": spec.to_json(), "versions": machine_info()["versions"]}


def _mean(values: list[Any]) -> Any:
    """Return the mean of equal trees of numbers; whatever is no number is that of the first tree."""
    first = values[0]
    if isinstance(first, dict):
        return {key: _mean([value[key] for value in values]) for key in first}
    if isinstance(first, list):
        return [_mean(list(each)) for each in zip(*values, strict=True)]
    if isinstance(first, bool) or not isinstance(first, int | float):
        return first
    mean = sum(values) / len(values)
    return int(mean) if isinstance(first, int) and mean == int(mean) else mean
