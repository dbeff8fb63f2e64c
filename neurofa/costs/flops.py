"""What a learner's step costs: products by phase and layer, told by its layers, its rule and its feedback."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from hwmodels.registry import build
from neurofa.core.network import Network
from neurofa.core.products import PHASES, At, Item, Work
from neurofa.core.randomness import generator
from neurofa.core.rule import Rule, bind_rule
from neurofa.costs.memory import memory
from neurofa.maps.jvp import tangent_flop
from neurofa.maps.trace import products
from neurofa.training.learner import Learner

NOWHERE = ""
"""Name for what belongs to no layer."""


@dataclass(frozen=True)
class Cost:
    """What one learner's step takes on one batch."""

    rule: str
    batch: int
    items: dict[str, tuple[Item, ...]]
    """Products by layer; under ``NOWHERE`` those that serve all layers together."""
    memory: dict[str, int]
    """Bytes by what they hold; see :func:`neurofa.costs.memory.memory`."""
    calibration: Cost | None = None
    """The step that takes the place of every ``calibrate``-th."""
    calibrate: int = 0

    def by_phase(self) -> dict[str, float]:
        """FLOP of a mean step by phase, what is done now and then in equal shares."""
        own = dict.fromkeys(PHASES, 0.0)
        for item in self._all():
            own[item.phase] += item.flop / item.every if item.every else 0
        if self.calibration is None:
            return own
        theirs, share = self.calibration.by_phase(), 1 / self.calibrate
        return {phase: (1 - share) * flop + share * theirs[phase] for phase, flop in own.items()}

    @property
    def flop(self) -> float:
        """FLOP of a mean step."""
        return sum(self.by_phase().values())

    def at_step(self, step: int) -> int:
        """FLOP of one step, the first one being step 0: a whole number, as a counter would find."""
        if self.calibration is not None and (step + 1) % self.calibrate == 0:
            return self.calibration.at_step(step)
        return sum(i.flop for i in self._all() if step == 0 or (i.every and step % i.every == 0))

    def _all(self) -> Iterator[Item]:
        for items in self.items.values():
            yield from items


def cost(learner: Learner, *, batch_size: int, held: bool = True) -> Cost:
    """Count the matrix products of a step, and the memory that it holds.

    Nothing is run: layers tell their maps (:meth:`~neurofa.core.layer.Layer.work`), the feedback its projection
    (:meth:`~neurofa.core.feedback.Feedback.flop`), the rule what it does beside every layer
    (:meth:`~neurofa.core.rule.Rule.work_at`), and the passes that it asks for are put together here as the learner
    makes
    them. Of a network with a memory a step is one tick: a chunk of K ticks takes K times as much, and what traces take
    that chunks leave to each other is not told. Exact devices and exact products are assumed: what simulating an
    analog device takes is not part of a rule.

    Args:
        learner: network, rule and optimizer.
        batch_size: samples in a step.
        held: count the memory too.

    Raises:
        NeurofaError: a layer cannot tell its products.
    """
    network, rule = learner.network, learner.rule
    other = None
    if rule.declares.calibrate:
        bp: Rule = build("rule", "bp")
        bind_rule(bp, network.plan(chained=True), generator(0, "calibration"))
        other = Cost(bp.name, batch_size, _items(network, bp, batch_size), {})
    items = _items(network, rule, batch_size)
    found = memory(learner, batch_size) if held else {}
    return Cost(rule.name, batch_size, items, found, other, rule.declares.calibrate)


def _items(network: Network, rule: Rule, batch: int) -> dict[str, tuple[Item, ...]]:
    works = _works(network, rule, batch)
    declares = rule.declares
    found: dict[str, list[Item]] = {NOWHERE: list(declares.work.work_once(batch))}
    for name, layer in network.items():
        work, items = works[name], found.setdefault(name, [])
        items.append(Item("forward", work.forward))
        if declares.second_pass is not None:
            items.append(Item("passes", work.forward))
        if declares.mirroring is not None and layer.traits.returning:
            # the pass itself, and the correlations of its outputs with the noise; not among the neurons of a layer
            among = sum(m.product for m in work.maps if m.key not in layer.traits.returning)
            items.append(Item("passes", work.forward + work.affine - 2 * among, declares.mirroring.every))
        if layer.traits.parameter_free or not layer.synapses:
            continue
        readout, lowest = name == network.readout, name == network.lowest
        width = math.prod(network.shapes[name])
        at = At(name, batch, width, network.outputs, work, readout, rule.declares.chained and not lowest)
        items += declares.work.work_at(at)
        if readout and at.sends and not work.closed and rule.encoder.name != "raw":
            items += at.served(declares.work.return_flop)  # once more, with the encoded error
    for name, flop in _probes(network, rule, works):
        found[name].append(Item("passes", flop))
    return {name: tuple(items) for name, items in found.items()}


def _works(network: Network, rule: Rule, batch: int) -> dict[str, Work]:
    works: dict[str, Work] = {}
    shape, learns_below = network.input_shape, False
    for name, layer in network.items():
        works[name] = products(layer, (batch, *shape), sends=rule.declares.chained and learns_below)
        shape, learns_below = network.shapes[name], learns_below or bool(layer.synapses)
    return works


def _probes(network: Network, rule: Rule, works: dict[str, Work]) -> Iterator[tuple[str, int]]:
    """Products of the probe passes, as :func:`neurofa.training.extra_passes.make_extra_passes` makes them."""
    probing = rule.declares.probing
    if probing is None:
        return
    changes = {name: probing.perturbs(name) for name, layer in network.items() if layer.synapses}
    names = [name for name, change in changes.items() if any(change)]
    for group in [[name] for name in names] if probing.perturbation.each else [names]:
        dot = False
        for name, layer in network.items():
            output, weights = changes[name] if name in group else (False, False)
            if probing.perturbation.by == "difference":
                yield name, works[name].forward
            elif dot or weights:
                moved = frozenset(layer.synapses.stored()) if weights else frozenset()
                yield name, tangent_flop(layer, works[name], moved, dot=dot)
            dot = dot or output or weights
