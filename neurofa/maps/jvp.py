"""Forward-mode derivatives of any layer, with no more products than they need."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from neurofa.core.layer import Layer
from neurofa.core.products import TANGENT_ATTENTION, LayerWork
from neurofa.core.view import LocalView, Params
from neurofa.maps.asymmetric import Affines

# torch has not typed them
make_dual: Callable[[Tensor, Tensor], Tensor] = forward_ad.make_dual
unpack_dual: Callable[[Tensor], forward_ad.UnpackedDualTensor] = forward_ad.unpack_dual


def tangent(layer: Layer, view: LocalView, dot: Tensor | None, moved: Params) -> Tensor:
    """Return the change of a layer's output for small changes of its input and weights: (B, *out_shape).

    By the layer's closed form where it declares one, else by :func:`dual_tangent`.

    Args:
        layer: any.
        view: of the tick at which the derivative is taken.
        dot: (B, *in_shape), change of the input; None: none.
        moved: changes of own weights, shaped as they are; may be empty.
    """
    own = layer.traits.forward_mode
    if own is not None and own.follows(frozenset(moved)):
        return own.tangent(view, dot, moved)
    return dual_tangent(layer, view, dot, moved)


def dual_tangent(layer: Layer, view: LocalView, dot: Tensor | None, moved: Params) -> Tensor:
    """Return what :func:`tangent` returns, by dual numbers: the slow oracle, and the way of layers without closed form.

    Torch's own rule for a product multiplies by a matrix of zeros for each factor that does not change; here a product
    with a weight is made of those that are needed: W dx, and dW x where W moves.

    Args:
        layer: any.
        view: of the tick.
        dot: (B, *in_shape), change of the input; None: none.
        moved: changes of own weights.
    """
    own = dict(view.params)
    with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH), forward_ad.dual_level():
        # torch compiles some derivatives with its deprecated compiler; the fused attention has none
        warnings.simplefilter("ignore", DeprecationWarning)
        params = own | {key: make_dual(own[key], change) for key, change in moved.items()}
        x = make_dual(view.x, torch.zeros_like(view.x) if dot is None else dot)
        with Affines({key: w for key, w in params.items() if w.dim() > 1}, _product):
            y = layer.compute(params, x, view.before)[0]
        change: Tensor | None = unpack_dual(y).tangent
    return torch.zeros_like(view.y) if change is None else change


def tangent_flop(layer: Layer, work: LayerWork, moved: frozenset[str], *, dot: bool) -> int:
    """Return the FLOP of :func:`tangent`; on dual numbers the layer computes anew, with one more product a change.

    Args:
        layer: any.
        work: products of one pass of the same batch.
        moved: names of the weights that change.
        dot: whether the input changes.
    """
    own = layer.traits.forward_mode
    if own is not None and own.follows(moved):
        return own.tangent_flop(work, moved, dot=dot)
    changes = sum(m.product * (1 + (m.key in moved)) for m in work.maps)
    return work.forward + changes + TANGENT_ATTENTION * work.attention


def _product(name: str, op: str, given: dict[str, Any]) -> Tensor:  # noqa: ARG001
    function = torch.nn.functional.linear if op == "linear" else torch.conv2d
    rest = {k: given[k] for k in ("stride", "padding", "dilation", "groups") if k in given}
    x, weight = unpack_dual(given["input"]), unpack_dual(given["weight"])
    bias = None if given.get("bias") is None else unpack_dual(given["bias"])
    y = function(x.primal, weight.primal, None if bias is None else bias.primal, **rest)
    changes = []
    if x.tangent is not None:
        changes.append(function(x.tangent, weight.primal, None, **rest))
    if weight.tangent is not None:
        changes.append(function(x.primal, weight.tangent, None, **rest))
    if bias is not None and bias.tangent is not None:
        changes.append(bias.tangent.view(-1, *[1] * (y.dim() - 2) if op == "conv2d" else ()).expand_as(y))
    return make_dual(y, sum(changes[1:], changes[0])) if changes else y
