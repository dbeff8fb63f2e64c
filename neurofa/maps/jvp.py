"""Forward-mode derivatives (Jacobian-vector products) of any layer, without unnecessary products."""

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
from neurofa.maps.affine_calls import Affines

# these functions are untyped in torch
make_dual: Callable[[Tensor, Tensor], Tensor] = forward_ad.make_dual
unpack_dual: Callable[[Tensor], forward_ad.UnpackedDualTensor] = forward_ad.unpack_dual


def tangent(layer: Layer, view: LocalView, dot: Tensor | None, moved: Params) -> Tensor:
    """Return the first-order change of a layer's output for changes of its input and weights: (B, *out_shape).

    The layer's closed form is used if it declares one, else :func:`dual_tangent`.

    Args:
        layer: any layer.
        view: of the tick at which the derivative is taken.
        dot: (B, *in_shape), change of the input; None: none.
        moved: changes of the layer's weights, shaped as the weights; may be empty.
    """
    own = layer.traits.forward_mode
    if own is not None and own.follows(frozenset(moved)):
        return own.tangent(view, dot, moved)
    return dual_tangent(layer, view, dot, moved)


def dual_tangent(layer: Layer, view: LocalView, dot: Tensor | None, moved: Params) -> Tensor:
    """Return the first-order change of a layer's output by torch's dual numbers, the default without a closed form.

    Torch's own derivative of a product multiplies by a zero matrix for each factor that does not change. Here only the
    necessary products are computed: W dx, and dW x if W changes.

    Args:
        layer: any layer.
        view: of the tick at which the derivative is taken.
        dot: (B, *in_shape), change of the input; None: none.
        moved: changes of the layer's weights, shaped as the weights; may be empty.
    """
    own = dict(view.params)
    with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH), forward_ad.dual_level():
        # torch compiles some derivatives with its deprecated compiler; the fused attention has no forward-mode one
        warnings.simplefilter("ignore", DeprecationWarning)
        params = own | {key: make_dual(own[key], change) for key, change in moved.items()}
        x = view.x
        if x.is_floating_point():  # ids of tokens cannot change a little
            x = make_dual(x, torch.zeros_like(x) if dot is None else dot)
        with Affines({key: w for key, w in params.items() if w.dim() > 1}, _product):
            y = layer.compute(params, x, view.before)[0]
        change: Tensor | None = unpack_dual(y).tangent
    return torch.zeros_like(view.y) if change is None else change


def tangent_flop(layer: Layer, work: LayerWork, moved: frozenset[str], *, dot: bool) -> int:
    """Return the FLOP of :func:`tangent` for one layer.

    Dual numbers compute the layer's output again, and one product more for each factor that changes.

    Args:
        layer: any layer.
        work: products of one pass of the same batch.
        moved: names of the weights that change.
        dot: whether the input changes.
    """
    own = layer.traits.forward_mode
    if own is not None and own.follows(moved):
        return own.tangent_flop(work, moved, dot=dot)
    changes = sum(m.product * (1 + (m.key in moved)) for m in work.maps)
    return work.forward + changes + TANGENT_ATTENTION * work.attention


def _product(name: str, op: str, call: dict[str, Any]) -> Tensor:  # noqa: ARG001
    """Return W x + b as a dual number whose tangent is the sum of W dx, dW x and db, as far as they exist."""
    if op == "scale":
        scaled: Tensor = call["input"] * call["weight"].reshape(call["shape"])
        return scaled
    function = call["sizes"].product if op == "conv" else torch.nn.functional.linear
    x, weight = unpack_dual(call["input"]), unpack_dual(call["weight"])
    bias = None if call.get("bias") is None else unpack_dual(call["bias"])
    y = function(x.primal, weight.primal, None if bias is None else bias.primal)
    changes = []
    if x.tangent is not None:
        changes.append(function(x.tangent, weight.primal, None))
    if weight.tangent is not None:
        changes.append(function(x.primal, weight.tangent, None))
    if bias is not None and bias.tangent is not None:
        changes.append(bias.tangent.view(-1, *[1] * (y.dim() - 2) if op == "conv" else ()).expand_as(y))
    return make_dual(y, sum(changes[1:], changes[0])) if changes else y
