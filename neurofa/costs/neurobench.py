"""What running a network takes, counted as the NeuroBench harness counts: operations, sparsities, updates, bytes.

Definitions follow NeuroBench 2.3 (Yik et al. 2025, Nature Communications 16, 1545, and its metrics' source):

*Synaptic operations* of one sample. Dense: every weight at every position in every tick. Effective: those whose input
and weight are both not zero. An effective operation is an accumulation (AC) where the layer's inputs of that tick, over
the whole batch, are only -1, 0 or 1; else it is a multiplication too (MAC). Biases are not counted.

*Activation sparsity*: share of zeros in the outputs of firing neurons and of activation functions, over all samples and
ticks. A readout that does not fire is no activation.

*Membrane updates* of one sample: potentials that a tick leaves different, every one of them in the first tick.

*Connection sparsity*: share of zeros in all affine weights. *Footprint*: bytes of weights, biases and running
statistics; cells of a simulated device are not part of a network, so that :func:`stored_bytes` says beside it what its
words take.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.device import Device
from hwmodels.device_models.nested import device_chain
from hwmodels.devices.digital import Digital
from hwmodels.devices.fixed import Fixed
from hwmodels.errors import NeurofaError
from neurofa.core.dynamics import OUT
from neurofa.core.event_rows import dense_rows
from neurofa.core.events import Events
from neurofa.core.layer import Layer, ParameterFreeLayer
from neurofa.core.network import Network
from neurofa.core.synapses import Synapses
from neurofa.core.view import LocalView, State
from neurofa.maps.affine import Affine
from neurofa.spiking.sequence import check_sequence, chunks, initial_states
from neurofa.spiking.temporal import Temporal
from neurofa.training.learner import forward_pass

MEMBRANE = "mem"
"""Name of the potential in the state of a neuron."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Means over the samples that were run; numbers of one sample over all its ticks."""

    samples: int
    effective_macs: float
    effective_acs: float
    dense: float
    activation_sparsity: float | None
    """None: nothing in the network is an activation."""
    sparsity_by_layer: dict[str, float]
    membrane_updates: float


class Meter:
    """Runs a network tick by tick and counts.

    Args:
        network: of affine layers, with or without neurons, and of layers without weights; in evaluation mode while it
            is run.
        gen: source of read noise.

    Raises:
        NeurofaError: a layer whose products cannot be told apart (a block).
    """

    def __init__(self, network: Network, *, gen: torch.Generator | None = None) -> None:
        for name, layer in network.items():
            if not isinstance(layer, Affine | ParameterFreeLayer):
                raise NeurofaError(
                    f"got layer '{name}' of kind {layer.name}; expected affine layers, whose operations can be counted;"
                    " use neurofa cost for blocks"
                )
        self.network, self.gen = network, gen
        self.samples = 0
        self.dense = 0.0
        self.updates = 0
        self._zeros: dict[str, int] = {}
        self._outputs: dict[str, int] = {}
        # counts of inputs that are not zero, by layer, weight and whether they were only -1, 0, 1
        self._inputs: dict[tuple[str, str, bool], Tensor] = {}
        self._weights: dict[str, dict[str, Tensor]] = {}

    @torch.no_grad()
    def run(self, xs: Tensor | Events) -> Tensor:
        """Run one batch of sequences, and count.

        Args:
            xs: (T, B, *input_shape) or events; a batch of still samples is one tick.

        Returns:
            (T, B, o) outputs.
        """
        network = self.network
        check_sequence(network, xs)
        training = network.training
        network.eval()
        try:
            batch = xs.shape[1]
            states = initial_states(network, batch)
            found = []
            for first, _, x in chunks(network, xs, 1):
                tick = forward_pass(network, x, gen=self.gen, states=states, ticks=1)
                after = tick.states
                for name, layer in network.items():
                    if isinstance(layer, Affine):
                        self._count(name, layer, tick.views[name], states.get(name, {}))
                    if name in after:
                        self._membranes(states[name], after[name], first=first == 0)
                states = after
                found.append(tick.y)
        finally:
            network.train(training)
        self.samples += batch
        return torch.stack(found)

    def _count(self, name: str, layer: Affine, view: LocalView, before: State) -> None:
        x = dense_rows(view.x)
        inputs = {"weight": x}
        if isinstance(layer, Temporal) and layer.recurrent:
            inputs["recurrent"] = before[OUT]
        self._weights[name] = {key: view.params[key] for key in inputs}
        for key, value in inputs.items():
            active = value != 0
            spikes = bool((~active | (value.abs() == 1)).all())
            counts = active.sum(0, dtype=torch.float64)
            at = (name, key, spikes)
            self._inputs[at] = self._inputs[at] + counts if at in self._inputs else counts
            self.dense += _operations(layer, key, torch.ones_like(counts), torch.ones_like(view.params[key])) * len(x)
        if _activates(layer):
            self._zeros[name] = self._zeros.get(name, 0) + int((view.y == 0).sum())
            self._outputs[name] = self._outputs.get(name, 0) + view.y.numel()

    def _membranes(self, before: State, after: State, *, first: bool) -> None:
        if MEMBRANE in after:
            potential = after[MEMBRANE]
            self.updates += potential.numel() if first else int((potential != before[MEMBRANE]).sum())

    def workload(self) -> Workload:
        """The means so far.

        Raises:
            NeurofaError: nothing was run.
        """
        if not self.samples:
            raise NeurofaError("got no samples to count; expected at least one batch; run one first")
        found = {True: 0.0, False: 0.0}
        for (name, key, spikes), counts in self._inputs.items():
            layer = self.network.layer(name)
            assert isinstance(layer, Affine)
            found[spikes] += _operations(layer, key, counts, self._weights[name][key] != 0)
        total = sum(self._outputs.values())
        return Workload(
            samples=self.samples,
            effective_macs=found[False] / self.samples,
            effective_acs=found[True] / self.samples,
            dense=self.dense / self.samples,
            activation_sparsity=sum(self._zeros.values()) / total if total else None,
            sparsity_by_layer={name: self._zeros[name] / count for name, count in self._outputs.items()},
            membrane_updates=self.updates / self.samples,
        )


def _operations(layer: Affine, key: str, counts: Tensor, weights: Tensor) -> float:
    """Pairs of an input and a weight, both not zero, where ``counts`` says how often each input was not zero."""
    ones = weights.to(torch.float64)
    if key == "recurrent":
        return float(ones.sum(0) @ counts)
    return float(layer.map.linear(counts.unsqueeze(0), ones, None).sum())


def _activates(layer: Affine) -> bool:
    return layer.neuron.spiking if isinstance(layer, Temporal) else layer.activation.name != "identity"


def connection_sparsity(network: Network) -> float:
    """Share of zeros in all affine weights, from 0 to 1."""
    zeros = total = 0
    for _, synapses in _synapses(network):
        if synapses.weight.dim() > 1:
            zeros += int((synapses.weight == 0).sum())
            total += synapses.weight.numel()
    return zeros / total if total else 0.0


def footprint_bytes(network: Network) -> int:
    """Bytes of parameters and buffers in their dtypes, without the cells of simulated devices."""
    held = sum(s.weight.numel() * s.weight.element_size() for _, s in _synapses(network))
    cells = {id(buffer) for _, synapses in _synapses(network) for buffer in synapses.buffers()}
    return held + sum(b.numel() * b.element_size() for b in network.buffers() if id(b) not in cells)


@dataclass(frozen=True, kw_only=True)
class Storage:
    """What stores the weights."""

    bytes: float
    """Of words in their real widths, biases included."""
    elements: int
    """Weights that stand on memory devices, which have no words."""


def stored_bytes(network: Network) -> Storage:
    """What the weights take in the words of their devices."""
    bits, elements = 0.0, 0
    for _, synapses in _synapses(network):
        width = _word(synapses.device, synapses.weight)
        if width is None:
            elements += synapses.weight.numel()
        else:
            bits += width * synapses.weight.numel()
    return Storage(bytes=bits / 8, elements=elements)


def _word(device: Device, like: Tensor) -> float | None:
    """Width of a device's word; None: it has none."""
    inner = device_chain(device)[-1]
    if isinstance(inner, Fixed):
        return inner.bits
    return torch.finfo(like.dtype).bits if isinstance(inner, Digital) else None


@dataclass(frozen=True, kw_only=True)
class Carried:
    """Numbers that go from tick to tick, in bytes."""

    bytes: int
    """In the dtype of the simulation."""
    stored: float
    """In the number formats of the network: a membrane's, a trace's; a spike is one bit."""


def state_bytes(network: Network) -> Carried:
    """What neurons carry from tick to tick for one sample."""
    held, bits = 0, 0.0
    for name, state in initial_states(network, 1).items():
        layer = network.layer(name)
        assert isinstance(layer, Temporal)
        for key, value in state.items():
            held += value.numel() * value.element_size()
            own = torch.finfo(value.dtype).bits
            width = {MEMBRANE: min(layer.neuron.membrane.bits, own), OUT: 1.0, "spk": 1.0}.get(key, own)
            bits += (width if layer.neuron.spiking or key == MEMBRANE else own) * value.numel()
    return Carried(bytes=held, stored=math.ceil(bits) / 8)


def _synapses(network: Network) -> Iterator[tuple[str, Synapses]]:
    for name, layer in network.items():
        if isinstance(layer, Layer):
            for key in layer.synapses:
                yield f"{name}.{key}", layer.synapses[key]
