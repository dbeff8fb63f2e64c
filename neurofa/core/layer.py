"""The layer, the unit of credit: one error arrives at its output, and the layer alone computes its weight changes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from hwmodels.arrays.periphery import Periphery
from hwmodels.device import Device
from hwmodels.registry import Registered
from neurofa.core.directions import Direction, Directions, ReturnWeights, dense
from neurofa.core.facts import LayerFacts, PlainModule
from neurofa.core.products import Work
from neurofa.core.synapses import SynapseGroup
from neurofa.core.view import Graph, LocalView, Params, State
from neurofa.core.window import Window


class ArrayHost(Protocol):
    """Capability of a layer whose products can go through converters and noise."""

    @property
    def periphery(self) -> Periphery | None:
        """The periphery around the layer's products; None: exact products."""

    def attach(self, periphery: Periphery | None, *, fused: bool) -> None:
        """Put a periphery around the layer's products.

        Args:
            periphery: converters and noise; None takes them away.
            fused: compile the products.
        """


class NoiseMirror(Protocol):
    """Capability of a layer that can pass noise through its affine maps (weight mirror)."""

    def mirror(self, params: Params, x: Tensor, amplitude: float, gen: torch.Generator | None) -> dict[str, Direction]:
        """Return the mean correlation E[y xi^T] of each map's output with noise xi at its input, by weight.

        Args:
            params: own weights as read.
            x: (B, *in_shape), whose shape the noise takes.
            amplitude: standard deviation of the noise.
            gen: source of the noise.
        """


class ProductCount(Protocol):
    """Capability of a layer that states its matrix products; those of other layers are traced."""

    def work(self, shape: tuple[int, ...], *, sends: bool) -> Work:
        """Return the products of one pass.

        Args:
            shape: (B, *in_shape) of the input.
            sends: whether the error at the input will be asked for.
        """


class ForwardMode(Protocol):
    """Capability of a layer that has a closed form of its forward-mode derivative; others compute on dual numbers."""

    def tangent(self, view: LocalView, dot: Tensor | None, moved: Params) -> Tensor:
        """Return the change of the output for small changes of input and weights: (B, *out_shape).

        Args:
            view: of the tick at which the derivative is taken.
            dot: (B, *in_shape), change of the input; None: none.
            moved: changes of own weights, shaped as they are; may be empty.
        """

    def follows(self, moved: frozenset[str]) -> bool:
        """Return whether there is a closed form for changes of these weights (and of the input)."""

    def tangent_flop(self, work: Work, moved: frozenset[str], *, dot: bool) -> int:
        """Return the FLOP of :meth:`tangent`.

        Args:
            work: products of one pass of the same batch.
            moved: names of the weights that change.
            dot: whether the input changes.
        """


@dataclass(frozen=True)
class LayerTraits:
    """What a layer declares of itself: facts, and the capabilities that only some layers have."""

    returning: tuple[str, ...] = ()
    """Names of the weights that an error crosses on its way from output to input."""
    factored: frozenset[str] = frozenset()
    """Names of the weights whose directions can come as outer products, for devices that need their factors."""
    elementwise: bool = False
    """Whether the layer is one affine map behind an elementwise activation."""
    closed_form: bool = False
    """Whether an error is sent to the input only when it is asked for; else all of the layer is differentiated."""
    couples_samples: bool = False
    """Whether a normalisation mixes the samples of a batch."""
    parameter_free: bool = False
    """Whether the layer has no weights by its kind, so that it can be no readout."""
    window: Window | None = None
    """What an output position sees of an input image; None: everything, or not known."""
    array_host: ArrayHost | None = None
    mirror: NoiseMirror | None = None
    products: ProductCount | None = None
    forward_mode: ForwardMode | None = None
    facts: LayerFacts | None = None
    """Plain data for exports, accounts of cost and chip checks; None: those that the weights tell."""
    unreturned: Callable[[Tensor], list[str]] | None = None
    """Finds the weights that an error would cross without a return weight, on a (B, *in_shape) probe."""


class Layer(nn.Module, Registered, ABC, kind="layer"):
    """A differentiable map with its own weights, and the local arithmetic of its own learning.

    Only :meth:`compute` must be given. The defaults take the vector-Jacobian product of this layer alone; closed forms
    override them for speed and are tested against :func:`vjp`. They return an error through the layer's own weights, so
    that rules with return weights refuse the layer; :class:`neurofa.maps.autograd_layer.AutogradLayer` serves these.
    """

    synapses: SynapseGroup
    """The layer's weights."""

    def __init__(self) -> None:
        super().__init__()
        self.synapses = SynapseGroup()

    @property
    def traits(self) -> LayerTraits:
        """Facts and capabilities that the layer declares."""
        return LayerTraits(returning=tuple(self.synapses), unreturned=lambda x: list(self.synapses))  # noqa: ARG005

    def initialise(self, device: Device, gen: torch.Generator) -> None:
        """Draw the own weights and program them into synapses; default: the layer has none."""

    def fresh_state(self, x: Tensor, gen: torch.Generator | None) -> State:
        """Return what one tick draws before it begins (dropout masks, seeds of noise); default: nothing."""
        return {}

    @abstractmethod
    def compute(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Compute one tick, without side effects.

        Args:
            params: own weights as read.
            x: (B, *in_shape) input.
            state: own state before the tick, from :meth:`fresh_state` or the tick before.

        Returns:
            (B, *out_shape) output and the state after the tick.
        """

    def record(
        self, params: Params, x: Tensor, state: State, return_weights: ReturnWeights | None, needs_input_error: bool
    ) -> tuple[Tensor, State, Graph | None]:
        """Compute one tick, and keep the own autograd graph where the layer will need it to learn.

        Args:
            params: own weights as read.
            x: (B, *in_shape).
            state: state before the tick.
            return_weights: weights of the return path, or None for the layer's own transpose.
            needs_input_error: whether the error at the input will be asked for.
        """
        if not (self.training or needs_input_error):
            return *self.compute(params, x, state), None
        return record_graph(self, params, x, state, needs_input_error)

    def update_running_stats(self, after: State) -> None:
        """Take what outlives the tick (running statistics) into the own buffers; once a training step."""

    def backprop_local(self, view: LocalView) -> LocalView:
        """Return the view with the delivered error worked into the layer, for :meth:`pullback` and the input error."""
        graph = view.graph or self.record(view.params, view.x, view.before, view.return_weights, True)[2]
        assert graph is not None and view.error is not None
        leaves = [*graph.params.values(), *([graph.x] if graph.x.requires_grad else [])]
        gradients: tuple[Tensor | None, ...] = ()
        if graph.y.requires_grad:
            gradients = torch.autograd.grad(graph.y, leaves, view.error, retain_graph=True, allow_unused=True)
        partial: Directions = {
            key: torch.zeros_like(leaf) if g is None else g
            for (key, leaf), g in zip(graph.params.items(), gradients or [None] * len(graph.params), strict=False)
        }
        input_error = gradients[-1] if gradients and graph.x.requires_grad else None
        return replace(view, partial=partial, input_error=input_error, inner=dict(graph.inner))

    def pullback(self, view: LocalView) -> Directions:
        """Return the directions of the own weights for the delivered error, summed over the batch.

        Args:
            view: with ``error``, after :meth:`backprop_local`.
        """
        return dict(view.partial)

    def input_error(self, view: LocalView, weights: ReturnWeights) -> Tensor:
        """Return the error at the input, (B, *in_shape), through ``weights`` as return path (chained rules only)."""
        if view.input_error is not None and (view.return_weights is None or view.return_weights is weights):
            return view.input_error
        returned = self.backprop_local(replace(view, return_weights=weights, graph=None))
        assert returned.input_error is not None
        return returned.input_error

    def module(self) -> nn.Module:
        """Return a plain ``nn.Module`` of the same map, for inference and export; default: it calls :meth:`compute`."""
        return PlainModule(self)


class ParameterFreeLayer(Layer):
    """A layer without weights: it carries activity up and, for chained rules, the error down."""

    @property
    def traits(self) -> LayerTraits:
        return LayerTraits(parameter_free=True, products=NO_PRODUCTS)


class _NoProducts:
    """Products of a layer that multiplies nothing."""

    def work(self, shape: tuple[int, ...], *, sends: bool) -> Work:
        return Work()


NO_PRODUCTS: ProductCount = _NoProducts()


def record_graph(
    layer: Layer, params: Params, x: Tensor, state: State, needs_input_error: bool
) -> tuple[Tensor, State, Graph]:
    """Compute one tick of a layer with autograd on, on detached leaves.

    Args:
        layer: whose ``compute`` runs.
        params: own weights as read.
        x: (B, *in_shape).
        state: state before the tick.
        needs_input_error: whether the input is a leaf as well.

    Returns:
        Detached output and state, and the graph.
    """
    leaf = x.detach().requires_grad_(needs_input_error and x.is_floating_point())
    leaves = {key: value.detach().requires_grad_() for key, value in params.items()}
    with torch.enable_grad():
        y, after = layer.compute(leaves, leaf, state)
    return y.detach(), {k: v.detach() for k, v in after.items()}, Graph(y, leaf, leaves, {})


def vjp(layer: Layer, view: LocalView) -> tuple[dict[str, Tensor], Tensor]:
    """Slow oracle: directions and input error of one layer by autograd through its ``compute``.

    Args:
        layer: any layer.
        view: with ``error``.

    Returns:
        Directions by name, and (B, *in_shape) error at the input through the layer's own weights.
    """
    graph = record_graph(layer, view.params, view.x, view.before, True)[2]
    result = Layer.backprop_local(layer, replace(view, graph=graph))
    assert result.input_error is not None
    return dense(result.partial), result.input_error


def facts_of(layer: Layer) -> LayerFacts:
    """Return the facts that a layer declares, else those that its weights tell."""
    return layer.traits.facts or LayerFacts(layer)
