"""What rules declare: locality, and the capabilities that only some of them have.

A capability is a small protocol. A rule that has it says so in its :class:`Declaration`, with the object that answers
for it (mostly the rule itself). The learner, the audit and the accounting of costs ask the declaration and guess
nothing.
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
    """What the learner offers a rule for one layer."""

    error: Tensor
    """(B, o): error at the network's output, per sample."""
    target: Tensor
    """(B, o): the target itself."""
    error_above: Tensor | None = None
    """(B, *out_shape): error that the layer above returned (chained rules only)."""
    error_for: Callable[[Tensor], Tensor] | None = None
    """Errors (B, o) that other outputs (B, o) would have for the same targets."""
    view: LocalView | None = None
    """The view of the layer that is served, with its second pass where there is one."""


class ReturnPath(Protocol):
    """Capability of chained rules: each layer returns its error to the one below through weights beside it."""

    def return_weights(self, name: str, params: Params, gen: torch.Generator | None) -> ReturnWeights | None:
        """Return the weights of the return path beside one layer in this pass; None: the layer returns no error.

        Args:
            name: the layer.
            params: that layer's own weights, as this pass read them.
            gen: source of read noise.
        """


class Plastic(NamedTuple):
    """Weights of the feedback pathway that learn beside one layer."""

    synapses: Synapses
    rows: slice | None = None
    """The rows that belong to the layer; None: all."""


class PlasticFeedback(Protocol):
    """Capability of rules whose feedback learns by directions, as the weights do (:meth:`Rule.adapt` gives them)."""

    decay: float
    """Weight decay that belongs to the rule, applied to weights and return weights alike."""

    def plastic(self, name: str) -> dict[str, Plastic]:
        """Return the pathway weights that learn beside one layer, by the names of :meth:`Rule.adapt`."""


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
        """Return the error at the readout, (B, o), of one of the two passes."""


@dataclass(frozen=True)
class Perturbation:
    """How the probes of a rule are made."""

    by: By = "tangent"
    """Forward-mode derivatives, or the difference of two passes."""
    step: float = 0.01
    """Size of the change in a difference, in units of the drawn change."""
    each: bool = False
    """A pass for every layer, instead of one that is shared by all."""

    def __post_init__(self) -> None:
        if self.by not in ("tangent", "difference"):
            raise NeurofaError(f"got a probe by '{self.by}'; expected tangent or difference; choose one")
        if not self.step > 0:
            raise NeurofaError(f"got a probe of step={self.step}; expected a positive number; 0.01 is the default")


class Probing(Protocol):
    """Capability of rules that perturb layers and observe what the network's output does."""

    perturbation: Perturbation

    def perturb(
        self, name: str, layer: Layer, view: LocalView, teaching: Teaching, gen: torch.Generator | None
    ) -> tuple[Tensor | None, Params]:
        """Return a layer's changes in a probe: of its output, (B, *out_shape) or None, and of its weights by name.

        Args:
            name: the layer.
            layer: itself.
            view: of the tick.
            teaching: error and target of the tick.
            gen: source of the changes.
        """

    def observe_probe(
        self, outputs: dict[str, Tensor], weights: dict[str, Params], u: Tensor, gen: torch.Generator | None
    ) -> None:
        """Take the result of one probe.

        Args:
            outputs: changes of outputs in it, by layer, as :meth:`perturb` gave them.
            weights: changes of weights in it, by layer.
            u: (B, o), change of the network's output.
            gen: source of randomness.
        """

    def after_probes(self, gen: torch.Generator | None) -> None:
        """Let the feedback follow, once all probes of a step are observed and before its error is sent."""

    def perturbs(self, name: str) -> tuple[bool, bool]:
        """Return whether a probe changes the output of a layer, and whether it changes its weights."""


class Mirroring(Protocol):
    """Capability of rules whose return weights learn from passes in which every affine map sees noise."""

    amplitude: float
    """Standard deviation of the noise."""
    every: int
    """Learning steps from one noise pass to the next."""

    def mirror(self, name: str, correlations: Directions, gen: torch.Generator | None) -> None:
        """Let the return weights beside one layer learn from one noise pass.

        Args:
            name: the layer.
            correlations: means over samples and positions of y xi^T by weight, shaped as the weights.
            gen: source of the device's write noise.
        """


class WorkCount:
    """Capability of rules that state the matrix products of a step; the methods here are those of a plain rule."""

    def work_once(self, batch: int) -> list[PhaseFlop]:
        """Return the products that a step takes whatever its layers."""
        return []

    def work_at(self, served: ServedLayer) -> list[PhaseFlop]:
        """Return the products that serving one layer takes; default: delivery and update."""
        return served.plain_work(self.return_flop)

    def return_flop(self, name: str, m: MapWork) -> int:
        """Return the FLOP of an error's way back through one map of a layer; default: those of its own transpose."""
        return m.product


PLAIN_WORK = WorkCount()


class Eligibility(Protocol):
    """Capability of rules with traces of their own, in the place of the neurons' (layers with a memory only)."""

    def dynamics(self, name: str, layer: Any, view: LocalView) -> Dynamics:
        """Return the linearised memory behind the traces of one hidden layer.

        Args:
            name: the layer.
            layer: itself, a :class:`neurofa.spiking.temporal.Temporal`.
            view: of a chunk of ticks.
        """

    def carried(self, name: str, layer: Any, view: LocalView) -> State:
        """Return what the rule itself takes along from the ticks of a chunk, in the state of one hidden layer.

        Names begin with :data:`neurofa.core.dynamics.TRACE`.
        """


class PathDescriber(Protocol):
    """Capability of rules that describe the way of their error to exports, accounts of cost and chip checks."""

    def describe_path(self) -> PathDescription:
        """Return the way of the error in plain data."""


class SequenceLearning(NamedTuple):
    """How a rule learns from sequences of ticks."""

    filtered: bool = False
    """Whether errors of hidden layers arrive through the filter of a leaky readout."""
    remembers: bool = True
    """Whether hidden layers learn from inputs of earlier ticks (eligibility traces)."""
    through_time: bool = False
    """Whether a sequence is learnt from as a whole, backwards in time: a control, not local."""


ONLINE = SequenceLearning()
"""Online, with eligibility and without a filter."""


@dataclass(frozen=True)
class Declaration:
    """What a rule declares: the learner acts on it, the audit tests it."""

    local: bool = True
    """An update needs no other layer's weights."""
    transports: Transport = "nothing"
    """What the pathway copies from the forward weights beside it."""
    target: bool = False
    """Whether hidden layers are taught by the target."""
    return_path: ReturnPath | None = None
    plastic: PlasticFeedback | None = None
    second_pass: SecondPass | None = None
    probing: Probing | None = None
    mirroring: Mirroring | None = None
    work: WorkCount = PLAIN_WORK
    path: PathDescriber | None = None
    plasticity: Plasticity | None = None
    """How the pathway learns, where an exporter may write the step out; see :class:`PathDescription`."""
    eligibility: Eligibility | None = None
    sequences: SequenceLearning = ONLINE
    calibrate: int = 0
    """Steps from one step of backpropagation in the rule's place to the next; 0: none."""

    @property
    def chained(self) -> bool:
        """Whether errors go from layer to layer."""
        return self.return_path is not None


def calibrated(declaration: Declaration, every: int) -> Declaration:
    """Return the declaration of a rule that gives way to a step of backpropagation now and then: it is not local.

    Args:
        declaration: of the rule itself.
        every: steps from one such step to the next; 0: none.
    """
    return replace(declaration, calibrate=every, local=False, transports="weights") if every else declaration


def check_calibrate(name: str, steps: int) -> int:
    """Return the option ``calibrate`` of a rule.

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
    """Return the way of a rule's error in plain data; of a rule that does not say, only how its pathway learns."""
    own = PathDescription() if declares.path is None else declares.path.describe_path()
    return replace(own, plasticity=declares.plasticity)
