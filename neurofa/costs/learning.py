"""Operations, traces and energy of online learning, beside those of inference."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.device import Device
from hwmodels.figures import CostLine, CostReport
from hwmodels.profile import Profile
from neurofa.core.events import Events, dense_rows
from neurofa.core.layer import Directions, Layer, LocalView
from neurofa.core.network import Network
from neurofa.core.products import PHASES
from neurofa.core.rule import Rule
from neurofa.costs.flops import step_flops
from neurofa.costs.neurobench import StateStorage, Workload
from neurofa.costs.writes import WriteSummary
from neurofa.spiking.sequence import parts, rest, sweep
from neurofa.training.backward import Emit
from neurofa.training.learner import Learner
from neurofa.training.stream import filter_of, kept_traces


def trace_storage(learner: Learner, ticks: int, chunk: int) -> StateStorage:
    """Return the bytes that learning carries through the ticks of one sample, beside the neurons' own state.

    An online rule carries eligibility traces from chunk to chunk, whatever the number of ticks; backpropagation through
    time has to keep every tick, which is what autograd holds at the end of the sequence, without the input.

    Args:
        learner: left as it is.
        ticks: T.
        chunk: K, ticks in a chunk.
    """
    twin = _twin(learner)
    like = next(twin.network.parameters())
    shape = (ticks if learner.rule.through_time else min(chunk, ticks), 1, *twin.network.input_shape)
    xs = torch.zeros(shape, dtype=like.dtype, device=like.device)
    if learner.rule.through_time:
        held = _tape(twin, xs)
        return StateStorage(bytes=held, stored=held)
    return _carried(twin, xs)


@torch.no_grad()
def _carried(learner: Learner, xs: Tensor) -> StateStorage:
    network, rule = learner.network, learner.rule
    kappa = filter_of(network, rule)
    ((_, ticks, x),) = parts(network, xs, len(xs))
    states = rest(network, 1)
    tick, after = sweep(
        network, x, ticks, states, gen=learner.gen, returns=learner.returns_of(rule), kappa=kappa, below=rule.chained
    )
    held, bits = 0, 0.0
    for name in after:
        memory = network.layer(name).memory()
        width = math.inf if memory is None else memory.traces.bits
        for trace in kept_traces(network, rule, name, tick.views[name]).values():
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
    """Operations of learning from one sample, over all its ticks."""

    flop: dict[str, float]
    """FLOP of dense products by phase (:data:`neurofa.core.products.PHASES`), and of ``traces``: a multiplication
    and an addition for every number of a trace and tick."""
    update_events: float | None
    """Pairs of an error at an input current and an input, both not zero: the operations of an event-driven update.
    None for a rule that learns backwards in time."""
    update_dense: float | None
    """The same pairs if nothing were zero."""


class _Watching(Learner):
    """A learner that counts pairs of errors and inputs on their way into the weights."""

    events: float = 0.0
    dense: float = 0.0

    def emitter(self, rule: Rule, batch: int) -> Emit:
        emit = super().emitter(rule, batch)

        def watch(name: str, layer: Layer, view: LocalView, directions: Directions) -> None:
            delta = view.delta
            for matrix in layer.matrix_inputs(view) if delta is not None else ():
                assert delta is not None
                x = dense_rows(matrix.inputs) if matrix.inputs.layout == torch.sparse_csr else matrix.inputs
                self.events += matrix.updates((delta != 0).double(), (x != 0).double())
                self.dense += matrix.updates(torch.ones_like(delta).double(), torch.ones_like(x).double())
            emit(name, layer, view, directions)

        return watch


def _twin(learner: Learner) -> _Watching:
    """Return a learner of the same kind for a copy of the network, so that its steps leave the original as it is."""
    network = copy.deepcopy(learner.network)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    return _Watching(network, copy.deepcopy(learner.rule), optimizer=optimizer, loss=learner.loss)


def learning_operations(
    learner: Learner, xs: Tensor | Events, targets: Tensor, *, chunk: int, teach: tuple[int, int] | None
) -> LearningOperations:
    """Return the operations of learning from one batch, per sample; FLOP as declared, pairs as counted.

    Args:
        learner: left as it is.
        xs: (T, B, *input_shape) or events.
        targets: as :meth:`~neurofa.training.learner.Learner.stream` takes them.
        chunk: K.
        teach: ticks at which the loss counts.
    """
    ticks, batch = xs.shape[:2]
    tick_flop = step_flops(learner, batch_size=1).by_phase()
    flop = {phase: tick_flop[phase] * ticks for phase in PHASES}
    if learner.rule.through_time:
        return LearningOperations(flop=flop | {"traces": 0.0}, update_events=None, update_dense=None)
    numbers = trace_storage(learner, ticks, chunk).bytes / next(learner.network.parameters()).element_size()
    flop["traces"] = 2 * numbers * ticks
    twin = _twin(learner)
    twin.stream(xs, targets, chunk=chunk, teach=teach)
    return LearningOperations(flop=flop, update_events=twin.events / batch, update_dense=twin.dense / batch)


def run_energies(
    network: Network, workload: Workload, written: WriteSummary | None, chip: Profile | None
) -> CostReport:
    """Return the energy of one sample's forward products and of all writes, where somebody published a figure.

    Args:
        network: trained.
        workload: of one sample.
        written: counts of the devices.
        chip: for the energy of a synaptic operation.
    """
    lines, missing = [], []
    effective = workload.effective_acs + workload.effective_macs
    devices = [layer.synapse(key).device for _, layer in network.items() for key in layer.matrices[:1]]
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
    own = [layer.synapse(key) for _, layer in network.items() for key in layer.synapses]
    return sum(synapses.weight.numel() for synapses in own if synapses.device == device)
