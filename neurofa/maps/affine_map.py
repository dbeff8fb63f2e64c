"""Arithmetic of an affine map: product, direction of the weight, transposed product."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from neurofa.core.description import AffineDescription
from neurofa.core.directions import Direction, Outer
from neurofa.core.window import Window
from neurofa.maps.analog import Product


class AffineMap(ABC):
    """Arithmetic of W x + b for one kind of W; instances store sizes but no tensors."""

    input_dims: int
    """Number of axes of a batch of inputs."""
    fan_in: int
    """Number of inputs of one output."""
    channels: int
    """Number of outputs, or of output channels."""
    weight_shape: tuple[int, ...]
    """Shape of W."""
    groups: int = 1
    """Number of groups of channels that are convolved separately."""
    transposes: bool = False
    """Whether the first axis of W are inputs."""

    @property
    def fan_drawn(self) -> int:
        """Fan by which torch draws W and b; default: that of an output."""
        return self.fan_in

    @property
    def one_output(self) -> tuple[int, ...]:
        """Shape of a W that has one output (of a convolution one channel) for each group."""
        return (self.groups, *self.weight_shape[1:])

    def rows(self, in_shape: tuple[int, ...]) -> int:
        """Return the number of vectors that W multiplies: samples times positions.

        Args:
            in_shape: (B, *in_shape).
        """
        return math.prod(self.out_shape(torch.Size(in_shape))) // self.channels

    def connections(self, out_shape: tuple[int, ...]) -> int:
        """Return the number of connections; a shared weight counts once per position.

        Args:
            out_shape: shape of one sample at the output.
        """
        return self.fan_in * math.prod(out_shape)

    @property
    def window(self) -> Window | None:
        """Receptive field of an output position in an input image; None (default): the whole input."""
        return None

    @abstractmethod
    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return W x + b: (B, *in_shape) to (B, channels, ...).

        Args:
            x: (B, *in_shape).
            weight: W.
            bias: (channels,) or None.
        """

    @abstractmethod
    def direction(self, delta: Tensor, x: Tensor) -> Direction:
        """Return the direction of W, summed over the batch.

        Args:
            delta: (B, channels, ...) error at the affine output.
            x: (B, *in_shape) input.
        """

    @abstractmethod
    def outer(self, delta: Tensor, x: Tensor) -> Outer:
        """Return the direction of W as outer products, for devices that are updated by their factors.

        Args:
            delta: (B, channels, ...) error at the affine output.
            x: (B, *in_shape) input.
        """

    @abstractmethod
    def transposed(self, delta: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """Return the error at the input, (B, *in_shape): the transposed product of ``delta`` and ``weight``.

        Args:
            delta: (B, channels, ...) error at the affine output.
            x: (B, *in_shape) input, for its shape.
            weight: shaped as W.
        """

    @abstractmethod
    def on_arrays(self, product: Product, x: Tensor, weight: Tensor) -> Tensor:
        """Return W x, (B, channels, ...), computed by vector-matrix products on analog arrays.

        Args:
            product: function that multiplies vectors by a matrix on one array.
            x: (B, *in_shape).
            weight: W.
        """

    @abstractmethod
    def transposed_on_arrays(self, product: Product, delta: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """Return the error at the input, (B, *in_shape), computed by vector-matrix products on analog arrays.

        Args:
            product: function that multiplies vectors by a matrix on one array.
            delta: (B, channels, ...) error at the affine output.
            x: (B, *in_shape) input, for its shape.
            weight: shaped as W.
        """

    @abstractmethod
    def noise_correlation(self, y: Tensor, noise: Tensor) -> Direction:
        """Return the mean over samples and positions of y xi^T, shaped as W.

        Args:
            y: (B, channels, ...) output for the noise.
            noise: (B, *in_shape), xi.
        """

    @abstractmethod
    def out_shape(self, in_shape: torch.Size) -> tuple[int, ...]:
        """Return the output shape (B, channels, ...) for an input shape (B, *in_shape)."""

    @abstractmethod
    def describe(self, **shared: Any) -> AffineDescription | None:
        """Return the description for exports, None where files have no such map; the layer fills in ``shared``."""

    @abstractmethod
    def module(self, weight: Tensor, bias: Tensor | None) -> nn.Module:
        """Return a torch module of the same map, with copies of ``weight`` and ``bias``."""
