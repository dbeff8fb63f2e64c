"""What a rule's update depends on in a sequence: :mod:`neurofa.audit.step`, in the second of two chunks.

The first chunk leaves traces; the sweep of the second is recorded, and its backward phase and the traces that it leaves
are replayed while other layers' weights are overwritten. Whether later ticks reach an update is found by learning from
the first chunk alone and from both, of which the second is NaN.
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
    """Find out what a rule's update depends on in the middle of a sequence.

    Args:
        rule: a spec, or a rule, which is bound to the network here.
        network: with layers that have a memory; left as it was; audited in training mode.
        xs: (T, B, *input_shape), T even and at least 2, B >= 2.
        labels: (B,), taught at every tick.
        seed: of feedback and noise.

    Raises:
        NeurofaError: too few ticks or samples, or a rule that cannot learn from sequences.
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
    """One audit of a sequence of two chunks."""

    def __init__(self, rule: Rule, network: Network, xs: Tensor, labels: Tensor, seed: int) -> None:
        self.xs, self.labels = xs, labels
        super().__init__(rule, network, xs.flatten(0, 1), labels.repeat(len(xs) // 2), seed, samples=len(labels))

    def future(self) -> str:
        """``yes`` where the weights after the first chunk change with the second."""
        k = len(self.xs) // 2
        poison = self.xs.clone()
        poison[k:] = float("nan")
        return "no" if self._learnt(self.xs[:k], k) == self._learnt(poison, k) else "yes"

    def _learnt(self, xs: Tensor, k: int) -> list[bytes]:
        """Weights after the first chunk, taught there alone, whatever becomes of the others."""
        self._forget()
        network, rule = copy.deepcopy((self.network, self.rule))
        learner = Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=0.1), seed=self.seed)
        try:
            learner.stream(xs, self.labels, chunk=k, update="chunk", teach=(0, k))
        except NeurofaError:
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
        """Return the traces that one layer takes along from the ticks of a chunk."""
        layer = self.network.layer(name)
        if name not in views or not isinstance(layer, Temporal):
            return {}
        return kept_traces(self.rule, name, layer, views[name], readout=name == self.network.readout)

    def _replay(self) -> tuple[Credit, Credit]:
        first, second = super()._replay()
        for name, found in first.plastic.items():
            if isinstance(self.network.layer(name), Temporal):
                found.update(self._traces(name, self.tick.views))
        return first, second
