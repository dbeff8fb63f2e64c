"""Patches of images as rows of a matrix, and images as sums of patches, in any number of dimensions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from torch import Tensor, nn

from neurofa.maps.convolutions import ConvSizes


def positions_of(images: Tensor) -> Tensor:
    """Return images with the positions as rows: (B, C, ...) to (B * positions, C)."""
    return images.flatten(2).transpose(1, 2).flatten(0, 1)


def unfolded(images: Tensor, kernel: tuple[int, ...], sizes: ConvSizes, positions: Sequence[int]) -> Tensor:
    """Return the patches at all positions as rows: (B * positions, C k^n).

    Args:
        images: (B, C, ...).
        kernel: sides of a patch, pixels.
        sizes: stride, padding and dilation of the positions.
        positions: their number along every axis.
    """
    n = len(kernel)
    if n == 2:
        columns = nn.functional.unfold(images, kernel, sizes.dilation, sizes.padding, sizes.stride)
        if columns.shape[2] == math.prod(positions):
            return columns.transpose(1, 2).flatten(0, 1)
    # torch counts axes from the last one
    patches = nn.functional.pad(images, [side for p in reversed(sizes.padding) for side in (p, p)])
    for axis, (k, s, d, count) in enumerate(zip(kernel, sizes.stride, sizes.dilation, positions, strict=True), start=2):
        patches = patches.unfold(axis, d * (k - 1) + 1, s)[..., ::d].narrow(axis, 0, count)
    # (B, C, *positions, *kernel) to (B, *positions, C, *kernel)
    return patches.movedim(1, n + 1).reshape(len(images) * math.prod(positions), -1)


def folded(
    rows: Tensor, kernel: tuple[int, ...], sizes: ConvSizes, positions: Sequence[int], image: Sequence[int]
) -> Tensor:
    """Return images, (B, C, *image), as the sums of overlapping patches.

    Args:
        rows: (B * positions, C k^n).
        kernel: sides of a patch, pixels.
        sizes: stride, padding and dilation of the positions.
        positions: their number along every axis.
        image: sides of an image, pixels.
    """
    n, count = len(kernel), math.prod(positions)
    patches = rows.view(-1, count, rows.shape[1])
    if n == 2 and _fits(kernel, sizes, positions, image):
        columns = patches.transpose(1, 2)
        return nn.functional.fold(columns, tuple(image), kernel, sizes.dilation, sizes.padding, sizes.stride)
    patches = patches.view(len(patches), *positions, -1, *kernel)
    padded = rows.new_zeros(
        len(patches), patches.shape[n + 1], *(side + 2 * p for side, p in zip(image, sizes.padding, strict=True))
    )
    for number, offset in enumerate(itertools.product(*map(range, kernel))):
        # all positions of one element of the kernel
        at = tuple(
            slice(k * d, k * d + (m - 1) * s + 1, s)
            for k, d, s, m in zip(offset, sizes.dilation, sizes.stride, positions, strict=True)
        )
        element = patches.flatten(n + 2)[..., number]
        padded[(slice(None), slice(None), *at)] += element.movedim(-1, 1)
    inside = tuple(slice(p, p + side) for p, side in zip(sizes.padding, image, strict=True))
    return padded[(slice(None), slice(None), *inside)]


def _fits(kernel: tuple[int, ...], sizes: ConvSizes, positions: Sequence[int], image: Sequence[int]) -> bool:
    """Return whether the positions are all that fit into the image."""
    every = zip(kernel, sizes.stride, sizes.padding, sizes.dilation, positions, image, strict=True)
    return all((side + 2 * p - d * (k - 1) - 1) // s + 1 == m for k, s, p, d, m, side in every)
