"""Matrix products of any layer, traced by running it on tensors with shapes but no data."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from hwmodels.errors import NeurofaError
from neurofa.core.layer import Layer
from neurofa.core.products import LayerWork, MapWork
from neurofa.maps.affine_calls import Affines
from neurofa.maps.convolutions import ConvSizes


class _Attentions(TorchFunctionMode):
    """Mode that adds up the FLOP of q k^T over all attentions."""

    flop = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is nn.functional.scaled_dot_product_attention:
            q, k = args[:2] if len(args) > 1 else (kwargs["query"], kwargs["key"])
            self.flop += 2 * math.prod(q.shape) * k.shape[-2]
        return func(*args, **(kwargs or {}))


def products(layer: Layer, shape: tuple[int, ...], *, sends: bool) -> LayerWork:
    """Return the sizes of the matrix products of one pass of a layer, as it states them or :func:`traced` finds them.

    Args:
        layer: any layer; its weights do not change.
        shape: (B, *in_shape) of its input.
        sends: whether the error at the input is needed.
    """
    own = layer.traits.products
    return traced(layer, shape, sends=sends) if own is None else own.work(shape, sends=sends)


def traced(layer: Layer, shape: tuple[int, ...], *, sends: bool) -> LayerWork:
    """Return the sizes of all matrix products of ``layer.compute``: those of ``linear``, convolutions and attention.

    The layer runs on tensors that have shapes but no data.

    Args:
        layer: any layer; its weights do not change.
        shape: (B, *in_shape) of its input.
        sends: whether the error at the input is needed.

    Raises:
        NeurofaError: the layer multiplies matrices in another way.
    """
    # imported here: it takes half a second
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils.flop_counter import FlopCounterMode

    maps: list[MapWork] = []

    def visit(name: str, op: str, call: dict[str, Any]) -> Tensor:
        x, weight, bias = call["input"], call["weight"], call.get("bias")
        if op == "scale":
            scaled: Tensor = x * weight.reshape(call["shape"])
            return scaled
        if op == "linear":
            y = nn.functional.linear(x, weight, bias)
            maps.append(MapWork(name, y.numel() // y.shape[-1], weight.shape[1], len(weight), x.requires_grad))
            return y
        sizes: ConvSizes = call["sizes"]
        y = sizes.product(x, weight, bias)
        n_out = y.shape[1]
        maps.append(MapWork(name, sizes.rows(x, y), weight.numel() // n_out, n_out, x.requires_grad, sizes.groups))
        return y

    fake = FakeTensorMode(allow_non_fake_inputs=True)
    counter, attentions = FlopCounterMode(display=False), _Attentions()
    stored = layer.synapses.stored()
    with fake, sdpa_kernel(SDPBackend.MATH), torch.enable_grad():
        like = next(iter(stored.values()), torch.empty(0))
        if layer.traits.vocabulary is None:
            x = torch.empty(shape, dtype=like.dtype, device=like.device, requires_grad=sends)
        else:
            x = torch.empty(shape, dtype=torch.int64, device=like.device)
        params = {key: torch.empty_like(w).requires_grad_() for key, w in stored.items()}
        matrices = {key: w for key, w in params.items() if w.dim() > 1}
        with counter, attentions, Affines(matrices, visit):
            layer.compute(params, x, {})
    work = LayerWork(tuple(maps), attentions.flop, closed=layer.traits.closed_form)
    if work.forward != counter.get_total_flops():
        raise NeurofaError(
            f"got a {layer.name} with products that cannot be attributed ({counter.get_total_flops()} FLOP, of which"
            f" {work.forward} in linear, convolutions and attention); expected no others; write its `work`"
        )
    return work
