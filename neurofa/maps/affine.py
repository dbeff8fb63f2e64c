"""The affine layer: affine map, normalisation, activation and dropout, which learn from one error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from hwmodels.arrays.periphery import Periphery
from hwmodels.device import Device
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.core.directions import Direction, Directions, LowRank, ReturnWeights
from neurofa.core.event_rows import event_linear
from neurofa.core.layer import Layer, LayerTraits, require_no_memory
from neurofa.core.products import LayerWork, MapWork
from neurofa.core.view import Graph, LocalView, Params, State
from neurofa.maps.activations import Activation
from neurofa.maps.affine_facts import AffineFacts
from neurofa.maps.affine_map import AffineMap
from neurofa.maps.analog import Arrays, through
from neurofa.maps.convolutions import narrowed, refuse_factors
from neurofa.maps.norms import Norm

DIGITAL = "digital"


class Affine(Layer):
    """Affine layer h = dropout(f(norm(W x + b))), with closed forms of all local derivatives.

    The delivered error is the error at h. :meth:`backprop_local` computes ``delta``, the error at the affine output;
    the direction of W is the product of ``delta`` and the input. W and b are drawn uniformly from +-1/sqrt(fan_in), as
    in torch.

    On analog arrays (``arrays``) W x and the errors that return through W pass converters and noise. The derivatives
    ignore rounding and clipping by the converters (straight-through); the rule's view is digital.

    Args:
        affine_map: arithmetic of W.
        bias: whether b is added.
        activation: f.
        norm: normalisation between the affine map and f, or None.
        dropout: probability that an output is dropped in training.
    """

    def __init__(
        self,
        affine_map: AffineMap,
        *,
        bias: bool,
        activation: str | Activation = "identity",
        norm: str | Norm | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if min(affine_map.weight_shape) < 1:
            raise NeurofaError(
                f"got weight shape {affine_map.weight_shape}; expected sizes of at least 1; check the widths"
            )
        if not 0 <= dropout < 1:
            raise NeurofaError(f"got dropout={dropout}; expected at least 0 and below 1; 0 switches it off")
        self.map, self.bias, self.dropout = affine_map, bias, dropout
        self.activation: Activation = build("activation", activation)
        self.norm: Norm | None = None if norm is None else build("norm", norm)
        self.arrays: Arrays | None = None
        if self.norm is not None:
            self.norm.size(affine_map.channels)

    @property
    def traits(self) -> LayerTraits:
        gains = ("gain",) if self.norm is not None and self.norm.affine else ()
        return LayerTraits(
            returning=("weight", *gains),
            factored=frozenset({"weight"} if self.map.groups == 1 else ()),
            elementwise=True,
            closed_form=True,
            couples_samples=self.norm is not None and self.norm.couples_samples,
            window=self.map.window,
            array_host=self,
            mirror=self,
            products=self,
            forward_mode=self,
            facts=AffineFacts(self),
        )

    @property
    def periphery(self) -> Periphery | None:
        """Periphery around the layer's products; None: exact products."""
        return None if self.arrays is None else self.arrays.forward_io

    def attach(self, periphery: Periphery | None, *, fused: bool) -> None:
        """Put a periphery around the layer's products.

        Args:
            periphery: converters and noise; None removes them.
            fused: whether the products are compiled.
        """
        self.arrays = None if periphery is None else Arrays(periphery, fused=fused)

    def initialise(self, device: Device, gen: torch.Generator) -> None:
        bound, channels = self.map.fan_drawn**-0.5, self.map.channels
        weight = torch.empty(self.map.weight_shape).uniform_(-bound, bound, generator=gen)
        self.synapses.add("weight", weight, device, gen)
        exact = build("device", DIGITAL)
        if self.bias:
            self.synapses.add("bias", torch.empty(channels).uniform_(-bound, bound, generator=gen), exact, gen)
        if self.norm is not None and self.norm.affine:
            self.synapses.add("gain", torch.ones(channels), exact, gen)
            if self.norm.shifts:
                self.synapses.add("shift", torch.zeros(channels), exact, gen)

    def fresh_state(self, x: Tensor, gen: torch.Generator | None) -> State:
        state = {} if self.arrays is None else self.arrays.start(gen)
        if self.training and self.dropout:
            shape = self.map.out_shape(x.shape)
            mask = torch.rand(shape, generator=gen, device=x.device, dtype=x.dtype)
            state["keep"] = mask.ge_(self.dropout).div_(1 - self.dropout)
        return state

    def affine(self, params: Params, x: Tensor, state: State) -> Tensor:
        """Return W x + b, through the converters and noise of the arrays if there are any: (B, channels, ...).

        Args:
            params: own weights as read.
            x: (B, *in_shape), or rows of events if the map is dense.
            state: own state before the tick.
        """
        weight, bias = params["weight"], params.get("bias")
        if x.dim() != self.map.input_dims:
            _refuse_shape(x, self.map.input_dims)
        if self.arrays is not None:
            a = self.map.on_arrays(self.arrays.forward(weight, state), x, weight)
            return a if bias is None else a.add_(bias.view(-1, *[1] * (a.dim() - 2)))
        return self.product(x, weight, bias)

    def product(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return the exact W x + b: (B, *in_shape) to (B, channels, ...).

        Args:
            x: (B, *in_shape), or rows of events if the map is dense.
            weight: shaped as W.
            bias: (channels,) or None.
        """
        return (event_linear if x.layout == torch.sparse_csr else self.map.linear)(x, weight, bias)

    def compute(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        after: State = {}
        a = self.affine(params, x, state)
        if self.norm is not None:
            a, after = self.norm(a, params.get("gain"), params.get("shift"))
        f = self.activation
        if f.needs_input:
            after["a"] = a
        h = a if f.identity else f.forward(a) if a.requires_grad else f.forward_(a)
        if "keep" in state:
            after["h"] = h  # the derivative of f may need h before dropout
            h = h * state["keep"]
        return h, after

    def record(
        self, params: Params, x: Tensor, state: State, return_weights: ReturnWeights | None, needs_input_error: bool
    ) -> tuple[Tensor, State, Graph | None]:
        y, after = self.compute(params, x, state)
        return y, after, None  # the closed forms need no graph

    def update_running_stats(self, after: State) -> None:
        if self.norm is not None:
            self.norm.update_running_stats(after)

    def preactivation(self, view: LocalView) -> Tensor:
        """Return the preactivation a = norm(W x + b), (B, *out_shape); it is computed again if it was not kept."""
        if "a" in view.after:
            return view.after["a"]
        a = self.affine(view.params, view.x, view.before)
        return a if self.norm is None else self.norm(a, view.params.get("gain"), view.params.get("shift"))[0]

    def backprop_local(self, view: LocalView) -> LocalView:
        assert view.error is not None
        error = view.error * view.before["keep"] if "keep" in view.before else view.error
        if not self.activation.identity:
            error = self.activation.backward(error, self._kept(view))
        return self.through_norm(view, error)

    def backprop_with(self, view: LocalView, derivative: Callable[[Tensor], Tensor]) -> LocalView:
        """Return the view with ``delta`` for ``derivative(a)`` in place of f'(a).

        Args:
            view: with ``error``.
            derivative: function of the preactivation (B, *out_shape), of the same shape.
        """
        assert view.error is not None
        error = view.error * view.before["keep"] if "keep" in view.before else view.error
        return self.through_norm(view, error * derivative(self.preactivation(view)))

    def through_norm(self, view: LocalView, error: Tensor) -> LocalView:
        """Return the view with ``delta``, the error at the affine output, from the error behind the normalisation.

        Args:
            view: of this layer.
            error: (B, *out_shape) error at the activation's input.
        """
        if self.norm is None:
            return replace(view, delta=error)
        delta, gain, shift = self.norm.backward(error, view.params.get("gain"), view.after)
        partial: Directions = {} if gain is None else {"gain": gain}
        if shift is not None:
            partial["shift"] = shift
        # input_error here holds the error at the activation's input: the return path differentiates the normalisation
        # again, with its own gain
        return replace(view, delta=delta, partial=partial, input_error=error if partial else None)

    def pullback(self, view: LocalView) -> Directions:
        if view.delta is None:
            view = self.backprop_local(view)
        assert view.delta is not None
        directions: Directions = {"weight": self.direction(view.delta, view.x)}
        if self.bias:
            directions["bias"] = view.delta.sum([axis for axis in range(view.delta.dim()) if axis != 1])
        return directions | view.partial

    def direction(self, delta: Tensor, x: Tensor) -> Direction:
        """Return the direction of W, as factors if the device needs them.

        Args:
            delta: (B, channels, ...) error at the affine output.
            x: (B, *in_shape).
        """
        if self.map.groups == 1 and self.synapses["weight"].device.factored:
            return self.map.outer(delta, x)
        return self.map.direction(delta, x)

    def input_error(self, view: LocalView, weights: ReturnWeights) -> Tensor:
        if view.delta is None:
            view = self.backprop_local(view)
        delta = view.delta
        if view.input_error is not None and weights.get("gain") is not view.params.get("gain"):
            assert self.norm is not None
            gain = weights.get("gain")
            assert not isinstance(gain, LowRank)
            delta = self.norm.backward(view.input_error, gain, view.after)[0]
        assert delta is not None
        weight = weights["weight"]
        if isinstance(weight, LowRank):
            delta, weight = self._narrow(delta, weight.p, view.before), weight.q
        if self.arrays is None:
            return self.map.transposed(delta, view.x, weight)
        return self.map.transposed_on_arrays(self.arrays.back(weight, view.before), delta, view.x, weight)

    def _narrow(self, delta: Tensor, p: Tensor, before: State) -> Tensor:
        """Return delta P, (B, r, ...), for P (n_out, r)."""
        refuse_factors(self.map.groups, transposed=self.map.transposes)
        if self.arrays is None:
            return delta @ p if delta.dim() == 2 else narrowed(delta, p)
        rows = delta.movedim(1, -1)
        sent = self.arrays.back(p, before)(rows.reshape(-1, len(p)), p)
        return sent.view(*rows.shape[:-1], -1).movedim(-1, 1)

    def _kept(self, view: LocalView) -> Tensor:
        """Return a or h, whichever the activation's derivative needs."""
        return view.after["a"] if self.activation.needs_input else view.after.get("h", view.y)

    def tangent(self, view: LocalView, dot: Tensor | None, moved: Params) -> Tensor:
        a = None if dot is None else self.map.linear(dot, view.params["weight"], None)
        if "weight" in moved:
            own = self.product(view.x, moved["weight"], moved.get("bias"))
            a = own if a is None else a.add_(own)
        assert a is not None
        if self.norm is not None:
            # the Jacobian of a normalisation without gain is symmetric, so that its backward pass is the forward mode
            a = self.norm.backward(a, None, view.after)[0]
            if self.norm.affine:
                a = a * view.params["gain"].view(-1, *[1] * (a.dim() - 2))
        h = self.activation.backward(a, self._kept(view))
        return h * view.before["keep"] if "keep" in view.before else h

    def follows(self, moved: frozenset[str]) -> bool:
        """Return whether :meth:`tangent` covers changes of these weights: all but gain and shift."""
        return not moved & {"gain", "shift"}

    def tangent_flop(self, work: LayerWork, moved: frozenset[str], *, dot: bool) -> int:
        """Return the FLOP of :meth:`tangent`; see :class:`neurofa.core.layer.ForwardMode`."""
        return work.affine * (dot + ("weight" in moved))

    def work(self, shape: tuple[int, ...], *, sends: bool) -> LayerWork:
        """Return the size of the product of one pass; see :class:`neurofa.core.layer.ProductCount`."""
        own = self.map
        # convolutions form factors only for devices that need them
        factored = len(own.weight_shape) == 2 or self.synapses["weight"].device.factored
        factored = factored and own.groups == 1
        product = MapWork("weight", own.rows(shape), own.fan_in, own.channels, sends, own.groups, factored)
        return LayerWork((product,), kept=self.activation.needs_input)

    def mirror(self, params: Params, x: Tensor, amplitude: float, gen: torch.Generator | None) -> dict[str, Direction]:
        noise = torch.randn(x.shape, generator=gen, device=x.device, dtype=x.dtype).mul_(amplitude)
        weight = params["weight"]
        if self.arrays is None:
            y = self.map.linear(noise, weight, None)
        else:
            product = through(self.arrays.forward_io, weight, gen, fused=self.arrays.fused)
            y = self.map.on_arrays(product, noise, weight)
        return {"weight": self.map.noise_correlation(y, noise)}

    def module(self) -> nn.Module:
        require_no_memory(self)
        stored = self.synapses.stored()
        plain = self.map.module(stored["weight"], stored.get("bias"))
        for key, p in plain.named_parameters():
            p.requires_grad_(self.synapses[key].weight.requires_grad)
        tail = self._tail(stored)
        return nn.Sequential(plain, *tail) if tail else plain

    def _tail(self, stored: dict[str, Tensor]) -> list[nn.Module]:
        """Return torch modules of normalisation, activation and dropout, as far as there are any."""
        modules: list[nn.Module] = []
        if self.norm is not None:
            plain = self.norm.module(self.map.channels, len(self.map.weight_shape) - 2, stored["weight"])
            own = [key for key in ("gain", "shift") if key in stored]
            for p, key in zip(plain.parameters(), own, strict=True):
                p.data.copy_(stored[key])
                p.requires_grad_(self.synapses[key].weight.requires_grad)
            modules.append(plain)
        if self.activation.name != "identity":
            modules.append(self.activation.module())
        if self.dropout:
            modules.append(nn.Dropout(self.dropout))
        return modules


def _refuse_shape(x: Tensor, dims: int) -> None:
    if dims == 2:
        raise NeurofaError(
            f"got input of shape {tuple(x.shape[1:])} at a dense layer; expected a vector; flatten it, or put an"
            " nn.Linear in a Block to map tokens"
        )
    image = {3: "a signal (C, L)", 4: "an image (C, H, W)", 5: "a volume (C, D, H, W)"}[dims]
    raise NeurofaError(f"got input of shape {tuple(x.shape[1:])} at a convolution; expected {image}; reshape it")
