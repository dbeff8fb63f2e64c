"""Contract suites over everything that is registered: public, so that parts from elsewhere can be held to them too.

Each kind has ``<kind>_checks()``, the named checks, and ``check_<kind>(name)``, which runs all of them on one part. A
check takes the name of a registered part and raises when the contract is broken. Known exceptions stand with their
reason in ``EXCEPTIONS``; one that no longer fails is an error as well.
"""

from __future__ import annotations

from neurofa.testing.feedbacks import check_feedback, feedback_checks
from neurofa.testing.layers import check_layer, layer_checks
from neurofa.testing.networks import check_network, network_checks
from neurofa.testing.neurons import check_neuron, check_surrogate, neuron_checks, surrogate_checks
from neurofa.testing.rules import check_rule, rule_checks
from neurofa.testing.tools import EXCEPTIONS, Check, run_check

__all__ = [
    "EXCEPTIONS",
    "Check",
    "check_feedback",
    "check_layer",
    "check_network",
    "check_neuron",
    "check_rule",
    "check_surrogate",
    "feedback_checks",
    "layer_checks",
    "network_checks",
    "neuron_checks",
    "rule_checks",
    "run_check",
    "surrogate_checks",
]
