"""A digital accumulator before a device, against a loop over single weights."""

import math

import pytest
import torch

from hwmodels.errors import NeurofaError
from hwmodels.registry import build

EXACT = "constant_step(dw_min=0.1, dw_min_dtod=0, dw_min_std=0, up_down_dtod=0, w_max=50, w_min=-50, scale=1)"


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_accumulator_is_the_loop_over_single_weights():
    device = build("device", f"mixed_precision(device={EXACT})")
    cells = device.program(torch.zeros(4, 3), gen())
    chi, weight = [[0.0] * 3 for _ in range(4)], [[0.0] * 3 for _ in range(4)]
    for step in range(30):
        change = torch.randn(4, 3, generator=gen(step)) * 0.07
        cells = device.write(cells, change, gen(step))
        for i in range(4):
            for j in range(3):
                chi[i][j] += change[i, j].item()
                n = math.trunc(chi[i][j] / 0.1 + math.copysign(1e-7, chi[i][j]))
                chi[i][j] -= n * 0.1
                weight[i][j] += n * 0.1
    assert torch.allclose(device.value(cells), torch.tensor(weight), atol=1e-4)
    assert torch.allclose(cells["chi"], torch.tensor(chi), atol=1e-4)


def test_nothing_that_was_asked_for_is_lost_and_fine_steps_are_plain_sgd():
    change = torch.randn(100, 30, 40, generator=gen()) * 0.01
    for spec, bound in ((EXACT, 0.1), (EXACT.replace("dw_min=0.1", "dw_min=0.0001"), 1e-4)):
        device = build("device", f"mixed_precision(device={spec})")
        cells = device.program(torch.zeros(30, 40), gen())
        for one in change:
            cells = device.write(cells, one, gen(1))
        asked = change.sum(0)
        assert torch.allclose(device.value(cells) + cells["chi"], asked, atol=1e-4)
        assert (device.value(cells) - asked).abs().max() <= bound + 1e-4


def test_other_devices_are_written_only_where_a_step_is_full():
    device = build("device", "mixed_precision(device=pcm, threshold=0.5)")
    target = torch.randn(20, 25, generator=gen()) * 0.1
    cells = device.program(target, gen())
    change = torch.zeros(20, 25)
    change[:, :5] = 0.09  # epsilon is 0.5 / 5 = 0.1
    once = device.write(cells, change, gen(1))
    assert torch.equal(device.value(once), device.value(cells))
    twice = device.write(once, change, gen(1))
    moved = device.value(twice) != device.value(cells)
    assert moved[:, :5].all()
    assert not moved[:, 5:].any()
    assert torch.allclose(twice["chi"][:, :5], torch.full((20, 5), 0.08), atol=1e-6)
    # control: the device itself is disturbed by the first, small change
    bare = build("device", "pcm")
    plain = bare.program(target, gen())
    assert (bare.value(bare.write(plain, change, gen(1))) != bare.value(plain))[:, :5].all()


def test_reprogramming_empties_the_accumulator_and_wrong_thresholds_are_refused():
    device = build("device", f"mixed_precision(device={EXACT})")
    cells = device.write(device.program(torch.zeros(3, 3), gen()), torch.full((3, 3), 0.05), gen())
    assert not device.reprogram(cells, torch.ones(3, 3), gen())["chi"].any()
    assert not build("device", "mixed_precision(device=pulse_trains)").factored
    with pytest.raises(NeurofaError, match="threshold=0"):
        build("device", "mixed_precision(threshold=0)")
