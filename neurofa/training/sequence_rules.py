"""Checks before a rule learns from a sequence, and the filter through which its errors arrive."""

from __future__ import annotations

from hwmodels.errors import NeurofaError
from neurofa.core.network import Network
from neurofa.core.rule import Rule
from neurofa.spiking.temporal import Temporal, blank_view, check_traces


def check_sequence_rule(rule: Rule) -> None:
    """Refuse rules that cannot learn from sequences.

    Raises:
        NeurofaError: the rule compares two passes.
    """
    probing = rule.declares.probing
    by_difference = probing is not None and probing.perturbation.by == "difference"
    if by_difference or rule.declares.second_pass is not None:
        raise NeurofaError(
            f"got rule '{rule.name}' for sequences, which compares two passes; expected one that learns from the pass"
            " itself; use eprop, dfa, drtp or another (see: neurofa list rule)"
        )


def check_sequence_traces(network: Network, rule: Rule, *, kept: bool) -> None:
    """Refuse eligibility that a layer cannot keep, before any weight changes.

    Args:
        network: of any layers.
        rule: bound to it.
        kept: whether there are several chunks, so that traces are carried from one to the next.

    Raises:
        NeurofaError: see :func:`neurofa.spiking.temporal.check_traces`.
    """
    kappa, declares = filter_decay(network, rule), rule.declares
    for name, layer in network.items():
        if isinstance(layer, Temporal):
            hidden = name != network.readout
            view = blank_view(layer, network.shapes[name], kappa if hidden else 0.0)
            own = declares.eligibility if hidden else None
            dynamics = None if own is None else own.dynamics(name, layer, view)
            check_traces(layer, view, dynamics, kept=kept and (declares.sequences.remembers or not hidden))


def filter_decay(network: Network, rule: Rule) -> float:
    """Return the decay of the readout, through which a rule with a filter lets eligibility pass; 0: no filter.

    Args:
        network: whose readout filters.
        rule: that may ask for a filter.

    Raises:
        NeurofaError: such a rule without a leaky readout.
    """
    if not rule.declares.sequences.filtered:
        return 0.0
    readout = network.layer(network.readout)
    neuron = readout.neuron if isinstance(readout, Temporal) else None
    if neuron is None or neuron.filter_decay is None:
        raise NeurofaError(
            f"got rule '{rule.name}' with a filter for a readout of {readout.name if neuron is None else neuron.name};"
            " expected leaky integrators, whose decay is that of the filter; use filtered=False or readout=leaky"
        )
    return neuron.filter_decay
