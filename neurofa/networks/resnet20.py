"""Residual net for small images."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from neurofa.core.layer import Layer
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.core.recipes import draw_weights, image, network, positive
from neurofa.layers.block import Block
from neurofa.layers.carriers import GlobalAvgPool2d
from neurofa.layers.conv import Conv2d
from neurofa.layers.dense import Dense


class ResidualBlock(nn.Module):
    """relu(x' + BN(W_2 * relu(BN(W_1 * x)))), with x' = x or its strided 1x1 projection: (B, C, H, W)."""

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
        """(B, c_in, H, W) to (B, c_out, H / stride, W / stride)."""
        return cast(Tensor, self.short(x) + self.body(x)).relu()


@network("resnet20", source="He et al. 2016, arXiv 1512.03385, section 4.2")
def resnet20(
    *,
    input_shape: tuple[int, ...],
    outputs: int,
    seed: int = 0,
    device: str = "digital",
    width: int = 16,
    blocks: int = 3,
) -> Network:
    """Three stages of residual blocks (3 each gives 20 layers), each block one unit of credit.

    Args:
        input_shape: (C, H, W).
        outputs: width of the readout.
        seed: of the weights.
        device: spec of the device for the affine weights.
        width: channels of the first stage; doubled at each stage.
        blocks: blocks a stage.
    """
    c, _, _ = image(input_shape)
    positive(width=width, blocks=blocks)
    gen = generator(seed, "resnet20")
    layers: list[Layer] = [Conv2d(c, width, 3, padding=1, activation="relu", norm="batch", bias=False)]
    c = width
    for stage in range(3):
        for index in range(blocks):
            c_out = width * 2**stage
            layers.append(Block(draw_weights(ResidualBlock(c, c_out, 2 if stage and not index else 1), gen)))
            c = c_out
    return Network([*layers, GlobalAvgPool2d(), Dense(c, outputs)], input_shape, seed=seed, device=device)
