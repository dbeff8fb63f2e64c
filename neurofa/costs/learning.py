"""Operations, traces and energy of online learning, beside those of inference."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hwmodels.device import Device
from hwmodels.figures import CostLine, CostReport
from hwmodels.profile import Profile
from neurofa.core.directions import Directions
from neurofa.core.event_rows import dense_rows
from neurofa.core.events import Events
from neurofa.core.layer import Layer, facts_of
from neurofa.core.network import Network
from neurofa.core.products import PHASES
from neurofa.core.view import LocalView
from neurofa.costs.flops import step_flops
from neurofa.costs.neurobench import StateStorage, Workload
from neurofa.costs.writes import WriteSummary
from neurofa.spiking.sequence import chunks, initial_states
from neurofa.training.learner import Learner, forward_pass, kept_traces
from neurofa.training.sequence_rules import filter_decay


def trace_storage(learner: Learner, ticks: int, chunk: int) -> StateStorage:
    """Return the bytes that learning carries through the ticks of one sample, beside the neurons' own state.

    An online rule carries eligibility traces from chunk to chunk, whatever the number of ticks; backpropagation through
    time has to keep every tick, which is what autograd holds at the end of the sequence, without the input.

    Args:
        learner: not changed.
        ticks: T.
        chunk: K, ticks in a chunk.
    """
    twin = _twin(learner)
    like = next(twin.network.parameters())
    through_time = learner.rule.declares.sequences.through_time
    shape = (ticks if through_time else min(chunk, ticks), 1, *twin.network.input_shape)
    xs = torch.zeros(shape, dtype=like.dtype, device=like.device)
    if through_time:
        held = _tape(twin, xs)
        return StateStorage(bytes=held, stored=held)
    return _carried(twin, xs)


@torch.no_grad()
def _carried(learner: Learner, xs: Tensor) -> StateStorage:
    network, rule = learner.network, learner.rule
    ((_, ticks, x),) = chunks(network, xs, len(xs))
    tick = forward_pass(
        network,
        x,
        gen=learner.gen,
        return_weights=learner.return_weights_of(rule),
        states=initial_states(network, 1),
        ticks=ticks,
        kappa=filter_decay(network, rule),
    )
    held, bits = 0, 0.0
    for name in tick.states:
        layer: Any = network.layer(name)
        memory = facts_of(layer).memory()
        width = math.inf if memory is None else memory.traces.bits
        for trace in kept_traces(rule, name, layer, tick.views[name], readout=name == network.readout).values():
            held += trace.numel() * trace.element_size()
            bits += min(width, torch.finfo(trace.dtype).bits) * trace.numel()
    return StateStorage(bytes=held, stored=math.ceil(bits) / 8)


def _tape(learner: Learner, xs: Tensor) -> int:
    """Return the bytes of all storages that autograd holds for one sequence, without weights and input."""
    kept: list[Tensor] = []

    def pack(saved: Tensor) -> Tensor:
        kept.append(saved)
        return saved

    outputs = learner.network.outputs
    # zeros serve every loss: only the size of what is held counts
    target = torch.zeros(1, outputs, dtype=xs.dtype, device=xs.device)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        learner.stream(xs, target.argmax(1) if learner.loss.labels else target)
    skipped = {xs.untyped_storage().data_ptr()}
    skipped |= {w.untyped_storage().data_ptr() for w in learner.network.parameters()}
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in kept}
    return sum(size for at, size in storages.items() if at not in skipped)


@dataclass(frozen=True, kw_only=True)
class LearningOperations:
    """Operations of one step of training on one sample, forward pass included, summed over all its ticks."""

    flop: dict[str, float]
    """FLOP of dense products by phase (:data:`neurofa.core.products.PHASES`), and of ``traces``: a multiplication
    and an addition for every number of a trace and tick."""
    update_events: float | None
    """Pairs of an error at an input current and an input, both not zero: the operations of an event-driven update.
    None for a rule that learns backwards in time."""
    update_dense: float | None
    """The same pairs if nothing were zero."""


class _PairCount:
    """Counts pairs of errors and inputs on their way into the weights."""

    events: float = 0.0
    dense: float = 0.0

    def watch(self, name: str, layer: Layer, view: LocalView, directions: Directions) -> None:
        """Count the pairs of one layer in one step.

        Args:
            name: the layer's name.
            layer: the layer.
            view: of the layer, with its error.
            directions: of its weights; not used.
        """
        if view.delta is None:
            return
        for matrix in facts_of(layer).matrix_inputs(view):
            x = dense_rows(matrix.inputs)
            self.events += matrix.updates((view.delta != 0).double(), (x != 0).double())
            self.dense += matrix.updates(torch.ones_like(view.delta).double(), torch.ones_like(x).double())


def _twin(learner: Learner) -> Learner:
    """Return a learner of the same kind for a copy of the network, so that its steps leave the original as it is."""
    network = copy.deepcopy(learner.network)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    return Learner(network, copy.deepcopy(learner.rule), optimizer=optimizer, loss=learner.loss)


def learning_operations(
    learner: Learner, xs: Tensor | Events, targets: Tensor, *, chunk: int, teach: tuple[int, int] | None
) -> LearningOperations:
    """Return the operations of learning from one batch, per sample: declared FLOP, and pairs counted in a trial run.

    Args:
        learner: not changed.
        xs: (T, B, *input_shape) or events.
        targets: as :meth:`~neurofa.training.learner.Learner.stream` takes them.
        chunk: K.
        teach: ticks at which the loss counts.
    """
    ticks, batch = xs.shape[:2]
    tick_flop = step_flops(learner, batch_size=1).by_phase()
    flop = {phase: tick_flop[phase] * ticks for phase in PHASES}
    if learner.rule.declares.sequences.through_time:
        return LearningOperations(flop=flop | {"traces": 0.0}, update_events=None, update_dense=None)
    numbers = trace_storage(learner, ticks, chunk).bytes / next(learner.network.parameters()).element_size()
    flop["traces"] = 2 * numbers * ticks
    twin, pairs = _twin(learner), _PairCount()
    twin.watch = pairs.watch
    twin.stream(xs, targets, chunk=chunk, teach=teach)
    return LearningOperations(flop=flop, update_events=pairs.events / batch, update_dense=pairs.dense / batch)


def run_energies(
    network: Network, workload: Workload, written: WriteSummary | None, chip: Profile | None
) -> CostReport:
    """Return the energy of one sample's forward products and of all writes, as far as figures are published.

    Args:
        network: trained.
        workload: operations of inference for one sample.
        written: writes of the whole training; None: not counted.
        chip: chip whose energy of a synaptic operation is used; None: that of reading the memory device.
    """
    lines, missing = [], []
    effective = workload.effective_acs + workload.effective_macs
    devices = [layer.synapses[key].device for _, layer in network.items() for key in facts_of(layer).matrices[:1]]
    about = devices[0].describe() if devices else None
    read = None if about is None else about.figures.read_energy
    write = None if about is None else about.figures.write_energy
    each = "operations × energy of one"
    if chip is not None and chip.operation_energy is not None:
        what = f"synaptic operations of a sample on {chip.name}"
        lines.append(CostLine.scaled(what, effective, chip.operation_energy, each))
    elif about is not None and read is not None:
        lines.append(CostLine.scaled(f"reads of {about.technology} cells, a sample", effective, read, each))
    else:
        missing.append("synaptic operations: no figure for this device or chip")
    if written is not None and about is not None and write is not None:
        count = written.mean * sum(_weights(network, device) for device in set(devices))
        what = f"writes of {about.technology} cells in the whole training"
        lines.append(CostLine.scaled(what, count, write, each))
    else:
        missing.append("writes: no figure for this device or chip")
    return CostReport(tuple(lines), tuple(missing))


def _weights(network: Network, device: Device) -> int:
    own = [layer.synapses[key] for _, layer in network.items() for key in layer.synapses]
    return sum(synapses.weight.numel() for synapses in own if synapses.device == device)
