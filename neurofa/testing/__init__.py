"""Contract checks of registered parts: rules, feedback pathways, layers, losses, neurons, surrogates and networks.

They are public, so that a part of your own can be held to the same contract as the package's. Register the part by
subclassing, and run all checks of its kind on its name; the first broken one raises an ``AssertionError``::

    from neurofa.core.rule import Direct
    from neurofa.testing import check_rule

    class MyRule(Direct, name="my_rule"):
        ...

    def test_my_rule():
        check_rule("my_rule")

With pytest, one test a check says at once which ones fail::

    @pytest.mark.parametrize(("name", "check"), rule_checks())
    def test_my_rule(name, check):
        run_check("rule", "my_rule", name, check)

A part that cannot hold a check declares it, with the reason, before the tests run; a declared exception that is not
needed is an error too::

    EXCEPTIONS["rule", "my_rule", "zero_error_gives_no_update"] = "learns from the target, not from the error"

>>> check_surrogate("fast_sigmoid")
>>> [name for name, _ in surrogate_checks()]
['is_documented', 'psi_is_a_derivative', 'fires_and_learns', 'refuses_bad_numbers']
"""

from __future__ import annotations

from neurofa.testing.contract import Check, run_check
from neurofa.testing.exceptions import EXCEPTIONS
from neurofa.testing.feedbacks import check_feedback, feedback_checks
from neurofa.testing.layers import check_layer, layer_checks
from neurofa.testing.losses import check_loss, loss_checks
from neurofa.testing.networks import check_network, network_checks
from neurofa.testing.neurons import check_neuron, neuron_checks
from neurofa.testing.rules import check_rule, rule_checks
from neurofa.testing.surrogates import check_surrogate, surrogate_checks

__all__ = [
    "EXCEPTIONS",
    "Check",
    "check_feedback",
    "check_layer",
    "check_loss",
    "check_network",
    "check_neuron",
    "check_rule",
    "check_surrogate",
    "feedback_checks",
    "layer_checks",
    "loss_checks",
    "network_checks",
    "neuron_checks",
    "rule_checks",
    "run_check",
    "surrogate_checks",
]
