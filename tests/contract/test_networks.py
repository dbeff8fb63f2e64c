"""Every registered network holds the contract of networks."""

import pytest

from hwmodels.registry import parts
from neurofa.testing import network_checks, run_check

CHECKS = dict(network_checks())


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", parts("network"))
def test_network(name, check):
    run_check("network", name, check, CHECKS[check])
