"""Learning from sequences, chunk by chunk: :meth:`neurofa.training.learner.Learner.stream`."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from neurofa.core.events import Events, as_ticks
from neurofa.core.layer import LocalView, State
from neurofa.core.loss import Loss
from neurofa.core.network import Network, Tick
from neurofa.core.rule import Rule, Teaching
from neurofa.neurons.leaky import LeakyIntegrator
from neurofa.spiking.sequence import CHUNK, check_memory, parts, respond, rest, sweep
from neurofa.spiking.temporal import Temporal
from neurofa.training.backward import assign
from neurofa.training.extra_passes import prepare
from neurofa.training.targets import Lesson, lesson_of

if TYPE_CHECKING:
    from neurofa.training.learner import Learner, StepResult

UPDATES = ("end", "chunk", "tick")


def learn(
    learner: Learner,
    xs: Tensor | Events,
    targets: Tensor,
    *,
    chunk: int,
    update: str,
    teach: tuple[int, int] | None,
    binary: bool,
) -> StepResult:
    """See :meth:`neurofa.training.learner.Learner.stream`."""
    from neurofa.training.learner import StepResult

    network, rule = learner.network, learner.rule
    if chunk < 1 or update not in UPDATES:
        raise NeurofaError(
            f"got chunk={chunk}, update='{update}'; expected at least 1 tick, and {', '.join(UPDATES)}; change them"
        )
    lesson = lesson_of(network, xs, targets, teach, binary=binary)
    ticks = xs.shape[0]
    if rule.through_time:
        from neurofa.training.bptt import learn_through_time

        loss, y = learn_through_time(learner, xs, lesson)
    else:
        check_rule(rule)
        size = 1 if update == "tick" else chunk
        check_traces(network, rule, kept=size < ticks)
        gathering = update == "end" and size < ticks
        if gathering:
            learner.deposit.refuse_factored(
                "an update of several chunks together", "use update=chunk, or longer chunks"
            )
        with learner.deposit.gathering() if gathering else nullcontext():
            loss, y = _chunks(learner, xs, lesson, size, finish=not gathering)
    if loss.device.type == "cpu" and not math.isfinite(loss.item()):
        raise NeurofaError(
            f"got a loss of {float(loss)} at step {learner.steps}; expected a finite one; lower the learning rate"
            " or the feedback gain"
        )
    learner.steps += 1
    return StepResult(loss, y)


@torch.no_grad()
def judge(
    network: Network,
    loss: Loss,
    xs: Tensor | Events,
    targets: Tensor,
    *,
    teach: tuple[int, int] | None = None,
    chunk: int = CHUNK,
    gen: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """What a network makes of sequences, and what a loss says of it; nothing is learnt.

    Args:
        network: in the mode that is asked about.
        loss: of one tick's outputs.
        xs: (T, B, *input_shape) or events.
        targets: as for :meth:`~neurofa.training.learner.Learner.stream`.
        teach: ticks that count; None: all.
        chunk: K.
        gen: source of noise.

    Returns:
        Mean loss over samples and taught ticks, 0-dim, and the mean output at these ticks, (B, o).
    """
    lesson = lesson_of(network, xs, targets, teach)
    some = next(network.parameters())
    value, total = some.new_zeros(()), some.new_zeros(lesson.batch, network.outputs)
    for first, ticks, tick in respond(network, xs, chunk=chunk, gen=gen):
        taught = lesson.at(first, ticks)
        if taught is None:
            continue
        rows, target = taught
        share = (rows.stop - rows.start) // lesson.batch * lesson.share
        value += loss.evaluate(tick.y[rows], target[rows]).value * share
        total += as_ticks(tick.y[rows], lesson.batch).sum(0).mul_(lesson.share)
    return value, total


def check_rule(rule: Rule) -> None:
    """Refuse rules that cannot learn from sequences.

    Raises:
        NeurofaError: the rule compares two passes.
    """
    by_difference = rule.probe is not None and rule.probe.by == "difference"
    if by_difference or type(rule).modulate is not Rule.modulate:
        raise NeurofaError(
            f"got rule '{rule.name}' for sequences, which compares two passes; expected one that learns from the pass"
            " itself; use eprop, dfa, drtp or another (see: neurofa list rule)"
        )


def check_traces(network: Network, rule: Rule, *, kept: bool) -> None:
    """Refuse eligibility that a layer cannot keep, before any weight changes.

    Args:
        network: of any layers.
        rule: bound to it.
        kept: whether there are several chunks, so that traces are carried from one to the next.

    Raises:
        NeurofaError: see :meth:`neurofa.spiking.temporal.Temporal.check_traces`.
    """
    kappa = filter_of(network, rule)
    for name, layer in network.items():
        if isinstance(layer, Temporal):
            hidden = name != network.readout
            view = layer.blank(network.shapes[name], kappa if hidden else 0.0)
            dynamics = rule.dynamics(name, layer, view) if hidden else None
            layer.check_traces(view, dynamics, kept=kept and (rule.remembers or not hidden))


def filter_of(network: Network, rule: Rule) -> float:
    """Decay of the readout, through which a rule with a filter lets eligibility pass; 0: no filter.

    Raises:
        NeurofaError: such a rule without a leaky readout.
    """
    if not rule.filtered:
        return 0.0
    last = network.layer(network.readout)
    neuron = last.neuron if isinstance(last, Temporal) else None
    if not isinstance(neuron, LeakyIntegrator):
        raise NeurofaError(
            f"got rule '{rule.name}' with a filter for a readout of {last.name if neuron is None else neuron.name};"
            " expected leaky integrators, whose decay is that of the filter; use filtered=False or readout=leaky"
        )
    return neuron.kappa


def _chunks(
    learner: Learner, xs: Tensor | Events, lesson: Lesson, chunk: int, *, finish: bool
) -> tuple[Tensor, Tensor]:
    rule = learner.acting()
    course = _Course(learner, rule, lesson, filter_of(learner.network, rule), finish)
    states = rest(learner.network, lesson.batch)
    for first, ticks, x in parts(learner.network, xs, chunk):
        states = course.take(x, first, ticks, states, last=first + ticks == xs.shape[0])
    return course.loss, course.y


class _Course:
    """One batch of sequences on its way through a learner."""

    def __init__(self, learner: Learner, rule: Rule, lesson: Lesson, kappa: float, finish: bool) -> None:
        self.learner, self.rule, self.lesson, self.kappa, self.finish = learner, rule, lesson, kappa, finish
        self.emit = learner.emitter(rule, lesson.batch)
        some = next(learner.network.parameters())
        self.loss, self.y = some.new_zeros(()), some.new_zeros(lesson.batch, learner.network.outputs)

    def take(self, x: Tensor, first: int, ticks: int, states: dict[str, State], *, last: bool) -> dict[str, State]:
        """Learn from one chunk; what it needed is free again before the next one begins."""
        learner, rule, network = self.learner, self.rule, self.learner.network
        tick, after = sweep(
            network, x, ticks, states, gen=learner.gen, returns=learner.returns_of(rule), kappa=self.kappa,
            below=rule.chained,
        )  # fmt: skip
        check_memory(after, first, ticks)
        if network.training:
            network.absorb(tick)
        views = dict(tick.views)
        # before the update: traces that a layer cannot keep are refused while no weight has moved
        carried = {} if last else {name: after[name] | kept_traces(network, rule, name, views[name]) for name in after}
        taught = self.lesson.at(first, ticks)
        if taught is not None:
            self._teach(tick, views, *taught)
        return carried

    def _teach(self, tick: Tick, views: dict[str, LocalView], rows: slice, target: Tensor) -> None:
        learner, rule, lesson = self.learner, self.rule, self.lesson
        value, teaching = _teaching(learner, tick, rows, target, lesson)
        self.loss += value
        self.y += as_ticks(tick.y[rows], lesson.batch).sum(0).mul_(lesson.share)
        mirrors = rule.noise if rule.noise is not None and learner.steps % rule.noise.every == 0 else None
        ready = prepare(learner.network, rule, tick, teaching, learner.gen)
        assign(learner.network, rule, ready, teaching, self.emit, learner.gen)
        if self.finish:
            learner.deposit.finish()
        if mirrors is not None:
            learner.mirror(mirrors, Tick(tick.y, views))


def kept_traces(network: Network, rule: Rule, name: str, view: LocalView) -> dict[str, Tensor]:
    """What one layer takes along from the ticks of a chunk."""
    layer = network.layer(name)
    assert isinstance(layer, Temporal)
    if name == network.readout:
        return layer.carry_traces(view)
    if not rule.remembers:
        return {}
    return layer.carry_traces(view, rule.dynamics(name, layer, view)) | rule.keep(name, layer, view)


def _teaching(learner: Learner, tick: Tick, taught: slice, target: Tensor, lesson: Lesson) -> tuple[Tensor, Teaching]:
    """Loss of the taught rows, and what a rule is offered: errors and targets in their shares of the whole lesson."""
    y, loss, share = tick.y, learner.loss, lesson.share
    ticks = (taught.stop - taught.start) // lesson.batch
    outcome = loss.evaluate(y[taught], target[taught])
    value = outcome.value * (share * ticks)

    def whole(part: Tensor) -> Tensor:
        if len(part) == len(y):
            return part * share  # not in place: targets are the caller's
        found = torch.zeros_like(y)
        found[taught] = part
        return found.mul_(share)

    def judge(other: Tensor) -> Tensor:
        return whole(loss.evaluate(other[taught], target[taught]).error)

    return value, Teaching(whole(outcome.error), whole(outcome.target), judge=judge)
