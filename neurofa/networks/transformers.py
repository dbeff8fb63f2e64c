"""Transformers: of image patches (vit), and of tokens, each of which predicts the next (gpt)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from hwmodels.errors import NeurofaError
from neurofa.core.layer import Layer
from neurofa.core.randomness import generator
from neurofa.core.recipes import NetworkRecipe, draw_weights, image_shape, require_positive
from neurofa.families.transformer import UNITS, Head, PatchEmbedding, block_units
from neurofa.layers.block import Block
from neurofa.layers.embedding import Embedding


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
        units: what learns as one layer: a ``block``, each of its ``residual`` branches, or (``finest``) each of its
            four maps; the outputs are the same. Direct rules send an error to every layer.
    """

    source = "after Dosovitskiy et al. 2021, arXiv 2010.11929"
    trains_as = "convolutional"

    patch: int = 4
    width: int = 64
    depth: int = 4
    heads: int = 4
    ratio: int = 2
    dropout: float = 0.0
    units: str = "block"

    def check(self) -> None:
        require_positive(patch=self.patch, width=self.width, depth=self.depth, heads=self.heads, ratio=self.ratio)
        _check_blocks(self)

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
        return [Block(draw_weights(m, gen)) for m in (embedding, *_blocks(self), Head(self.width, outputs))]


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
        units: what learns as one layer: a ``block`` (the "macro" of direct feedback), each of its ``residual``
            branches, or (``finest``, "micro") each of its four maps, so that the output of attention and the hidden
            units of the MLP have errors of their own; the outputs are the same.
    """

    source = "after Radford et al. 2019, Language models are unsupervised multitask learners"
    tokens = True
    trains_as = "convolutional"

    width: int = 64
    depth: int = 2
    heads: int = 4
    ratio: int = 4
    dropout: float = 0.0
    units: str = "block"

    def check(self) -> None:
        require_positive(width=self.width, depth=self.depth, heads=self.heads, ratio=self.ratio)
        _check_blocks(self)

    def layers(self, input_shape: tuple[int, ...], outputs: int, seed: int) -> list[Layer]:
        if len(input_shape) != 1:
            raise NeurofaError(
                f"got samples of shape {input_shape} for gpt; expected ids of tokens (S,); use text data, or vit for"
                " images"
            )
        gen = generator(seed, "gpt")
        modules = (*_blocks(self, causal=True), Head(self.width, outputs, every=True))
        parts = [Block(draw_weights(m, gen)) for m in modules]
        return [Embedding(outputs, self.width, input_shape[0]), *parts]


def _blocks(recipe: ViT | GPT, *, causal: bool = False) -> list[nn.Module]:
    """Return the blocks of a transformer, cut into units of credit."""
    width, heads, ratio = recipe.width, recipe.heads, recipe.ratio
    parts = (
        block_units(recipe.units, width=width, heads=heads, ratio=ratio, dropout=recipe.dropout, causal=causal)
        for _ in range(recipe.depth)
    )
    return [unit for block in parts for unit in block]


def _check_blocks(recipe: ViT | GPT) -> None:
    """Refuse heads that do not divide the width, a dropout outside of [0, 1), and an unknown cut."""
    if recipe.width % recipe.heads or not 0 <= recipe.dropout < 1:
        raise NeurofaError(
            f"got {recipe.name}(width={recipe.width}, heads={recipe.heads}, dropout={recipe.dropout}); expected heads"
            " that divide the width, 0 <= dropout < 1; change them"
        )
    if recipe.units not in UNITS:
        raise NeurofaError(f"got {recipe.name}(units={recipe.units}); expected {', '.join(UNITS)}; choose one")
