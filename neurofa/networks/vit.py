"""Vision transformer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hwmodels.errors import NeurofaError
from neurofa.core.layer import Layer
from neurofa.core.randomness import generator
from neurofa.core.recipes import NetworkRecipe, draw_weights, image_shape, require_positive
from neurofa.layers.block import Block


class PatchEmbedding(nn.Module):
    """Linear embedding of patches as tokens, plus a learned position: (B, C, H, W) to (B, S, d).

    Args:
        channels: C.
        patch: side of a patch, pixels.
        tokens: S, number of patches.
        width: d.
    """

    def __init__(self, channels: int, patch: int, tokens: int, width: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, width, patch, patch)
        self.position = nn.Parameter(torch.zeros(tokens, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens of images: (B, C, H, W) to (B, S, d)."""
        y: Tensor = self.project(x).flatten(2).transpose(1, 2) + self.position
        return y


class TransformerBlock(nn.Module):
    """Transformer block: x + Attention(LN(x)), then x + MLP(LN(x)), LN layer normalisation: (B, S, d) to (B, S, d).

    Args:
        width: d.
        heads: attention heads.
        ratio: hidden width of the MLP in units of d.
        dropout: probability of dropping, on both residual branches.
    """

    def __init__(self, width: int, heads: int, ratio: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.merge = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, ratio * width), nn.GELU(), nn.Linear(ratio * width, width))
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens behind the block: (B, S, d) to (B, S, d)."""
        b, s, d = x.shape
        # (B, S, 3 d) -> three of (B, heads, S, d / heads)
        q, k, v = self.qkv(self.norm1(x)).view(b, s, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, s, d)
        x = x + self.drop(self.merge(mixed))
        y: Tensor = x + self.drop(self.mlp(self.norm2(x)))
        return y


class Head(nn.Module):
    """Readout of the mean of the normalised tokens: (B, S, d) to (B, o).

    Args:
        width: d.
        outputs: o.
    """

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.norm, self.read = nn.LayerNorm(width), nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs for tokens: (B, S, d) to (B, o)."""
        y: Tensor = self.read(self.norm(x).mean(1))
        return y


@dataclass(frozen=True, kw_only=True)
class ViT(NetworkRecipe, name="vit"):
    """Vision transformer: patch embedding, transformer blocks (each one layer that learns), readout of the mean token.

    Args:
        patch: side of a patch, pixels; it divides the sides of the image.
        width: d, width of a token.
        depth: number of transformer blocks.
        heads: attention heads; they divide ``width``.
        ratio: hidden width of the MLP in units of d.
        dropout: probability of dropping, on both residual branches.
    """

    source = "after Dosovitskiy et al. 2021, arXiv 2010.11929"
    trains_as = "convolutional"

    patch: int = 4
    width: int = 64
    depth: int = 4
    heads: int = 4
    ratio: int = 2
    dropout: float = 0.0

    def check(self) -> None:
        require_positive(patch=self.patch, width=self.width, depth=self.depth, heads=self.heads, ratio=self.ratio)
        if self.width % self.heads or not 0 <= self.dropout < 1:
            raise NeurofaError(
                f"got vit(width={self.width}, heads={self.heads}, dropout={self.dropout}); expected heads that divide"
                " the width, 0 <= dropout < 1; change them"
            )

    def layers(self, input_shape: tuple[int, ...], outputs: int, seed: int) -> list[Layer]:
        c, h, w = image_shape(input_shape)
        if h % self.patch or w % self.patch:
            raise NeurofaError(
                f"got vit(patch={self.patch}) for images of {h}x{w}; expected a patch that divides the sides; change it"
            )
        gen = generator(seed, "vit")
        embedding = PatchEmbedding(c, self.patch, h // self.patch * (w // self.patch), self.width)
        with torch.no_grad():
            embedding.position.normal_(0, 0.02, generator=gen)
        blocks = [TransformerBlock(self.width, self.heads, self.ratio, self.dropout) for _ in range(self.depth)]
        return [Block(draw_weights(m, gen)) for m in (embedding, *blocks, Head(self.width, outputs))]
