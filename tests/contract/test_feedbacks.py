"""Every registered feedback holds the contract of feedbacks."""

import pytest

from hwmodels.registry import parts
from neurofa.testing import feedback_checks, run_check

CHECKS = dict(feedback_checks())


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", parts("feedback"))
def test_feedback(name, check):
    run_check("feedback", name, check, CHECKS[check])
