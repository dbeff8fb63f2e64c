"""Arithmetic of convolutions of one to three dimensions, plain or transposed: product, direction, transpose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hwmodels.errors import NeurofaError
from neurofa.core.description import ConvDescription
from neurofa.core.directions import Direction, Outer
from neurofa.core.window import Window
from neurofa.maps.affine_map import AffineMap
from neurofa.maps.analog import Product
from neurofa.maps.convolutions import ConvSizes, axes, conv_correlation
from neurofa.maps.patches import folded, positions_of, unfolded

PLAIN: dict[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: dict[int, type[nn.Module]] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_FUNCTIONS = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}
_TRANSPOSED_FUNCTIONS = {1: torch.conv_transpose1d, 2: torch.conv_transpose2d, 3: torch.conv_transpose3d}

Sizes = int | Sequence[int]
"""Pixels: one number for all axes, or one for each."""


class ConvMap(AffineMap):
    """Convolution W * x + b: (B, C_in, ...) to (B, C_out, ...), on images of n axes.

    Of a transposed convolution W is (C_in, C_out / groups, ...): it is the transpose of the convolution with these
    kernels, which takes C_out channels to C_in.

    Args:
        c_in: input channels.
        c_out: output channels.
        kernel: sides of the kernel, pixels.
        n: axes of an image, 1 to 3.
        stride: steps between positions, pixels.
        padding: zeros added on both sides of every axis, pixels.
        dilation: distances between kernel elements, pixels.
        groups: groups of channels that are convolved separately.
        transposed: whether the convolution is transposed.
        output_padding: pixels added behind the output of a transposed convolution.

    Raises:
        NeurofaError: groups that do not divide the channels, sizes out of range or of another number of axes.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: Sizes,
        *,
        n: int = 2,
        stride: Sizes = 1,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        transposed: bool = False,
        output_padding: Sizes = 0,
    ) -> None:
        if groups < 1 or c_in % groups or c_out % groups:
            raise NeurofaError(
                f"got groups={groups} for {c_in} to {c_out} channels; expected a divisor of both; change groups"
            )
        named = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
        sizes = {key: _sizes(key, size, n) for key, size in (named | {"output_padding": output_padding}).items()}
        steps = sizes["stride"], sizes["dilation"]
        if min(sizes["kernel"] + steps[0] + steps[1]) < 1 or min(sizes["padding"] + sizes["output_padding"]) < 0:
            raise NeurofaError(
                f"got {', '.join(f'{key}={size}' for key, size in named.items())}; expected kernel, stride and dilation"
                " >= 1, padding >= 0; change it"
            )
        behind = sizes["output_padding"]
        if any(o >= max(s, d) for o, s, d in zip(behind, *steps, strict=True)):
            raise NeurofaError(
                f"got output_padding={output_padding}; expected less than the stride or the dilation; change it"
            )
        self.c_in, self.groups, self.transposes, self.input_dims = c_in, groups, transposed, n + 2
        self.kernel = sizes["kernel"]
        self.sizes = ConvSizes(
            sizes["stride"], sizes["padding"], sizes["dilation"], groups, transposed, behind if transposed else ()
        )
        self.fan_in, self.channels = c_in // groups * math.prod(self.kernel), c_out
        first, second = (c_in, c_out) if transposed else (c_out, c_in)
        self.weight_shape = (first, second // groups, *self.kernel)
        self._convolve = (_TRANSPOSED_FUNCTIONS if transposed else _FUNCTIONS)[n]
        own = self.sizes
        last = (own.output_padding, groups, own.dilation) if transposed else (own.dilation, groups)
        self._options = (own.stride, own.padding, *last)
        # strided 1x1 kernels keep the plain order of memory: there oneDNN writes past its workspace
        # (uxlfoundation/oneDNN issue 6035)
        inner = n == 2 and (max(self.kernel) > 1 or max(own.stride) == 1)
        self._order = torch.channels_last if inner else torch.contiguous_format

    @property
    def square(self) -> bool:
        """Whether the map is a plain convolution of images (C, H, W) with the same sizes on both axes, undilated."""
        own = self.sizes
        same = all(len(set(size)) == 1 for size in (self.kernel, own.stride, own.padding))
        return self.input_dims == 4 and not own.transposed and same and set(own.dilation) == {1}

    @property
    def window(self) -> Window | None:
        return Window(self.kernel[0], self.sizes.stride[0], self.sizes.padding[0]) if self.square else None

    @property
    def fan_drawn(self) -> int:
        return math.prod(self.weight_shape[1:])

    @property
    def one_output(self) -> tuple[int, ...]:
        own = (self.c_in, 1) if self.transposes else (self.groups, self.weight_shape[1])
        return (*own, *self.kernel)

    def rows(self, in_shape: tuple[int, ...]) -> int:
        shape = in_shape if self.transposes else self.out_shape(torch.Size(in_shape))
        return math.prod(shape) // shape[1]

    def connections(self, out_shape: tuple[int, ...]) -> int:
        if not self.transposes:
            return super().connections(out_shape)
        own = self.sizes
        behind = zip(out_shape[1:], self.kernel, own.stride, own.padding, own.dilation, own.output_padding, strict=True)
        inputs: int = math.prod((n - o - d * (k - 1) - 1 + 2 * p) // s + 1 for n, k, s, p, d, o in behind)
        return self.fan_in * self.channels * inputs

    def _ordered(self, images: Tensor) -> Tensor:
        """Return the images in the memory order for which the CPU's kernels are fastest: channels last."""
        return images if images.device.type != "cpu" else images.contiguous(memory_format=self._order)

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        y: Tensor = self._convolve(self._ordered(x), weight, bias, *self._options)
        return y

    def on_arrays(self, product: Product, x: Tensor, weight: Tensor) -> Tensor:
        size = self.out_shape(x.shape)
        return self._spread(product, x, weight, size) if self.transposes else self._gather(product, x, weight, size)

    def transposed_on_arrays(self, product: Product, delta: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        size = tuple(x.shape)
        return (
            self._gather(product, delta, weight, size)
            if self.transposes
            else self._spread(product, delta, weight, size)
        )

    def _gather(self, product: Product, large: Tensor, weight: Tensor, size: tuple[int, ...]) -> Tensor:
        """Return the small image: one product for the patch of the large one at each of its positions.

        Args:
            product: function that multiplies vectors by a matrix on one array.
            large: (B, C', ...).
            weight: W.
            size: of the small image, (B, C, ...).
        """
        columns = [
            product(unfolded(images, self.kernel, self.sizes, size[2:]), kernels.flatten(1).t())
            for images, kernels in zip(large.chunk(self.groups, 1), weight.chunk(self.groups), strict=True)
        ]
        return torch.cat(columns, 1).view(size[0], *size[2:], -1).movedim(-1, 1)

    def _spread(self, product: Product, small: Tensor, weight: Tensor, size: tuple[int, ...]) -> Tensor:
        """Return the large image: the sum of the patches that one product gives for each position of the small one.

        Args:
            product: function that multiplies vectors by a matrix on one array.
            small: (B, C, ...).
            weight: W.
            size: of the large image, (B, C', ...).
        """
        images = [
            folded(product(positions_of(part), kernels.flatten(1)), self.kernel, self.sizes, small.shape[2:], size[2:])
            for part, kernels in zip(small.chunk(self.groups, 1), weight.chunk(self.groups), strict=True)
        ]
        return torch.cat(images, 1)

    def direction(self, delta: Tensor, x: Tensor) -> Direction:
        weight = x.new_empty(1).expand(self.weight_shape)  # only its shape is used
        direction: Tensor = self.sizes.backward(self._ordered(delta), self._ordered(x), weight, [False, True, False])[1]
        return direction

    def outer(self, delta: Tensor, x: Tensor) -> Outer:
        small, large = (x, delta) if self.transposes else (delta, x)
        return Outer(positions_of(small), unfolded(large, self.kernel, self.sizes, small.shape[2:]))

    def transposed(self, delta: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        error: Tensor = self.sizes.backward(self._ordered(delta), self._ordered(x), weight, [True, False, False])[0]
        return error

    def noise_correlation(self, y: Tensor, noise: Tensor) -> Direction:
        return conv_correlation(y, noise, noise.new_empty(1).expand(self.weight_shape), self.sizes)

    def out_shape(self, in_shape: torch.Size) -> tuple[int, ...]:
        own = self.sizes
        sides = []
        behind = own.output_padding or own.padding  # of a plain convolution not used
        for n, k, s, p, d, o in zip(
            in_shape[2:], self.kernel, own.stride, own.padding, own.dilation, behind, strict=True
        ):
            reach = d * (k - 1)
            sides.append((n - 1) * s - 2 * p + reach + o + 1 if self.transposes else (n + 2 * p - reach - 1) // s + 1)
        return (in_shape[0], self.channels, *sides)

    def describe(self, **shared: Any) -> ConvDescription | None:
        if not self.square:
            return None
        (stride, padding), axes = (self.sizes.stride[0], self.sizes.padding[0]), "(C_out, C_in / groups, k, k)"
        return ConvDescription(axes=axes, stride=stride, padding=padding, groups=self.groups, **shared)

    def module(self, weight: Tensor, bias: Tensor | None) -> nn.Module:
        own = self.sizes
        sizes: dict[str, Any] = {"stride": own.stride, "padding": own.padding, "dilation": own.dilation}
        if self.transposes:
            sizes["output_padding"] = own.output_padding
        if self.square:  # one number where one is enough: the text of the module stays short
            sizes = {"stride": own.stride[0], "padding": own.padding[0]}
        kernel = self.kernel[0] if self.square else self.kernel
        plain: Any = nn.utils.skip_init(  # type: ignore[no-untyped-call]
            (TRANSPOSED if self.transposes else PLAIN)[self.input_dims - 2],
            self.c_in,
            self.channels,
            kernel,
            groups=self.groups,
            bias=bias is not None,
            device=weight.device,
            dtype=weight.dtype,
            **sizes,
        )
        plain.weight.data.copy_(weight)
        if bias is not None:
            plain.bias.data.copy_(bias)
        module: nn.Module = plain
        return module


def _sizes(key: str, size: Sizes, n: int) -> tuple[int, ...]:
    """Return one number for each of n axes.

    Raises:
        NeurofaError: another number of them.
    """
    found = axes(size, n)
    if len(found) != n:
        raise NeurofaError(f"got {key}={list(found)} for images of {n} axes; expected one number, or {n}; change {key}")
    return found
