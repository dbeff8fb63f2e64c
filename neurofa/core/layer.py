"""The layer, which learns as one unit: from the error at its output it computes its own weight changes locally."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from hwmodels.arrays.periphery import Periphery
from hwmodels.device import Device
from hwmodels.errors import NeurofaError
from hwmodels.registry import Registered
from neurofa.core.directions import Direction, Directions, ReturnWeights, dense
from neurofa.core.facts import LayerFacts, PlainModule
from neurofa.core.products import LayerWork
from neurofa.core.synapses import SynapseGroup
from neurofa.core.view import Graph, LocalView, Params, State
from neurofa.core.window import Window


class ArrayHost(Protocol):
    """Capability of a layer whose matrix products can be computed on analog arrays, with converters and noise."""

    @property
    def periphery(self) -> Periphery | None:
        """Periphery around the layer's products; None: exact products."""

    def attach(self, periphery: Periphery | None, *, fused: bool) -> None:
        """Put a periphery around the layer's products.

        Args:
            periphery: converters and noise; None removes them.
            fused: whether the products are compiled.
        """


class NoiseMirror(Protocol):
    """Capability of a layer that can pass noise through its affine maps (weight mirror)."""

    def mirror(self, params: Params, x: Tensor, amplitude: float, gen: torch.Generator | None) -> dict[str, Direction]:
        """Return the mean correlation E[y xi^T] of each map's output with noise xi at its input, by weight.

        Args:
            params: own weights as read.
            x: (B, *in_shape); sets the shape of the noise.
            amplitude: standard deviation of the noise.
            gen: source of the noise.
        """


class ProductCount(Protocol):
    """Capability of a layer that states the sizes of its matrix products; those of other layers are traced."""

    def work(self, shape: tuple[int, ...], *, sends: bool) -> LayerWork:
        """Return the sizes of the matrix products of one pass.

        Args:
            shape: (B, *in_shape) of the input.
            sends: whether the error at the input is needed.
        """


class ForwardMode(Protocol):
    """Capability of a layer with a closed form of its forward-mode derivative; other layers use dual numbers."""

    def tangent(self, view: LocalView, dot: Tensor | None, moved: Params) -> Tensor:
        """Return the first-order change of the output for changes of input and weights: (B, *out_shape).

        Args:
            view: of the tick at which the derivative is taken.
            dot: (B, *in_shape), change of the input; None: none.
            moved: changes of own weights, shaped as the weights; may be empty.
        """

    def follows(self, moved: frozenset[str]) -> bool:
        """Return whether the closed form covers changes of these weights (and of the input)."""

    def tangent_flop(self, work: LayerWork, moved: frozenset[str], *, dot: bool) -> int:
        """Return the FLOP of :meth:`tangent`.

        Args:
            work: products of one pass of the same batch.
            moved: names of the weights that change.
            dot: whether the input changes.
        """


@dataclass(frozen=True)
class LayerTraits:
    """Declaration of a layer: facts, and the capabilities that only some layers have.

    A field that is typed as a capability holds the object that implements it; None: the layer does not have it.
    """

    returning: tuple[str, ...] = ()
    """Names of the weights that an error crosses on its way from output to input."""
    factored: frozenset[str] = frozenset()
    """Names of the weights whose directions are available as outer products, for devices that need their factors."""
    elementwise: bool = False
    """Whether the layer is one affine map followed by an elementwise activation."""
    closed_form: bool = False
    """Whether the error at the input is computed separately, so that it can be left out; else one autograd pass gives
    it together with the directions."""
    couples_samples: bool = False
    """Whether a normalisation mixes the samples of a batch."""
    parameter_free: bool = False
    """Whether the layer has no weights by its kind, so that it can be no readout."""
    remembers: bool = False
    """Whether the layer keeps a state from tick to tick, so that no module of one input computes the same."""
    vocabulary: int | None = None
    """Number of tokens of which the layer takes the ids as input; None: it takes numbers."""
    exact_inside: bool = False
    """Whether it holds several maps, so that errors reach some weights through the exact transposes of others."""
    window: Window | None = None
    """Receptive field of an output position in an input image; None: the whole input, or not known."""
    array_host: ArrayHost | None = None
    """Products on analog arrays."""
    mirror: NoiseMirror | None = None
    """Noise through the affine maps, for weight mirrors."""
    products: ProductCount | None = None
    """Sizes of the matrix products."""
    forward_mode: ForwardMode | None = None
    """Closed form of the forward-mode derivative."""
    facts: LayerFacts | None = None
    """Plain data for exports, costs and chip checks; None: those that follow from the weights alone."""
    unreturned: Callable[[Tensor], list[str]] | None = None
    """Returns the weights that an error would cross without a return weight, for a (B, *in_shape) input."""
    redraw: Callable[[], Params] | None = None
    """Draws new weights, by name, from torch's global generator; None: ``initialise`` draws them on a copy of the
    layer. It refuses weights whose initialiser it does not know."""


class Layer(nn.Module, Registered, ABC, kind="layer"):
    """A differentiable map with its own weights, and the local derivatives by which it learns.

    Only :meth:`compute` is abstract. The defaults compute the vector-Jacobian product of this layer alone; closed forms
    override them for speed and are tested against :func:`vjp`. The defaults return an error through the layer's own
    weights, so rules with return weights refuse such a layer; :class:`neurofa.maps.autograd_layer.AutogradLayer`
    supports those rules.
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
        """Draw the weights and program them into synapses; default: the layer has none.

        Args:
            device: physics of the affine weights.
            gen: source of randomness, on the CPU.
        """

    def fresh_state(self, x: Tensor, gen: torch.Generator | None) -> State:
        """Return the random state of one tick (dropout masks, seeds of noise); default: none.

        Args:
            x: (B, *in_shape) input of the tick.
            gen: source of randomness.
        """
        return {}

    def wrapped_modules(self) -> Iterable[nn.Module]:
        """Return modules whose mode belongs to this layer but which are not registered in it; default: none."""
        return ()

    @abstractmethod
    def compute(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Compute the output of one tick from input, weights and state, without side effects.

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
        """Compute one tick, and keep the layer's autograd graph if its learning needs one.

        Args:
            params: own weights as read.
            x: (B, *in_shape).
            state: state before the tick.
            return_weights: weights of the return path, or None for the layer's own transpose.
            needs_input_error: whether the error at the input is needed.

        Returns:
            (B, *out_shape) output, the state after the tick, and the graph or None.
        """
        if not (self.training or needs_input_error):
            return *self.compute(params, x, state), None
        return record_graph(self, params, x, state, needs_input_error)

    def update_running_stats(self, after: State) -> None:
        """Update the buffers that outlive a tick (running statistics), once per training step.

        Args:
            after: state after the tick.
        """

    def backprop_local(self, view: LocalView) -> LocalView:
        """Return the view with the delivered error propagated through the layer's own derivative.

        It fills the fields that :meth:`pullback` and :meth:`input_error` need.

        Args:
            view: with ``error``.
        """
        # under a direct rule nobody asks for the error at the input
        sends = view.return_weights is not None or not view.params
        graph = view.graph or self.record(view.params, view.x, view.before, view.return_weights, sends)[2]
        assert graph is not None and view.error is not None
        leaves = [*graph.params.values(), *([graph.x] if graph.x.requires_grad else [])]
        gradients: tuple[Tensor | None, ...] = ()
        if graph.y.requires_grad:
            gradients = torch.autograd.grad(graph.y, leaves, view.error, retain_graph=True, allow_unused=True)
        partial: Directions = {
            key: torch.zeros_like(leaf) if g is None else g
            # not strict: the error at the input follows the gradients of the weights
            for (key, leaf), g in zip(graph.params.items(), gradients or [None] * len(graph.params), strict=False)
        }
        input_error = None
        if graph.x.requires_grad:  # none reaches an input behind a detach
            found = gradients[-1] if gradients else None
            input_error = torch.zeros_like(graph.x) if found is None else found
        return replace(view, partial=partial, input_error=input_error, inner=dict(graph.inner))

    def pullback(self, view: LocalView) -> Directions:
        """Return the directions of the own weights for the delivered error, summed over the batch.

        Args:
            view: with ``error``, after :meth:`backprop_local`.
        """
        return dict(view.partial)

    def input_error(self, view: LocalView, weights: ReturnWeights) -> Tensor:
        """Return the error at the input, (B, *in_shape), through the given return weights (chained rules only).

        Args:
            view: after :meth:`backprop_local`.
            weights: return weights by the name of the forward weight.

        Returns:
            (B, *in_shape); nothing for ids of tokens.
        """
        if not view.x.is_floating_point():
            return view.y.new_empty(0)  # ids of tokens have no error
        # computed on the way, if the graph was recorded with these return weights
        if view.input_error is not None and (view.return_weights is None or view.return_weights is weights):
            return view.input_error
        returned = self.backprop_local(replace(view, return_weights=weights, graph=None))
        assert returned.input_error is not None
        return returned.input_error

    def module(self) -> nn.Module:
        """Return a plain ``nn.Module`` of the same map, for inference and export; default: it calls :meth:`compute`.

        Raises:
            NeurofaError: a layer that keeps a state from tick to tick.
        """
        require_no_memory(self)
        return PlainModule(self)


def require_no_memory(layer: Layer) -> None:
    """Refuse to replace a layer that keeps a state from tick to tick by a plain module of one input.

    Raises:
        NeurofaError: a layer that keeps a state from tick to tick.
    """
    if layer.traits.remembers:
        raise NeurofaError(
            f"got {type(layer).__name__}, a layer that keeps a state from tick to tick, for a plain module; expected"
            " layers without a memory; use to_snntorch(network), or neurofa export"
        )


class ParameterFreeLayer(Layer):
    """A layer without weights; chained rules return errors through its own transpose."""

    @property
    def traits(self) -> LayerTraits:
        return LayerTraits(parameter_free=True, products=NO_PRODUCTS)


class _NoProducts:
    """Product list of a layer without matrix products."""

    def work(self, shape: tuple[int, ...], *, sends: bool) -> LayerWork:
        return LayerWork()


NO_PRODUCTS: ProductCount = _NoProducts()


def record_graph(
    layer: Layer, params: Params, x: Tensor, state: State, needs_input_error: bool
) -> tuple[Tensor, State, Graph]:
    """Compute one tick of a layer with autograd enabled, on detached leaves.

    Args:
        layer: the layer whose ``compute`` runs.
        params: its weights as read.
        x: (B, *in_shape).
        state: state before the tick.
        needs_input_error: whether the input requires a gradient as well.

    Returns:
        Detached output and state, and the graph.
    """
    leaf = x.detach().requires_grad_(needs_input_error and x.is_floating_point())
    leaves = {key: value.detach().requires_grad_() for key, value in params.items()}
    with torch.enable_grad():
        y, after = layer.compute(leaves, leaf, state)
    return y.detach(), {k: v.detach() for k, v in after.items()}, Graph(y, leaf, leaves, {})


def vjp(layer: Layer, view: LocalView) -> tuple[dict[str, Tensor], Tensor]:
    """Return directions and input error of one layer by autograd through its ``compute``, the reference for tests.

    Args:
        layer: any layer.
        view: with ``error``.

    Returns:
        Directions by name, and (B, *in_shape) error at the input through the layer's own weights; empty for ids of
        tokens, which have none.
    """
    graph = record_graph(layer, view.params, view.x, view.before, True)[2]
    result = Layer.backprop_local(layer, replace(view, graph=graph))
    if not view.x.is_floating_point():
        return dense(result.partial), view.y.new_empty(0)
    assert result.input_error is not None
    return dense(result.partial), result.input_error


def facts_of(layer: Layer) -> LayerFacts:
    """Return the facts that a layer declares, else those that follow from its weights."""
    return layer.traits.facts or LayerFacts(layer)
