"""Multi-head attention out of its projections, so that each of them can be a map of its own.

``torch.nn.functional.multi_head_attention_forward`` hides its projections from torch function modes. This is the same
function with the projections passed in, for modes in which an error has to return through other weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

Project = Callable[[Tensor, Tensor, Tensor | None, slice | None], Tensor]
"""Computes x W^T + b for an input, a weight, a bias, and the rows that the weight has in a larger one (None: all)."""

ARGUMENTS = (
    "query key value embed_dim_to_check num_heads in_proj_weight in_proj_bias bias_k bias_v add_zero_attn dropout_p"
    " out_proj_weight out_proj_bias training key_padding_mask need_weights attn_mask use_separate_proj_weight"
    " q_proj_weight k_proj_weight v_proj_weight static_k static_v average_attn_weights is_causal"
)
"""Names of the arguments of torch's function, in order."""


def expressible(call: Mapping[str, Any]) -> bool:
    """Return whether :func:`attend` computes a call: one without added keys and values."""
    extra = ("bias_k", "bias_v", "static_k", "static_v")
    return all(call.get(key) is None for key in extra) and not call.get("add_zero_attn")


def attend(call: Mapping[str, Any], project: Project) -> tuple[Tensor, Tensor | None]:
    """Return the output of a multi-head attention, and its weights if the call wants them.

    Args:
        call: arguments of torch's function by name; queries (L, N, d), keys and values (S, N, d), or without N.
        project: computes the four linear maps.

    Returns:
        (L, N, d) output; (N, L, S) weights, or (N, heads, L, S) where they are not averaged, or None.
    """
    inputs = call["query"], call["key"], call["value"]
    batched = inputs[0].dim() == 3
    if not batched:
        # identities are kept: they say that one product gives all three
        one = {id(x): x.unsqueeze(1) for x in inputs}
        inputs = tuple(one[id(x)] for x in inputs)
    heads, (length, samples, width) = call["num_heads"], inputs[0].shape
    q, k, v = (x.reshape(len(x), samples * heads, -1).transpose(0, 1) for x in _projected(call, inputs, project))
    q, k, v = (x.reshape(samples, heads, *x.shape[1:]) for x in (q, k, v))
    mask = _mask(call, samples, heads, q.dtype)
    dropout = call["dropout_p"] if call.get("training", True) else 0.0
    if call.get("need_weights", True):
        scores = (q * math.sqrt(1 / q.shape[-1])) @ k.transpose(-2, -1)
        weights: Tensor | None = (scores if mask is None else scores + mask).softmax(-1)
        assert weights is not None
        if dropout > 0:
            weights = nn.functional.dropout(weights, dropout)
        y = weights @ v
        weights = weights.mean(1) if call.get("average_attn_weights", True) else weights
    else:
        weights = None
        y = nn.functional.scaled_dot_product_attention(q, k, v, mask, dropout)
    y = y.permute(2, 0, 1, 3).reshape(length * samples, width)
    y = project(y, call["out_proj_weight"], call["out_proj_bias"], None).view(length, samples, -1)
    if batched:
        return y, weights
    return y.squeeze(1), None if weights is None else weights.squeeze(0)


def _projected(call: Mapping[str, Any], inputs: tuple[Tensor, ...], project: Project) -> tuple[Tensor, ...]:
    """Return queries, keys and values, (length, N, d) each."""
    bias = call.get("in_proj_bias")
    biases = (None,) * 3 if bias is None else bias.chunk(3)
    if call.get("use_separate_proj_weight"):
        weights = (call[f"{which}_proj_weight"] for which in "qkv")
        return tuple(project(x, w, b, None) for x, w, b in zip(inputs, weights, biases, strict=True))
    weight = call["in_proj_weight"]
    if inputs[0] is inputs[1] is inputs[2]:
        return project(inputs[0], weight, bias, None).chunk(3, -1)
    width = len(weight) // 3
    return tuple(
        project(x, weight, b, slice(i * width, (i + 1) * width))
        for i, (x, b) in enumerate(zip(inputs, biases, strict=True))
    )


def _mask(call: Mapping[str, Any], samples: int, heads: int, dtype: torch.dtype) -> Tensor | None:
    """Return what is added to the scores, broadcast to (N, heads, L, S); None: nothing."""
    mask, padding = call.get("attn_mask"), call.get("key_padding_mask")
    if mask is not None:
        mask = _additive(mask, dtype)
        mask = mask.view(samples, heads, *mask.shape[1:]) if len(mask) == samples * heads and mask.dim() == 3 else mask
    if padding is None:
        return mask
    padding = _additive(padding, dtype).view(samples, 1, 1, -1)
    return padding if mask is None else mask + padding


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask, -math.inf)
