"""Layers without weights: pooling, flattening, dropout; errors return through their own transpose."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from hwmodels.errors import NeurofaError
from neurofa.core.description import FlattenDescription, IdentityDescription, PoolDescription
from neurofa.core.directions import ReturnWeights
from neurofa.core.facts import DescribedFacts
from neurofa.core.layer import Layer, LayerTraits, ParameterFreeLayer
from neurofa.core.products import LayerWork
from neurofa.core.view import Graph, LocalView, Params, State
from neurofa.core.window import Window

aten = torch.ops.aten


def _without_graph(
    layer: Layer,
    params: Params,
    x: Tensor,
    state: State,
    return_weights: ReturnWeights | None,  # noqa: ARG001
    needs_input_error: bool,  # noqa: ARG001
) -> tuple[Tensor, State, Graph | None]:
    """Compute one tick of a layer whose closed forms need no graph."""
    return *layer.compute(params, x, state), None


class LinearLayer(ParameterFreeLayer):
    """A layer without weights that is linear for fixed masks: its forward-mode derivative is the layer itself."""

    @property
    def traits(self) -> LayerTraits:
        return replace(super().traits, forward_mode=self)

    def follows(self, moved: frozenset[str]) -> bool:
        """Return whether no weight changes; the closed form covers every change of the input."""
        return not moved

    def tangent_flop(self, work: LayerWork, moved: frozenset[str], *, dot: bool) -> int:
        """Return 0: nothing is multiplied."""
        return 0

    def tangent(self, view: LocalView, dot: Tensor | None, moved: Params) -> Tensor:
        return torch.zeros_like(view.y) if dot is None else self.compute({}, dot, view.before)[0]


class MaxPool2d(ParameterFreeLayer, name="max_pool2d"):
    """Largest value of each window: (B, C, H, W) to (B, C, H', W').

    Args:
        size: side of the window, pixels.
        stride: step between windows, pixels; None: ``size``.
    """

    def __init__(self, size: int = 2, *, stride: int | None = None) -> None:
        super().__init__()
        self.size, self.stride = _window(size, stride)

    @property
    def traits(self) -> LayerTraits:
        window = Window(self.size, self.stride)
        facts = DescribedFacts(self, PoolDescription(how="max", size=self.size, stride=self.stride))
        return replace(super().traits, closed_form=True, window=window, forward_mode=self, facts=facts)

    def compute(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        _check_image(x)
        y, index = nn.functional.max_pool2d_with_indices(x, [self.size] * 2, [self.stride] * 2)
        return y, {"index": index}

    def record(
        self, params: Params, x: Tensor, state: State, return_weights: ReturnWeights | None, needs_input_error: bool
    ) -> tuple[Tensor, State, Graph | None]:
        # the index (int64) takes twice the memory of the image, and only a returned error needs it
        y, after = self.compute(params, x, state)
        return y, after if needs_input_error else {}, None

    def backprop_local(self, view: LocalView) -> LocalView:
        return view

    def input_error(self, view: LocalView, weights: ReturnWeights) -> Tensor:
        # ticks recorded for direct rules have no index: it is computed again
        after = view.after or self.compute({}, view.x, {})[1]
        return aten.max_pool2d_with_indices_backward(  # type: ignore[no-any-return]
            view.error, view.x, [self.size] * 2, [self.stride] * 2, [0, 0], [1, 1], False, after["index"]
        )

    def follows(self, moved: frozenset[str]) -> bool:
        """Return whether no weight changes; the closed form covers every change of the input."""
        return not moved

    def tangent_flop(self, work: LayerWork, moved: frozenset[str], *, dot: bool) -> int:
        """Return 0: nothing is multiplied."""
        return 0

    def tangent(self, view: LocalView, dot: Tensor | None, moved: Params) -> Tensor:
        # the output changes as the largest value of each window does
        if dot is None:
            return torch.zeros_like(view.y)
        after = view.after or self.compute({}, view.x, {})[1]
        return dot.flatten(2).gather(2, after["index"].flatten(2)).view(after["index"].shape)

    def module(self) -> nn.Module:
        return nn.MaxPool2d(self.size, self.stride)


class AvgPool2d(LinearLayer, name="avg_pool2d"):
    """Mean of each window: (B, C, H, W) to (B, C, H', W').

    Args:
        size: side of the window, pixels.
        stride: step between windows, pixels; None: ``size``.
    """

    def __init__(self, size: int = 2, *, stride: int | None = None) -> None:
        super().__init__()
        self.size, self.stride = _window(size, stride)

    @property
    def traits(self) -> LayerTraits:
        facts = DescribedFacts(self, PoolDescription(how="mean", size=self.size, stride=self.stride))
        return replace(super().traits, closed_form=True, window=Window(self.size, self.stride), facts=facts)

    def compute(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        _check_image(x)
        return nn.functional.avg_pool2d(x, self.size, self.stride), {}

    record = _without_graph

    def backprop_local(self, view: LocalView) -> LocalView:
        return view

    def input_error(self, view: LocalView, weights: ReturnWeights) -> Tensor:
        return aten.avg_pool2d_backward(  # type: ignore[no-any-return]
            view.error, view.x, [self.size] * 2, [self.stride] * 2, [0, 0], False, True, None
        )

    def module(self) -> nn.Module:
        return nn.AvgPool2d(self.size, self.stride)


class GlobalAvgPool2d(LinearLayer, name="global_avg_pool2d"):
    """Mean over all positions: (B, C, H, W) to (B, C)."""

    @property
    def traits(self) -> LayerTraits:
        return replace(super().traits, facts=DescribedFacts(self, PoolDescription(how="global")))

    def compute(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        _check_image(x)
        return x.mean((2, 3)), {}

    def module(self) -> nn.Module:
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Flatten(LinearLayer, name="flatten"):
    """Flattening of all axes except the first: (B, ...) to (B, n)."""

    @property
    def traits(self) -> LayerTraits:
        return replace(super().traits, closed_form=True, facts=DescribedFacts(self, FlattenDescription()))

    def compute(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        return x.flatten(1), {}

    record = _without_graph

    def backprop_local(self, view: LocalView) -> LocalView:
        return view

    def input_error(self, view: LocalView, weights: ReturnWeights) -> Tensor:
        assert view.error is not None
        return view.error.reshape(view.x.shape)

    def module(self) -> nn.Module:
        return nn.Flatten()


class Dropout(LinearLayer, name="dropout"):
    """Dropout: in training each value is dropped with probability ``p`` and the rest scaled by 1/(1-p); any shape.

    Args:
        p: probability of dropping a value.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise NeurofaError(f"got dropout(p={p}); expected at least 0 and below 1; 0 switches it off")
        self.p = p

    @property
    def traits(self) -> LayerTraits:
        facts = DescribedFacts(self, IdentityDescription(dropout=self.p))
        return replace(super().traits, window=Window(1), facts=facts)

    def fresh_state(self, x: Tensor, gen: torch.Generator | None) -> State:
        if not (self.training and self.p):
            return {}
        mask = torch.rand(x.shape, generator=gen, device=x.device, dtype=x.dtype)
        return {"keep": mask.ge_(self.p).div_(1 - self.p)}

    def compute(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        return (x * state["keep"] if "keep" in state else x), {}

    def module(self) -> nn.Module:
        return nn.Dropout(self.p)


def _check_image(x: Tensor) -> None:
    if x.dim() != 4:
        raise NeurofaError(
            f"got input of shape {tuple(x.shape[1:])} at a pooling; expected images (C, H, W); take the pooling out"
        )


def _window(size: int, stride: int | None) -> tuple[int, int]:
    step = size if stride is None else stride
    if size < 1 or step < 1:
        raise NeurofaError(f"got size={size}, stride={step}; expected at least 1 pixel each; change it")
    return size, step
