"""Audit of a rule's update in a sequence: :mod:`neurofa.audit.step` in the second of two chunks.

The first chunk produces traces. The forward pass of the second is recorded; its backward phase and its traces are
replayed while other layers' weights are overwritten. Dependence on later ticks is tested by comparing the weights after
learning from the first chunk alone and from both chunks, the second filled with NaN.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.audit.step import Audit, AuditReport
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.core.rule import Rule, bind_rule
from neurofa.core.view import LocalView, Tick
from neurofa.spiking.sequence import check_sequence, initial_states
from neurofa.spiking.temporal import Temporal
from neurofa.training.learner import Learner, forward_pass, kept_traces
from neurofa.training.replay import Credit, copied_return_weights, preserved
from neurofa.training.sequence_rules import check_sequence_rule, check_sequence_traces, filter_decay


def audit_sequence(rule: Rule | str, network: Network, xs: Tensor, labels: Tensor, seed: int = 0) -> AuditReport:
    """Find out what a rule's update in the middle of a sequence depends on, by overwriting weights and later ticks.

    Args:
        rule: a spec, or a rule, which is bound to the network here.
        network: with layers that have a memory; audited in training mode and restored.
        xs: (T, B, *input_shape), T even and at least 2, B >= 2.
        labels: (B,), taught in every tick.
        seed: of feedback and noise.

    Raises:
        NeurofaError: too few ticks or samples, or a rule that does not support sequences.
    """
    check_sequence(network, xs, len(labels))
    if len(xs) < 2 or len(xs) % 2 or len(labels) < 2:
        raise NeurofaError(
            f"got {len(xs)} ticks of {len(labels)} samples for an audit; expected an even number of ticks and at least"
            " 2 samples; give a longer sequence"
        )
    bound: Rule = build("rule", rule)
    if not bound.declares.sequences.through_time:
        check_sequence_rule(bound)
        check_sequence_traces(network, bound, kept=True)
    bind_rule(bound, network.plan(), generator(seed, "feedback"))
    name = rule if isinstance(rule, str) else bound.name or type(bound).__name__
    with torch.no_grad(), preserved(network, bound):
        network.train()
        return SequenceAudit(bound, network, xs, labels, seed).report(name)


class SequenceAudit(Audit):
    """Audit of a rule on one sequence of two chunks: the update of the second is recorded and replayed.

    Args:
        rule: bound to the network.
        network: in training mode.
        xs: (T, B, *input_shape).
        labels: (B,).
        seed: of noise.
    """

    def __init__(self, rule: Rule, network: Network, xs: Tensor, labels: Tensor, seed: int) -> None:
        self.xs, self.labels = xs, labels
        super().__init__(rule, network, xs.flatten(0, 1), labels.repeat(len(xs) // 2), seed, samples=len(labels))

    def future(self) -> str:
        """Return ``yes`` if the weights after the first chunk depend on the second, else ``no``."""
        k = len(self.xs) // 2
        poison = self.xs.clone()
        poison[k:] = float("nan")
        return "no" if self._learnt(self.xs[:k], k) == self._learnt(poison, k) else "yes"

    def _learnt(self, xs: Tensor, k: int) -> list[bytes]:
        """Return the bytes of the weights after learning from the ticks of the first chunk, the only taught ones."""
        self._forget()
        network, rule = copy.deepcopy((self.network, self.rule))
        learner = Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=0.1), seed=self.seed)
        try:
            learner.stream(xs, self.labels, chunk=k, update="chunk", teach=(0, k))
        except NeurofaError:  # NaN of the second chunk is refused after the first update
            if len(xs) == k:
                raise
        return [p.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes() for p in network.parameters()]

    def _record(self, x: Tensor) -> Tick:
        self._forget()
        gen, ticks = self._gen(), len(self.xs) // 2
        kappa = 0.0 if self.rule.declares.sequences.through_time else filter_decay(self.network, self.rule)
        copied = copied_return_weights(self.rule, gen)
        tick = Tick(x, {}, initial_states(self.network, self.samples))
        for rows in x.chunk(2):
            before = {name: state | self._traces(name, tick.views) for name, state in tick.states.items()}
            tick = forward_pass(
                self.network, rows, gen=gen, return_weights=copied, states=before, ticks=ticks, kappa=kappa
            )
        return tick

    def _traces(self, name: str, views: dict[str, LocalView]) -> dict[str, Tensor]:
        """Return the traces of one layer after a chunk."""
        layer = self.network.layer(name)
        if name not in views or not isinstance(layer, Temporal):
            return {}
        return kept_traces(self.rule, name, layer, views[name], readout=name == self.network.readout)

    def _replay(self) -> tuple[Credit, Credit]:
        first, second = super()._replay()
        for name, tensors in first.plastic.items():
            if isinstance(self.network.layer(name), Temporal):
                tensors.update(self._traces(name, self.tick.views))
        return first, second
