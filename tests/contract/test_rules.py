"""Every registered rule holds the contract of rules."""

import pytest

from hwmodels.registry import parts
from neurofa.testing import rule_checks, run_check

CHECKS = dict(rule_checks())


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", parts("rule"))
def test_rule(name, check):
    run_check("rule", name, check, CHECKS[check])
