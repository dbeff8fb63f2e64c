"""What the errors of a feedback projection cost: dynamic ones predicted and measured, drift, and static ones apart.

A static error (programming, stuck devices, crosstalk, a fixed phase) makes another B and is absorbed. A dynamic one is
redrawn at every use and turns the teaching signal away from where it should point; for zero-mean independent noise

    cos(clean, noisy) = 1 / sqrt(1 + NSR^2),   NSR^2 = E|noise|^2 / E|signal|^2,

for every sample; sources add their NSR^2 as long as none of them loses most of the signal. The formula needs the
constants of the hardware and the errors alone. It stops holding where a converter clips or its levels are too coarse:
such a line says so in ``outside``. Drift lies between the two: within a use B stands still, from use to use it moves.
What all entries share of it is a gain, which turns nothing; only the rest is another B than the one that was learnt.

Source: angle of a vector with independent noise in many dimensions (see :mod:`hwmodels.numerics.noise_moments`).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.projection import Programmable, Projection
from hwmodels.projections.crossbar import Crossbar
from neurofa.core.feedback import Feedback
from neurofa.feedbacks.projection import Projected

REPEATS = 8
"""Passes that a measured cosine is averaged over."""

Pass = Callable[[torch.Generator], Tensor]


@dataclass(frozen=True)
class Line:
    """One source of dynamic noise."""

    source: str
    formula: str
    """Of NSR^2."""
    predicted: float
    """Mean over samples of 1/sqrt(1 + NSR^2)."""
    measured: float
    """Mean over samples and passes of the cosine of the noisy and the clean signal."""
    outside: str
    """Why the formula does not hold here; empty where it does."""


@dataclass(frozen=True)
class Drift:
    """What some time makes of B."""

    seconds: float
    formula: str
    """Of NSR^2; empty where there is none."""
    gain: float
    """<s(t), s(0)> / |s(0)|^2, measured: a change that all entries share, and that turns nothing."""
    predicted: float | None
    """Mean cosine of s(t) and s(0); None where there is no closed form."""
    measured: float


@dataclass(frozen=True)
class Static:
    """What one static error makes of a wanted matrix W: another matrix R."""

    source: str
    cosine: float | None
    """<W, R> / (|W| |R|); None where no matrix is wanted."""
    gain: float
    """|R| / |W|; over the declared standard deviation where none is wanted."""
    lowest_row: float | None
    """Least cosine of a row, the signals that one output's error sends."""
    rank: int
    """Of R; of at most n_in rows."""
    spread: float
    """Stable rank |R|_F^2 / |R|_2^2: directions that share the energy."""


def hardware(feedback: Feedback) -> Projection | None:
    """The projection of a pathway: its own, or the array that holds its matrix on a memory device; None: floats."""
    if isinstance(feedback, Projected):
        return feedback.projection
    stored = feedback.matrix()
    if stored is None or stored.exact:
        return None
    array = Crossbar(device=stored.device, periphery="exact")
    array.adopt(stored.cells)
    return array


def dynamics(projection: Projection, error: Tensor, gen: torch.Generator) -> list[Line] | None:
    """Alignment of the teaching signals that each source of noise leaves.

    Args:
        projection: opened; left as it is.
        error: (B, o), output errors of the network; samples without an error are left out, and for each source those of
            which nothing reaches it.
        gen: source of the noise that is measured.

    Returns:
        A line a source and one for all together; none for a projection without noise; None where the noise of this
        projection is not modelled.
    """
    error = error[error.square().sum(1) > 0]
    sources = projection.dynamics(error)
    if sources is None:
        return None
    lines = []
    before = after = error.new_zeros(len(error), dtype=torch.float64)  # NSR^2 of encoders, and of what acts behind them
    for noise, run in sources:
        assert noise.signal is not None
        nsr2, reaches = noise.nsr2(error), noise.signal.square().sum(1) > 0
        before, after = (before + nsr2, after) if noise.encodes else (before, after + nsr2)
        measured = _measured(run, noise.signal, gen, reaches)
        predicted = _mean(noise.cosine(error)[reaches])
        lines.append(Line(noise.name, noise.formula, predicted, measured, noise.outside))
    if len(lines) > 1:
        clean = next((n.signal for n, _ in sources if n.encodes and n.signal is not None), sources[0].noise.signal)
        assert clean is not None
        outside = next((line.outside for line in lines if line.outside), "")
        everything = _measured(lambda g: copy.deepcopy(projection)(error, g), clean, gen)
        total = _mean(((1 + before) * (1 + after)).rsqrt())
        lines.append(Line("all together", "NSR² of the above, added", total, everything, outside))
    return lines


def drifts(projection: Projection, error: Tensor, gen: torch.Generator, seconds: Sequence[float]) -> list[Drift]:
    """What is left of the teaching signals' direction after some times; none where time changes nothing.

    Args:
        projection: just programmed; left as it is.
        error: (B, o), output errors of the network.
        gen: source of what is random in time.
        seconds: times since it was programmed, s.
    """
    if projection.ageing is None:
        return []
    clean = projection.clean(error)
    there = clean.square().sum(1) > 0
    error, clean = error[there], clean[there]
    found = []
    for time in seconds:
        gains: list[Tensor] = []

        def later(g: torch.Generator, time: float = time, gains: list[Tensor] = gains) -> Tensor:
            aged = copy.deepcopy(projection)
            assert aged.ageing is not None
            aged.ageing.relax(time, g)
            now = aged.clean(error)
            gains.append(((now * clean).sum(1) / clean.square().sum(1)).double().mean())
            return now

        noise = projection.ageing.drifted(error, time)
        measured = _measured(later, clean, gen)
        predicted = None if noise is None else _mean(noise.cosine(error))
        gain = float(torch.stack(gains).mean())
        found.append(Drift(time, "" if noise is None else noise.formula, gain, predicted, measured))
    return found


def statics(projection: Projection, gen: torch.Generator) -> list[Static]:
    """What static errors make of a matrix that is drawn and programmed anew, each alone and all together.

    Args:
        projection: opened; left as it is.
        gen: source of the matrix, of programming errors and faults.

    Returns:
        Lines; for a projection whose matrix cannot be chosen, one for the matrix as it is, none where there is none.
    """
    if not isinstance(projection, Programmable):
        b = projection.effective()
        return [] if b is None else [_static("none is wanted: B as it is", None, b, projection.std)]
    twins = projection.statics()
    if len(twins) != 1:
        twins = {**twins, "all together" if twins else "none": projection.twin()}
    wanted = projection.wanted(gen)
    found = []
    for name, twin in twins.items():
        twin.open(projection.n_in, projection.n_out, gen)
        twin.program(wanted, gen)
        realised = twin.effective()
        assert realised is not None
        found.append(_static(name, wanted, realised, projection.std))
    return found


def _static(name: str, wanted: Tensor | None, realised: Tensor, std: float) -> Static:
    r = realised.double()
    values = torch.linalg.svdvals(r)
    energy = values.square().sum()
    spread = float(energy / values[0].square()) if values[0] > 0 else 0.0
    rank = int(torch.linalg.matrix_rank(r))
    if wanted is None:
        return Static(name, None, float(r.square().mean().sqrt() / std), None, rank, spread)
    w = wanted.double()
    cosine = torch.cosine_similarity(w.flatten(), r.flatten(), dim=0)
    rows = torch.cosine_similarity(w, r, dim=1)
    return Static(name, float(cosine), float(energy.sqrt() / w.norm()), float(rows.min()), rank, spread)


def _mean(cosines: Tensor) -> float:
    return float(cosines.mean()) if len(cosines) else 0.0


def _measured(run: Pass, clean: Tensor, gen: torch.Generator, which: Tensor | None = None) -> float:
    if which is not None and not bool(which.any()):
        return 0.0
    found = []
    for _ in range(REPEATS):
        cosines = torch.cosine_similarity(run(gen), clean, dim=1).double()
        found.append((cosines if which is None else cosines[which]).mean())
    return math.fsum(map(float, found)) / REPEATS
