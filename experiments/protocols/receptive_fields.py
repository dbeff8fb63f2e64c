"""Receptive fields of convolutional units, and numbers that say what they look like."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from neurofa.core.network import Network
from neurofa.layers.conv import Conv2d

SIDES = 8
"""Orders of the Fourier transform are taken on a grid so many times finer than a field of that many pixels needs."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Three numbers that describe the shape of a receptive field."""

    centre_surround: float
    """Share of the field's variance that its radial profile explains: 1 for rings, near 0 for stripes off centre."""
    opponency: float
    """-min/max of the radial profile, its larger end taken as positive: 0 without a surround, 1 for an equal one."""
    orientation: float
    """|sum P e^(2 i theta)| / sum P of the power P at spatial frequency (f, theta): 0 for rings, 1 for a grating."""


def receptive_fields(network: Network, name: str, *, steps: int = 2, size: float = 1.0) -> Tensor:
    """Return images that drive the central unit of every channel of a convolution, by gradient ascent from grey.

    Args:
        network: whose layers up to ``name`` are convolutions or carriers; evaluated with stored weights.
        name: of the convolution.
        steps: number of steps of plain gradient ascent.
        size: of a step: factor of the gradient.

    Returns:
        (C, H, W), one image for each channel (the mean over input channels), of mean 0 and standard deviation 1; zeros
        for a unit that grey leaves silent.

    Raises:
        NeurofaError: ``name`` is no convolution.

    Source: Lindsey et al. 2019, arXiv 1901.00945, and Hanut and Kadmon 2025, first author's code.
    """
    if not isinstance(network.layer(name), Conv2d):
        raise NeurofaError(f"got layer '{name}'; expected a convolution; name one of {', '.join(network.names)}")
    below = list(network.items())[: network.names.index(name) + 1]
    channels, h, w = network.shapes[name]
    x = torch.zeros(channels, *network.input_shape)
    unit = torch.arange(channels)
    for _ in range(steps):
        leaf = x.clone().requires_grad_()
        with torch.enable_grad():
            y = leaf
            for _, layer in below:
                y = layer.compute(layer.synapses.stored(), y, {})[0]
            driven = y[unit, unit, h // 2, w // 2].sum()
            (slope,) = torch.autograd.grad(driven, leaf)
        x = x + size * slope
    fields = x.mean(1)
    flat = fields.flatten(1)
    spread = flat.std(1, keepdim=True)
    return torch.where(spread > 0, (flat - flat.mean(1, keepdim=True)) / spread.clamp_min(1e-30), 0.0).view_as(fields)


def shape_of(field: Tensor) -> Shape | None:
    """Measure how far one receptive field is a centre with a surround, and how far it is oriented.

    Args:
        field: (H, W).

    Returns:
        None for a field without structure.
    """
    f = field.double() - field.double().mean()
    energy = f.square()
    if not float(energy.sum()) > 0:
        return None
    h, w = f.shape
    rows, columns = torch.arange(h, dtype=torch.float64), torch.arange(w, dtype=torch.float64)
    total = energy.sum()
    y, x = (energy.sum(1) @ rows) / total, (energy.sum(0) @ columns) / total
    radius = ((rows[:, None] - y).square() + (columns[None] - x).square()).sqrt()
    ring = radius.round().long().flatten()
    counts = torch.bincount(ring)
    profile = torch.bincount(ring, weights=f.flatten()) / counts.clamp_min(1)
    # the field has mean 0: its energy is its variance, and the profile's is what rings explain of it
    explained = float((counts * profile.square()).sum() / total)
    largest = profile if float(profile[profile.abs().argmax()]) > 0 else -profile
    opponency = max(0.0, -float(largest.min())) / max(float(largest.max()), 1e-30)
    return Shape(centre_surround=explained, opponency=opponency, orientation=_orientation(f))


def _orientation(f: Tensor) -> float:
    n = SIDES * max(f.shape)
    power = torch.fft.fft2(f, s=(n, n)).abs().square()
    frequency = torch.fft.fftfreq(n, dtype=torch.float64)
    fy, fx = frequency[:, None], frequency[None]
    # equal weight in every direction: only frequencies inside the largest circle
    inside = (fy.square() + fx.square()) <= 0.25
    # doubled, since a grating and the same grating turned by 180 degrees are one
    twice = 2 * torch.atan2(fy, fx)
    weighted = power * inside
    along, across = (float((weighted * component).sum()) for component in (twice.cos(), twice.sin()))
    return math.hypot(along, across) / float(weighted.sum())
