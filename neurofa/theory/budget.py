"""What the dynamic noise of a feedback projection costs: predicted in closed form, and measured beside it.

A static error (programming, stuck devices, crosstalk, a fixed phase) makes another B and is absorbed. A dynamic one is
redrawn at every use and turns the teaching signal away from where it should point; for zero-mean independent noise

    cos(clean, noisy) = 1 / sqrt(1 + NSR^2),   NSR^2 = E|noise|^2 / E|signal|^2,

for every sample; sources add their NSR^2 as long as none of them loses most of the signal. The formula needs the
constants of the hardware and the errors alone. It stops holding where a converter clips or its levels are too coarse:
such a line says so in ``outside``.

Source: angle of a vector with independent noise in many dimensions (see :mod:`hwmodels.noise`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hwmodels.array_noise import noises, only
from hwmodels.converters import full_scale
from hwmodels.noise import Noise
from hwmodels.projection import Projection
from hwmodels.projections.crossbar import Crossbar
from hwmodels.projections.matrix_free import MatrixFree
from hwmodels.projections.microring import Microring

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


def budget(projection: Projection, error: Tensor, gen: torch.Generator) -> list[Line] | None:
    """Alignment of the teaching signals that each source of noise leaves.

    Args:
        projection: opened.
        error: (B, o), output errors of the network; samples without an error are left out.
        gen: source of the noise that is measured.

    Returns:
        A line a source and one for all together; none for a projection without noise; None where the noise of this
        projection is not modelled.
    """
    error = error[error.square().sum(1) > 0]
    found = _sources(projection, error)
    if found is None:
        return None
    clean, sources = found
    lines = []
    for noise, run in sources:
        nsr2 = replace(noise, signal=clean).nsr2(error)
        lines.append(Line(noise.name, noise.formula, _mean(nsr2), _measured(run, clean, gen), noise.outside))
    if len(lines) > 1:
        total = torch.stack([replace(noise, signal=clean).nsr2(error) for noise, _ in sources]).sum(0)
        outside = next((line.outside for line in lines if line.outside), "")
        everything = _measured(lambda g: projection(error, g), clean, gen)
        lines.append(Line("all together", "sum of the above", _mean(total), everything, outside))
    return lines


def _mean(nsr2: Tensor) -> float:
    return float((1 + nsr2).rsqrt().mean())


def _measured(run: Pass, clean: Tensor, gen: torch.Generator) -> float:
    passes = [torch.cosine_similarity(run(gen), clean, dim=1).double().mean() for _ in range(REPEATS)]
    return float(torch.stack(passes).mean())


def _sources(projection: Projection, error: Tensor) -> tuple[Tensor, list[tuple[Noise, Pass]]] | None:
    """The clean signals, and every source with a pass in which it acts alone."""
    matrix = projection.effective()
    if matrix is None:
        return None
    clean = error @ matrix
    if isinstance(projection, MatrixFree):
        return clean, []
    if isinstance(projection, Microring):
        scale = full_scale(error, projection.full_scale) * projection.scale
        noise = Noise(
            name="noise of an inner product", formula="m (sigma^2 + mu^2) max|e|^2 / |e b|^2",
            fresh=(projection.sigma * scale).square(), shift=projection.mu * scale,
        )  # fmt: skip
        return clean, [(noise, lambda gen: projection(error, gen))] if projection.sigma or projection.mu else []
    if isinstance(projection, Crossbar) and (projection.rows is None or projection.rows >= projection.n_in):
        return clean, _of_array(projection, error, matrix)
    return None


def _of_array(projection: Crossbar, error: Tensor, matrix: Tensor) -> list[tuple[Noise, Pass]]:
    io, unit = projection.periphery, projection.largest

    def through(name: str) -> Pass:
        alone = only(io, name)
        return lambda gen: alone.product(error, matrix, gen, unit=unit)

    made = [(noise, through(noise.name)) for noise in noises(io, error, matrix, unit)]
    if projection.device.noisy:
        variance = projection.device.read_variance(projection.cells).t() * projection.factor.square()
        read = Noise(name="read noise of the cells", formula="sum_ij e_j^2 var(w_ij) / |e W|^2", shared=variance)
        made.append((read, lambda gen: error @ (projection.device.read(projection.cells, gen).t() * projection.factor)))
    return made
