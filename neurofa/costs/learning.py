"""What learning takes beside running: memory of traces, operations, and writes to the weights."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.device import Device
from hwmodels.figures import Figure
from hwmodels.profile import Profile
from neurofa.core.directions import Directions, Outer, Sum
from neurofa.core.dynamics import OUT
from neurofa.core.event_rows import dense_rows
from neurofa.core.events import Events
from neurofa.core.layer import Layer
from neurofa.core.network import Network
from neurofa.core.products import PHASES
from neurofa.core.view import LocalView
from neurofa.costs.flops import cost
from neurofa.costs.memory_energy import technology
from neurofa.costs.neurobench import Carried, Workload
from neurofa.costs.writes import ledger
from neurofa.maps.affine import Affine
from neurofa.spiking.sequence import chunks, initial_states
from neurofa.spiking.temporal import Temporal
from neurofa.training.learner import Learner, forward_pass, kept_traces
from neurofa.training.sequence_rules import filter_decay


def trace_bytes(learner: Learner, ticks: int, chunk: int) -> Carried:
    """What learning carries through the ticks of one sample, beside the neurons' own state.

    An online rule carries eligibility traces from chunk to chunk, whatever the number of ticks; backpropagation through
    time has to keep every tick, which is what autograd holds at the end of the sequence, the input apart.

    Args:
        learner: left as it is.
        ticks: T.
        chunk: K, ticks that are worked on at once.
    """
    twin = _twin(learner)
    some = next(twin.network.parameters())
    shape = (ticks if learner.rule.declares.sequences.through_time else min(chunk, ticks), 1, *twin.network.input_shape)
    xs = torch.zeros(shape, dtype=some.dtype, device=some.device)
    if learner.rule.declares.sequences.through_time:
        held = _tape(twin, xs)
        return Carried(bytes=held, stored=held)
    return _carried(twin, xs)


@torch.no_grad()
def _carried(learner: Learner, xs: Tensor) -> Carried:
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
        layer = network.layer(name)
        assert isinstance(layer, Temporal)
        for trace in kept_traces(rule, name, layer, tick.views[name], readout=name == network.readout).values():
            held += trace.numel() * trace.element_size()
            bits += min(layer.traces.bits, torch.finfo(trace.dtype).bits) * trace.numel()
    return Carried(bytes=held, stored=math.ceil(bits) / 8)


def _tape(learner: Learner, xs: Tensor) -> int:
    """Bytes of all storages that autograd holds for one sequence, without weights and input."""
    kept: list[Tensor] = []

    def pack(saved: Tensor) -> Tensor:
        kept.append(saved)
        return saved

    outputs = learner.network.outputs
    # a target of numbers serves every loss that can be asked about here: only what is held counts
    target = torch.zeros(1, outputs, dtype=xs.dtype, device=xs.device)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        learner.stream(xs, target.argmax(1) if learner.loss.name == "cross_entropy" else target)
    skipped = {xs.untyped_storage().data_ptr()}
    skipped |= {w.untyped_storage().data_ptr() for w in learner.network.parameters()}
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in kept}
    return sum(size for at, size in storages.items() if at not in skipped)


@dataclass(frozen=True, kw_only=True)
class Operations:
    """Of learning from one sample, over all its ticks."""

    flop: dict[str, float]
    """FLOP of dense products by phase (:data:`neurofa.core.products.PHASES`), and of ``traces``: a multiplication
    and an addition for every number of a trace and tick."""
    update_events: float | None
    """Pairs of an error at an input current and an input, both not zero: what an update takes that is driven by
    events. None for a rule that learns backwards in time."""
    update_dense: float | None
    """The same pairs if nothing were zero."""


class _PairCount:
    """Counts pairs of errors and inputs on their way into the weights."""

    events: float = 0.0
    dense: float = 0.0

    def watch(self, name: str, layer: Layer, view: LocalView, directions: Directions) -> None:
        """Count the pairs of one layer."""
        if not isinstance(layer, Affine) or view.delta is None:
            return
        x = dense_rows(view.x)
        self.events += _pairs(layer, view.delta != 0, x != 0)
        self.dense += _pairs(layer, torch.ones_like(view.delta), torch.ones_like(x))
        if isinstance(layer, Temporal) and layer.recurrent:
            before = torch.cat([view.before[OUT], view.y])[: len(view.y)]
            self.events += float(((view.delta != 0).sum(1) * (before != 0).sum(1)).sum())
            self.dense += len(before) * layer.map.channels**2


def _twin(learner: Learner) -> Learner:
    """A learner of the same kind for a copy of the network: what it does leaves no trace."""
    network = copy.deepcopy(learner.network)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    return Learner(network, copy.deepcopy(learner.rule), optimizer=optimizer, loss=learner.loss)


def _pairs(layer: Affine, delta: Tensor, x: Tensor) -> float:
    found = layer.direction(delta.double(), x.double())
    assert not isinstance(found, Sum)
    return float((found.dense() if isinstance(found, Outer) else found).sum())


def operations(
    learner: Learner, xs: Tensor | Events, targets: Tensor, *, chunk: int, teach: tuple[int, int] | None
) -> Operations:
    """Operations of learning from one batch, told and counted, per sample.

    Args:
        learner: left as it is.
        xs: (T, B, *input_shape) or events.
        targets: as :meth:`~neurofa.training.learner.Learner.stream` takes them.
        chunk: K.
        teach: ticks at which the loss counts.
    """
    ticks, batch = xs.shape[:2]
    told = cost(learner, batch_size=1, held=False).by_phase()
    flop = {phase: told[phase] * ticks for phase in PHASES}
    if learner.rule.declares.sequences.through_time:
        return Operations(flop=flop | {"traces": 0.0}, update_events=None, update_dense=None)
    numbers = trace_bytes(learner, ticks, chunk).bytes / next(learner.network.parameters()).element_size()
    flop["traces"] = 2 * numbers * ticks
    twin, pairs = _twin(learner), _PairCount()
    twin.watch = pairs.watch
    twin.stream(xs, targets, chunk=chunk, teach=teach)
    return Operations(flop=flop, update_events=pairs.events / batch, update_dense=pairs.dense / batch)


@dataclass(frozen=True, kw_only=True)
class Writes:
    """What the ledgers of a network's devices hold."""

    mean: float
    """Cycles of a weight, over all weights with a ledger."""
    largest: float
    per_update: float | None


def writes(network: Network, updates: int | None = None) -> Writes | None:
    """Writes per weight since the weights were programmed; None: no device keeps a ledger.

    Args:
        network: trained.
        updates: that were made; None: not known.
    """
    counts = ledger(network)
    if not counts:
        return None
    sizes = {name: _size(network, name) for name in counts}
    mean = sum(counts[name].mean * size for name, size in sizes.items()) / sum(sizes.values())
    largest = max(count.largest for count in counts.values())
    return Writes(mean=mean, largest=largest, per_update=mean / updates if updates else None)


def _size(network: Network, name: str) -> int:
    """Weights behind the entry ``layer.weight`` or ``layer.weight.array`` of a ledger."""
    layer, key = name.split(".")[:2]
    return network.layer(layer).synapses[key].weight.numel()


@dataclass(frozen=True, kw_only=True)
class Energy:
    """A count times a published figure, bound by bound, J."""

    what: str
    low: float | None
    high: float | None
    source: str
    sure: str


def energies(
    network: Network, workload: Workload, written: Writes | None, chip: Profile | None
) -> tuple[list[Energy], list[str]]:
    """Energy of one sample's forward products and of all writes, where somebody published a figure.

    Args:
        network: trained.
        workload: of one sample.
        written: of the devices' ledgers.
        chip: for the energy of a synaptic operation.

    Returns:
        What has a figure, and what has none.
    """
    found, missing = [], []
    effective = workload.effective_acs + workload.effective_macs
    devices = [layer.synapses["weight"].device for _, layer in network.items() if isinstance(layer, Affine)]
    name, known = technology(devices[0]) if devices else ("", None)
    if chip is not None and chip.operation_energy is not None:
        found.append(_times(f"synaptic operations of a sample on {chip.name}", effective, chip.operation_energy))
    elif known is not None and known.read_energy is not None:
        found.append(_times(f"reads of {name} cells, a sample", effective, known.read_energy))
    else:
        missing.append("synaptic operations: no figure for this device or chip")
    if written is not None and known is not None and known.write_energy is not None:
        count = written.mean * sum(_weights(network, device) for device in set(devices))
        found.append(_times(f"writes of {name} cells in the whole training", count, known.write_energy))
    else:
        missing.append("writes: no figure for this device or chip")
    return found, missing


def _weights(network: Network, device: Device) -> int:
    own = [layer.synapses[key] for _, layer in network.items() for key in layer.synapses]
    return sum(synapses.weight.numel() for synapses in own if synapses.device == device)


def _times(what: str, count: float, figure: Figure) -> Energy:
    low, high = (None if bound is None else bound * count for bound in (figure.low, figure.high))
    return Energy(what=what, low=low, high=high, source=figure.source, sure=figure.verified)
