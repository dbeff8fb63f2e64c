"""Transformers: of image patches (vit), and of tokens, each of which predicts the next (gpt)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hwmodels.errors import NeurofaError
from neurofa.core.layer import Layer
from neurofa.core.randomness import generator
from neurofa.core.recipes import NetworkRecipe, draw_weights, image_shape, require_positive
from neurofa.layers.block import Block
from neurofa.layers.embedding import Embedding


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
        heads: attention heads, which divide d.
        ratio: hidden width of the MLP in units of d.
        dropout: probability of dropping, on both residual branches.
        causal: whether a token attends to itself and to earlier tokens only.
    """

    def __init__(self, width: int, heads: int, ratio: int, dropout: float, *, causal: bool = False) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.merge = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, ratio * width), nn.GELU(), nn.Linear(ratio * width, width))
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens behind the block: (B, S, d) to (B, S, d)."""
        b, s, d = x.shape
        # (B, S, 3 d) -> three of (B, heads, S, d / heads)
        q, k, v = self.qkv(self.norm1(x)).view(b, s, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        mixed = mixed.transpose(1, 2).reshape(b, s, d)
        x = x + self.drop(self.merge(mixed))
        y: Tensor = x + self.drop(self.mlp(self.norm2(x)))
        return y


class Head(nn.Module):
    """Readout of the mean token, (B, S, d) to (B, o), or of every token, (B, S, d) to (B, S, o).

    Args:
        width: d.
        outputs: o.
        every: whether every token is read.
    """

    def __init__(self, width: int, outputs: int, *, every: bool = False) -> None:
        super().__init__()
        self.every = every
        self.norm, self.read = nn.LayerNorm(width), nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs for tokens: (B, S, d) to (B, o), or to (B, S, o)."""
        normalised = self.norm(x)
        y: Tensor = self.read(normalised if self.every else normalised.mean(1))
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
        _check_heads(self.name, self.width, self.heads, self.dropout)

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


@dataclass(frozen=True, kw_only=True)
class GPT(NetworkRecipe, name="gpt"):
    """Token embedding, causal transformer blocks (each one layer that learns), and a readout of every token.

    Input are ids of tokens (B, S); the vocabulary is the width o of the readout. Outputs are (B, S, o): each token
    predicts the one that follows. Input embedding and readout have weights of their own: weights that two layers share
    would not be local to either.

    Args:
        width: d, width of a token.
        depth: number of transformer blocks.
        heads: attention heads; they divide ``width``.
        ratio: hidden width of the MLP in units of d.
        dropout: probability of dropping, on both residual branches.
    """

    source = "after Radford et al. 2019, Language models are unsupervised multitask learners"
    tokens = True
    trains_as = "convolutional"

    width: int = 64
    depth: int = 2
    heads: int = 4
    ratio: int = 4
    dropout: float = 0.0

    def check(self) -> None:
        require_positive(width=self.width, depth=self.depth, heads=self.heads, ratio=self.ratio)
        _check_heads(self.name, self.width, self.heads, self.dropout)

    def layers(self, input_shape: tuple[int, ...], outputs: int, seed: int) -> list[Layer]:
        if len(input_shape) != 1:
            raise NeurofaError(
                f"got samples of shape {input_shape} for gpt; expected ids of tokens (S,); use text data, or vit for"
                " images"
            )
        gen = generator(seed, "gpt")
        blocks = [
            TransformerBlock(self.width, self.heads, self.ratio, self.dropout, causal=True) for _ in range(self.depth)
        ]
        parts = [Block(draw_weights(m, gen)) for m in (*blocks, Head(self.width, outputs, every=True))]
        return [Embedding(outputs, self.width, input_shape[0]), *parts]


def _check_heads(name: str, width: int, heads: int, dropout: float) -> None:
    """Refuse heads that do not divide the width, and a dropout outside of [0, 1)."""
    if width % heads or not 0 <= dropout < 1:
        raise NeurofaError(
            f"got {name}(width={width}, heads={heads}, dropout={dropout}); expected heads that divide the width,"
            " 0 <= dropout < 1; change them"
        )
