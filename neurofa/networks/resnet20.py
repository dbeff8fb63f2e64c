"""Residual net for small images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from neurofa.core.layer import Layer
from neurofa.core.randomness import generator
from neurofa.core.recipes import NetworkRecipe, draw_weights, image_shape, require_positive
from neurofa.layers.block import Block
from neurofa.layers.carriers import GlobalAvgPool2d
from neurofa.layers.conv import Conv2d
from neurofa.layers.dense import Dense


class ResidualBlock(nn.Module):
    """Residual block relu(x' + BN(W_2 * relu(BN(W_1 * x)))), with x' = x or its strided 1x1 projection: (B, C, H, W).

    Args:
        c_in: input channels.
        c_out: output channels.
        stride: of the first convolution, pixels.
    """

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(c_out),
            nn.ReLU(),
            nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(c_out),
        )
        self.short: nn.Module = nn.Identity()
        if stride != 1 or c_in != c_out:
            self.short = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the block: (B, c_in, H, W) to (B, c_out, H / stride, W / stride)."""
        return cast(Tensor, self.short(x) + self.body(x)).relu()


@dataclass(frozen=True, kw_only=True)
class ResNet20(NetworkRecipe, name="resnet20"):
    """Residual net of three stages of residual blocks (3 each give 20 layers); each block learns as one layer.

    Args:
        width: channels of the first stage; doubled at each stage.
        blocks: blocks a stage.
    """

    source = "He et al. 2016, arXiv 1512.03385, section 4.2"
    trains_as = "convolutional"

    width: int = 16
    blocks: int = 3

    def check(self) -> None:
        require_positive(width=self.width, blocks=self.blocks)

    def layers(self, input_shape: tuple[int, ...], outputs: int, seed: int) -> list[Layer]:
        c, _, _ = image_shape(input_shape)
        gen = generator(seed, "resnet20")
        layers: list[Layer] = [Conv2d(c, self.width, 3, padding=1, activation="relu", norm="batch", bias=False)]
        c = self.width
        for stage in range(3):
            for index in range(self.blocks):
                # the first block of the second and of the third stage halves the image
                c_out = self.width * 2**stage
                layers.append(Block(draw_weights(ResidualBlock(c, c_out, 2 if stage and not index else 1), gen)))
                c = c_out
        return [*layers, GlobalAvgPool2d(), Dense(c, outputs)]
