"""Constants of neurons: one number for all neurons of a layer, or one for each of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class PerNeuron:
    """A constant that differs between the neurons of a layer.

    Args:
        values: (*out_shape), or a shape that broadcasts to it.
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values.detach().to("cpu", torch.float64, copy=True)
        # by dtype and place: copied to an accelerator once, not in every tick
        self._copies: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def like(self, x: Tensor) -> Tensor:
        """Return the values in the dtype and on the device of a tensor."""
        key = (x.dtype, x.device)
        if key not in self._copies:
            self._copies[key] = self.values.to(x.device, x.dtype)
        return self._copies[key]

    def __repr__(self) -> str:
        return f"{self.values.min():.4g} to {self.values.max():.4g}"


Constant = float | PerNeuron
"""One number for all neurons, or one for each."""


def constant(value: float | Tensor) -> Constant:
    """Return a constant for a number, or for a tensor of one number for each neuron."""
    return PerNeuron(value) if isinstance(value, Tensor) else value


def here(value: Constant, x: Tensor) -> Tensor | float:
    """Return a constant as a factor of a tensor: the number, or the values in its dtype and on its device."""
    return value.like(x) if isinstance(value, PerNeuron) else value


def in_all_ticks(value: Constant, like: Tensor) -> Tensor | float:
    """Return a constant as a coefficient of K ticks: the number, or (K, B, *shape) values.

    Args:
        value: the constant.
        like: (K, B, *shape).
    """
    return value.like(like).expand_as(like) if isinstance(value, PerNeuron) else value


def plain(value: Constant) -> Tensor | float:
    """Return a constant for descriptions: the number, or the values in double precision on the CPU."""
    return value.values if isinstance(value, PerNeuron) else value


def bounds(value: Constant) -> tuple[float, float]:
    """Return the smallest and the largest value; NaN where one is NaN."""
    if isinstance(value, PerNeuron):
        if not value.values.numel():
            return math.nan, math.nan
        low, high = value.values.aminmax()
        return float(low), float(high)
    return value, value
