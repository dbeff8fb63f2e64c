"""Moments of the Gaussian device, and a network on it."""

import math

import pytest
import torch

from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa import Learner


def z(values: torch.Tensor, mean: float, std: float) -> float:
    return abs(float(values.mean()) - mean) / (std / math.sqrt(values.numel()))


def test_moments_of_write_and_read():
    n = 100_000
    device = build("device", "gaussian(write_noise=0.4, read_noise=0.2)")
    gen = torch.Generator().manual_seed(0)
    cells = device.program(torch.full((n,), 0.5, dtype=torch.float64), gen)
    change = device.write(cells, torch.full((n,), 0.1, dtype=torch.float64), gen)["weight"] - 0.5
    assert z(change, 0.1, 0.04) < 4
    assert abs(float(change.std()) / 0.04 - 1) < 4 / math.sqrt(2 * n)
    seen = device.read(cells, gen)
    assert z(seen, 0.5, 0.1) < 4
    assert abs(float(seen.std()) / 0.1 - 1) < 4 / math.sqrt(2 * n)
    assert torch.equal(device.write(cells, torch.zeros(n, dtype=torch.float64), gen)["weight"], cells["weight"])


def test_reads_are_fresh_every_pass_and_reach_forward_and_feedback():
    network = build("network", "mlp(hidden=[6])", input_shape=(4,), outputs=3, device="gaussian(read_noise=0.1)")
    learner = Learner(
        network,
        "dfa(feedback=dense(device=gaussian(read_noise=0.1)))",
        optimizer=torch.optim.SGD(network.parameters(), lr=0.1),
    )
    x = torch.ones(2, 4)
    assert not torch.equal(learner.evaluate(x), learner.evaluate(x))
    error = torch.ones(2, 3)
    first, second = (learner.rule.feedback(error, learner.gen)["dense0"] for _ in range(2))
    assert not torch.equal(first, second)
    learner.step(x, torch.tensor([0, 1]))


@pytest.mark.parametrize("spec", ["gaussian(write_noise=-1)", "gaussian(read_noise=-0.1)"])
def test_wrong_constants_are_refused(spec):
    with pytest.raises(NeurofaError, match="expected 0 or more"):
        build("device", spec)
