"""Modules of transformers: patches as tokens, blocks, their parts as units of credit of their own, and the readout."""

from __future__ import annotations

import torch
from torch import Tensor, nn

UNITS = ("block", "residual", "finest")
"""How finely a block is cut into layers that learn: not at all, into its two residual branches, or into its maps."""


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


def mix_values(qkv: Tensor, heads: int, *, causal: bool) -> Tensor:
    """Return the values of attention for queries, keys and values: (B, S, 3 d) to (B, S, d).

    Args:
        qkv: queries, keys and values, one after the other.
        heads: attention heads, which divide d.
        causal: whether a token attends to itself and to earlier tokens only.
    """
    b, s, width = qkv.shape
    # (B, S, 3 d) -> three of (B, heads, S, d / heads)
    q, k, v = qkv.view(b, s, 3, heads, width // (3 * heads)).permute(2, 0, 3, 1, 4)
    mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
    return mixed.transpose(1, 2).reshape(b, s, width // 3)


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
        x = x + self.drop(self.merge(mix_values(self.qkv(self.norm1(x)), self.heads, causal=self.causal)))
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


class AttentionBranch(nn.Module):
    """First half of a transformer block, x + merge(Attention(LN(x))): (B, S, d) to (B, S, d).

    Args:
        width: d.
        heads: attention heads, which divide d.
        dropout: probability of dropping.
        causal: whether a token attends to itself and to earlier tokens only.
    """

    def __init__(self, width: int, heads: int, dropout: float, *, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.norm, self.qkv, self.merge = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens behind the branch: (B, S, d) to (B, S, d)."""
        y: Tensor = x + self.drop(self.merge(mix_values(self.qkv(self.norm(x)), self.heads, causal=self.causal)))
        return y


class PerceptronBranch(nn.Module):
    """Second half of a transformer block, x + MLP(LN(x)): (B, S, d) to (B, S, d).

    Args:
        width: d.
        ratio: hidden width of the MLP in units of d.
        dropout: probability of dropping.
    """

    def __init__(self, width: int, ratio: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, ratio * width), nn.GELU(), nn.Linear(ratio * width, width))
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens behind the branch: (B, S, d) to (B, S, d)."""
        y: Tensor = x + self.drop(self.mlp(self.norm(x)))
        return y


class AttentionValues(nn.Module):
    """Values that attention mixes, beside the tokens: x to [x, Attention(LN(x))], (B, S, d) to (B, S, 2 d).

    A direct rule so sends an error of its own to the output of attention. What it sends to the copy of x has no effect.

    Args:
        width: d.
        heads: attention heads, which divide d.
        causal: whether a token attends to itself and to earlier tokens only.
    """

    def __init__(self, width: int, heads: int, *, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.norm, self.qkv = nn.LayerNorm(width), nn.Linear(width, 3 * width)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens and mixed values: (B, S, d) to (B, S, 2 d)."""
        return torch.cat([x, mix_values(self.qkv(self.norm(x)), self.heads, causal=self.causal)], 2)


class HiddenUnits(nn.Module):
    """Hidden units of a block's MLP, beside the tokens: x to [x, GELU(W LN(x))], (B, S, d) to (B, S, d + h).

    Args:
        width: d.
        hidden: h.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm, self.up, self.activation = nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens and hidden units: (B, S, d) to (B, S, d + h)."""
        return torch.cat([x, self.activation(self.up(self.norm(x)))], 2)


class ResidualSum(nn.Module):
    """End of a residual branch, [x, h] to x + W h: (B, S, d + h) to (B, S, d).

    Args:
        width: d.
        hidden: h.
        dropout: probability of dropping.
    """

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.width = width
        self.down, self.drop = nn.Linear(hidden, width), nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens behind the branch: (B, S, d + h) to (B, S, d)."""
        y: Tensor = x[:, :, : self.width] + self.drop(self.down(x[:, :, self.width :]))
        return y


def block_units(
    units: str, *, width: int, heads: int, ratio: int, dropout: float, causal: bool = False
) -> list[nn.Module]:
    """Return one transformer block as a chain of modules, each a unit of credit; all cuts compute the same.

    Args:
        units: one of :data:`UNITS`.
        width: d.
        heads: attention heads, which divide d.
        ratio: hidden width of the MLP in units of d.
        dropout: probability of dropping, on both residual branches.
        causal: whether a token attends to itself and to earlier tokens only.
    """
    if units == "block":
        return [TransformerBlock(width, heads, ratio, dropout, causal=causal)]
    if units == "residual":
        return [AttentionBranch(width, heads, dropout, causal=causal), PerceptronBranch(width, ratio, dropout)]
    values, hidden = AttentionValues(width, heads, causal=causal), HiddenUnits(width, ratio * width)
    return [values, ResidualSum(width, width, dropout), hidden, ResidualSum(width, ratio * width, dropout)]
