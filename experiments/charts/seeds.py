"""Curves over the seeds of a method: the mean with a band."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from experiments.charts.figure import Axis
from experiments.charts.marks import Curve, Mark
from experiments.tables import mean, standard_deviation

STEPS = Axis("training step", scale="symlog", limits=(0, None))
"""Logarithmic, with step 0 left of step 1: phases of training are decades."""


def mean_curve(
    label: str,
    x: Sequence[float],
    seeds: Sequence[Sequence[float | None]],
    *,
    band: Literal["deviation", "range"] = "range",
    positive: bool = False,
) -> list[Mark]:
    """Return the mean over seeds as one curve, or nothing where no value is defined.

    Args:
        label: for the legend.
        x: places of the values.
        seeds: the values of every seed at these places; None where nothing is defined.
        band: one standard deviation around the mean, or from the least to the largest value; none for one seed.
        positive: whether values that are not positive are left out, for a logarithmic axis.
    """
    columns = [[v for v in values if v is not None and (v > 0 or not positive)] for values in zip(*seeds, strict=True)]
    known = [(place, values) for place, values in zip(x, columns, strict=True) if values]
    if not known:
        return []
    centre = [mean(values) or 0.0 for _, values in known]
    edges = None
    if len(seeds) > 1 and band == "range":
        edges = [min(values) for _, values in known], [max(values) for _, values in known]
    elif len(seeds) > 1:
        edges = band_around(centre, [standard_deviation(values) or 0.0 for _, values in known])
    return [Curve(label=label, x=[place for place, _ in known], y=centre, band=edges, style="-o", size=2.5)]


def deviation_curves(x: Sequence[float], methods: Mapping[str, Sequence[Sequence[float | None]]]) -> list[Mark]:
    """Return one curve for each method: the mean over seeds, with a band of one standard deviation.

    Args:
        x: places of the values.
        methods: by method, the values of every seed at these places.
    """
    return [m for label, seeds in methods.items() for m in mean_curve(label, x, seeds, band="deviation")]


def band_around(centre: Sequence[float], half: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return the edges centre - half and centre + half."""
    pairs = list(zip(centre, half, strict=True))
    return [c - h for c, h in pairs], [c + h for c, h in pairs]
