"""Times at which a layer aligns and at which its alignment falls again, and the order in which layers align.

Source: Refinetti et al. 2021, arXiv 2011.12428: networks first align, then memorise. The times are defined here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hwmodels.errors import NeurofaError

FLOOR = 0.05
"""Peak below which a course of alignment has no times."""
SHARE = 0.5
"""A layer has aligned when it reaches this share of its largest alignment."""
FALL = 0.1
"""Alignment has fallen when it ends by this share below its largest value."""


@dataclass(frozen=True, kw_only=True)
class Phases:
    """Phases of the alignment of one layer."""

    start: float
    """First alignment."""
    peak: float
    """Largest alignment."""
    peak_time: float
    """Time of the largest alignment, in the unit given."""
    end: float
    """Last alignment."""
    align: float | None
    """Time at which ``SHARE`` of the peak is reached, in the unit given; None: the peak is below ``FLOOR``."""
    memorise: float | None
    """Time of the peak, from where alignment falls while the net goes on fitting; None: it does not fall."""


def phases(times: Sequence[float], values: Sequence[float | None]) -> Phases | None:
    """Return when one layer aligns and when its alignment begins to fall, from a course of alignments in time.

    Args:
        times: of the measurements, rising, in steps or epochs.
        values: alignments, cosines; None where the cosine is not defined (vanished vectors).

    Returns:
        Times, interpolated between measurements; None without two defined values.

    Raises:
        NeurofaError: times that do not rise, or another number of values.
    """
    if len(times) != len(values) or any(b <= a for a, b in itertools.pairwise(times)):
        raise NeurofaError(
            f"got {len(times)} times with {len(values)} values; expected one value a time, times rising; sort them"
        )
    known = [(t, v) for t, v in zip(times, values, strict=True) if v is not None]
    if len(known) < 2:
        return None
    peak_time, peak = max(known, key=lambda point: point[1])
    end = known[-1][1]
    aligned = peak >= FLOOR
    align = _first_time_at(known, SHARE * peak) if aligned else None
    memorise = peak_time if aligned and end < (1 - FALL) * peak else None
    return Phases(start=known[0][1], peak=peak, peak_time=peak_time, end=end, align=align, memorise=memorise)


def _first_time_at(known: Sequence[tuple[float, float]], level: float) -> float:
    """Return the first time at or above a level below the peak, on straight lines between the measurements."""
    before: tuple[float, float] | None = None
    for t, v in known:
        if v >= level:
            if before is None:
                return t
            t0, v0 = before
            return t0 + (t - t0) * (level - v0) / (v - v0)
        before = t, v
    raise AssertionError("the level lies above the peak")


def alignment_order(align_times: Mapping[str, float | None]) -> tuple[list[str], float | None]:
    """Return the order in which layers align, and its rank correlation with their depth.

    Args:
        align_times: time of alignment by layer, from input to readout; None: never.

    Returns:
        Names of the layers that align, the first one first; Kendall's tau-b of depth and time: 1 from the bottom to the
        top, -1 from the top to the bottom; None for fewer than two layers, or when all align at once.
    """
    from scipy.stats import kendalltau

    known = [(name, t) for name, t in align_times.items() if t is not None]
    ranked = [name for name, _ in sorted(known, key=lambda pair: pair[1])]
    if len({t for _, t in known}) < 2:
        return ranked, None
    tau = float(kendalltau(range(len(known)), [t for _, t in known]).statistic)
    return ranked, tau if math.isfinite(tau) else None
