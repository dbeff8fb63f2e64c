"""Probe vectors: inputs of a chip, the expected outputs, and how far a working chip may be off."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from exports.graph.arrays import Matrix
from exports.programming.conductances import MICRO, MappedMatrix
from exports.programming.spike_probes import TICKS, random_spikes, spike_responses
from neurofa.core.capabilities import describe_path
from neurofa.core.network import Network, evaluating
from neurofa.core.randomness import generator
from neurofa.core.rule import Rule
from neurofa.spiking.sequence import has_memory
from neurofa.training.learner import Learner

SIGMAS = 4.0
"""Half-width of a pass band in units of the spread: one good value in 16000 lies outside of it."""
ROUNDING = 1e-5
"""Share of the largest expected value that is always allowed: another order of summation."""


@dataclass(frozen=True, kw_only=True)
class ProbeOutput:
    """One output that K probe vectors should give, and how far it may be off; each tensor is (K, *shape)."""

    expected: Tensor
    """Output of a working chip, without noise or as the mean of noisy passes."""
    spread: Tensor
    """One standard deviation of a working chip."""
    band: Tensor
    """|measured - expected| <= band passes."""

    @classmethod
    def with_band(cls, expected: Tensor, spread: Tensor) -> ProbeOutput:
        """Return the output with a pass band of 4 times the spread, and a little for rounding.

        Args:
            expected: (K, *shape).
            spread: standard deviation, same shape.
        """
        size = float(expected.abs().amax()) if expected.numel() else 0.0
        return cls(expected=expected, spread=spread, band=spread * SIGMAS + ROUNDING * size)

    @classmethod
    def from_passes(cls, passes: list[Tensor]) -> ProbeOutput:
        """Return the output whose expectation and spread are the mean and standard deviation of several passes.

        Args:
            passes: outputs of each pass, (K, *shape); where all are equal there is no spread.
        """
        if _equal(passes):
            return cls.with_band(passes[0].contiguous(), torch.zeros_like(passes[0]).contiguous())
        stacked = torch.stack(passes)
        return cls.with_band(stacked.mean(0), stacked.std(0))


@dataclass(frozen=True, kw_only=True)
class ProbeVectors:
    """Vectors that are sent into a chip to check it, with the outputs that it should give.

    Args:
        of: what they are sent into: ``network``, ``feedback``, or the path of a matrix.
        inputs: the K vectors, (K, *in_shape).
        outputs: expected outputs by name.
        note: one line on how the spread was found.
    """

    of: str
    inputs: Tensor
    outputs: dict[str, ProbeOutput] = field(default_factory=dict)
    note: str = ""

    @classmethod
    def from_passes(cls, of: str, inputs: Tensor, passes: list[dict[str, Tensor]]) -> ProbeVectors:
        """Return probe vectors whose expected outputs and spreads are those of several passes over the same inputs.

        Args:
            of: ``network``, ``feedback``, or the path of a matrix.
            inputs: (K, *in_shape).
            passes: outputs of each pass by name, (K, *out_shape).
        """
        by_output = {name: [outputs[name] for outputs in passes] for name in passes[0]}
        first = next(iter(by_output.values()))
        note = f"mean and spread of {len(first)} passes with the noise that the run models"
        if _equal(first):
            note = "no spread: every pass gave the same numbers"
        outputs = {name: ProbeOutput.from_passes(values) for name, values in by_output.items()}
        return cls(of=of, inputs=inputs, outputs=outputs, note=note)


def _equal(passes: list[Tensor]) -> bool:
    return all(torch.equal(passes[0], y) for y in passes)


def probe_matrix(path: str, matrix: Matrix, mapped: MappedMatrix | None, *, count: int, seed: int) -> ProbeVectors:
    """Compute products y = W x of one matrix with vectors in [-1, 1]; the first is all ones, which any driver can send.

    With conductances, each uniformly off by its tolerance at most, a weight of n elements has the standard deviation
    sqrt(n/3) tolerance / scale, and y has that times |x|.

    Args:
        path: of the matrix.
        matrix: the weights, (n_out, ...).
        mapped: the conductances of the matrix; None: no spread.
        count: K.
        seed: of the vectors.
    """
    flat = matrix.flat
    x = torch.rand(count, flat.shape[1], generator=generator(seed, "probe", path)).mul_(2).sub_(1).to(flat.dtype)
    x[0] = 1.0
    y = x @ flat.t()
    spread = torch.zeros_like(y)
    note = "no spread: digital weights"
    if mapped is not None:
        # an error uniform in +-t has the variance t^2 / 3
        elements = len(mapped.map.split(flat[:1, :1].t(), flat.new_tensor(mapped.scale)))
        sigma = math.sqrt(elements / 3) * mapped.tolerance / (mapped.scale * MICRO)
        spread = (x.norm(dim=1, keepdim=True) * sigma).expand_as(y).contiguous()
        note = "spread: every conductance off by its tolerance at most, evenly"
    return ProbeVectors(of=path, inputs=x, outputs={"output": ProbeOutput.with_band(y, spread)}, note=note)


@torch.no_grad()
def probe_learner(
    learner: Learner, *, count: int, repeats: int, seed: int, inputs: Tensor | None = None
) -> list[ProbeVectors]:
    """Compute outputs of the network and signals of its feedback pathway, with the noise that both model.

    Args:
        learner: evaluated as it is; its generators are left alone.
        count: K.
        repeats: passes over which mean and spread are taken where there is noise.
        seed: of vectors and noise.
        inputs: (K, *input_shape) of real data, or (T, K, *input_shape) for a network with a memory; None: normal
            numbers, or random spikes.

    Returns:
        A probe of the network, with the spikes of its layers where it has some; for direct rules one of the feedback
        too.
    """
    network, rule, gen = learner.network, learner.rule, generator(seed, "probe noise")
    like = next(network.parameters())
    x = _network_inputs(network, count, seed, inputs).to(like)
    if has_memory(network):
        passes = [spike_responses(network, x, gen) for _ in range(repeats)]
    else:
        with evaluating(network):
            passes = [{"output": network(x, gen)} for _ in range(repeats)]
    probes = [ProbeVectors.from_passes("network", x, passes)]
    # errors as those of a softmax: they sum to zero
    y = torch.randn(count, network.outputs, generator=generator(seed, "probe errors")).to(like)
    error = torch.softmax(y, 1) - one_hot(torch.arange(count) % network.outputs, network.outputs).to(like)
    signals = [teaching_signals(rule, error, gen) for _ in range(repeats)]
    if signals[0]:
        probes.append(ProbeVectors.from_passes("feedback", error, signals))
    return probes


def teaching_signals(rule: Rule, error: Tensor, gen: torch.Generator) -> dict[str, Tensor]:
    """Send one batch of output errors through the pathway of a direct rule.

    Args:
        rule: bound to a network; any other than a direct one has no such signals.
        error: (B, o).
        gen: source of the noise of encoder and pathway.

    Returns:
        The teaching signal of every hidden layer, (B, *out_shape), by its name.
    """
    if describe_path(rule.declares).kind != "direct" or not rule.feedback.width:
        return {}
    signal = rule.feedback.send(rule.encoder.quantize(error, gen), gen)
    return {name: signal(name) for name in rule.feedback.slices}


def _network_inputs(network: Network, count: int, seed: int, inputs: Tensor | None) -> Tensor:
    if has_memory(network):
        return random_spikes(network.input_shape, TICKS, count, seed) if inputs is None else inputs[:, :count]
    if inputs is not None:
        return inputs[:count]
    return network.example(count, generator(seed, "probe inputs"))
