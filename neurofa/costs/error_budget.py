"""Errors of a feedback projection: dynamic errors predicted and measured, drift, and static errors.

A static error (programming, stuck devices, crosstalk, a fixed phase) makes another B, which learning absorbs. A dynamic
error is redrawn at every use and turns the teaching signal away from its direction; for zero-mean independent noise

    cos(clean, noisy) = 1 / sqrt(1 + NSR^2),   NSR^2 = E|noise|^2 / E|signal|^2,

for every sample; sources add their NSR^2 as long as none of them loses most of the signal. The formula needs only the
constants of the hardware and the errors. It does not hold where a converter clips or its levels are too coarse; such a
source gives the reason in ``outside``. Drift lies between the two: B is constant within a use and changes from use to
use. The part of the change that all entries share is a gain, which turns nothing; the rest is another B than the one
that was learnt.

Source: angle of a vector with independent noise in many dimensions (see :mod:`hwmodels.numerics.noise_moments`).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.projection import Projection
from neurofa.linalg.spectra import row_cosines

REPEATS = 8
"""Passes that a measured cosine is averaged over."""

Pass = Callable[[torch.Generator], Tensor]


@dataclass(frozen=True)
class DynamicError:
    """Alignment of noisy with clean teaching signals that one source of noise leaves, predicted and measured."""

    source: str
    """Name of the source of noise."""
    formula: str
    """Formula of NSR^2 as text."""
    predicted: float
    """Mean over samples of 1/sqrt(1 + NSR^2)."""
    measured: float
    """Mean over samples and passes of the cosine of the noisy and the clean signal."""
    outside: str
    """Why the formula does not hold here; empty where it does."""


@dataclass(frozen=True)
class DriftError:
    """Change of the teaching signals s by drift of B, from just after programming, s(0), to a time t, s(t)."""

    seconds: float
    """t, s."""
    formula: str
    """Formula of NSR^2 as text; empty: there is no closed form."""
    gain: float
    """<s(t), s(0)> / |s(0)|^2, measured: the change that all entries share, which turns nothing."""
    predicted: float | None
    """Mean cosine of s(t) and s(0) over samples; None: there is no closed form."""
    measured: float
    """The same cosine, measured."""


@dataclass(frozen=True)
class StaticError:
    """How far the matrix R of a feedback projection is from the wanted W, through one error that stays as it is made.

    Such as coarse numbers, programming noise or stuck cells.
    """

    source: str
    """Name of the error."""
    cosine: float | None
    """<W, R> / (|W| |R|); None: no matrix can be chosen."""
    gain: float
    """|R| / |W|; where no matrix can be chosen, root mean square of R over the declared standard deviation."""
    lowest_row: float | None
    """Smallest cosine of a row of R with that of W; a row holds the signals for the error of one output."""
    rank: int
    """Rank of R, at most n_in."""
    spread: float
    """Stable rank of R, |R|_F^2 / |R|_2^2: number of directions that share its energy."""


def dynamic_errors(projection: Projection, error: Tensor, gen: torch.Generator) -> list[DynamicError] | None:
    """Return how well the teaching signals of a projection stay aligned under each source of its noise.

    Args:
        projection: opened; not changed.
        error: (B, o), output errors of the network; samples without an error (above 1e-18 in single precision) are left
            out, and for each source those of which nothing reaches it.
        gen: source of the noise that is measured.

    Returns:
        One for each source and one for all together; empty for a projection without noise; None where the noise of
        this projection is not modelled.
    """
    # smaller errors have variances that float32 does not hold
    error = error[error.abs().amax(1) > 10 * torch.finfo(error.dtype).tiny ** 0.5]
    sources = projection.dynamics(error)
    if sources is None:
        return None
    lines = []
    before = after = error.new_zeros(len(error), dtype=torch.float64)  # NSR^2 of encoders, and of what acts behind them
    for noise, run in sources:
        assert noise.signal is not None
        nsr2, reaches = noise.nsr2(error), (noise.signal != 0).any(1)
        before, after = (before + nsr2, after) if noise.encodes else (before, after + nsr2)
        measured = _measured(run, noise.signal, gen, reaches)
        predicted = _mean(noise.cosine(error)[reaches])
        lines.append(DynamicError(noise.name, noise.formula, predicted, measured, noise.outside))
    if len(lines) > 1:
        clean = next((n.signal for n, _ in sources if n.encodes and n.signal is not None), sources[0].noise.signal)
        assert clean is not None
        outside = next((line.outside for line in lines if line.outside), "")
        everything = _measured(lambda g: copy.deepcopy(projection)(error, g), clean, gen)
        # the encoders' noise and that behind them act one after the other, so that their cosines multiply
        total = _mean(((1 + before) * (1 + after)).rsqrt())
        lines.append(DynamicError("all together", "NSR² of the above, added", total, everything, outside))
    return lines


def drift_errors(
    projection: Projection, error: Tensor, gen: torch.Generator, seconds: Sequence[float]
) -> list[DriftError]:
    """Return how well the teaching signals stay aligned with those just after programming; empty without drift.

    Args:
        projection: just programmed; not changed.
        error: (B, o), output errors of the network.
        gen: source of the random part of the drift.
        seconds: times since it was programmed, s.
    """
    if projection.ageing is None:
        return []
    clean = projection.clean(error)
    there = (clean != 0).any(1)
    error, clean = error[there], clean[there]
    errors = []
    for time in seconds:
        gains: list[Tensor] = []

        def later(g: torch.Generator, time: float = time, gains: list[Tensor] = gains) -> Tensor:
            aged = copy.deepcopy(projection)
            assert aged.ageing is not None
            aged.ageing.relax(time, g)
            now = aged.clean(error)
            wide = clean.double()
            gains.append(((now.double() * wide).sum(1) / wide.square().sum(1)).mean())
            return now

        noise = projection.ageing.drifted(error, time)
        measured = _measured(later, clean, gen)
        predicted = None if noise is None else _mean(noise.cosine(error))
        gain = float(torch.stack(gains).mean())
        formula = "" if noise is None else noise.formula
        errors.append(DriftError(time, formula, gain, predicted, measured))
    return errors


def static_errors(projection: Projection, gen: torch.Generator) -> list[StaticError]:
    """Return the matrices that static errors make of a wanted, newly drawn matrix: each error alone, and all together.

    Args:
        projection: opened; not changed.
        gen: source of the matrix, of programming errors and faults.

    Returns:
        One for each error; for a projection whose matrix cannot be chosen, one for its present matrix, none where it
        has none.
    """
    trials = projection.static_trials(gen)
    if trials is None:
        b = projection.effective()
        return [] if b is None else [_static("none is wanted: B as it is", None, b, projection.std)]
    wanted, realised = trials
    return [_static(name, wanted, matrix, projection.std) for name, matrix in realised]


def _static(name: str, wanted: Tensor | None, realised: Tensor, std: float) -> StaticError:
    r = realised.double()
    values = torch.linalg.svdvals(r)
    energy = values.square().sum()
    spread = float(energy / values[0].square()) if values[0] > 0 else 0.0
    rank = int(torch.linalg.matrix_rank(r))
    if wanted is None:
        return StaticError(name, None, float(r.square().mean().sqrt() / std), None, rank, spread)
    w = wanted.double()
    cosine = row_cosines(w.reshape(1, -1), r.reshape(1, -1))
    rows = row_cosines(w, r)
    return StaticError(name, float(cosine), float(energy.sqrt() / w.norm()), float(rows.min()), rank, spread)


def _mean(cosines: Tensor) -> float:
    return float(cosines.mean()) if len(cosines) else 0.0


def _measured(run: Pass, clean: Tensor, gen: torch.Generator, which: Tensor | None = None) -> float:
    if which is not None and not bool(which.any()):
        return 0.0
    means = []
    for _ in range(REPEATS):
        cosines = row_cosines(run(gen), clean)
        means.append(_mean(cosines if which is None else cosines[which]))
    return math.fsum(means) / REPEATS
