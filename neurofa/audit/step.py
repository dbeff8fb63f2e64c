"""Audit of a rule's update: its dependencies, found by poisoning.

One tick is recorded. Its backward phase is then replayed while weights that a local rule must not use are overwritten.
A direction that changes by one bit depends on the overwritten weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.audit.poison import Fill, nan, poisoned, same_signs, strange, weights_of
from neurofa.core.capabilities import Teaching
from neurofa.core.directions import Directions, LowRank, dense
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.core.rule import Rule, bind_rule
from neurofa.core.summary import exact_credit
from neurofa.core.view import LocalView, Tick
from neurofa.losses import CrossEntropy, MeanSquaredError
from neurofa.training.extra_passes import make_extra_passes
from neurofa.training.learner import loss_and_teaching
from neurofa.training.replay import Credit, collect, preserved, record

TRANSPORTS = ("nothing", "signs", "weights")
"""Information that a pathway may copy from the forward weights beside it, from least to most."""


@dataclass(frozen=True, kw_only=True)
class Dependence:
    """Measured dependencies of the update of one layer on anything but its own view."""

    learns: bool
    """Whether the rule changes the layer."""
    other_weights: tuple[str, ...] = ()
    """Layers whose weights the update depends on."""
    transports: str = "nothing"
    """What the feedback weights of the layer copy from its forward weights: ``nothing``, ``signs`` or ``weights``."""
    other_samples: bool = False
    """Whether one sample's part of the update depends on the other samples of the batch."""
    future_ticks: str = "static"
    """Whether the update depends on later ticks, ``yes`` or ``no``; ``static`` for a single tick."""


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """Declared and measured dependencies of one rule on one network."""

    rule: str
    """Name or spec of the rule."""
    declared_local: bool
    """Declared: no update needs another layer's weights."""
    local: bool
    """Measured: no update depends on another layer's weights, and no pathway copies more than signs."""
    declared_transports: str
    """Declared: what the pathway copies from the forward weights: ``nothing``, ``signs`` or ``weights``."""
    transports: str
    """Measured: the most that any pathway copies."""
    couples_samples: bool
    """Measured: an update mixes samples (as batch normalisation does); this is allowed, but always reported."""
    dependencies: dict[str, Dependence]
    """Dependencies by layer, from input to readout."""
    exact_inside: int = 0
    """Weights that errors reach through exact transposes of other weights: inside their layer, or of all layers."""
    weights: int = 0
    """Weights of all layers that learn."""

    @property
    def agrees(self) -> bool:
        """Whether measured and declared dependencies agree."""
        return self.local == self.declared_local and self.transports == self.declared_transports

    @property
    def verdict(self) -> str:
        """Measured and declared dependencies in one sentence."""
        measured = f"{'local' if self.local else 'not local'}, its pathway copies {self.transports}"
        measured += "; samples of a batch are coupled" if self.couples_samples else ""
        if self.agrees:
            return f"{self.rule} is as declared: {measured}"
        declared = f"{'local' if self.declared_local else 'not local'}, copying {self.declared_transports}"
        return f"{self.rule} is not as declared: found {measured}; declared {declared}"

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self) | {"agrees": self.agrees, "verdict": self.verdict}


def audit(rule: Rule | str, network: Network, x: Tensor, target: Tensor, seed: int = 0) -> AuditReport:
    """Find out what a rule's update depends on (other layers' weights, other samples), by overwriting weights.

    For each layer, all other layers' weights (parameters, cells, reads in their views) are overwritten, first with NaN,
    then with other finite numbers. The return weights are read again, and the backward phase of the same tick is
    replayed twice in a row, so that dependence through the rule's own state counts too. Generators start from the same
    state in every replay.

    For a rule with ``calibrate`` the dependencies of its steps of backpropagation are included.

    Args:
        rule: a spec, or a rule, which is bound to the network here.
        network: audited in training mode and restored.
        x: (B, *input_shape), with B >= 2.
        target: (B,) labels or (B, o) values.
        seed: of feedback, dropout and noise.

    Raises:
        NeurofaError: fewer than two samples, or a rule whose update is not reproducible.
    """
    if len(x) < 2:
        raise NeurofaError(f"got {len(x)} samples for an audit; expected at least 2; give a larger batch")
    bound: Rule = build("rule", rule)
    bind_rule(bound, network.plan(), generator(seed, "feedback"))
    name = rule if isinstance(rule, str) else bound.name or type(bound).__name__
    with torch.no_grad(), preserved(network, bound):
        network.train()
        report = Audit(bound, network, x, target, seed).report(name)
        if not bound.declares.calibrate:
            return report
        other: Rule = build("rule", "bp")
        bind_rule(other, bound.plan, generator(seed, "calibration"))
        return _together(report, Audit(other, network, x, target, seed).report(name))


class Audit:
    """Find which weights an update depends on: one tick is recorded, and its backward phase repeated.

    The first time nothing is changed; then, for each layer in turn, all other layers' weights are overwritten, with NaN
    and with other numbers. A layer whose update is no longer the same has read the weights of another one.

    Args:
        rule: bound to the network.
        network: in training mode.
        x: (B, *input_shape); of a sequence of T ticks (T * B, *input_shape), time first.
        target: (B,) labels or (B, o) values, for the rows of the recorded tick.
        seed: of noise.
        samples: B for a sequence; None: the rows of ``x``.
    """

    def __init__(
        self, rule: Rule, network: Network, x: Tensor, target: Tensor, seed: int, samples: int | None = None
    ) -> None:
        self.rule, self.network, self.x, self.seed = rule, network, x, seed
        self.samples = len(x) if samples is None else samples  # rows b, b + samples, ... are one sample's
        # a network inside the rule does not count as its pathway: restoring it would undo the poison
        held = {t.data_ptr() for t in (*network.parameters(), *network.buffers())}
        own = [t for t in (*rule.parameters(), *rule.buffers()) if t.data_ptr() not in held]
        self.pathway = [(t, t.detach().clone()) for t in own]
        self.tick = self._record(x)
        labels = target.dim() < self.tick.y.dim() and not target.is_floating_point()
        loss = CrossEntropy() if labels else MeanSquaredError()
        self.teaching = loss_and_teaching(loss, self.tick.y, target)[1]
        # on clean weights: extra passes through a poisoned network would expose other layers' weights by its outputs
        self.tick = make_extra_passes(network, rule, self.tick, self.teaching, self._gen())
        self._replay()  # lets the rule's own state reach that of later replays
        self.clean = self._replay()
        if not _equal(self.clean, self._replay()):
            raise NeurofaError(
                f"got two different updates of rule '{rule.name}' from the same tick and seed; expected finite updates"
                " and randomness from the given generators only; draw from the rule's gen and keep state in buffers"
            )
        self.learning = list(self.clean[0].directions)

    def report(self, name: str) -> AuditReport:
        """Replay the tick with overwritten weights, layer by layer, and return the report.

        Args:
            name: of the rule, for the report.
        """
        coupled, future = self._couplings(), self.future()
        dependencies = {}
        for key in self.network.names:
            if self.network.layer(key).synapses:
                dependencies[key] = Dependence(
                    learns=key in self.learning,
                    other_weights=self._others(key),
                    transports=self._transports(key),
                    other_samples=key in coupled,
                    future_ticks=future,
                )
        transports = max((d.transports for d in dependencies.values()), key=TRANSPORTS.index)
        declares = self.rule.declares
        learning = [layer for key, layer in self.network.items() if key in self.learning]
        inside, weights = exact_credit(learning)
        if not declares.local:
            inside = weights
        elif declares.return_path is not None:
            inside = 0  # errors return through the weights of the rule, inside a layer too
        return AuditReport(
            rule=name,
            declared_local=declares.local,
            local=not any(d.other_weights for d in dependencies.values()) and transports != "weights",
            declared_transports=declares.transports,
            transports=transports,
            couples_samples=bool(coupled),
            dependencies=dependencies,
            exact_inside=inside,
            weights=weights,
        )

    def future(self) -> str:
        """Return whether an update depends on later ticks: ``yes``, ``no`` or ``static``."""
        return "static"

    def _gen(self) -> torch.Generator:
        """Return a generator with the same stream for every replay, and reset the rule's own generator."""
        if self.rule.gen is not None:
            self.rule.gen.set_state(generator(self.seed, "pathway", device=self.rule.gen.device).get_state())
        return generator(self.seed, "audit", device=self.x.device)

    def _record(self, x: Tensor) -> Tick:
        self._forget()
        return record(self.network, self.rule, x, self._gen())

    def _forget(self) -> None:
        """Restore the initial tensors of the pathway."""
        for tensor, value in self.pathway:
            tensor.data.copy_(value)

    def _replay(self) -> tuple[Credit, Credit]:
        """Read the return weights, then deliver errors and compute directions twice in a row."""
        self._forget()
        returns = self._ask(self.network.names)
        gen = self._gen()
        first = collect(self.network, self.rule, self.tick, self.teaching, gen)
        second = collect(self.network, self.rule, self.tick, self.teaching, gen)
        for name, returned in returns.items():
            if name in first.plastic:
                first.plastic[name] |= {f"returned {k}": v for k, v in returned.items()}
        return first, second

    def _ask(self, names: list[str]) -> dict[str, dict[str, Tensor]]:
        """Return the return weights beside these layers, as copies, for the present weights."""
        path = self.rule.declares.return_path
        if path is None:
            return {}
        gen, returns = self._gen(), {}
        for name in names:
            params = self.tick.views[name].params
            returned = (path.return_weights(name, params, gen) if params else None) or {}
            returns[name] = {k: v.dense() if isinstance(v, LowRank) else v.clone() for k, v in returned.items()}
        return returns

    def _others(self, name: str) -> tuple[str, ...]:
        """Return the layers on whose weights the update of ``name`` depends."""
        if name not in self.learning:
            return ()
        others = [other for other in self.network.names if other != name and self.network.layer(other).synapses]
        if not self._reached(name, others):
            return ()
        # if no single layer changes the update but all together do, all are reported
        return tuple(other for other in others if self._reached(name, [other])) or tuple(others)

    def _reached(self, name: str, others: list[str]) -> bool:
        return any(self._changes(lambda: _of(self._replay(), name), others, fill) for fill in (nan, strange))

    def _changes(self, look: Callable[[], list[Tensor]], layers: list[str], fill: Fill) -> bool:
        """Return whether the tensors of ``look`` change while the weights of these layers are overwritten."""
        self._prepare()
        before = look()
        self._prepare()
        held = [t for layer in layers for t in weights_of(self.network.layer(layer), self.tick.views[layer])]
        with poisoned(held, fill):
            try:
                after = look()
            except (RuntimeError, ValueError):  # the rule failed because of the poison: then it read the weights
                return True
        return not _same(before, after)

    def _prepare(self) -> None:
        """Run one clean backward phase, from which the rule's own state follows."""
        self._forget()
        collect(self.network, self.rule, self.tick, self.teaching, self._gen())

    def _transports(self, name: str) -> str:
        """Return what the pathway beside ``name`` copies from its weights, for return weights or by learning."""

        def look() -> list[Tensor]:
            returned = self._ask([name]).get(name, {})
            tensors = [*returned.values(), *self._adapted(name), *(t.clone() for t, _ in self.pathway)]
            self._forget()  # a rule may copy weights before its first step only
            return [*tensors, *self._ask([name]).get(name, {}).values()]

        if not self._changes(look, [name], nan):
            return "nothing"
        return "weights" if self._changes(look, [name], same_signs) else "signs"

    def _adapted(self, name: str) -> list[Tensor]:
        """Return the directions of the plastic weights beside ``name`` for a fixed error and fixed directions."""
        if name not in self.learning:
            return []
        self._gen()
        clean = self.clean[0]
        delta = clean.deltas.get(name)
        view = replace(self.tick.views[name], error=clean.errors[name], delta=delta, inner=clean.inner[name])
        directions: Directions = {k: v.clone() for k, v in clean.directions[name].items()}
        return list(dense(self.rule.adapt(name, view, directions)).values())

    def _couplings(self) -> set[str]:
        """Return the layers whose update for the first sample depends on the other samples."""
        n = self.samples
        x = self.x.clone()
        others = torch.arange(len(x), device=x.device) % n > 0
        x[others] = x[others].flip(-1) * 0.5 + 0.25 if x.is_floating_point() else x[others].roll(1, -1)
        clean, _ = self._delivered(self.tick, self.teaching)
        other, changed = self._delivered(self._record(x), _first_kept(self.teaching, n, self.network.positions))
        coupled = set()
        for name in self.learning:
            if not torch.equal(clean[name][::n], other[name][::n]):
                coupled.add(name)
                continue
            # the delivered error is equal: does the layer's own backward phase mix samples?
            error = torch.zeros_like(clean[name])
            error[::n] = clean[name][::n]
            ours = self._pulled(name, replace(self.tick.views[name], error=error))
            theirs = self._pulled(name, replace(changed.views[name], error=error))
            if not _same(ours, theirs):
                coupled.add(name)
        return coupled

    def _delivered(self, tick: Tick, teaching: Teaching) -> tuple[dict[str, Tensor], Tick]:
        """Return the delivered errors by layer, and the tick with the extra passes of the rule."""
        self._forget()
        gen = self._gen()
        tick = make_extra_passes(self.network, self.rule, tick, teaching, gen)
        return collect(self.network, self.rule, tick, teaching, gen).errors, tick

    def _pulled(self, name: str, view: LocalView) -> list[Tensor]:
        self._forget()
        self._gen()
        layer = self.network.layer(name)
        return list(dense(self.rule.update(name, layer, view)[1]).values())


def _together(ours: AuditReport, theirs: AuditReport) -> AuditReport:
    """Return the joint dependencies of two kinds of steps; the declaration is that of the first."""
    dependencies = {}
    for name, a in ours.dependencies.items():
        b = theirs.dependencies[name]
        others = {*a.other_weights, *b.other_weights}
        dependencies[name] = Dependence(
            learns=a.learns or b.learns,
            other_weights=tuple(key for key in ours.dependencies if key in others),
            transports=max(a.transports, b.transports, key=TRANSPORTS.index),
            other_samples=a.other_samples or b.other_samples,
            future_ticks=a.future_ticks,
        )
    local = ours.local and theirs.local
    transports = max(ours.transports, theirs.transports, key=TRANSPORTS.index)
    coupled = ours.couples_samples or theirs.couples_samples
    return replace(ours, local=local, transports=transports, couples_samples=coupled, dependencies=dependencies)


def _first_kept(teaching: Teaching, samples: int, positions: int | None) -> Teaching:
    """Return the teaching with its first sample kept and all others changed.

    Args:
        teaching: of the recorded tick: rows of ticks, each of all samples, or of samples, each of all positions.
        samples: B.
        positions: S, where the network answers at every position.
    """
    error, target = teaching.error.clone(), teaching.target.clone()
    rows = torch.arange(len(error), device=error.device)
    others = rows % samples > 0 if positions is None else rows >= positions
    error[others], target[others] = error[others].flip(-1) * 3, target[others].flip(-1)
    return replace(teaching, error=error, target=target)


def _of(phases: tuple[Credit, Credit], name: str) -> list[Tensor]:
    return [t for c in phases for group in (c.directions, c.plastic) for t in group.get(name, {}).values()]


def _same(a: list[Tensor], b: list[Tensor]) -> bool:
    """Return whether all tensors are equal; NaN equals nothing, so that arriving poison is always detected."""
    return len(a) == len(b) and all(torch.equal(p, q) for p, q in zip(a, b, strict=True))


def _equal(a: tuple[Credit, Credit], b: tuple[Credit, Credit]) -> bool:
    return all(_same(_of(a, name), _of(b, name)) for name in a[0].directions)
