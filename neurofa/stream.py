"""Learning from sequences, chunk by chunk: :meth:`neurofa.learner.Learner.stream`."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from neurofa.credit import assign
from neurofa.events import Events, as_ticks
from neurofa.layer import LocalView
from neurofa.network import Network, Tick
from neurofa.neurons.leaky import LeakyIntegrator
from neurofa.passes import prepare
from neurofa.rule import Rule, Teaching
from neurofa.sequence import check, check_memory, parts, rest, sweep
from neurofa.temporal import Temporal

if TYPE_CHECKING:
    from neurofa.learner import Learner, StepResult

UPDATES = ("end", "chunk", "tick")


@dataclass(frozen=True)
class Lesson:
    """What is taught when: targets, and the ticks at which the loss counts."""

    targets: Tensor
    """(B,), (B, o) or (T, B, o)."""
    begin: int
    end: int
    batch: int

    def at(self, first: int, ticks: int) -> tuple[slice, Tensor] | None:
        """Rows of a chunk that are taught, and the targets of all K B rows; None: nothing is taught in these ticks."""
        low, high = max(self.begin - first, 0), min(self.end - first, ticks)
        if low >= high:
            return None
        per_tick = self.targets.dim() == 3
        rows = self.targets[first : first + ticks] if per_tick else self.targets.expand(ticks, *self.targets.shape)
        return slice(low * self.batch, high * self.batch), rows.flatten(0, 1)

    @property
    def share(self) -> float:
        """Weight of one tick's loss."""
        return 1.0 / (self.end - self.begin)


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
    """See :meth:`neurofa.learner.Learner.stream`."""
    from neurofa.learner import StepResult

    network, rule = learner.network, learner.rule
    check(network, xs, _samples(xs, targets), binary=binary)
    if chunk < 1 or update not in UPDATES:
        raise NeurofaError(
            f"got chunk={chunk}, update='{update}'; expected at least 1 tick, and {', '.join(UPDATES)}; change them"
        )
    ticks, batch = xs.shape[:2]
    begin, end = (0, ticks) if teach is None else teach
    if not 0 <= begin < end <= ticks:
        raise NeurofaError(f"got teach=({begin}, {end}) for {ticks} ticks; expected a part of them; change teach")
    lesson = Lesson(targets, begin, end, batch)
    if rule.through_time:
        from neurofa.bptt import learn_through_time

        loss, y = learn_through_time(learner, xs, lesson)
    else:
        check_rule(rule)
        check_traces(network, rule)
        size = 1 if update == "tick" else chunk
        gathering = update == "end" and size < ticks
        if gathering:
            learner.deposit.refuse_factored(
                "an update of several chunks together", "use update=chunk, or longer chunks"
            )
        with learner.deposit.gathering() if gathering else nullcontext():
            loss, y = _chunks(learner, xs, lesson, size, finish=not gathering)
    learner.steps += 1
    return StepResult(loss, y)


def _samples(xs: Tensor | Events, targets: Tensor) -> int:
    """B as the targets have it."""
    ticks, shape = xs.shape[0], tuple(targets.shape)
    labels = len(shape) == 1 or targets.is_floating_point()
    if not 1 <= len(shape) <= 3 or not labels or (len(shape) == 3 and shape[0] != ticks):
        raise NeurofaError(
            f"got targets of shape {shape}, {targets.dtype}, for {ticks} ticks; expected one label a sample, (B,), or"
            f" values (B, o) or ({ticks}, B, o); give labels of single ticks as one-hot values with loss mse"
        )
    return shape[1] if len(shape) == 3 else shape[0]


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


def check_traces(network: Network, rule: Rule) -> None:
    """Refuse eligibility that a layer cannot keep, before any weight changes.

    Raises:
        NeurofaError: see :meth:`neurofa.temporal.Temporal.check_traces`.
    """
    kappa = filter_of(network, rule)
    for name, layer in network.items():
        if isinstance(layer, Temporal):
            hidden = name != network.readout
            view = layer.blank(network.shapes[name], kappa if hidden else 0.0)
            layer.check_traces(view, rule.dynamics(name, layer, view) if hidden else None)


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
    network, rule, gen = learner.network, learner.acting(), learner.gen
    kappa = filter_of(network, rule)
    states = rest(network, lesson.batch)
    some = next(network.parameters())
    loss, total = some.new_zeros(()), some.new_zeros(lesson.batch, network.outputs)
    emit = learner.emitter(rule, lesson.batch)
    last = xs.shape[0]
    for first, ticks, x in parts(network, xs, chunk):
        tick, after = sweep(
            network, x, ticks, states, gen=gen, returns=learner.returns_of(rule), kappa=kappa, below=rule.chained
        )
        check_memory(after, first, ticks)
        if network.training:
            network.absorb(tick)
        views = dict(tick.views)
        taught = lesson.at(first, ticks)
        if taught is not None:
            value, teaching = _teaching(learner, tick, *taught, lesson)
            loss += value
            total += as_ticks(tick.y[taught[0]], lesson.batch).sum(0).mul_(lesson.share)
            mirrors = rule.noise if rule.noise is not None and learner.steps % rule.noise.every == 0 else None
            ready = prepare(network, rule, tick, teaching, gen)
            assign(network, rule, ready, teaching, emit, gen)
            if finish:
                learner.deposit.finish()
            if mirrors is not None:
                learner.mirror(mirrors, Tick(tick.y, views))
        if first + ticks < last:
            states = {name: after[name] | carried(network, rule, name, views[name]) for name in after}
    return loss, total


def carried(network: Network, rule: Rule, name: str, view: LocalView) -> dict[str, Tensor]:
    """What one layer takes along from the ticks of a chunk, to be put into its state."""
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
    outcome = loss.outcome(y[taught], target[taught])
    value = outcome.value * (share * ticks)

    def whole(part: Tensor) -> Tensor:
        if len(part) == len(y):
            return part * share  # not in place: targets are the caller's
        found = torch.zeros_like(y)
        found[taught] = part
        return found.mul_(share)

    def judge(other: Tensor) -> Tensor:
        return whole(loss.outcome(other[taught], target[taught]).error)

    return value, Teaching(whole(outcome.error), whole(outcome.target), judge=judge)
