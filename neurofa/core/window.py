"""Receptive field of an image layer on the image below: a square window that moves over it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Window:
    """One output position depends on ``side`` x ``side`` positions of the input, in all channels.

    Output position p depends on the input positions p * stride - padding + 0, 1, ..., side - 1, on both axes.
    """

    side: int
    """Pixels."""
    stride: int = 1
    """Pixels between the windows of neighbouring output positions."""
    padding: int = 0
    """Pixels added on every side of the input."""

    def after(self, below: Window) -> Window:
        """Return the window of two layers in a row, on the input of the lower one.

        >>> Window(5, 1, 2).after(Window(2, 2))
        Window(side=10, stride=2, padding=4)
        """
        return Window(
            side=below.side + (self.side - 1) * below.stride,
            stride=self.stride * below.stride,
            padding=below.padding + self.padding * below.stride,
        )

    def positions(self, inputs: int) -> int:
        """Return the number of output positions along an axis of ``inputs`` pixels."""
        return (inputs + 2 * self.padding - self.side) // self.stride + 1

    def axis(self, inputs: int, outputs: int) -> Tensor:
        """Return the mask of one axis, (outputs, inputs), float64: 1 where the output depends on the input."""
        first = torch.arange(outputs)[:, None] * self.stride - self.padding
        offset = torch.arange(inputs)[None, :] - first
        return ((offset >= 0) & (offset < self.side)).double()

    def mask(self, inputs: tuple[int, int], outputs: tuple[int, int]) -> Tensor:
        """Return the mask of an image, (H' W', H W), float64: 1 where the output depends on the input.

        Args:
            inputs: H and W, pixels.
            outputs: H' and W', pixels.
        """
        # the window is a square: both axes are independent
        return torch.kron(self.axis(inputs[0], outputs[0]), self.axis(inputs[1], outputs[1]))
