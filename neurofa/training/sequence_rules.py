"""Checks of a rule before it learns from sequences, and the filter of its errors."""

from __future__ import annotations

from hwmodels.errors import NeurofaError
from neurofa.core.network import Network
from neurofa.core.rule import Rule
from neurofa.spiking.temporal import Temporal, blank_view, check_traces


def check_sequence_rule(rule: Rule) -> None:
    """Refuse rules that do not support sequences.

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
    """Refuse a rule whose eligibility traces a layer does not support, before any weight changes.

    Args:
        network: network of any layers.
        rule: bound to the network.
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
            if own is not None and layer.neuron.gates > 1:
                raise NeurofaError(
                    f"got rule '{rule.name}' on layer '{name}' of {layer.name} units, for whose gates it has no"
                    " eligibility; expected neurons with one current; use eprop, dfa or another rule with theirs"
                )
            dynamics = None if own is None else own.dynamics(name, layer, view)
            check_traces(layer, view, dynamics, kept=kept and (declares.sequences.remembers or not hidden))


def filter_decay(network: Network, rule: Rule) -> float:
    """Return kappa, the decay per tick of the readout, for a rule that filters errors by it; 0: the rule has no filter.

    Args:
        network: the network.
        rule: a rule, with or without a filter.

    Raises:
        NeurofaError: a rule with a filter for a network without a leaky readout.
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
