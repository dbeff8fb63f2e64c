"""A torch mode in which a function computes the output of every affine operation with a known weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from neurofa.maps.attention import ARGUMENTS, attend, expressible
from neurofa.maps.convolutions import CONVOLUTIONS, conv_call

functional = nn.functional

Visit = Callable[[str, str, dict[str, Any]], Tensor]
"""Computes the output of an operation from the weight's name, the operation and its arguments by name.

``linear``: input, weight, bias, and rows where the weight is a part of the one that is named. ``conv``: input, weight,
bias and sizes (:class:`~neurofa.maps.convolutions.ConvSizes`). ``scale``: input, weight, and the shape in which it
multiplies."""

_NORMS: dict[Any, str] = {
    functional.layer_norm: "input normalized_shape weight bias eps",
    functional.rms_norm: "input normalized_shape weight eps",
    functional.batch_norm: "input running_mean running_var weight bias training momentum eps",
    functional.instance_norm: "input running_mean running_var weight bias use_input_stats momentum eps",
    functional.group_norm: "input num_groups weight bias eps",
}
_OWN_SHAPE = (functional.layer_norm, functional.rms_norm)
"""Normalisations whose gain has the shape of the last axes; that of the others has one number a channel."""


class Affines(TorchFunctionMode):
    """Torch mode in which a function ``visit`` computes the output of every affine operation with a watched weight.

    These are linear maps, convolutions and transposed convolutions of one to three dimensions, the projections of
    multi-head attention, the gains of normalisations, and the slopes of PReLU.

    Args:
        watched: weights by name; an operation is recognised by the identity of its weight.
        visit: see :data:`Visit`.
    """

    def __init__(self, watched: Mapping[str, Tensor], visit: Visit) -> None:
        super().__init__()
        self.names = {id(weight): name for name, weight in watched.items()}
        self.visit = visit

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is functional.linear:
            call = _bound("input weight bias", args, kwargs)
            if self._watches(call["weight"]):
                return self._linear(call["input"], call["weight"], call.get("bias"))
        elif func in CONVOLUTIONS:
            call = _bound(CONVOLUTIONS[func][1], args, kwargs)
            if self._watches(call["weight"]):
                return self._convolution(func, call)
        elif func in _NORMS:
            call = _bound(_NORMS[func], args, kwargs)
            if self._watches(call.get("weight")):
                return self._norm(func, call)
        elif func is torch.prelu:
            call = _bound("input weight", args, kwargs)
            if self._watches(call["weight"]):
                x, slope = call["input"], call["weight"]
                shape = (-1, *[1] * (x.dim() - 2)) if x.dim() > 1 else (-1,)
                return x.relu() + self._scale(x.clamp(max=0), slope, shape)
        elif func is functional.multi_head_attention_forward:
            call = _bound(ARGUMENTS, args, kwargs)
            if expressible(call):
                return attend(call, self._linear)
        return func(*args, **kwargs)

    def _watches(self, weight: Tensor | None) -> bool:
        return weight is not None and id(weight) in self.names

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor | None, rows: slice | None = None) -> Tensor:
        own = weight if rows is None else weight[rows]
        if not self._watches(weight):
            return functional.linear(x, own, bias)
        call = {"input": x, "weight": own, "bias": bias} | ({} if rows is None else {"rows": rows})
        return self.visit(self.names[id(weight)], "linear", call)

    def _convolution(self, func: Any, call: dict[str, Any]) -> Tensor:
        x, sizes, single = conv_call(func, call)
        weight = call["weight"]
        own = {"input": x, "weight": weight, "bias": call.get("bias"), "sizes": sizes}
        y = self.visit(self.names[id(weight)], "conv", own)
        return y.squeeze(0) if single else y

    def _norm(self, func: Any, call: dict[str, Any]) -> Tensor:
        # split into normalisation without gain, gain, and shift: only the gain has a return weight
        weight, bias = call["weight"], call.pop("bias", None)
        plain = func(**(call | {"weight": None}))
        shape = weight.shape if func in _OWN_SHAPE else (-1, *[1] * (plain.dim() - 2))
        y = self._scale(plain, weight, shape)
        return y if bias is None else y + bias.reshape(shape)

    def _scale(self, x: Tensor, weight: Tensor, shape: tuple[int, ...]) -> Tensor:
        return self.visit(self.names[id(weight)], "scale", {"input": x, "weight": weight, "shape": shape})


def _bound(names: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call by name."""
    return dict(zip(names.split(), args, strict=False)) | dict(kwargs)
