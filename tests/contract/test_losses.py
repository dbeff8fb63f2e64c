"""Every registered loss holds its contract, and a broken one is refused."""

import pytest

from hwmodels.registry import parts, shelves
from neurofa.losses import MeanSquaredError
from neurofa.testing import loss_checks, run_check

CHECKS = dict(loss_checks())


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", parts("loss"))
def test_loss(name, check):
    run_check("loss", name, check, CHECKS[check])


class Halved(MeanSquaredError):
    """Its error is half of the derivative."""

    def evaluate(self, y, target):
        result = super().evaluate(y, target)
        return result._replace(error=result.error / 2)


class Greedy(MeanSquaredError):
    """Takes weights for nothing."""

    def weighted(self, y, target, weight):
        return self.evaluate(y, target)


@pytest.mark.parametrize(
    ("part", "check"),
    [(Halved, "error_is_the_derivative"), (Greedy, "weights_are_relative"), (Greedy, "refuses_wrong_targets")],
)
def test_controls_fail(part, check, monkeypatch):
    parts("loss")
    monkeypatch.setitem(shelves._PARTS["loss"], "broken", part)
    with pytest.raises(AssertionError):
        CHECKS[check]("broken")
