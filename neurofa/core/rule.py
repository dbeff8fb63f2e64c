"""Learning rules: which signal reaches each layer, what the layer makes of it, how the feedback learns.

A rule knows shapes (a :class:`~neurofa.core.plan.Plan`), never layers. The learner asks it, layer by layer, from the
readout down: :meth:`Rule.deliver` an error, :meth:`Rule.update` the weights, :meth:`Rule.adapt` the pathway.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from hwmodels.registry import Registered, build
from neurofa.core.feedback import Feedback
from neurofa.core.layer import Directions, Layer, LocalView, Params, Returns, State
from neurofa.core.loss import Loss, LossResult
from neurofa.core.plan import Plan
from neurofa.core.products import At, Item, Map
from neurofa.core.synapses import Synapses
from neurofa.training.probe import Probe

if TYPE_CHECKING:
    from neurofa.spiking.neuron import Dynamics
    from neurofa.spiking.temporal import Temporal


@dataclass(frozen=True, slots=True)
class Teaching:
    """What the learner offers a rule for one layer."""

    error: Tensor
    """(B, o): error at the network's output, per sample."""
    target: Tensor
    """(B, o): the target itself."""
    above: Tensor | None = None
    """(B, *out_shape): error that the layer above returned (chained rules only)."""
    judge: Callable[[Tensor], Tensor] | None = None
    """Errors (B, o) that other outputs (B, o) would have had for the same targets."""
    view: LocalView | None = None
    """What the layer that is served has seen in this tick, and in a second pass."""


def taught(loss: Loss, y: Tensor, target: Tensor) -> tuple[LossResult, Teaching]:
    """What a loss says of one batch, and what the learner offers a rule of it.

    Args:
        loss: of the run.
        y: (B, o) network output.
        target: (B,) labels or (B, o) values.
    """
    outcome = loss.evaluate(y, target)

    def judge(other: Tensor) -> Tensor:
        return loss.evaluate(other, target).error

    return outcome, Teaching(outcome.error, outcome.target, judge=judge)


@dataclass(frozen=True)
class NoisePass:
    """A pass that the learner makes for a rule, in which every affine map sees noise."""

    amplitude: float
    """Standard deviation of the noise."""
    every: int
    """Learning steps between two passes."""


class Rule(nn.Module, Registered, ABC, kind="rule"):
    """A learning rule.

    Args:
        feedback: the pathway, a spec or a module.
        error: number format of the output error before it enters the pathway (the readout receives the error itself).
    """

    local: ClassVar[bool] = True
    """Declared: an update needs no other layer's weights. The audit tests it."""
    transports: ClassVar[str] = "nothing"
    """Declared: what the pathway copies from the forward weights beside it: ``nothing``, ``signs`` or ``weights``."""
    needs: ClassVar[frozenset[str]] = frozenset()
    """What the learner must provide beyond the error: ``target``, ``above``, ``noise_pass``, ``second_pass``."""
    noise: NoisePass | None = None
    """The noise pass of a rule that needs one."""
    calibrate: int = 0
    """Steps from one step of backpropagation in the rule's place to the next; 0: none."""
    probe: Probe | None = None
    """The probe pass of a rule that needs one; see :mod:`neurofa.training.probe`."""
    filtered: bool = False
    """Whether errors of hidden layers arrive through the filter of a leaky readout (sequences)."""
    remembers: ClassVar[bool] = True
    """Whether hidden layers learn from what they have seen in earlier ticks (sequences)."""
    through_time: ClassVar[bool] = False
    """Whether a sequence is learnt from as a whole, backwards in time: a control, not local."""
    decay: float = 0.0
    """Weight decay that belongs to the rule, applied to weights and return weights alike."""

    def __init__(self, *, feedback: Feedback | str = "dense", error: Format | str = "raw") -> None:
        super().__init__()
        self.feedback: Feedback = build("feedback", feedback)
        self.encoder: Format = build("format", error)
        self.gen: torch.Generator | None = None

    def calibrate_every(self, steps: int) -> None:
        """Let a step of backpropagation take the rule's place every so many steps: the rule is then not local.

        Args:
            steps: from one to the next; 0: never.

        Raises:
            NeurofaError: a negative number.
        """
        if steps < 0:
            raise NeurofaError(f"got {self.name}(calibrate={steps}); expected 0 or more steps; 0 is none")
        self.calibrate = steps
        if steps:
            self.local, self.transports = False, "weights"  # type: ignore[misc]

    @property
    def chained(self) -> bool:
        """Whether errors go from layer to layer."""
        return "above" in self.needs

    def bind(self, plan: Plan, gen: torch.Generator) -> None:
        """Create the pathway for a network.

        Args:
            plan: names and shapes of the layers.
            gen: source of randomness for the pathway, kept by the rule; on the CPU.

        Raises:
            NeurofaError: the rule cannot serve one of the layers.
        """
        self.plan, self.gen = plan, gen
        self._bind(plan, gen)
        self.to(plan.device, plan.dtype)

    def _bind(self, plan: Plan, gen: torch.Generator) -> None:
        """Create what the rule itself needs; default: nothing."""

    def returns(self, name: str, params: Params, gen: torch.Generator | None) -> Returns | None:
        """Weights of the return path beside one layer in this pass; ``params`` are that layer's own weights."""
        return None

    def begin(self, teaching: Teaching, gen: torch.Generator | None) -> None:
        """Take the output error of one step, before any layer is served."""

    def deliver(self, name: str, teaching: Teaching) -> Tensor | None:
        """Error for one hidden layer, (B, *out_shape); None leaves the layer as it is."""
        raise NotImplementedError

    def conclude(self, teaching: Teaching) -> Tensor:
        """Error for the readout, (B, o); default: the error itself."""
        return teaching.error

    def localise(self, name: str, layer: Layer, view: LocalView) -> LocalView:
        """Work the delivered error into the layer; default: through the layer's own derivative."""
        return layer.localise(view)

    def update(self, name: str, layer: Layer, view: LocalView) -> Directions:
        """Directions of one layer's weights, summed over the batch; default: the layer's own pullback."""
        return layer.pullback(view)

    def adapt(self, name: str, view: LocalView, directions: Directions) -> Directions:
        """Directions of the plastic pathway weights beside one layer, named as in :meth:`plastic`."""
        return {}

    def dynamics(self, name: str, layer: Temporal, view: LocalView) -> Dynamics | None:
        """Memory that the eligibility of one hidden layer has under this rule; None: that of the layer's neurons."""
        return None

    def keep(self, name: str, layer: Temporal, view: LocalView) -> State:
        """What the rule itself takes along from the ticks of a chunk, in the state of one hidden layer.

        Names begin with :data:`neurofa.spiking.temporal.TRACE`; default: nothing.
        """
        return {}

    def modulate(self, x: Tensor, error: Tensor, gen: torch.Generator | None) -> Tensor | None:
        """Input of a second pass, (B, *input_shape), for rules that compare two; None: no second pass."""
        return None

    def perturb(
        self, name: str, layer: Layer, view: LocalView, teaching: Teaching, gen: torch.Generator | None
    ) -> Tensor | None:
        """Change of one layer's output in a probe, (B, *out_shape); None: none."""
        return None

    def perturb_weights(
        self, name: str, layer: Layer, view: LocalView, teaching: Teaching, gen: torch.Generator | None
    ) -> Params:
        """Changes of one layer's weights in a probe, by name; empty: none."""
        return {}

    def sense(self, added: dict[str, Tensor], moved: dict[str, Params], u: Tensor, gen: torch.Generator | None) -> None:
        """Take what came of a probe.

        Args:
            added: changes of outputs in it, by layer, as :meth:`perturb` gave them.
            moved: changes of weights in it, by layer, as :meth:`perturb_weights` gave them.
            u: (B, o), change of the network's output.
            gen: source of randomness.
        """

    def aligned(self, gen: torch.Generator | None) -> None:
        """All probes of a step have been sensed, and its error has not been sent yet."""

    def mirror(self, name: str, correlations: Directions, gen: torch.Generator | None) -> None:
        """Take one noise pass beside one layer (rules that need ``noise_pass``).

        Args:
            name: the layer.
            correlations: means over samples and positions of y xi^T by weight, shaped as the weights.
            gen: source of the device's write noise.
        """
        raise NotImplementedError

    def plastic(self, name: str) -> dict[str, tuple[Synapses, slice | None]]:
        """Pathway weights beside one layer that learn with it: synapses, and their rows that belong to it."""
        return {}

    def work_once(self, batch: int) -> list[Item]:
        """Products that a step takes whatever its layers, in :meth:`begin` and :meth:`modulate`; default: none."""
        return []

    def work_at(self, at: At) -> list[Item]:
        """Products that serving one layer takes, in all methods that name it; default: delivery and update."""
        return at.served(self.through)

    def through(self, name: str, m: Map) -> int:
        """FLOP of an error's way back through one map of a layer; default: those of its own transpose."""
        return m.product

    def probed(self, name: str) -> tuple[bool, bool]:
        """Whether a probe changes the output of a layer, and its weights; see :meth:`perturb`."""
        return False, False


class Direct(Rule, ABC):
    """The output error goes to every hidden layer at once: h_l receives B_l^T e."""

    def _bind(self, plan: Plan, gen: torch.Generator) -> None:
        self.feedback.open(plan.hidden, plan.outputs, gen)

    def signal(self, teaching: Teaching) -> Tensor:
        """What is projected, (B, o); default: the error."""
        return teaching.error

    def begin(self, teaching: Teaching, gen: torch.Generator | None) -> None:
        self._signal = self.encoder.quantize(self.signal(teaching), gen)
        self._ask = self.feedback.send(self._signal, gen)

    def deliver(self, name: str, teaching: Teaching) -> Tensor | None:
        return self._ask(name)

    def work_once(self, batch: int) -> list[Item]:
        return [Item("delivery", self.feedback.flop(batch, self.plan.outputs))]


class Chained(Rule, ABC):
    """Each layer returns its error to the one below through weights of the return path."""

    needs = frozenset({"above"})

    def _bind(self, plan: Plan, gen: torch.Generator) -> None:
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
                beside[key.replace(".", "/")] = self.path(shape, gen)
            self.paths[site.name] = beside

    def path(self, shape: tuple[int, ...], gen: torch.Generator) -> Synapses:
        """Return weights of one map; a normalisation's gain (one axis) returns its error unchanged at first."""
        if len(shape) < 2:
            return Synapses(torch.ones(shape), build("device", "digital"), gen)
        return self.feedback.draw(shape, gen)

    def beside(self, name: str) -> dict[str, Synapses]:
        """Return weights beside one layer, by the name of the forward weight; none beside a layer without weights."""
        found = self.paths[name] if name in self.paths else nn.ModuleDict()
        assert isinstance(found, nn.ModuleDict)
        return {key.replace("/", "."): s for key, s in found.items() if isinstance(s, Synapses)}

    def returns(self, name: str, params: Params, gen: torch.Generator | None) -> Returns | None:
        return {key: synapses.read(gen) for key, synapses in self.beside(name).items()}

    def deliver(self, name: str, teaching: Teaching) -> Tensor | None:
        return teaching.above
