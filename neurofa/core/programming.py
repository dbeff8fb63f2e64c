"""Programming of weights that come from elsewhere: what the device cannot hold is said, in figures."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import torch
from torch import Tensor

from hwmodels.device import Cells, Device
from neurofa.core.randomness import generator

FAR = 1e3
"""Weight to which devices are driven to find their range, in units of the largest wanted weight."""
WORTH_SAYING = 1e-3
"""Share of clipped weights from which it is said."""


class ClippedWeights(UserWarning):
    """Weights that lie beyond the range of their device and were clipped."""


def generator_for(target: Tensor) -> torch.Generator:
    """Return a source of programming noise where the caller has none: equal weights give equal noise."""
    return generator(0, "program", str(tuple(target.shape)), repr(float(target.double().sum())), device=target.device)


def clipped_share(device: Device, cells: Cells, target: Tensor) -> tuple[float, float]:
    """Return the share of wanted weights beyond the range of most cells, and that range.

    The range is the median of what the cells reach when they are driven far up and down: single weak cells are no
    clipping.

    Args:
        device: physics of the cells.
        cells: programmed with ``target``; they are not changed.
        target: the wanted weights, any shape.
    """
    if device.exact or not target.numel():
        return 0.0, float("inf")
    wanted = target.abs().amax()
    # most weights are within the range, which one pass shows
    if bool(device.value(cells).abs().amax() >= 0.98 * wanted) or not bool(wanted > 0):
        return 0.0, float("inf")
    far, gen = torch.full_like(target, FAR) * wanted, generator(0, "range", device=target.device)
    high, low = (device.value(device.reprogram(cells, side, gen)).median() for side in (far, -far))
    beyond = (target > high) | (target < low)
    return float(beyond.double().mean()), float(torch.minimum(high, -low))


def warn_of_clipping(shares: Mapping[str, tuple[float, float]], device: str) -> None:
    """Say which weights were clipped, in one warning.

    Args:
        shares: as :func:`clipped_share` returns them, by the name of the weight.
        device: its spec.

    Warns:
        ClippedWeights: at least one weight in a thousand of one tensor was clipped.
    """
    said = [
        f"{share:.1%} of {name} (beyond +-{reach:.3g})"
        for name, (share, reach) in shares.items()
        if share >= WORTH_SAYING
    ]
    if said:
        warnings.warn(
            f"got weights beyond the range of device {device}, which clips them: {', '.join(said)}; expected weights"
            " within it; give the device a larger range, scale or headroom, or scale the weights",
            ClippedWeights,
            stacklevel=2,
        )
