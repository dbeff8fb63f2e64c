"""The arithmetic of an affine map: product, direction of the weight, way back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from neurofa.core.description import AffineDescription
from neurofa.core.directions import Direction, Outer
from neurofa.core.window import Window
from neurofa.maps.analog import Product


class AffineMap(ABC):
    """Pure arithmetic of W x + b for one kind of W; it holds sizes and no tensors."""

    input_dims: int
    """Number of axes of a batch of inputs."""
    fan_in: int
    """Inputs of one output."""
    channels: int
    """Outputs, or channels of outputs."""
    weight_shape: tuple[int, ...]
    """Shape of W."""
    groups: int = 1
    """Groups of channels that do not mix."""

    @property
    def window(self) -> Window | None:
        """What an output position sees of an input image; default: everything."""
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
        """Return the direction of W for ``delta`` at the affine output, (B, channels, ...), and inputs ``x``."""

    @abstractmethod
    def outer(self, delta: Tensor, x: Tensor) -> Outer:
        """Return :meth:`direction` as outer products, for devices that update by factors."""

    @abstractmethod
    def transposed(self, delta: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """Return ``delta`` sent back through ``weight``: the error at the input.

        Args:
            delta: (B, channels, ...) error at the affine output.
            x: (B, *in_shape) input, whose shape the error has.
            weight: shaped as W.
        """

    @abstractmethod
    def on_arrays(self, product: Product, x: Tensor, weight: Tensor) -> Tensor:
        """Return W x, computed from the vectors and matrices that analog arrays would see.

        Args:
            product: of one array.
            x: (B, *in_shape).
            weight: W.
        """

    @abstractmethod
    def transposed_on_arrays(self, product: Product, delta: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """Return :meth:`transposed`, computed from the vectors and matrices that analog arrays would see.

        Args:
            product: of one array.
            delta: (B, channels, ...).
            x: (B, *in_shape).
            weight: shaped as W.
        """

    @abstractmethod
    def noise_correlation(self, y: Tensor, noise: Tensor) -> Direction:
        """Return the mean over samples and positions of y xi^T, shaped as W."""

    @abstractmethod
    def out_shape(self, in_shape: torch.Size) -> tuple[int, ...]:
        """Return the shape of the output for one (batched) input shape."""

    @abstractmethod
    def describe(self, **shared: Any) -> AffineDescription:
        """Describe the map to exports, with the weights and functions that a layer puts around it."""

    @abstractmethod
    def module(self, weight: Tensor, bias: Tensor | None) -> nn.Module:
        """Return a torch module of the same map, with copies of ``weight`` and ``bias``."""
