"""The unit of credit: one error arrives at its output, and the layer alone turns it into weight changes."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from hwmodels.arrays.periphery import Periphery
from hwmodels.device import Device
from hwmodels.registry import Registered
from neurofa.core.description import LayerDescription, MemoryDescription, ModuleDescription
from neurofa.core.events import correlation
from neurofa.core.products import TANGENT_ATTENTION, MatrixInputs, Work
from neurofa.core.synapses import Synapses
from neurofa.core.window import Window

Params = Mapping[str, Tensor]
"""A layer's own weights as this pass read them, by name."""

State = dict[str, Tensor]
"""What a layer carries around one tick, by name (membranes, masks, normalisation statistics)."""


class Outer(NamedTuple):
    """A direction in factored form: the sum over samples of outer products, ``left^T right``.

    Kept as factors because the learner multiplies them straight into their target, and because a crossbar updates by
    exactly these two vectors per sample.
    """

    left: Tensor
    """(N, n_out): error at the affine output; N samples, or samples times positions."""
    right: Tensor
    """(N, n_in): input of the affine map."""

    def dense(self) -> Tensor:
        """The direction as one tensor, (n_out, n_in)."""
        if self.sparse:
            return correlation(self.left, self.right)
        return (self.right.t() @ self.left).t() if self.tall else self.left.t() @ self.right

    @property
    def tall(self) -> bool:
        """Whether it is so much higher than wide that the product of its transpose is the faster one on the CPU."""
        return self.left.shape[1] > 16 * self.right.shape[1]

    @property
    def sparse(self) -> bool:
        """Whether the inputs are rows of events (:meth:`neurofa.core.events.Events.rows_of_ones`)."""
        return self.right.layout == torch.sparse_csr


class Sum(NamedTuple):
    """A direction in several terms, of which none is worth a copy."""

    parts: tuple[Tensor | Outer, ...]

    def dense(self) -> Tensor:
        """The direction as one tensor."""
        first, *others = [p.dense() if isinstance(p, Outer) else p for p in self.parts]
        return sum(others, start=first)


class LowRank(NamedTuple):
    """Return weights of rank r in two factors, in the place of W: an error crosses r numbers, (delta P) Q."""

    p: Tensor
    """(n_out, r)."""
    q: Tensor
    """(r, n_in), or (r, C_in, k, k) for kernels, whose r counts channels."""

    def dense(self) -> Tensor:
        """P Q, shaped as W."""
        return (self.p @ self.q.flatten(1)).view(len(self.p), *self.q.shape[1:])

    def clone(self) -> LowRank:
        """Copies of both factors."""
        return LowRank(self.p.clone(), self.q.clone())


Returns = Mapping[str, Tensor | LowRank]
"""Weights of the return path beside a layer, by the name of the forward weight."""

Direction = Tensor | Outer | Sum
Directions = dict[str, Direction]


class Graph(NamedTuple):
    """A layer's own autograd graph of one tick, on detached leaves: never longer than the layer."""

    y: Tensor
    x: Tensor
    params: dict[str, Tensor]
    inner: dict[str, Tensor]
    """Errors at the outputs of the affine maps inside, by weight; filled when an error has gone through the graph."""


@dataclass(frozen=True, slots=True)
class LocalView:
    """Everything that a layer may see when it learns; every tensor is detached.

    The first eight fields are given to the layer; the others are what it (and nobody else) worked out of them.
    """

    x: Tensor
    """(B, *in_shape): own input."""
    y: Tensor
    """(B, *out_shape): own output."""
    params: Params
    """Own weights, as this pass read them."""
    before: State = field(default_factory=dict)
    """Own state before the tick."""
    after: State = field(default_factory=dict)
    """Own state after the tick."""
    returns: Returns | None = None
    """Weights of the return path beside this layer (chained rules only), shaped as ``params`` or factored."""
    error: Tensor | None = None
    """(B, *out_shape): delivered error, per sample, unreduced."""
    graph: Graph | None = None
    """Own autograd graph, for layers without a closed form."""
    delta: Tensor | None = None
    """Error at the layer's affine output, before activation and normalisation."""
    partial: Directions = field(default_factory=dict)
    """Directions found on the way to ``delta``."""
    below: Tensor | None = None
    """(B, *in_shape): error at the own input, where it was found on the way."""
    again: LocalView | None = None
    """The same layer in a second pass (rules that ask for one)."""
    kappa: float = 0.0
    """Decay of the filter through which errors arrive (ticks of a sequence; 0: none)."""
    inner: Mapping[str, Tensor] = field(default_factory=dict)
    """Errors at the outputs of the affine maps inside, by weight (layers of several maps with return weights)."""

    def given(self, error: Tensor) -> LocalView:
        """The same view with an error that has been delivered."""
        return LocalView(
            self.x, self.y, self.params, self.before, self.after, self.returns, error, self.graph,
            again=self.again, kappa=self.kappa,
        )  # fmt: skip

    def worked_out(self, delta: Tensor, partial: Directions | None = None, below: Tensor | None = None) -> LocalView:
        """The same view with what the layer has worked out of the error."""
        return LocalView(
            self.x,
            self.y,
            self.params,
            self.before,
            self.after,
            self.returns,
            self.error,
            self.graph,
            delta,
            partial or {},
            below,
            self.again,
            self.kappa,
        )


class Layer(nn.Module, Registered, ABC, kind="layer"):
    """A differentiable map with its own weights, and the local arithmetic of its own learning.

    Only :meth:`compute` must be given. The defaults take the vector-Jacobian product of this layer alone; closed forms
    override them for speed and are tested against :func:`vjp`.
    """

    closed_form: ClassVar[bool] = False
    """Whether :meth:`localise` works without the layer's autograd graph."""
    knows_inputs: ClassVar[bool] = False
    """Whether :meth:`matrix_inputs` gives the inputs of every matrix."""
    synapses: nn.ModuleDict

    def __init__(self) -> None:
        super().__init__()
        self.synapses = nn.ModuleDict()
        # by plain name, without the cost of module look-ups in every step
        self._own: dict[str, Synapses] = {}

    @abstractmethod
    def compute(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One tick, without side effects.

        Args:
            params: own weights as read.
            x: (B, *in_shape) input.
            state: own state before the tick, from :meth:`start` or the tick before.

        Returns:
            (B, *out_shape) output and the state after the tick.
        """

    def initialise(self, device: Device, gen: torch.Generator) -> None:
        """Draw the own weights and program them into synapses; default: the layer has none."""

    def start(self, x: Tensor, gen: torch.Generator | None) -> State:
        """State before the first tick (dropout masks, empty membranes); default: none."""
        return {}

    def absorb(self, after: State) -> None:
        """Take what outlives the tick (running statistics) into the own buffers; once a training step."""

    @property
    def returning(self) -> tuple[str, ...]:
        """Names of the weights that an error crosses on its way from output to input."""
        return tuple(self.synapses)

    @property
    def window(self) -> Window | None:
        """What an output position sees of an input image; None: everything, or not known."""
        return None

    def read(self, gen: torch.Generator | None = None) -> dict[str, Tensor]:
        """Own weights as this pass sees them."""
        return {key: synapses.read(gen) for key, synapses in self._own.items()}

    def stored(self) -> dict[str, Tensor]:
        """Own weights as they are stored, without the noise of reading them."""
        return {key: synapses.weight.detach() for key, synapses in self._own.items()}

    def synapse(self, name: str) -> Synapses:
        """The synapses of one weight."""
        return self._own[name.replace("/", ".")]

    def factors(self, name: str) -> bool:
        """Whether the direction of that weight comes as an :class:`Outer` where its device asks for factors."""
        return False

    def add_synapses(self, name: str, target: Tensor, device: Device, gen: torch.Generator | None) -> None:
        """Create the synapses of one weight."""
        self._own[name] = self.synapses[_safe(name)] = Synapses(target, device, gen)

    def record(
        self, params: Params, x: Tensor, state: State, returns: Returns | None, below: bool
    ) -> tuple[Tensor, State, Graph | None]:
        """Compute, and keep the own autograd graph where the layer has no closed form.

        Args:
            params: own weights as read.
            x: (B, *in_shape).
            state: state before the tick.
            returns: weights of the return path, or None for the layer's own transpose.
            below: whether the error at the input will be asked for.
        """
        if self.closed_form or not (self.training or below):
            return *self.compute(params, x, state), None
        return self._record(params, x, state, returns, below)

    def _record(
        self,
        params: Params,
        x: Tensor,
        state: State,
        returns: Returns | None,
        below: bool,
    ) -> tuple[Tensor, State, Graph | None]:
        leaf = x.detach().requires_grad_(below and x.is_floating_point())
        leaves = {key: value.detach().requires_grad_() for key, value in params.items()}
        with torch.enable_grad():
            y, after = self.compute(leaves, leaf, state)
        return y.detach(), {k: v.detach() for k, v in after.items()}, Graph(y, leaf, leaves, {})

    def localise(self, view: LocalView) -> LocalView:
        """Work the delivered error into the layer, once for :meth:`pullback` and :meth:`transpose`."""
        graph = view.graph
        if graph is None:
            graph = self._record(view.params, view.x, view.before, view.returns, True)[2]
        assert graph is not None and view.error is not None
        wanted = [*graph.params.values(), *([graph.x] if graph.x.requires_grad else [])]
        found: tuple[Tensor | None, ...] = ()
        if graph.y.requires_grad:
            found = torch.autograd.grad(graph.y, wanted, view.error, retain_graph=True, allow_unused=True)
        partial: Directions = {
            key: torch.zeros_like(leaf) if g is None else g
            for (key, leaf), g in zip(graph.params.items(), found or [None] * len(graph.params), strict=False)
        }
        below = found[-1] if found and graph.x.requires_grad else None
        return replace(view, partial=partial, below=below, inner=dict(graph.inner))

    def pullback(self, view: LocalView) -> Directions:
        """Directions of the own weights for the delivered error, summed over the batch.

        Args:
            view: with ``error``, after :meth:`localise`.
        """
        return dict(view.partial)

    def transpose(self, view: LocalView, weights: Returns) -> Tensor:
        """Error at the input if the return path had ``weights``: (B, *in_shape); chained rules only."""
        if view.below is not None and (view.returns is None or view.returns is weights):
            return view.below
        again = self.localise(replace(view, returns=weights, graph=None))
        assert again.below is not None
        return again.below

    def tangent(self, view: LocalView, dot: Tensor | None, moved: Params) -> Tensor:
        """Change of the output for small changes of input and weights: (B, *out_shape); forward-mode derivative.

        Args:
            view: of the tick at which the derivative is taken.
            dot: (B, *in_shape), change of the input; None: none.
            moved: changes of own weights, shaped as they are; may be empty.
        """
        from neurofa.maps.jvp import followed

        return followed(self, view, dot, moved)

    def mirror(self, params: Params, x: Tensor, amplitude: float, gen: torch.Generator | None) -> dict[str, Direction]:
        """Mean correlation of each affine map's output with noise at its input (weight mirror); default: no maps.

        Args:
            params: own weights as read.
            x: (B, *in_shape), whose shape the noise takes.
            amplitude: standard deviation of the noise.
            gen: source of the noise.
        """
        return {}

    def unreturned(self, x: Tensor) -> list[str]:
        """Names of weights that an error would cross without a return weight of its own; default: none."""
        return []

    def work(self, shape: tuple[int, ...], *, sends: bool) -> Work:
        """The products of one pass.

        Args:
            shape: (B, *in_shape) of the input.
            sends: whether the error at the input will be asked for.
        """
        from neurofa.maps.trace import traced

        return traced(self, shape, sends=sends)

    def tangent_flop(self, work: Work, moved: frozenset[str], *, dot: bool) -> int:
        """FLOP of :meth:`tangent`: here the layer computes anew, with one more product a change of input or weight.

        Args:
            work: of the same batch.
            moved: names of the weights that change.
            dot: whether the input changes.
        """
        changes = sum(m.product * (1 + (m.key in moved)) for m in work.maps)
        return work.forward + changes + TANGENT_ATTENTION * work.attention

    def module(self) -> nn.Module:
        """Return a plain ``nn.Module`` of the same map, for inference and export."""
        return PlainModule(self)

    def describe(self, in_shape: tuple[int, ...]) -> LayerDescription:
        """Describe the layer to exports; default: its weights, and a module whose operations can be listed.

        Args:
            in_shape: shape of one sample at the input.
        """
        return ModuleDescription(
            source=type(self).__name__,
            synapses={_safe(key): synapses for key, synapses in self._own.items()},
            matrices=frozenset(map(_safe, self.matrices)),
            module=PlainModule(self),
        )

    @property
    def matrices(self) -> tuple[str, ...]:
        """Names of the weights that connect neurons; default: those of two axes or more that an error crosses."""
        return tuple(key for key in self.returning if self.synapse(key).weight.dim() > 1)

    @property
    def connections_in(self) -> int:
        """Most connections into one output; default: the largest row of a matrix."""
        return max((self.synapse(key).weight[0].numel() for key in self.matrices), default=0)

    def connections(self, out_shape: tuple[int, ...]) -> int:
        """Return the number of connections; default: every weight of two axes or more is one.

        Args:
            out_shape: shape of one sample at the output.
        """
        return sum(synapses.weight.numel() for synapses in self._own.values() if synapses.weight.dim() > 1)

    @property
    def periphery(self) -> Periphery | None:
        """Converters and noise around the arrays of the weights; None (default): exact products."""
        return None

    def memory(self) -> MemoryDescription | None:
        """Describe what the layer keeps from tick to tick; None (default): nothing."""
        return None

    def slope(self) -> tuple[str, Callable[[Tensor], Tensor]] | None:
        """Return name and function of the elementwise derivative that an error meets; None (default): no single one."""
        return None

    @property
    def activates(self) -> bool:
        """Whether outputs are those of an activation function or of firing neurons; default: no."""
        return False

    def matrix_inputs(self, view: LocalView) -> tuple[MatrixInputs, ...]:
        """Return what every matrix multiplies in the ticks of a view; empty where ``knows_inputs`` is False."""
        return ()


class Carrier(Layer):
    """A layer without weights: it carries activity up and, for chained rules, the error down."""

    @property
    def returning(self) -> tuple[str, ...]:
        """Nothing to cross."""
        return ()

    def work(self, shape: tuple[int, ...], *, sends: bool) -> Work:
        return Work()


class PlainModule(nn.Module):
    """The map of a layer in evaluation mode, with copies of its weights as parameters; (B, *in_shape) to outputs.

    Args:
        layer: without state between ticks.
    """

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        # in a list, so that its own tensors are not registered a second time
        self._layer = [copy.deepcopy(layer).eval()]
        self._keys = tuple(layer.stored())
        for key, value in layer.stored().items():
            self.register_parameter(_safe(key), nn.Parameter(value.clone()))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the layer's output."""
        layer = self._layer[0]
        params = {key: self.get_parameter(_safe(key)) for key in self._keys}
        return layer.compute(params, x, layer.start(x, None))[0]


def vjp(layer: Layer, view: LocalView) -> tuple[dict[str, Tensor], Tensor]:
    """Slow oracle: directions and input error of one layer by autograd through its ``compute``.

    Args:
        layer: any layer.
        view: with ``error``.

    Returns:
        Directions by name, and (B, *in_shape) error at the input through the layer's own weights.
    """
    found = Layer.localise(
        layer, replace(view, graph=Layer._record(layer, view.params, view.x, view.before, None, True)[2])
    )
    assert found.below is not None
    return {k: d if isinstance(d, Tensor) else d.dense() for k, d in found.partial.items()}, found.below


def _safe(name: str) -> str:
    """Module names may not hold dots."""
    return name.replace(".", "/")
