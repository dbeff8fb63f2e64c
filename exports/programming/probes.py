"""Probe vectors: what to send into a chip, what should come out, and how far it may stray."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from exports.graph.arrays import Matrix
from exports.programming.conductances import MICRO, Mapped
from exports.programming.spike_probes import TICKS, drawn, responses
from neurofa.core.randomness import generator
from neurofa.core.rule import Direct
from neurofa.spiking.sequence import has_memory
from neurofa.training.learner import Learner

SIGMAS = 4.0
"""Half-width of a pass band in units of the spread: one good probe in 16000 lies outside of it."""
ROUNDING = 1e-5
"""Share of the largest expected value that is always allowed: another order of summation."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One output of a probe, each tensor (K, *shape)."""

    expected: Tensor
    spread: Tensor
    """One standard deviation of a working chip."""
    band: Tensor
    """|measured - expected| <= band passes."""

    @classmethod
    def of(cls, expected: Tensor, spread: Tensor) -> Answer:
        """With the band that belongs to a spread."""
        size = float(expected.abs().amax()) if expected.numel() else 0.0
        return cls(expected=expected, spread=spread, band=spread * SIGMAS + ROUNDING * size)


@dataclass(frozen=True, kw_only=True)
class ProbeVectors:
    """Vectors into one thing.

    Args:
        of: ``network``, ``feedback``, or the path of a matrix.
        inputs: (K, *in_shape).
        answers: by the name of the output.
        note: one line on how the spread was found.
    """

    of: str
    inputs: Tensor
    answers: dict[str, Answer] = field(default_factory=dict)
    note: str = ""


def of_matrix(path: str, matrix: Matrix, mapped: Mapped | None, *, count: int, seed: int) -> ProbeVectors:
    """Products y = W x of one matrix with vectors in [-1, 1]; the first is all ones, which any driver can send.

    With conductances, each off by its tolerance at most and evenly spread over it, a weight of n elements has the
    standard deviation sqrt(n/3) tolerance / scale, and y that times |x|.

    Args:
        path: of the matrix.
        matrix: the weights.
        mapped: its conductances; None: no spread.
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
        elements = len(mapped.map.split(flat[:1, :1].t(), flat.new_tensor(mapped.scale)))
        sigma = math.sqrt(elements / 3) * mapped.tolerance / (mapped.scale * MICRO)
        spread = (x.norm(dim=1, keepdim=True) * sigma).expand_as(y).contiguous()
        note = "spread: every conductance off by its tolerance at most, evenly"
    return ProbeVectors(of=path, inputs=x, answers={"output": Answer.of(y, spread)}, note=note)


@torch.no_grad()
def of_learner(
    learner: Learner, *, count: int, repeats: int, seed: int, inputs: Tensor | None = None
) -> list[ProbeVectors]:
    """What network and feedback pathway make of probes, with the noise that they model.

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
    network, gen = learner.network, generator(seed, "probe noise")
    some = next(network.parameters())
    if has_memory(network):
        xs = drawn(network.input_shape, TICKS, count, seed) if inputs is None else inputs[:, :count]
        x = xs.to(some)
        runs = [responses(network, x, gen) for _ in range(repeats)]
    else:
        normal = torch.randn(count, *network.input_shape, generator=generator(seed, "probe inputs")).to(some)
        x = normal if inputs is None else inputs[:count].to(some)
        training = network.training
        network.eval()
        try:
            runs = [{"output": network(x, gen)} for _ in range(repeats)]
        finally:
            network.train(training)
    passes = {name: [run[name] for run in runs] for name in runs[0]}
    answers = {name: _spread(seen) for name, seen in passes.items()}
    found = [ProbeVectors(of="network", inputs=x, answers=answers, note=_note(passes["output"]))]
    rule = learner.rule
    if isinstance(rule, Direct) and rule.feedback.slices:
        # errors as those of a softmax: they sum to zero
        y = torch.randn(count, network.outputs, generator=generator(seed, "probe errors")).to(some)
        error = torch.softmax(y, 1) - one_hot(torch.arange(count) % network.outputs, network.outputs).to(some)
        asked = [rule.feedback.send(rule.encoder.quantize(error, gen), gen) for _ in range(repeats)]
        seen = {name: [ask(name) for ask in asked] for name in rule.feedback.slices}
        signals = {name: _spread(sent) for name, sent in seen.items()}
        found.append(ProbeVectors(of="feedback", inputs=error, answers=signals, note=_note(next(iter(seen.values())))))
    return found


def _spread(passes: list[Tensor]) -> Answer:
    if all(torch.equal(passes[0], y) for y in passes):
        return Answer.of(passes[0].contiguous(), torch.zeros_like(passes[0]).contiguous())
    stacked = torch.stack(passes)
    return Answer.of(stacked.mean(0), stacked.std(0))


def _note(passes: list[Tensor]) -> str:
    if all(torch.equal(passes[0], y) for y in passes):
        return "no spread: every pass gave the same numbers"
    return f"mean and spread of {len(passes)} passes with the noise that the run models"
