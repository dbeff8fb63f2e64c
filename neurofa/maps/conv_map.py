"""Arithmetic of a convolution: product, direction, transposed product."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hwmodels.errors import NeurofaError
from neurofa.core.description import ConvDescription
from neurofa.core.directions import Direction, Outer
from neurofa.core.window import Window
from neurofa.maps.affine_map import AffineMap
from neurofa.maps.analog import Product
from neurofa.maps.asymmetric import correlation_conv2d

aten = torch.ops.aten


class ConvMap(AffineMap):
    """Convolution W * x + b: (B, C_in, H, W) to (B, C_out, H', W').

    Args:
        c_in: input channels.
        c_out: output channels.
        kernel: side of the kernel, pixels.
        stride: step between positions, pixels.
        padding: zeros added on every side, pixels.
        groups: groups of channels that are convolved separately.

    Raises:
        NeurofaError: groups that do not divide the channels, a stride below 1, a negative padding.
    """

    input_dims = 4

    def __init__(
        self, c_in: int, c_out: int, kernel: int, *, stride: int = 1, padding: int = 0, groups: int = 1
    ) -> None:
        if groups < 1 or c_in % groups or c_out % groups:
            raise NeurofaError(
                f"got groups={groups} for {c_in} to {c_out} channels; expected a divisor of both; change groups"
            )
        if stride < 1 or padding < 0:
            raise NeurofaError(f"got stride={stride}, padding={padding}; expected stride >= 1, padding >= 0; change it")
        self.c_in, self.kernel, self.stride, self.padding, self.groups = c_in, kernel, stride, padding, groups
        self.fan_in, self.channels = c_in // groups * kernel**2, c_out
        self.weight_shape = (c_out, c_in // groups, kernel, kernel)

    @property
    def window(self) -> Window:
        return Window(self.kernel, self.stride, self.padding)

    def _ordered(self, images: Tensor) -> Tensor:
        """Return the images in the memory order for which the CPU's kernels are fastest: channels last.

        Strided 1x1 kernels keep the plain order: there oneDNN writes past its workspace (uxlfoundation/oneDNN issue
        6035).
        """
        if images.device.type != "cpu":
            return images
        inner = self.kernel > 1 or self.stride == 1
        return images.contiguous(memory_format=torch.channels_last if inner else torch.contiguous_format)

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return nn.functional.conv2d(self._ordered(x), weight, bias, self.stride, self.padding, 1, self.groups)

    def on_arrays(self, product: Product, x: Tensor, weight: Tensor) -> Tensor:
        columns = [
            product(self._patches(images), kernels.flatten(1).t())
            for images, kernels in zip(x.chunk(self.groups, 1), weight.chunk(self.groups), strict=True)
        ]
        b, c, h, w = self.out_shape(x.shape)
        return torch.cat(columns, 1).view(b, h, w, c).permute(0, 3, 1, 2)

    def transposed_on_arrays(self, product: Product, delta: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        size = tuple(x.shape[2:])
        images = []
        for errors, kernels in zip(delta.chunk(self.groups, 1), weight.chunk(self.groups), strict=True):
            patches = product(_positions(errors), kernels.flatten(1))
            columns = patches.view(len(x), -1, patches.shape[1]).transpose(1, 2)
            # fold sums the errors of overlapping patches
            images.append(nn.functional.fold(columns, size, self.kernel, 1, self.padding, self.stride))
        return torch.cat(images, 1)

    def _patches(self, x: Tensor) -> Tensor:
        """Return the patches of all positions as rows: (B * positions, C_in k^2)."""
        columns = nn.functional.unfold(x, self.kernel, 1, self.padding, self.stride)
        return columns.transpose(1, 2).flatten(0, 1)

    def direction(self, delta: Tensor, x: Tensor) -> Direction:
        weight = x.new_empty(1).expand(self.weight_shape)  # only its shape is used
        return self._backward(self._ordered(delta), self._ordered(x), weight, (False, True))[1]

    def outer(self, delta: Tensor, x: Tensor) -> Outer:
        return Outer(_positions(delta), self._patches(x))

    def transposed(self, delta: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        return self._backward(self._ordered(delta), self._ordered(x), weight, (True, False))[0]

    def noise_correlation(self, y: Tensor, noise: Tensor) -> Direction:
        weight = noise.new_empty(1).expand(self.weight_shape)
        return correlation_conv2d(y, noise, weight, [self.stride] * 2, [self.padding] * 2, [1, 1], self.groups)

    def _backward(self, delta: Tensor, x: Tensor, weight: Tensor, wanted: tuple[bool, bool]) -> tuple[Tensor, Tensor]:
        """Return the error at the input and the direction of the weight; only those ``wanted`` are computed."""
        stride, padding = [self.stride] * 2, [self.padding] * 2
        gradients = aten.convolution_backward(
            delta, x, weight, None, stride, padding, [1, 1], False, [0, 0], self.groups, [*wanted, False]
        )
        return gradients[0], gradients[1]

    def out_shape(self, in_shape: torch.Size) -> tuple[int, ...]:
        side = [(n + 2 * self.padding - self.kernel) // self.stride + 1 for n in in_shape[2:]]
        return (in_shape[0], self.channels, *side)

    def describe(self, **shared: Any) -> ConvDescription:
        axes = "(C_out, C_in / groups, k, k)"
        return ConvDescription(axes=axes, stride=self.stride, padding=self.padding, groups=self.groups, **shared)

    def module(self, weight: Tensor, bias: Tensor | None) -> nn.Module:
        sizes = {"stride": self.stride, "padding": self.padding, "groups": self.groups, "bias": bias is not None}
        plain: nn.Conv2d = nn.utils.skip_init(  # type: ignore[no-untyped-call]
            nn.Conv2d, self.c_in, self.channels, self.kernel, device=weight.device, dtype=weight.dtype, **sizes
        )
        plain.weight.data.copy_(weight)
        if bias is not None:
            assert plain.bias is not None
            plain.bias.data.copy_(bias)
        return plain


def _positions(delta: Tensor) -> Tensor:
    """Return errors with the positions as rows: (B, C, H, W) to (B * positions, C)."""
    return delta.flatten(2).transpose(1, 2).flatten(0, 1)
