"""What a rule's update depends on, found by poisoning.

One tick is recorded; its backward phase is then replayed while weights that a local rule may not know are
overwritten. A direction that changes by one bit depends on what was overwritten.
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
from neurofa.core.loss import CrossEntropy, MeanSquaredError
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.core.rule import Rule, bind_rule
from neurofa.core.view import LocalView, Tick
from neurofa.training.extra_passes import make_extra_passes
from neurofa.training.replay import Credit, collect, loss_and_teaching, preserved, record

TRANSPORTS = ("nothing", "signs", "weights")
"""What a pathway may copy from the forward weights beside it, from least to most."""


@dataclass(frozen=True, kw_only=True)
class Dependence:
    """What the update of one layer was found to depend on, beside its own view."""

    learns: bool
    """Whether the rule changes the layer at all."""
    other_weights: tuple[str, ...] = ()
    """Layers whose weights reach the update."""
    transports: str = "nothing"
    """What the pathway beside the layer copies from the layer's weights: ``nothing``, ``signs`` or ``weights``."""
    other_samples: bool = False
    """Whether one sample's part of the update depends on the other samples of the batch."""
    future_ticks: str = "static"
    """Whether later ticks reach the update; ``static`` where there is one tick only."""


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """Declared and found dependencies of one rule on one network."""

    rule: str
    declared_local: bool
    local: bool
    """Found: no update depends on another layer's weights, and the pathway copies no more than signs."""
    declared_transports: str
    transports: str
    """Found: the most that any pathway copies."""
    couples_samples: bool
    """Found: some update mixes samples (batch normalisation does); allowed, never silent."""
    dependencies: dict[str, Dependence]
    """By layer, from input to readout."""

    @property
    def agrees(self) -> bool:
        """Whether the rule does what it declares."""
        return self.local == self.declared_local and self.transports == self.declared_transports

    @property
    def verdict(self) -> str:
        """One sentence."""
        found = f"{'local' if self.local else 'not local'}, its pathway copies {self.transports}"
        found += "; samples of a batch are coupled" if self.couples_samples else ""
        if self.agrees:
            return f"{self.rule} is as declared: {found}"
        said = f"{'local' if self.declared_local else 'not local'}, copying {self.declared_transports}"
        return f"{self.rule} is not as declared: found {found}; declared {said}"

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return asdict(self) | {"agrees": self.agrees, "verdict": self.verdict}


def audit(rule: Rule | str, network: Network, x: Tensor, target: Tensor, seed: int = 0) -> AuditReport:
    """Find out what a rule's update depends on.

    For each layer, all other layers' weights (parameters, device cells, reads in their views) are overwritten, first
    with NaN, then with other finite numbers; the pathway is asked for its return weights again, and the backward phase
    of the same tick is replayed twice in a row, so that what a rule remembers counts too. Generators start from the
    same state in every replay.

    A rule that calibrates (``calibrate`` steps of backpropagation now and then) is charged with what those steps depend
    on as well.

    Args:
        rule: a spec, or a rule, which is bound to the network here.
        network: left as it was; audited in training mode.
        x: (B, *input_shape), with B >= 2.
        target: (B,) labels or (B, o) values.
        seed: of feedback, dropout and noise.

    Raises:
        NeurofaError: fewer than two samples, or a rule whose update is not the same twice.
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
    """One audit: a tick, what a clean replay of it gives, and the poisoned replays."""

    def __init__(
        self, rule: Rule, network: Network, x: Tensor, target: Tensor, seed: int, samples: int | None = None
    ) -> None:
        self.rule, self.network, self.x, self.seed = rule, network, x, seed
        self.samples = len(x) if samples is None else samples  # rows b, b + samples, ... are one sample's
        # A network that the rule holds as a submodule is no pathway: putting it back would undo the poison.
        held = {t.data_ptr() for t in (*network.parameters(), *network.buffers())}
        own = [t for t in (*rule.parameters(), *rule.buffers()) if t.data_ptr() not in held]
        self.pathway = [(t, t.detach().clone()) for t in own]
        self.tick = self._record(x)
        loss = CrossEntropy() if target.dim() == 1 and not target.is_floating_point() else MeanSquaredError()
        self.teaching = loss_and_teaching(loss, self.tick.y, target)[1]
        # on clean weights: a poisoned network would tell the rule of other layers by its outputs
        self.tick = make_extra_passes(network, rule, self.tick, self.teaching, self._gen())
        self._replay()  # what the rule remembers from step to step settles
        self.clean = self._replay()
        if not _equal(self.clean, self._replay()):
            raise NeurofaError(
                f"got two different updates of rule '{rule.name}' from the same tick and seed; expected finite updates"
                " and randomness from the given generators only; draw from the rule's gen and keep state in buffers"
            )
        self.learning = list(self.clean[0].directions)

    def report(self, name: str) -> AuditReport:
        coupled, future = self._couplings(), self.future()
        found = {}
        for key in self.network.names:
            if not self.network.layer(key).synapses:
                continue
            found[key] = Dependence(
                learns=key in self.learning, other_weights=self._others(key), transports=self._transports(key),
                other_samples=key in coupled, future_ticks=future,
            )  # fmt: skip
        transports = max((d.transports for d in found.values()), key=TRANSPORTS.index)
        return AuditReport(
            rule=name, declared_local=self.rule.declares.local, declared_transports=self.rule.declares.transports,
            local=not any(d.other_weights for d in found.values()) and transports != "weights",
            transports=transports, couples_samples=bool(coupled), dependencies=found,
        )  # fmt: skip

    def future(self) -> str:
        """Whether later ticks reach an update."""
        return "static"

    def _gen(self) -> torch.Generator:
        """The same stream for every replay; the rule's own generator goes back to its start as well."""
        if self.rule.gen is not None:
            self.rule.gen.set_state(generator(self.seed, "pathway", device=self.rule.gen.device).get_state())
        return generator(self.seed, "audit", device=self.x.device)

    def _record(self, x: Tensor) -> Tick:
        self._forget()
        return record(self.network, self.rule, x, self._gen())

    def _forget(self) -> None:
        """Put the pathway's tensors back to where they started."""
        for tensor, value in self.pathway:
            tensor.data.copy_(value)

    def _replay(self) -> tuple[Credit, Credit]:
        """Ask for the return weights, then assign credit twice in a row."""
        self._forget()
        asked = self._ask(self.network.names)
        gen = self._gen()
        first = collect(self.network, self.rule, self.tick, self.teaching, gen)
        second = collect(self.network, self.rule, self.tick, self.teaching, gen)
        for name, returned in asked.items():
            if name in first.plastic:
                first.plastic[name] |= {f"returned {k}": v for k, v in returned.items()}
        return first, second

    def _ask(self, names: list[str]) -> dict[str, dict[str, Tensor]]:
        """The return weights beside these layers, from the weights as they are now."""
        path = self.rule.declares.return_path
        if path is None:
            return {}
        gen, found = self._gen(), {}
        for name in names:
            params = self.tick.views[name].params
            returned = path.return_weights(name, params, gen) if params else None
            found[name] = (
                {}
                if returned is None
                else {k: v.dense() if isinstance(v, LowRank) else v.clone() for k, v in returned.items()}
            )
        return found

    def _others(self, name: str) -> tuple[str, ...]:
        """Layers whose weights reach the update of ``name``."""
        if name not in self.learning:
            return ()
        others = [other for other in self.network.names if other != name and self.network.layer(other).synapses]
        if not self._reached(name, others):
            return ()
        # Weights that only reach the update together are charged to all of them.
        return tuple(other for other in others if self._reached(name, [other])) or tuple(others)

    def _reached(self, name: str, others: list[str]) -> bool:
        return any(self._changes(lambda: _of(self._replay(), name), others, fill) for fill in (nan, strange))

    def _changes(self, look: Callable[[], list[Tensor]], layers: list[str], fill: Fill) -> bool:
        """Whether what ``look`` sees changes while the weights of these layers are overwritten."""
        self._prepare()
        before = look()
        self._prepare()
        held = [t for layer in layers for t in weights_of(self.network.layer(layer), self.tick.views[layer])]
        with poisoned(held, fill):
            try:
                after = look()
            except (RuntimeError, ValueError):  # the rule noticed the poison: then it looked
                return True
        return not _same(before, after)

    def _prepare(self) -> None:
        """Let the rule have seen one clean backward phase."""
        self._forget()
        collect(self.network, self.rule, self.tick, self.teaching, self._gen())

    def _transports(self, name: str) -> str:
        """What the pathway beside ``name`` copies from its weights, when asked for returns and when it adapts."""

        def look() -> list[Tensor]:
            returned = self._ask([name]).get(name, {})
            found = [*returned.values(), *self._adapted(name), *(t.clone() for t, _ in self.pathway)]
            self._forget()  # a rule may copy before its first step only
            return [*found, *self._ask([name]).get(name, {}).values()]

        if not self._changes(look, [name], nan):
            return "nothing"
        return "weights" if self._changes(look, [name], same_signs) else "signs"

    def _adapted(self, name: str) -> list[Tensor]:
        """What the plasticity beside ``name`` makes of a fixed error and fixed directions."""
        if name not in self.learning:
            return []
        self._gen()
        delta = self.clean[0].deltas.get(name)
        seen = self.clean[0]
        view = replace(self.tick.views[name], error=seen.errors[name], delta=delta, inner=seen.inner[name])
        directions: Directions = {k: v.clone() for k, v in self.clean[0].directions[name].items()}
        return list(dense(self.rule.adapt(name, view, directions)).values())

    def _couplings(self) -> set[str]:
        """Layers whose update for the first sample changes with the other samples."""
        n = self.samples
        x = self.x.clone()
        others = torch.arange(len(x), device=x.device) % n > 0
        x[others] = x[others].flip(-1) * 0.5 + 0.25
        clean, _ = self._delivered(self.tick, self.teaching)
        other, changed = self._delivered(self._record(x), _first_kept(self.teaching, n))
        coupled = set()
        for name in self.learning:
            if not torch.equal(clean[name][::n], other[name][::n]):
                coupled.add(name)
                continue
            error = torch.zeros_like(clean[name])
            error[::n] = clean[name][::n]
            ours = self._pulled(name, replace(self.tick.views[name], error=error))
            theirs = self._pulled(name, replace(changed.views[name], error=error))
            if not _same(ours, theirs):
                coupled.add(name)
        return coupled

    def _delivered(self, tick: Tick, teaching: Teaching) -> tuple[dict[str, Tensor], Tick]:
        """The errors that the layers get, and the tick with the passes that the rule asks for."""
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
    """What steps of two kinds depend on together; declared as the first."""
    found = {}
    for name, a in ours.dependencies.items():
        b = theirs.dependencies[name]
        others = {*a.other_weights, *b.other_weights}
        found[name] = Dependence(
            learns=a.learns or b.learns,
            other_weights=tuple(key for key in ours.dependencies if key in others),
            transports=max(a.transports, b.transports, key=TRANSPORTS.index),
            other_samples=a.other_samples or b.other_samples, future_ticks=a.future_ticks,
        )  # fmt: skip
    return replace(
        ours, local=ours.local and theirs.local, dependencies=found,
        transports=max(ours.transports, theirs.transports, key=TRANSPORTS.index),
        couples_samples=ours.couples_samples or theirs.couples_samples,
    )  # fmt: skip


def _first_kept(teaching: Teaching, samples: int) -> Teaching:
    """The same teaching for the first sample, another one for the rest."""
    error, target = teaching.error.clone(), teaching.target.clone()
    others = torch.arange(len(error), device=error.device) % samples > 0
    error[others], target[others] = error[others].flip(-1) * 3, target[others].flip(-1)
    return replace(teaching, error=error, target=target)


def _of(phases: tuple[Credit, Credit], name: str) -> list[Tensor]:
    return [t for c in phases for group in (c.directions, c.plastic) for t in group.get(name, {}).values()]


def _same(a: list[Tensor], b: list[Tensor]) -> bool:
    """Equal in every number; NaN equals nothing, so that poison that arrives is always seen."""
    return len(a) == len(b) and all(torch.equal(p, q) for p, q in zip(a, b, strict=True))


def _equal(a: tuple[Credit, Credit], b: tuple[Credit, Credit]) -> bool:
    return all(_same(_of(a, name), _of(b, name)) for name in a[0].directions)
