"""What dense and convolutional layers share: affine map, normalisation, activation, dropout as one unit of credit."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from hwmodels.arrays.periphery import Periphery
from hwmodels.device import Device
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.core.description import AffineDescription, LayerDescription, NormDescription
from neurofa.core.layer import (
    Direction,
    Directions,
    Layer,
    LocalView,
    LowRank,
    Outer,
    Params,
    Returns,
    State,
    Sum,
)
from neurofa.core.products import Map, MatrixInputs, Work
from neurofa.maps.activations import Activation
from neurofa.maps.analog import Arrays, Product, through
from neurofa.maps.asymmetric import narrowed
from neurofa.maps.norms import Norm

DIGITAL = "digital"


class Affine(Layer):
    """h = dropout(f(norm(W x + b))), with closed forms for every local derivative.

    The delivered error arrives at h; :meth:`localise` brings it to the affine output as ``delta``, and every direction
    is the product of ``delta`` and the input. Weights W and b are drawn uniformly from +-1/sqrt(fan_in), as torch does.

    On analog arrays (``arrays``) W x, and the errors that return through W, pass converters and noise. The derivatives
    ignore what the converters round and clip (straight-through); the rule's view stays digital.
    """

    closed_form = True
    knows_inputs = True
    groups: int = 1
    """Groups of channels that do not mix."""
    arrays: Arrays | None = None
    """What the products of the weights go through; None: exact products."""

    def __init__(
        self,
        *,
        fan_in: int,
        channels: int,
        weight_shape: tuple[int, ...],
        bias: bool,
        activation: str | Activation,
        norm: str | Norm | None,
        dropout: float,
    ) -> None:
        super().__init__()
        if min(weight_shape) < 1:
            raise NeurofaError(f"got weight shape {weight_shape}; expected sizes of at least 1; check the widths")
        if not 0 <= dropout < 1:
            raise NeurofaError(f"got dropout={dropout}; expected at least 0 and below 1; 0 switches it off")
        self.fan_in, self.channels, self.weight_shape, self.bias = fan_in, channels, weight_shape, bias
        self.activation: Activation = build("activation", activation)
        self.norm: Norm | None = None if norm is None else build("norm", norm)
        self.dropout = dropout
        if self.norm is not None:
            self.norm.size(channels)

    @abstractmethod
    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The affine map alone: (B, *in_shape) to (B, channels, ...)."""

    @abstractmethod
    def outer(self, delta: Tensor, x: Tensor) -> Direction:
        """Direction of W for ``delta`` at the affine output."""

    @abstractmethod
    def carry(self, delta: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """``delta`` sent back through ``weight``: error at the input, shaped as ``x``."""

    @abstractmethod
    def map(self, product: Product, x: Tensor, weight: Tensor) -> Tensor:
        """The map of :meth:`linear` without its bias, made of the vectors and matrices that arrays would see."""

    @abstractmethod
    def back(self, product: Product, delta: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """The map of :meth:`carry`, made of the vectors and matrices that arrays would see."""

    @abstractmethod
    def out_shape(self, in_shape: torch.Size) -> tuple[int, ...]:
        """Shape of the output for one (batched) input shape."""

    def initialise(self, device: Device, gen: torch.Generator) -> None:
        bound = self.fan_in**-0.5
        weight = torch.empty(self.weight_shape).uniform_(-bound, bound, generator=gen)
        self.add_synapses("weight", weight, device, gen)
        exact = build("device", DIGITAL)
        if self.bias:
            self.add_synapses("bias", torch.empty(self.channels).uniform_(-bound, bound, generator=gen), exact, gen)
        if self.norm is not None and self.norm.affine:
            self.add_synapses("gain", torch.ones(self.channels), exact, gen)
            self.add_synapses("shift", torch.zeros(self.channels), exact, gen)

    @property
    def returning(self) -> tuple[str, ...]:
        return ("weight", "gain") if self.norm is not None and self.norm.affine else ("weight",)

    def start(self, x: Tensor, gen: torch.Generator | None) -> State:
        state = {} if self.arrays is None else self.arrays.start(gen)
        if self.training and self.dropout:
            shape = self.out_shape(x.shape)
            mask = torch.rand(shape, generator=gen, device=x.device, dtype=x.dtype)
            state["keep"] = mask.ge_(self.dropout).div_(1 - self.dropout)
        return state

    def _affine(self, params: Params, x: Tensor, state: State) -> Tensor:
        """W x + b as this tick sees it: (B, channels, ...)."""
        weight, bias = params["weight"], params.get("bias")
        if self.arrays is None:
            return self.linear(x, weight, bias)
        a = self.map(self.arrays.forward(weight, state), x, weight)
        return a if bias is None else a.add_(bias.view(-1, *[1] * (a.dim() - 2)))

    def compute(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        after: State = {}
        a = self._affine(params, x, state)
        if self.norm is not None:
            a, after = self.norm(a, params.get("gain"), params.get("shift"))
        if self.activation.needs_input:
            after["a"] = a
        h = self.activation.forward(a)
        if "keep" in state:
            after["h"] = h
            h = h * state["keep"]
        return h, after

    def absorb(self, after: State) -> None:
        if self.norm is not None:
            self.norm.absorb(after)

    def preactivation(self, view: LocalView) -> Tensor:
        """A = norm(W x + b), what the activation saw: (B, *out_shape); computed anew where it was not kept."""
        if "a" in view.after:
            return view.after["a"]
        a = self._affine(view.params, view.x, view.before)
        return a if self.norm is None else self.norm(a, view.params.get("gain"), view.params.get("shift"))[0]

    def localise(self, view: LocalView) -> LocalView:
        assert view.error is not None
        error = view.error * view.before["keep"] if "keep" in view.before else view.error
        return self.enter(view, self.activation.backward(error, self._kept(view)))

    def enter(self, view: LocalView, error: Tensor) -> LocalView:
        """Take an error from behind the activation to the affine output, through the normalisation.

        Args:
            view: the own view.
            error: (B, *out_shape) error at the activation's input.
        """
        if self.norm is None:
            return view.worked_out(error)
        delta, gain, shift = self.norm.backward(error, view.params.get("gain"), view.after)
        partial: Directions = {} if gain is None or shift is None else {"gain": gain, "shift": shift}
        # Kept for the return path, which has a gain of its own.
        return view.worked_out(delta, partial, error if partial else None)

    def pullback(self, view: LocalView) -> Directions:
        if view.delta is None:
            view = self.localise(view)
        assert view.delta is not None
        directions: Directions = {"weight": self.outer(view.delta, view.x)}
        if self.bias:
            directions["bias"] = view.delta.sum([axis for axis in range(view.delta.dim()) if axis != 1])
        return directions | view.partial

    def transpose(self, view: LocalView, weights: Returns) -> Tensor:
        if view.delta is None:
            view = self.localise(view)
        delta = view.delta
        if view.below is not None and weights.get("gain") is not view.params.get("gain"):
            assert self.norm is not None
            gain = weights.get("gain")
            assert not isinstance(gain, LowRank)
            delta = self.norm.backward(view.below, gain, view.after)[0]
        assert delta is not None
        weight = weights["weight"]
        if isinstance(weight, LowRank):
            delta, weight = self.narrow(delta, weight.p, view.before), weight.q
        if self.arrays is None:
            return self.carry(delta, view.x, weight)
        return self.back(self.arrays.back(weight, view.before), delta, view.x, weight)

    def tangent(self, view: LocalView, dot: Tensor | None, moved: Params) -> Tensor:
        if "gain" in moved or "shift" in moved:
            return super().tangent(view, dot, moved)
        a = None if dot is None else self.linear(dot, view.params["weight"], None)
        if "weight" in moved:
            own = self.linear(view.x, moved["weight"], moved.get("bias"))
            a = own if a is None else a.add_(own)
        assert a is not None
        if self.norm is not None:
            # without its gain, the derivative of a normalisation is its own transpose
            a = self.norm.backward(a, None, view.after)[0]
            if self.norm.affine:
                a = a * view.params["gain"].view(-1, *[1] * (a.dim() - 2))
        h = self.activation.backward(a, self._kept(view))
        return h * view.before["keep"] if "keep" in view.before else h

    def work(self, shape: tuple[int, ...], *, sends: bool) -> Work:
        rows = math.prod(self.out_shape(torch.Size(shape))) // self.channels
        # convolutions leave factors to devices that ask for them
        factored = len(self.weight_shape) == 2 or self.synapse("weight").device.factored
        factored = factored and self.factors("weight")
        own = Map("weight", rows, self.fan_in, self.channels, sends, self.groups, factored)
        return Work((own,), kept=self.activation.needs_input)

    def tangent_flop(self, work: Work, moved: frozenset[str], *, dot: bool) -> int:
        if moved & {"gain", "shift"}:
            return super().tangent_flop(work, moved, dot=dot)
        return work.affine * (dot + ("weight" in moved))

    def _kept(self, view: LocalView) -> Tensor:
        """What the activation's derivative is taken from."""
        return view.after["a"] if self.activation.needs_input else view.after.get("h", view.y)

    def narrow(self, delta: Tensor, p: Tensor, before: State) -> Tensor:
        """``delta`` in the r directions of the columns of P, (n_out, r): (B, r, ...)."""
        if self.arrays is None:
            return delta @ p if delta.dim() == 2 else narrowed(delta, p)
        rows = delta.movedim(1, -1)
        sent = self.arrays.back(p, before)(rows.reshape(-1, len(p)), p)
        return sent.view(*rows.shape[:-1], -1).movedim(-1, 1)

    @abstractmethod
    def correlate(self, y: Tensor, noise: Tensor) -> Direction:
        """Mean over samples and positions of y xi^T, shaped as W."""

    def mirror(self, params: Params, x: Tensor, amplitude: float, gen: torch.Generator | None) -> dict[str, Direction]:
        """Correlation of W xi with noise xi of the input's shape (weight mirror)."""
        noise = torch.randn(x.shape, generator=gen, device=x.device, dtype=x.dtype).mul_(amplitude)
        weight = params["weight"]
        if self.arrays is None:
            return {"weight": self.correlate(self.linear(noise, weight, None), noise)}
        seen = self.map(through(self.arrays.forward_io, weight, gen, fused=self.arrays.fused), noise, weight)
        return {"weight": self.correlate(seen, noise)}

    def describe(self, in_shape: tuple[int, ...]) -> LayerDescription:
        norm = None if self.norm is None else self.norm.describe()
        known = self.norm is None or norm is not None
        return self.affine_description(norm) if known else super().describe(in_shape)

    def affine_description(self, norm: NormDescription | None) -> AffineDescription:
        """Describe the affine map with what follows it, behind a normalisation that describes itself."""
        scaled = norm is not None and "gain" in self._own
        return AffineDescription(
            weight=self.synapse("weight"),
            axes="(n_out, n_in)",
            bias=self.synapse("bias") if self.bias else None,
            norm=norm,
            gain=self.synapse("gain") if scaled else None,
            shift=self.synapse("shift") if scaled else None,
            activation=self.activation.name,
            dropout=self.dropout,
        )

    @property
    def connections_in(self) -> int:
        return self.fan_in

    def connections(self, out_shape: tuple[int, ...]) -> int:
        # weights that positions share are connections at each
        return self.connections_in * math.prod(out_shape)

    @property
    def periphery(self) -> Periphery | None:
        return None if self.arrays is None else self.arrays.forward_io

    @property
    def activates(self) -> bool:
        return self.activation.name != "identity"

    def slope(self) -> tuple[str, Callable[[Tensor], Tensor]] | None:
        return self.activation.name, self.activation.derivative

    def matrix_inputs(self, view: LocalView) -> tuple[MatrixInputs, ...]:
        return (MatrixInputs("weight", view.x, self._products, self._updates),)

    def _products(self, inputs: Tensor, weights: Tensor) -> float:
        return float(self.linear(inputs.unsqueeze(0), weights, None).sum())

    def _updates(self, errors: Tensor, inputs: Tensor) -> float:
        found = self.outer(errors, inputs)
        assert not isinstance(found, Sum)
        return float((found.dense() if isinstance(found, Outer) else found).sum())

    def tail(self) -> list[nn.Module]:
        """Plain torch modules of everything behind the affine map."""
        modules: list[nn.Module] = []
        if self.norm is not None:
            plain = self.norm.module(self.channels, len(self.weight_shape) > 2, self.synapse("weight").weight)
            if self.norm.affine:
                plain.weight.data.copy_(self.synapse("gain").weight)  # type: ignore[operator]
                plain.bias.data.copy_(self.synapse("shift").weight)  # type: ignore[operator]
            modules.append(plain)
        if self.activation.name != "identity":
            modules.append(self.activation.module())
        if self.dropout:
            modules.append(nn.Dropout(self.dropout))
        return modules
