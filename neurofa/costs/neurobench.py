"""Workload of inference as the NeuroBench harness counts it: operations, sparsities, membrane updates, bytes.

Definitions follow NeuroBench 2.3 (Yik et al. 2025, Nature Communications 16, 1545, and its metrics' source):

*Synaptic operations* of one sample. Dense: every weight at every position in every tick. Effective: those whose input
and weight are both not zero. An effective operation is an accumulation (AC) where the layer's inputs of that tick, over
the whole batch, are only -1, 0 or 1; else it is a multiplication too (MAC). Biases are not counted.

*Activation sparsity*: share of zeros in the outputs of firing neurons and of activation functions, over all samples and
ticks. The output of a readout that does not fire is no activation.

*Membrane updates* of one sample: potentials that a tick leaves different, every one of them in the first tick.

*Connection sparsity*: share of zeros in all affine weights. *Footprint*: bytes of weights, biases and running
statistics; cells of a simulated device are not part of a network, and :func:`weight_storage` gives the bytes of its
words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from neurofa.core.event_rows import dense_rows
from neurofa.core.events import Events
from neurofa.core.layer import facts_of
from neurofa.core.network import Network, evaluating
from neurofa.core.products import MatrixInputs
from neurofa.core.synapses import Synapses
from neurofa.core.view import State
from neurofa.spiking.sequence import check_sequence, chunks, initial_states
from neurofa.training.learner import forward_pass


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Operations and sparsities of inference: means over the samples, each over all its ticks."""

    samples: int
    """Number of samples."""
    effective_macs: float
    """Multiplications with accumulation of a nonzero input and a nonzero weight, per sample."""
    effective_acs: float
    """Accumulations alone, for inputs of -1, 0 or 1, per sample."""
    dense: float
    """Synaptic operations if no input and no weight were zero, per sample."""
    activation_sparsity: float | None
    """Share of zeros in all activations; None: nothing in the network is an activation."""
    sparsity_by_layer: dict[str, float]
    """Share of zeros in the activations of every layer that has some."""
    membrane_updates: float
    """Potentials that a tick changes, per sample."""


class WorkloadMeter:
    """Runs a network tick by tick and counts the operations of inference, as NeuroBench does.

    Args:
        network: of layers that know the inputs of their matrices; in evaluation mode while it runs.
        gen: source of read noise.

    Raises:
        NeurofaError: a layer that does not know the inputs of its matrices (a block).
    """

    def __init__(self, network: Network, *, gen: torch.Generator | None = None) -> None:
        self.network, self.gen = network, gen
        self.samples = 0
        self.dense = 0.0
        self.updates = 0
        self._zeros: dict[str, int] = {}
        self._outputs: dict[str, int] = {}
        # counts of inputs that are not zero, by layer, weight and whether they were only -1, 0, 1
        self._inputs: dict[tuple[str, str, bool], Tensor] = {}
        self._weights: dict[tuple[str, str], tuple[Callable[[Tensor, Tensor], float], Tensor]] = {}
        self._facts = {name: facts_of(layer) for name, layer in network.items()}
        self._potentials = {name: about.potential for name, facts in self._facts.items() if (about := facts.memory())}
        for name, layer in network.items():
            if layer.synapses and not self._facts[name].knows_inputs:
                raise NeurofaError(
                    f"got layer '{name}' of kind {layer.name}; expected affine layers, whose operations can be counted;"
                    " use neurofa cost for blocks"
                )

    @torch.no_grad()
    def run(self, xs: Tensor | Events) -> Tensor:
        """Run one batch of sequences, and count its operations and zeros.

        Args:
            xs: (T, B, *input_shape) or events; a batch of static samples is one tick.

        Returns:
            (T, B, o) outputs.
        """
        network = self.network
        check_sequence(network, xs)
        with evaluating(network):
            batch = xs.shape[1]
            states = initial_states(network, batch)
            outputs = []
            for first, _, x in chunks(network, xs, 1):
                tick = forward_pass(network, x, gen=self.gen, states=states, ticks=1)
                for name, facts in self._facts.items():
                    view = tick.views[name]
                    for matrix in facts.matrix_inputs(view):
                        self._count(name, matrix, view.params[matrix.key])
                    if facts.activates:
                        self._zeros[name] = self._zeros.get(name, 0) + int((view.y == 0).sum())
                        self._outputs[name] = self._outputs.get(name, 0) + view.y.numel()
                    if name in tick.states:
                        self._membranes(self._potentials[name], states[name], tick.states[name], first=first == 0)
                states = tick.states
                outputs.append(tick.y)
        self.samples += batch
        return torch.stack(outputs)

    def _count(self, name: str, matrix: MatrixInputs, weights: Tensor) -> None:
        x = dense_rows(matrix.inputs)
        active = x != 0
        spikes = bool((~active | (x.abs() == 1)).all())
        counts = active.sum(0, dtype=torch.float64)
        at = (name, matrix.key, spikes)
        self._inputs[at] = self._inputs[at] + counts if at in self._inputs else counts
        self._weights[name, matrix.key] = matrix.products, weights
        self.dense += matrix.products(torch.ones_like(counts), torch.ones_like(weights, dtype=torch.float64)) * len(x)

    def _membranes(self, key: str, before: State, after: State, *, first: bool) -> None:
        if key in after:
            self.updates += after[key].numel() if first else int((after[key] != before[key]).sum())

    def workload(self) -> Workload:
        """Return the mean operations and sparsities over all samples that were run so far.

        Raises:
            NeurofaError: nothing was run.
        """
        if not self.samples:
            raise NeurofaError("got no samples to count; expected at least one batch; run one first")
        effective = {True: 0.0, False: 0.0}
        for (name, key, spikes), counts in self._inputs.items():
            products, weights = self._weights[name, key]
            effective[spikes] += products(counts, (weights != 0).to(torch.float64))
        total = sum(self._outputs.values())
        return Workload(
            samples=self.samples,
            effective_macs=effective[False] / self.samples,
            effective_acs=effective[True] / self.samples,
            dense=self.dense / self.samples,
            activation_sparsity=sum(self._zeros.values()) / total if total else None,
            sparsity_by_layer={name: self._zeros[name] / count for name, count in self._outputs.items()},
            membrane_updates=self.updates / self.samples,
        )


def connection_sparsity(network: Network) -> float:
    """Return the share of zeros in all affine weights, from 0 to 1."""
    zeros = total = 0
    for _, synapses in _synapses(network):
        if synapses.weight.dim() > 1:
            zeros += int((synapses.weight == 0).sum())
            total += synapses.weight.numel()
    return zeros / total if total else 0.0


def footprint_bytes(network: Network) -> int:
    """Return the bytes of parameters and buffers in their dtypes, without the cells of simulated devices."""
    held = sum(s.weight.numel() * s.weight.element_size() for _, s in _synapses(network))
    cells = {id(buffer) for _, synapses in _synapses(network) for buffer in synapses.buffers()}
    return held + sum(b.numel() * b.element_size() for b in network.buffers() if id(b) not in cells)


@dataclass(frozen=True, kw_only=True)
class WeightStorage:
    """Size of the memory that stores the weights."""

    bytes: float
    """Bytes of digital weights in the widths of their words, biases included."""
    elements: int
    """Weights on memory devices, which have no words."""


def weight_storage(network: Network) -> WeightStorage:
    """Return the bytes of digital weights, and the number of weights on memory devices."""
    bits, elements = 0.0, 0
    for _, synapses in _synapses(network):
        about, weights = synapses.device.describe(), synapses.weight
        if about.digital:
            bits += (about.word_bits or torch.finfo(weights.dtype).bits) * weights.numel()
        else:
            elements += weights.numel()
    return WeightStorage(bytes=bits / 8, elements=elements)


@dataclass(frozen=True, kw_only=True)
class StateStorage:
    """Bytes of the numbers that are carried from tick to tick."""

    bytes: int
    """Bytes in the dtype of the simulation."""
    stored: float
    """Bytes in the number formats of potentials and traces; a spike is one bit."""


def state_storage(network: Network) -> StateStorage:
    """Return the bytes that neurons carry from tick to tick for one sample."""
    held, bits = 0, 0.0
    for name, state in initial_states(network, 1).items():
        about = facts_of(network.layer(name)).memory()
        widths = {} if about is None else about.widths
        for key, value in state.items():
            held += value.numel() * value.element_size()
            own = torch.finfo(value.dtype).bits
            bits += min(widths.get(key, own), own) * value.numel()
    return StateStorage(bytes=held, stored=math.ceil(bits) / 8)


def _synapses(network: Network) -> Iterator[tuple[str, Synapses]]:
    for name, layer in network.items():
        for key in layer.synapses:
            yield f"{name}.{key}", layer.synapses[key]
