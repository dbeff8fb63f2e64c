"""Layers without weights: pooling, flattening, dropout. An error passes them by their own transpose."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hwmodels.errors import NeurofaError
from neurofa.core.description import FlattenDescription, IdentityDescription, PoolDescription
from neurofa.core.layer import Carrier, LocalView, Params, Returns, State
from neurofa.core.window import Window

aten = torch.ops.aten


class Linear(Carrier):
    """A carrier that is linear for given masks: what changes its input changes its output in the same way."""

    def tangent(self, view: LocalView, dot: Tensor | None, moved: Params) -> Tensor:
        return torch.zeros_like(view.y) if dot is None else self.compute({}, dot, view.before)[0]


class MaxPool2d(Carrier, name="max_pool2d"):
    """Largest value of each window: (B, C, H, W) to (B, C, H', W').

    Args:
        size: side of the window, pixels.
        stride: step between windows, pixels; None: ``size``.
    """

    closed_form = True

    def __init__(self, size: int = 2, *, stride: int | None = None) -> None:
        super().__init__()
        self.size, self.stride = _window(size, stride)

    def describe(self, in_shape: tuple[int, ...]) -> PoolDescription:
        return PoolDescription(how="max", size=self.size, stride=self.stride)

    @property
    def window(self) -> Window:
        return Window(self.size, self.stride)

    def compute(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        _check_image(x)
        y, index = nn.functional.max_pool2d_with_indices(x, [self.size] * 2, [self.stride] * 2)
        return y, {"index": index}

    def record(
        self, params: Params, x: Tensor, state: State, returns: Returns | None, below: bool
    ) -> tuple[Tensor, State, None]:
        # the index is twice as large as the image, and only a returning error needs it
        y, after = self.compute(params, x, state)
        return y, after if below else {}, None

    def localise(self, view: LocalView) -> LocalView:
        return view

    def transpose(self, view: LocalView, weights: Returns) -> Tensor:
        # a tick that was recorded for a direct rule has no index
        after = view.after or self.compute({}, view.x, {})[1]
        return aten.max_pool2d_with_indices_backward(  # type: ignore[no-any-return]
            view.error, view.x, [self.size] * 2, [self.stride] * 2, [0, 0], [1, 1], False, after["index"]
        )

    def tangent(self, view: LocalView, dot: Tensor | None, moved: Params) -> Tensor:
        if dot is None:
            return torch.zeros_like(view.y)
        after = view.after or self.compute({}, view.x, {})[1]
        return dot.flatten(2).gather(2, after["index"].flatten(2)).view(after["index"].shape)

    def module(self) -> nn.Module:
        return nn.MaxPool2d(self.size, self.stride)


class AvgPool2d(Linear, name="avg_pool2d"):
    """Mean of each window: (B, C, H, W) to (B, C, H', W').

    Args:
        size: side of the window, pixels.
        stride: step between windows, pixels; None: ``size``.
    """

    closed_form = True

    def __init__(self, size: int = 2, *, stride: int | None = None) -> None:
        super().__init__()
        self.size, self.stride = _window(size, stride)

    @property
    def window(self) -> Window:
        return Window(self.size, self.stride)

    def describe(self, in_shape: tuple[int, ...]) -> PoolDescription:
        return PoolDescription(how="mean", size=self.size, stride=self.stride)

    def compute(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        _check_image(x)
        return nn.functional.avg_pool2d(x, self.size, self.stride), {}

    def localise(self, view: LocalView) -> LocalView:
        return view

    def transpose(self, view: LocalView, weights: Returns) -> Tensor:
        return aten.avg_pool2d_backward(  # type: ignore[no-any-return]
            view.error, view.x, [self.size] * 2, [self.stride] * 2, [0, 0], False, True, None
        )

    def module(self) -> nn.Module:
        return nn.AvgPool2d(self.size, self.stride)


class GlobalAvgPool2d(Linear, name="global_avg_pool2d"):
    """Mean over all positions: (B, C, H, W) to (B, C)."""

    def describe(self, in_shape: tuple[int, ...]) -> PoolDescription:
        return PoolDescription(how="global")

    def compute(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        _check_image(x)
        return x.mean((2, 3)), {}

    def module(self) -> nn.Module:
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Flatten(Linear, name="flatten"):
    """All axes but the first in one: (B, ...) to (B, n)."""

    closed_form = True

    def describe(self, in_shape: tuple[int, ...]) -> FlattenDescription:
        return FlattenDescription()

    def compute(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        return x.flatten(1), {}

    def localise(self, view: LocalView) -> LocalView:
        return view

    def transpose(self, view: LocalView, weights: Returns) -> Tensor:
        assert view.error is not None
        return view.error.reshape(view.x.shape)

    def module(self) -> nn.Module:
        return nn.Flatten()


class Dropout(Linear, name="dropout"):
    """Drop each value with probability ``p`` in training and scale the rest by 1/(1-p); any shape.

    Args:
        p: probability of dropping.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise NeurofaError(f"got dropout(p={p}); expected at least 0 and below 1; 0 switches it off")
        self.p = p

    def describe(self, in_shape: tuple[int, ...]) -> IdentityDescription:
        return IdentityDescription(dropout=self.p)

    @property
    def window(self) -> Window:
        return Window(1)

    def start(self, x: Tensor, gen: torch.Generator | None) -> State:
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
