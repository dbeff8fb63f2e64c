"""Two arrays: the transfer against a plain loop, the symmetry point, and a task that one array cannot learn."""

import pytest
import torch

from hwmodels.devices.tiki_taka import symmetry_point
from hwmodels.errors import NeurofaError
from hwmodels.registry import build

LINE = "w_max=1, w_min=-1, w_max_dtod=0, w_min_dtod=0, dw_min_dtod=0, dw_min_std=0, up_down_dtod=0, scale=1"
FAST = f"soft_bounds(dw_min=0.001, {LINE})"
SLOW = "constant_step(dw_min=0.01, dw_min_dtod=0, dw_min_std=0, up_down_dtod=0, w_max=9, w_min=-9, scale=1)"


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def test_columns_are_transferred_in_turn_as_in_a_plain_loop():
    device = build("device", f"tiki_taka_v2(fast={FAST}, slow={SLOW}, columns=2, transfer_lr=0.5, momentum=0.25)")
    fast = device.a
    cells = device.program(torch.zeros(3, 5), gen())
    a = {key.removeprefix("fast_"): cell for key, cell in cells.items() if key.startswith("fast_")}
    h, c, turn = torch.zeros(3, 5), torch.zeros(3, 5), 0
    for step in range(25):
        change = torch.randn(3, 5, generator=gen(step)) * 0.05 + 0.01
        cells = device.write(cells, change, gen(100 + step))
        a = fast.write(a, change, gen(100 + step))
        for _ in range(2):
            j = turn % 5
            h[:, j] += 0.5 * fast.value(a)[:, j]
            n = (h[:, j] / 0.01).trunc()
            c[:, j] += n * 0.01
            h[:, j] -= 0.75 * n * 0.01
            turn += 1
        assert torch.allclose(cells["fast_weight"], a["weight"], atol=1e-6)
    assert torch.allclose(device.value(cells), c, atol=0.011)  # a quotient on the edge may fall to either side
    assert (device.value(cells) - c).abs().mean() < 0.002
    assert device.value(cells).abs().max() > 0.05


@pytest.mark.parametrize("spec", ["reram_sb", "reram_es", "ecram", "soft_bounds", "reram_array_om", "pow_step"])
def test_random_pulses_leave_the_fast_array_at_its_symmetry_point(spec):
    device = build("device", spec)
    cells = device.program(torch.zeros(40, 50), gen())
    point = symmetry_point(device, cells)
    one = torch.ones_like(point)
    up = device.pulse_moments(point, one, cells["up"], one, cells)[0]
    down = device.pulse_moments(point, one, -cells["down"], 0 * one, cells)[0]
    inside = (point > cells["bottom"]) & (point < cells["top"]) & (cells["up"] > 0) & (point != 0)
    assert inside.double().mean() > 0.5
    assert ((up + down).abs() / (up - down).abs())[inside].max() < 1e-3


@pytest.mark.long
def test_two_arrays_learn_what_one_asymmetric_array_cannot():
    """Regression from noisy gradients on soft bounds whose symmetry points lie far from the solution."""
    # steps up are larger: plain training is dragged to the symmetry point by the noise of its gradients
    spec = "soft_bounds(dw_min=0.002, up_down=0.3, up_down_dtod=0.3, dw_min_dtod=0.1, scale=1, w_max=1, w_min=-1)"
    wanted = torch.rand(20, 30, generator=gen(1)) * 0.6 - 0.3

    def distance(device):
        made, source = build("device", device), gen(2)
        cells = made.program(torch.zeros(20, 30), source)
        tail = []
        for step in range(1500):
            error = made.value(cells) - wanted
            noise = torch.randn(20, 30, generator=source)
            cells = made.write(cells, -0.02 * (error + noise), source)
            if step >= 1200:
                tail.append((made.value(cells) - wanted).square().mean().item())
        return (sum(tail) / len(tail)) ** 0.5 / wanted.square().mean().sqrt().item()

    two = distance(f"tiki_taka_v2(fast={spec}, slow={spec}, columns=30, transfer_lr=0.02)")
    assert two < 0.7
    assert two < 0.6 * distance(spec)


def test_the_chopper_flips_whole_columns_and_keeps_the_direction():
    device = build("device", f"tiki_taka_v2(fast={FAST}, slow={SLOW}, columns=3, chop=0.3)")
    cells = device.program(torch.zeros(6, 9), gen())
    for step in range(300):
        cells = device.write(cells, torch.full((6, 9), 0.01), gen(step))
    sign = cells["sign"]
    assert torch.equal(sign, sign[:1].expand(6, 9))
    assert {-1.0, 1.0} == set(sign.unique().tolist())
    assert device.value(cells).mean() > 0.05


def test_the_first_version_adds_the_fast_array_where_asked():
    target = torch.randn(4, 6, generator=gen()) * 0.1
    plain = build("device", f"tiki_taka(fast={FAST}, slow={SLOW})")
    mixed = build("device", f"tiki_taka(fast={FAST}, slow={SLOW}, gamma=0.5, transfer_lr=1e-6)")
    assert torch.allclose(plain.value(plain.program(target, gen())), target, atol=1e-6)
    cells = mixed.write(mixed.program(target, gen()), torch.full((4, 6), 0.2), gen())
    assert torch.allclose(mixed.value(cells) - target, torch.full((4, 6), 0.5 * 0.18), atol=0.02)
    kernels = plain.program(torch.randn(4, 2, 3, 3, generator=gen()) * 0.1, gen())
    assert plain.write(kernels, torch.ones(4, 2, 3, 3), gen())["slow_weight"].shape == (4, 2, 3, 3)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("tiki_taka(fast=pcm)", "pulsed step model"),
        ("tiki_taka(slow=digital)", "driven by pulses"),
        ("tiki_taka(columns=0)", "columns=0"),
        ("tiki_taka(transfer_lr=0)", "transfer_lr=0"),
        ("tiki_taka_v2(momentum=1)", "momentum=1"),
        ("tiki_taka_v2(chop=2)", "chop=2"),
    ],
)
def test_what_cannot_be_is_refused(spec, said):
    with pytest.raises(NeurofaError, match=said):
        build("device", spec)


def test_chopping_averages_an_offset_of_the_reference_and_needs_one():
    fast = "soft_bounds(dw_min=0.01, dw_min_std=0, scale=1, w_max=1, w_min=-1)"
    slow = "constant_step(dw_min=0.001, scale=1, w_max=5, w_min=-5, dw_min_std=0, dw_min_dtod=0)"

    def drift(**options):
        given = ", ".join(f"{key}={value}" for key, value in options.items())
        device = build("device", f"tiki_taka_v2(fast='{fast}', slow='{slow}', columns=4, transfer_lr=0.1, {given})")
        gen = torch.Generator().manual_seed(0)
        cells = device.program(torch.zeros(50, 4), gen)
        for _ in range(200):
            cells = device.write(cells, torch.zeros(50, 4), gen)
        return device.value(cells).abs().mean().item()

    assert drift(chop=0) < 1e-3  # an exact reference
    still, chopped = drift(chop=0, reference_std=0.1), drift(chop=0.5, reference_std=0.1)
    assert still > 0.5
    assert chopped < still / 5
