"""The only training step in the package."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.core.events import Events
from neurofa.core.layer import Directions, Layer, LocalView
from neurofa.core.loss import Loss
from neurofa.core.network import Network, ReturnsOf, Tick
from neurofa.core.randomness import generator
from neurofa.core.rule import NoisePass, Rule, taught
from neurofa.core.synapses import Synapses
from neurofa.spiking.sequence import CHUNK
from neurofa.training.backward import Emit, assign
from neurofa.training.extra_passes import prepare
from neurofa.training.summary import learner_summary
from neurofa.training.update import Depositor


class StepResult(NamedTuple):
    """What one step leaves to look at; tensors on the compute device, nothing has been waited for."""

    loss: Tensor
    """Mean loss of the batch before the update, 0-dim."""
    y: Tensor
    """(B, o): outputs before the update."""


class Learner:
    """Trains a network by a rule, without ``loss.backward()``.

    Args:
        network: the chain of layers.
        rule: a rule or its spec, bound to the network here.
        optimizer: any ``torch.optim`` optimizer over ``network.parameters()``. Plastic feedback joins the parameter
            group of the weights beside it, so that both see one learning rate and one decay.
        loss: ``"cross_entropy"``, ``"mse"``, or a :class:`~neurofa.core.loss.Loss`.
        seed: of feedback, dropout, device noise and rounding.
        accumulate: batches whose directions are averaged into one update.
        clip: largest norm of all directions together, or None.
        fused: compile what devices make of an update, and products on arrays, into single kernels
            (:meth:`~neurofa.core.network.Network.fuse`).
        feedback_seed: of the feedback alone, so that networks of several seeds can share it; None: ``seed``.

    Plain SGD (no momentum, no clipping, no accumulation) needs no ``.grad``: each direction goes straight into its
    weight, one fused product, or to its device as the change that is asked for; every other case goes through
    ``.grad`` and ``optimizer.step()``.

    Raises:
        NeurofaError: the rule cannot serve a layer, or an option is out of range.
    """

    def __init__(
        self,
        network: Network,
        rule: Rule | str,
        *,
        optimizer: torch.optim.Optimizer,
        loss: Loss | str = "cross_entropy",
        seed: int = 0,
        accumulate: int = 1,
        clip: float | None = None,
        fused: bool = False,
        feedback_seed: int | None = None,
    ) -> None:
        if accumulate < 1 or (clip is not None and clip <= 0):
            raise NeurofaError(f"got accumulate={accumulate}, clip={clip}; expected positive numbers; change them")
        self.network, self.optimizer, self.accumulate, self.clip = network, optimizer, accumulate, clip
        self.rule: Rule = build("rule", rule)
        self.loss: Loss = build("loss", loss)
        where = next(network.parameters()).device
        self.gen = generator(seed, "learner", device=where)
        wired = seed if feedback_seed is None else feedback_seed
        self.rule.bind(network.plan(chained=self.rule.chained), generator(wired, "feedback"))
        network.fuse(fused, whole=network.whole)
        for part in self.rule.modules():
            if isinstance(part, Synapses):
                part.fused = fused and not part.exact
        self.deposit = Depositor(network, self.rule, optimizer, self.gen, clip, accumulate)
        self._calibrator: Rule | None = None
        self.steps = 0

    def __repr__(self) -> str:
        return learner_summary(self.network, self.rule, self.optimizer, self.loss)

    @property
    def direct(self) -> bool:
        """Whether directions go straight into the weights, without ``.grad``."""
        return self.deposit.direct

    def acting(self) -> Rule:
        """The rule of this step: the learner's own, or backpropagation where the rule asks for it now and then."""
        every = self.rule.calibrate
        if not every or (self.steps + 1) % every:
            return self.rule
        if self._calibrator is None:
            made: Rule = build("rule", "bp")
            made.bind(self.network.plan(chained=True), generator(0, "calibration"))
            self._calibrator = made
        return self._calibrator

    def returns_of(self, rule: Rule) -> ReturnsOf | None:
        """What a forward pass asks for the return weights beside a layer."""
        return (lambda name, params: rule.returns(name, params, self.gen)) if rule.chained else None

    @torch.no_grad()
    def step(self, x: Tensor, target: Tensor) -> StepResult:
        """Learn from one batch.

        Args:
            x: (B, *input_shape).
            target: (B,) labels or (B, o) values.

        Returns:
            Loss and outputs before the update.

        Raises:
            NeurofaError: wrong shapes or labels; NaN (the layer is named), before any weight is touched. On an
                accelerator NaN is looked for by :meth:`check_finite` only, since looking waits for the device.
        """
        network, rule = self.network, self.acting()
        tick = network.step(x, gen=self.gen, returns=self.returns_of(rule), below=rule.chained)
        outcome, teaching = taught(self.loss, tick.y, target)
        if x.device.type == "cpu":
            self.check_finite(outcome.value, x)
        if network.training:
            network.absorb(tick)
        mirrors = rule.noise if rule.noise is not None and self.steps % rule.noise.every == 0 else None
        tick = prepare(network, rule, tick, teaching, self.gen)
        assign(network, rule, tick, teaching, self.emitter(rule, len(x)), self.gen, release=mirrors is None)
        self.deposit.finish()
        if mirrors is not None:
            self.mirror(mirrors, tick)
        self.steps += 1
        return StepResult(outcome.value, tick.y)

    def emitter(self, rule: Rule, batch: int) -> Emit:
        """What takes the directions of a layer, summed over ``batch`` samples, to where they belong."""
        deposit = self.deposit

        def emit(name: str, layer: Layer, view: LocalView, directions: Directions) -> None:
            plastic = rule.adapt(name, view, directions)
            deposit.layer(layer, directions, batch)
            if plastic:
                deposit.pathway(rule.plastic(name), plastic, batch)

        return emit

    def mirror(self, noise: NoisePass, tick: Tick) -> None:
        """Make the noise pass that a rule has asked for."""
        for name, layer in self.network.items():
            view = tick.views[name]
            if layer.returning:
                self.rule.mirror(name, layer.mirror(view.params, view.x, noise.amplitude, self.gen), self.gen)

    def stream(
        self,
        xs: Tensor | Events,
        targets: Tensor,
        *,
        chunk: int = CHUNK,
        update: str = "end",
        teach: tuple[int, int] | None = None,
        binary: bool = False,
    ) -> StepResult:
        """Learn from one batch of sequences, in memory that does not grow with their length.

        Args:
            xs: (T, B, *input_shape), time first, or event-sparse input; dense vectors of few spikes are taken as
                events, chunk by chunk (:func:`neurofa.core.events.spike_rows`).
            targets: (B,) labels or (B, o) values of the whole sequence, or (T, B, o) values of every tick.
            chunk: K, ticks that are worked on at once: memory depends on K, not on T; 1 is purely online.
            update: when weights change: after the last tick (``end``: the directions do not depend on ``chunk``), after
                every ``chunk``, or after every ``tick`` (one tick at a time).
            teach: first tick, and the one behind the last, at which the loss counts; None: all. It is their mean.
            binary: refuse inputs other than 0 and 1.

        Returns:
            Mean loss over samples and taught ticks, and the mean output at these ticks, (B, o), before each update.

        Raises:
            NeurofaError: wrong shapes, a rule that cannot learn from sequences, NaN (the layer is named).
        """
        from neurofa.training.stream import learn

        return learn(self, xs, targets, chunk=chunk, update=update, teach=teach, binary=binary)

    def check_finite(self, loss: Tensor, x: Tensor) -> None:
        """Refuse to go on from a loss that is not a number.

        Args:
            loss: 0-dim.
            x: the batch, to find the layer.

        Raises:
            NeurofaError: naming the first layer whose input or output is not finite.
        """
        if math.isfinite(loss.item()):
            return
        if not bool(x.isfinite().all()):
            raise NeurofaError(
                f"got NaN or infinity in the input of layer '{self.network.names[0]}'; expected finite numbers;"
                " clean the data"
            )
        for name, layer in self.network.items():
            x = layer.compute(layer.read(self.gen), x, layer.start(x, self.gen))[0]
            if not bool(x.isfinite().all()):
                raise NeurofaError(
                    f"got NaN or infinity in the output of layer '{name}' at step {self.steps}; expected finite"
                    " numbers; lower the learning rate or the feedback gain"
                )
        raise NeurofaError(
            f"got a loss of {float(loss)} at step {self.steps} from finite outputs; expected a finite loss; lower the"
            " learning rate, or check the targets"
        )

    @torch.no_grad()
    def evaluate(self, x: Tensor) -> Tensor:
        """Outputs in evaluation mode: (B, *input_shape) to (B, o); the training mode is restored."""
        training = self.network.training
        self.network.eval()
        try:
            y: Tensor = self.network(x, self.gen)
        finally:
            self.network.train(training)
        return y
