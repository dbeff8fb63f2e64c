"""Declarations of rules: locality, and the capabilities that only some rules have.

A capability is a small protocol. The :class:`Declaration` of a rule names the object that implements it, mostly the
rule itself. The learner, the audit and the cost accounting rely on the declaration alone, never on the rule's class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from neurofa.core.description import PathDescription, Plasticity
from neurofa.core.directions import Directions, ReturnWeights
from neurofa.core.dynamics import Dynamics
from neurofa.core.layer import Layer
from neurofa.core.products import MapWork, PhaseFlop, ServedLayer
from neurofa.core.synapses import Synapses
from neurofa.core.view import LocalView, Params, State

Transport = Literal["nothing", "signs", "weights"]
By = Literal["tangent", "difference"]


@dataclass(frozen=True, slots=True)
class Teaching:
    """Signals from which a rule may compute the error that it sends to one layer."""

    error: Tensor
    """(B, o): derivative of each sample's loss by the network's output."""
    target: Tensor
    """(B, o): target, labels as one-hot values."""
    error_above: Tensor | None = None
    """(B, *out_shape): error that the layer above returned (chained rules only)."""
    error_for: Callable[[Tensor], Tensor] | None = None
    """Function from other outputs, (B, o), to their errors for the same targets, (B, o)."""
    view: LocalView | None = None
    """What the layer itself saw in this tick, with its second pass if the rule declares one."""


class ReturnPath(Protocol):
    """Capability of chained rules: each layer returns its error to the one below through its return weights."""

    def return_weights(self, name: str, params: Params, gen: torch.Generator | None) -> ReturnWeights | None:
        """Return the weights through which one layer sends its error to the layer below; None: it sends none.

        Args:
            name: the layer's name.
            params: the layer's own weights as read in this pass.
            gen: source of read noise.
        """


class Plastic(NamedTuple):
    """Weights of the feedback pathway that learn together with the weights of one layer."""

    synapses: Synapses
    """Weight tensor of the pathway; layers may share it."""
    rows: slice | None = None
    """Rows of the tensor that belong to the layer; None: all."""
    own_step: bool = False
    """Whether the rule's directions are whole steps, which no optimizer scales: w <- w - direction."""


class PlasticFeedback(Protocol):
    """Capability of rules whose feedback weights the optimizer steps, along directions from :meth:`Rule.adapt`."""

    decay: float
    """Weight decay of the rule, applied to the forward weights and the feedback weights alike."""

    def plastic(self, name: str) -> dict[str, Plastic]:
        """Return the feedback weights that learn with one layer, by the names that :meth:`Rule.adapt` gives them."""


class SecondPass(Protocol):
    """Capability of rules that compare two passes of the same batch."""

    def second_input(self, x: Tensor, error: Tensor, gen: torch.Generator | None) -> Tensor:
        """Return the input of the second pass, (B, *input_shape).

        Args:
            x: (B, *input_shape) input of the first pass.
            error: (B, o) error of the first pass.
            gen: source of the pathway's noise.
        """

    def readout_error(self, teaching: Teaching) -> Tensor:
        """Return the output error from which the readout learns, (B, o): that of the first or of the second pass."""


@dataclass(frozen=True)
class Perturbation:
    """How a rule measures the change of the network's output for a change of hidden outputs or weights (a probe).

    Args:
        by: ``tangent``: derivative in forward mode. ``difference``: difference of two passes, divided by ``step``.
        step: factor on the drawn changes in the second pass of a difference.
        each: whether every layer is perturbed in a probe of its own; else one probe perturbs all layers.
    """

    by: By = "tangent"
    step: float = 0.01
    each: bool = False

    def __post_init__(self) -> None:
        if self.by not in ("tangent", "difference"):
            raise NeurofaError(f"got a probe by '{self.by}'; expected tangent or difference; choose one")
        if not self.step > 0:
            raise NeurofaError(f"got a probe of step={self.step}; expected a positive number; 0.01 is the default")


class Probing(Protocol):
    """Capability of rules that perturb layers and observe the change of the network's output."""

    perturbation: Perturbation
    """How the change of the output is measured."""

    def perturb(
        self, name: str, layer: Layer, view: LocalView, teaching: Teaching, gen: torch.Generator | None
    ) -> tuple[Tensor | None, Params]:
        """Return the changes that a probe makes in a layer: of its output, (B, *out_shape), and of its weights by name.

        None or an empty dict: no change.

        Args:
            name: the layer's name.
            layer: the layer.
            view: of the tick.
            teaching: error and target of the tick.
            gen: source of the changes.
        """

    def observe_probe(
        self, outputs: dict[str, Tensor], weights: dict[str, Params], u: Tensor, gen: torch.Generator | None
    ) -> None:
        """Keep the result of one probe: the changes made, and the change of the network's output that they cause.

        Args:
            outputs: changes of the layers' outputs, by layer, as :meth:`perturb` returned them.
            weights: changes of the layers' weights, by layer.
            u: (B, o), resulting change of the network's output.
            gen: source of randomness.
        """

    def after_probes(self, gen: torch.Generator | None) -> None:
        """Update the feedback from the probes of a step, before the error of that step is sent."""

    def perturbs(self, name: str) -> tuple[bool, bool]:
        """Return whether a probe changes the output of a layer, and whether it changes the weights of the layer."""


class Mirroring(Protocol):
    """Capability of rules whose return weights learn from passes in which every affine map receives noise."""

    amplitude: float
    """Standard deviation of the noise."""
    every: int
    """Learning steps from one noise pass to the next."""

    def mirror(self, name: str, correlations: Directions, gen: torch.Generator | None) -> None:
        """Update the return weights of one layer from one noise pass.

        Args:
            name: the layer's name.
            correlations: for each weight the mean of y xi^T over samples and positions, shaped as the weight; xi is the
                noise at the input of the affine map, y the map's output.
            gen: source of the device's write noise.
        """


class WorkCount:
    """Capability of rules that count the FLOP of a learning step (see :mod:`neurofa.core.products`).

    The defaults count a rule that adds no products to the derivative of each layer.
    """

    def work_once(self, batch: int) -> list[PhaseFlop]:
        """Return the FLOP, by phase, of the products that a step makes once for all layers; default: none.

        Args:
            batch: B, samples of the step.
        """
        return []

    def work_at(self, served: ServedLayer) -> list[PhaseFlop]:
        """Return the FLOP, by phase, of the products that a step makes for one layer that learns.

        Default: the error at the layer's input, and the directions of its weights.

        Args:
            served: the layer, with the sizes of its products for the batch.
        """
        return served.plain_work(self.return_flop)

    def return_flop(self, name: str, m: MapWork) -> int:
        """Return the FLOP of sending the errors of a batch back through one map of a layer, from output to input.

        Default: those of a product with the transpose of the map's own weight.

        Args:
            name: the layer's name.
            m: sizes of the map's product for the batch.
        """
        return m.product


PLAIN_WORK = WorkCount()
"""FLOP of a rule that adds no products to the derivative of each layer."""


class Eligibility(Protocol):
    """Capability of rules whose own eligibility traces replace those of the neurons, in layers with a memory."""

    def dynamics(self, name: str, layer: Any, view: LocalView) -> Dynamics:
        """Return the linearised dynamics that define the eligibility traces of one hidden layer.

        Args:
            name: the layer's name.
            layer: a :class:`neurofa.spiking.temporal.Temporal`.
            view: of a chunk of ticks.
        """

    def carried(self, name: str, layer: Any, view: LocalView) -> State:
        """Return the rule's own state after a chunk of ticks, to be kept in the state of one hidden layer.

        Names begin with :data:`neurofa.core.dynamics.TRACE`.

        Args:
            name: the layer's name.
            layer: a :class:`neurofa.spiking.temporal.Temporal`.
            view: of the chunk.
        """


class PathDescriber(Protocol):
    """Capability of rules that describe their error pathway to exports, costs and chip checks."""

    def describe_path(self) -> PathDescription:
        """Return the error pathway as plain data."""


class SequenceLearning(NamedTuple):
    """How a rule learns from sequences of ticks."""

    filtered: bool = False
    """Whether errors reach hidden layers through the filter of a leaky readout."""
    remembers: bool = True
    """Whether hidden layers learn from inputs of earlier ticks (eligibility traces)."""
    through_time: bool = False
    """Whether errors go backwards through all ticks of a sequence: a control, not local."""


ONLINE = SequenceLearning()
"""Online learning with eligibility traces and without a filter."""


@dataclass(frozen=True)
class Declaration:
    """Declared properties of a rule: the learner acts on them, the audit tests them.

    A field that is typed as a capability holds the object that implements it; None: the rule does not have it.
    """

    local: bool = True
    """Whether an update needs no other layer's weights."""
    transports: Transport = "nothing"
    """Information that the pathway copies from the forward weights of the same layer."""
    target: bool = False
    """Whether the target itself enters the teaching signals or the feedback of hidden layers."""
    return_path: ReturnPath | None = None
    """Return weights of a chained rule; None: the rule is direct, or sends no error."""
    direct: bool = False
    """Whether the pathway goes from the output to every hidden layer, so that its scale needs the sizes of errors
    (:attr:`neurofa.core.plan.Site.error_size`)."""
    plastic: PlasticFeedback | None = None
    """Feedback weights that learn by the optimizer."""
    second_pass: SecondPass | None = None
    """Second pass of the same batch."""
    probing: Probing | None = None
    """Perturbations that measure changes of the output."""
    mirroring: Mirroring | None = None
    """Noise passes from which return weights learn."""
    work: WorkCount = PLAIN_WORK
    """FLOP of a step."""
    path: PathDescriber | None = None
    """Description of the error pathway."""
    plasticity: Plasticity | None = None
    """How the pathway learns, if exporters may write out the learning step; see :class:`PathDescription`."""
    eligibility: Eligibility | None = None
    """Eligibility traces of the rule's own."""
    sequences: SequenceLearning = ONLINE
    """How the rule learns from sequences."""
    calibrate: int = 0
    """Steps from one step in which backpropagation replaces the rule to the next; 0: there are no such steps."""

    @property
    def chained(self) -> bool:
        """Whether errors return from layer to layer."""
        return self.return_path is not None


def calibrated(declaration: Declaration, every: int) -> Declaration:
    """Return the declaration of a rule with periodic steps of backpropagation, which make it non-local.

    Args:
        declaration: of the rule itself.
        every: steps from one step of backpropagation to the next; 0: none.
    """
    return replace(declaration, calibrate=every, local=False, transports="weights") if every else declaration


def check_calibrate(name: str, steps: int) -> int:
    """Return the checked option ``calibrate`` of a rule.

    Args:
        name: of the rule, for the message.
        steps: from one step of backpropagation to the next; 0: none.

    Raises:
        NeurofaError: a negative number.
    """
    if steps < 0:
        raise NeurofaError(f"got {name}(calibrate={steps}); expected 0 or more steps; 0 is none")
    return steps


def describe_path(declares: Declaration) -> PathDescription:
    """Return a rule's error pathway as plain data.

    A rule that declares no describer (``path``) gets an empty description, which states its ``plasticity`` alone.
    """
    own = PathDescription() if declares.path is None else declares.path.describe_path()
    return replace(own, plasticity=declares.plasticity)
