"""Learning rules: the error delivered to each layer, the directions of its weights, the learning of the feedback.

A rule is bound to names and shapes (a :class:`~neurofa.core.plan.Plan`), never to layers. Layer by layer, from the
readout to the input, the learner calls :meth:`Rule.deliver` (error), :meth:`Rule.update` (directions of the weights)
and :meth:`Rule.adapt` (directions of the pathway). Further features are capabilities that a rule declares
(:mod:`neurofa.core.capabilities`).
"""

from __future__ import annotations

from abc import ABC
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from hwmodels.registry import Registered, build, options
from neurofa.core.capabilities import Declaration, Teaching, WorkCount
from neurofa.core.description import PathDescription
from neurofa.core.directions import Directions, ReturnWeights
from neurofa.core.feedback import Feedback
from neurofa.core.layer import Layer
from neurofa.core.plan import Plan
from neurofa.core.products import PhaseFlop
from neurofa.core.synapses import Synapses
from neurofa.core.view import LocalView, Params


class Rule(nn.Module, Registered, ABC, kind="rule"):
    """A learning rule: it sends an error to each layer, computes directions of the weights, and trains the feedback.

    Args:
        feedback: pathway of the error, a spec or a module.
        error: number format of the output error before it enters the pathway (the readout receives the error itself).
    """

    plan: Plan
    """Names and shapes of the layers; set by :meth:`bind`."""
    gen: torch.Generator | None = None
    """Source of randomness of the pathway, on the CPU; set by :meth:`bind`."""

    def __init__(self, *, feedback: Feedback | str = "dense", error: Format | str = "raw") -> None:
        super().__init__()
        self.feedback: Feedback = build("feedback", feedback)
        self.encoder: Format = build("format", error)

    @cached_property
    def declares(self) -> Declaration:
        """Locality and capabilities of the rule."""
        return Declaration()

    def bind(self, plan: Plan, gen: torch.Generator) -> None:
        """Create the pathway for a network, on the CPU in single precision.

        Args:
            plan: names and shapes of the layers.
            gen: source of randomness of the pathway, kept by the rule; on the CPU.

        Raises:
            NeurofaError: the rule does not support one of the layers.
        """
        self.plan, self.gen = plan, gen

    def begin(self, teaching: Teaching, gen: torch.Generator | None) -> None:
        """Prepare the signals of a step (encode and project the output error), before any call of :meth:`deliver`.

        Args:
            teaching: output error and target of the step.
            gen: source of the pathway's noise and rounding.
        """

    def deliver(self, name: str, teaching: Teaching) -> Tensor | None:
        """Return the error for one hidden layer, (B, *out_shape); None: the layer does not learn in this step."""
        raise NotImplementedError

    def update(self, name: str, layer: Layer, view: LocalView) -> tuple[LocalView, Directions]:
        """Return the directions of one layer's weights, readout included; default: by the layer's own derivative.

        Args:
            name: the layer's name.
            layer: the layer.
            view: with the delivered ``error``.

        Returns:
            The view after :meth:`~neurofa.core.layer.Layer.backprop_local`, and the directions, summed over the batch.
        """
        view = layer.backprop_local(view)
        return view, layer.pullback(view)

    def adapt(self, name: str, view: LocalView, directions: Directions) -> Directions:
        """Return the directions of the feedback weights that learn together with one layer; default: none.

        Args:
            name: the layer's name.
            view: of the layer, as :meth:`update` returned it.
            directions: of the layer's own weights, summed over the batch.
        """
        return {}


class Direct(Rule, WorkCount, ABC):
    """A rule that sends the output error e directly to every hidden layer: the output h_l receives B_l^T e.

    A layer takes the exact derivative from its output to its weights. Where it is a block of several maps, that goes
    through the transposes of the block's own weights: no other layer's are needed, but inside the block there is weight
    transport.
    """

    frozen: frozenset[str] = frozenset()
    """Names of hidden layers that do not learn."""

    @cached_property
    def declares(self) -> Declaration:
        return Declaration(direct=True, work=self, path=self)

    def describe_path(self) -> PathDescription:
        return PathDescription(kind="direct", feedback=self.feedback.describe(), frozen=self.frozen)

    def bind(self, plan: Plan, gen: torch.Generator) -> None:
        super().bind(plan, gen)
        require_positions(self.name, plan)
        self.feedback.open(plan.hidden, plan.outputs, gen)

    def signal(self, teaching: Teaching) -> Tensor:
        """Return the signal that the feedback projects to the hidden layers, (B, o); default: the output error."""
        return teaching.error

    def begin(self, teaching: Teaching, gen: torch.Generator | None) -> None:
        self.sent = self.signal(teaching)
        # kept as sent: rules whose feedback learns correlate it with the layers' outputs
        if self.encoder.name != "raw":
            self.sent = self.encoder.quantize(self.sent, gen)
        self._signal_for = self.feedback.send(self.sent, gen)

    def deliver(self, name: str, teaching: Teaching) -> Tensor | None:
        return None if name in self.frozen else self._signal_for(name)

    def work_once(self, batch: int) -> list[PhaseFlop]:
        return [PhaseFlop("delivery", self.feedback.flop(batch, self.plan.outputs))]


class Chained(Rule, WorkCount, ABC):
    """A rule by which each layer returns its error to the layer below through return weights.

    Return weights stand beside the forward weights of a layer, have their shapes, and replace them on the way of the
    error, where backpropagation would use the transposed forward weights.
    """

    @cached_property
    def declares(self) -> Declaration:
        return Declaration(return_path=self, work=self, path=self)

    def describe_path(self) -> PathDescription:
        tied: Literal["own", "signs"] = "signs" if self.declares.transports == "signs" else "own"
        if not self.paths and self.plan.hidden:
            return PathDescription(kind="chained", tied=tied)
        returns = {site.name: self.beside(site.name) for site in self.plan.sites}
        return PathDescription(kind="chained", returns=returns, tied=tied)

    def bind(self, plan: Plan, gen: torch.Generator) -> None:
        super().bind(plan, gen)
        self.paths = nn.ModuleDict()
        for site in plan.sites:
            if site.unreturned:
                raise NeurofaError(
                    f"got rule '{self.name}' on layer '{site.name}', where an error crosses '{site.unreturned[0]}'"
                    " without a return weight; expected every such weight in an nn.Linear, nn.Conv2d or normalisation;"
                    " use a direct rule such as dfa"
                )
            beside = nn.ModuleDict()
            for key, shape in site.returning.items():
                # torch allows no dots in the names of modules
                beside[key.replace(".", "/")] = self.path(shape, gen)
            self.paths[site.name] = beside

    def path(self, shape: tuple[int, ...], gen: torch.Generator) -> Synapses:
        """Return new return weights of one map; those of a normalisation's gain (one axis) start as ones.

        Args:
            shape: of the forward weight.
            gen: source of randomness, on the CPU.
        """
        if len(shape) < 2:
            return Synapses(torch.ones(shape), build("device", "digital"), gen)
        return self.feedback.draw(shape, gen)

    def beside(self, name: str) -> dict[str, Synapses]:
        """Return the stored return weights of one layer, by the name of the forward weight."""
        group = self.paths[name] if name in self.paths else nn.ModuleDict()
        assert isinstance(group, nn.ModuleDict)
        return {key.replace("/", "."): s for key, s in group.items() if isinstance(s, Synapses)}

    def return_weights(self, name: str, params: Params, gen: torch.Generator | None) -> ReturnWeights | None:
        """Return the return weights of one layer as read in this pass, by the name of the forward weight.

        Args:
            name: the layer's name.
            params: the layer's own weights as read in this pass; not used here.
            gen: source of read noise.
        """
        return {key: synapses.read(gen) for key, synapses in self.beside(name).items()}

    def deliver(self, name: str, teaching: Teaching) -> Tensor | None:
        return teaching.error_above


def require_positions(name: str, plan: Plan) -> None:
    """Refuse a network that answers at every position but has a hidden layer without these positions.

    Args:
        name: of the rule, for the message.
        plan: of the network.

    Raises:
        NeurofaError: naming the first such layer.
    """
    hidden = {site.name: site.out_shape for site in plan.hidden}
    for layer in plan.mixed:
        if layer in hidden:
            raise NeurofaError(
                f"got rule '{name}' on layer '{layer}' with outputs of shape {hidden[layer]} in a network that answers"
                f" at each of {plan.positions} positions; expected these positions in every layer, since the error of a"
                " position goes to the same position; use a chained rule such as bp or kp"
            )


def error_format(rule: Rule) -> Format | None:
    """Return the number format in which the error enters the pathway.

    The encoding of the feedback's hardware counts first, then the option ``error`` of the rule. None: neither exists,
    and the error stays in floats.
    """
    offers = "error" in options(type(rule)) or rule.encoder.name != "raw"
    own = rule.encoder if offers else None
    return rule.feedback.input_format or own


def bind_rule(rule: Rule, plan: Plan, gen: torch.Generator) -> None:
    """Create the feedback pathway of a rule, and move it to the device and dtype of the network's weights.

    Args:
        rule: not bound yet.
        plan: of the network that learns.
        gen: source of randomness of the pathway, on the CPU.
    """
    rule.bind(plan, gen)
    rule.to(plan.device, plan.dtype)
