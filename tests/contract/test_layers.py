"""Every registered layer holds the contract of layers."""

import pytest

from hwmodels.registry import parts
from neurofa.testing import layer_checks, run_check

CHECKS = dict(layer_checks())


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", parts("layer"))
def test_layer(name, check):
    run_check("layer", name, check, CHECKS[check])
