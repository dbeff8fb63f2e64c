"""FLOP of a training step: products by phase and layer, declared by layers, rule and feedback."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from hwmodels.registry import build
from neurofa.core.network import Network
from neurofa.core.products import PHASES, LayerWork, PhaseFlop, ServedLayer
from neurofa.core.randomness import generator
from neurofa.core.rule import Rule, bind_rule
from neurofa.maps.jvp import tangent_flop
from neurofa.maps.trace import products
from neurofa.training.learner import Learner

NOWHERE = ""
"""Name for products that belong to no layer."""


@dataclass(frozen=True)
class StepFlops:
    """FLOP of one training step on one batch."""

    rule: str
    """Name of the rule."""
    batch: int
    """Samples of the batch."""
    items: dict[str, tuple[PhaseFlop, ...]]
    """FLOP of products by layer; under ``NOWHERE`` those that are made once for all layers."""
    calibration: StepFlops | None = None
    """FLOP of the step of backpropagation that replaces every ``calibrate``-th step; None: there are none."""
    calibrate: int = 0
    """Steps from one such step to the next; 0: none."""

    def by_phase(self) -> dict[str, float]:
        """Return the FLOP of a mean step, by phase; products that are made every n steps count 1/n."""
        own = dict.fromkeys(PHASES, 0.0)
        for item in self._all():
            own[item.phase] += item.flop / item.every if item.every else 0
        if self.calibration is None:
            return own
        theirs, share = self.calibration.by_phase(), 1 / self.calibrate
        return {phase: (1 - share) * flop + share * theirs[phase] for phase, flop in own.items()}

    @property
    def total(self) -> float:
        """FLOP of a mean step."""
        return sum(self.by_phase().values())

    def at_step(self, step: int) -> int:
        """Return the FLOP of one certain step, as a counter would find them.

        Args:
            step: its number; the first is 0.
        """
        if self.calibration is not None and (step + 1) % self.calibrate == 0:
            return self.calibration.at_step(step)
        return sum(i.flop for i in self._all() if step == 0 or (i.every and step % i.every == 0))

    def _all(self) -> Iterator[PhaseFlop]:
        for items in self.items.values():
            yield from items


def step_flops(learner: Learner, *, batch_size: int) -> StepFlops:
    """Return the FLOP of the matrix products of one training step, by layer and phase.

    Nothing is run: layers state the sizes of their products (:class:`~neurofa.core.layer.ProductCount`), the feedback
    those of its projection (:meth:`~neurofa.core.feedback.Feedback.flop`), and the rule those that it adds
    (:class:`~neurofa.core.capabilities.WorkCount`). In a network with a memory a step is one tick: a chunk of K ticks
    takes K times as much, and the products of traces between chunks are left out. Devices and products are taken as
    exact: the arithmetic that simulates an analog device is not counted.

    Args:
        learner: network, rule and optimizer.
        batch_size: samples in a step.

    Raises:
        NeurofaError: a layer cannot declare its products.
    """
    network, rule = learner.network, learner.rule
    calibration = None
    if rule.declares.calibrate:
        bp: Rule = build("rule", "bp")
        bind_rule(bp, network.plan(chained=True, sized=False), generator(0, "calibration"))
        calibration = StepFlops(bp.name, batch_size, _items(network, bp, batch_size))
    return StepFlops(rule.name, batch_size, _items(network, rule, batch_size), calibration, rule.declares.calibrate)


def _items(network: Network, rule: Rule, batch: int) -> dict[str, tuple[PhaseFlop, ...]]:
    works = _works(network, rule, batch)
    positions = network.positions or 1
    by_layer: dict[str, list[PhaseFlop]] = {NOWHERE: list(rule.declares.work.work_once(batch * positions))}
    declares = rule.declares
    for name, layer in network.items():
        work, items = works[name], by_layer.setdefault(name, [])
        items.append(PhaseFlop("forward", work.forward))
        if declares.second_pass is not None:
            items.append(PhaseFlop("passes", work.forward))
        if declares.mirroring is not None and layer.traits.returning:
            # the pass itself, and the correlations of its outputs with the noise; not among the neurons of a layer
            among = sum(m.product for m in work.maps if m.key not in layer.traits.returning)
            items.append(PhaseFlop("passes", work.forward + work.affine - 2 * among, declares.mirroring.every))
        if not layer.synapses:
            continue
        readout, lowest = name == network.readout, name == network.lowest
        width = math.prod(network.shapes[name]) // positions
        served = ServedLayer(
            name, batch * positions, width, network.outputs, work, readout, declares.chained and not lowest
        )
        items += declares.work.work_at(served)
        if readout and served.sends and not work.closed and rule.encoder.name != "raw":
            items += served.plain_work(declares.work.return_flop)  # once more, with the encoded error
    for name, flop in _probes(network, rule, works):
        by_layer[name].append(PhaseFlop("passes", flop))
    return {name: tuple(items) for name, items in by_layer.items()}


def _works(network: Network, rule: Rule, batch: int) -> dict[str, LayerWork]:
    works: dict[str, LayerWork] = {}
    shape, learns_below = network.input_shape, False
    for name, layer in network.items():
        works[name] = products(layer, (batch, *shape), sends=rule.declares.chained and learns_below)
        shape, learns_below = network.shapes[name], learns_below or bool(layer.synapses)
    return works


def _probes(network: Network, rule: Rule, works: dict[str, LayerWork]) -> Iterator[tuple[str, int]]:
    """Yield the products of the probe passes, as :func:`neurofa.training.extra_passes.make_extra_passes` makes them."""
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
