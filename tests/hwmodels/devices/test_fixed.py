"""Moments, bounds and errors of the fixed-point memory, and the digital one."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hwmodels import NeurofaError, build
from hwmodels.devices.digital import Digital
from hwmodels.devices.fixed import Fixed


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def test_full_scale_is_headroom_over_root_fan_in():
    for shape, fan_in in (((5, 16), 16), ((5, 4, 3, 3), 36), ((7,), 1)):
        cells = Fixed(bits=4, headroom=3.0).program(torch.zeros(shape))
        assert cells["scale"].shape == ()
        assert cells["scale"].item() == pytest.approx(3 / math.sqrt(fan_in) / 7)
    assert Fixed(bits=8, range=0.5).program(torch.zeros(2, 3))["scale"].item() == pytest.approx(0.5 / 127)


def test_programming_rounds_to_the_nearest_code_and_clips():
    cells = Fixed(bits=3, range=3.0).program(torch.tensor([[-9.0, -1.4, 0.4, 0.6, 2.4, 9.0]]))
    assert cells["code"].tolist() == [[-3, -1, 0, 1, 2, 3]]
    assert Fixed(bits=3, range=3.0).value(cells).tolist() == [[-3, -1, 0, 1, 2, 3]]


@given(
    bits=st.integers(2, 12),
    change=st.floats(-3, 3, width=32),
    start=st.floats(-1, 1, width=32),
    rounding=st.sampled_from(["nearest", "stochastic"]),
)
def test_codes_are_whole_numbers_in_range_near_the_wanted_ones(bits, change, start, rounding):
    device = Fixed(bits=bits, range=1.0, rounding=rounding)
    before = device.program(torch.full((4, 4), start))
    after = device.write(before, torch.full((4, 4), change), gen())
    top = 2 ** (bits - 1) - 1
    assert torch.equal(after["code"], after["code"].round())
    assert after["code"].abs().max() <= top
    wanted = before["code"].double() + change * top
    error = (after["code"].double() - wanted.clamp(-top, top)).abs().max()
    assert error <= (0.5 if rounding == "nearest" else 1.0) + 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("steps", [0.3, -0.3, 0.01, -1.75])
def test_stochastic_writes_have_the_mean_and_variance_of_the_equation(dtype, steps):
    device = Fixed(bits=4, range=7.0)
    n = 200_000
    before = device.program(torch.ones(1, n, dtype=dtype))
    change = torch.full((1, n), steps, dtype=dtype)
    moved = (device.write(before, change, gen())["code"] - before["code"]).double()
    wanted = change[0, 0].item()  # as the dtype holds it
    fraction = wanted - math.floor(wanted)
    variance = fraction * (1 - fraction)
    assert abs(moved.mean().item() - wanted) < 5 * math.sqrt(variance / n)
    assert moved.var().item() == pytest.approx(variance, rel=0.05)


def test_a_small_change_survives_in_the_mean_only_with_stochastic_rounding():
    target, change = torch.zeros(1, 50_000), torch.full((1, 50_000), 1e-3)
    moved = {}
    for rounding in ("nearest", "stochastic"):
        device = Fixed(bits=4, range=1.0, rounding=rounding)
        cells, source = device.program(target), gen()
        for _ in range(20):
            cells = device.write(cells, change, source)
        moved[rounding] = device.value(cells).mean().item()
    assert moved["nearest"] == 0
    assert moved["stochastic"] == pytest.approx(0.02, rel=0.05)


def test_no_change_moves_no_code_however_often_and_wide():
    device = Fixed(bits=16, range=1.0)
    before = device.program(torch.linspace(-1, 1, 100_000).view(1, -1))
    cells, source = before, gen()
    for _ in range(20):
        cells = device.write(cells, torch.zeros(1, 100_000), source)
    assert torch.equal(cells["code"], before["code"])


def test_twenty_four_bits_are_exact():
    device = Fixed(bits=24, range=1.0)
    cells = device.program(torch.tensor([[1.0, -1.0, 0.5]]))
    assert cells["code"][0, :2].tolist() == [2**23 - 1, -(2**23 - 1)]
    one = device.write(cells, -cells["scale"].expand(1, 3), gen())
    assert (one["code"] - cells["code"]).tolist()[0][0] == -1


def test_digital_adds_and_keeps_copies():
    device = Digital()
    assert device.exact
    assert not Fixed().exact
    target = torch.randn(3, 4, generator=gen())
    cells = device.program(target)
    assert torch.equal(device.value(device.write(cells, target)), 2 * target)
    assert torch.equal(device.value(cells), target)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("fixed(bits=-3)", "got fixed(bits=-3); expected 2 to 24; use fixed(bits=8)"),
        (
            "fixed(bits=1)",
            "got fixed(bits=1); expected 2 to 24; use fixed(bits=2) for the values -1, 0 and +1 times the full scale",
        ),
        ("fixed(bits=25)", "got fixed(bits=25); expected 2 to 24; use fixed(bits=8)"),
        ("fixed(range=0)", "got fixed(range=0); expected a positive number or None; change the value"),
        ("fixed(range=-1.5)", "got fixed(range=-1.5); expected a positive number or None; change the value"),
        ("fixed(range=1e999)", "got fixed(range=inf); expected a positive number or None; change the value"),
        ("fixed(headroom=0)", "got fixed(headroom=0); expected a positive number or None; change the value"),
        ("fixed(rounding=up)", "got fixed(rounding=up); expected nearest or stochastic; change the value"),
        ("fixed(bits=4.5)", "got fixed(bits=4.5); expected a whole number; change the value"),
    ],
)
def test_wrong_options_are_refused(spec, message):
    with pytest.raises(NeurofaError) as caught:
        build("device", spec)
    assert str(caught.value) == message


def test_wrong_options_from_python_are_refused():
    with pytest.raises(NeurofaError, match=r"got fixed\(rounding=up\); expected nearest or stochastic; choose one"):
        Fixed(rounding="up")  # type: ignore[arg-type]


def test_a_stochastic_write_without_a_generator_is_refused():
    device = Fixed()
    with pytest.raises(NeurofaError, match="got no generator"):
        device.write(device.program(torch.zeros(2, 2)), torch.zeros(2, 2))
    nearest = Fixed(rounding="nearest")
    nearest.write(nearest.program(torch.zeros(2, 2)), torch.zeros(2, 2))


def test_a_dtype_too_narrow_for_the_codes_is_refused():
    Fixed(bits=9).program(torch.zeros(2, 2, dtype=torch.bfloat16))
    with pytest.raises(NeurofaError, match=r"torch.bfloat16 for fixed\(bits=12\); expected a dtype"):
        Fixed(bits=12).program(torch.zeros(2, 2, dtype=torch.bfloat16))


@pytest.mark.parametrize("bits", range(2, 9))
def test_the_default_scale_leaves_several_codes_of_an_initial_matrix(bits):
    target = torch.empty(64, 100).uniform_(-0.1, 0.1, generator=gen())  # bounds 1/sqrt(fan_in)
    device = Fixed(bits=bits)
    code = device.program(target)["code"]
    assert (code == 0).double().mean() < 0.6
    assert device.value(device.program(target)).std() > 0.5 * target.std()


@pytest.mark.parametrize(
    ("device", "target"),
    [
        ("fixed(bits=2, headroom=3)", torch.empty(64, 100).uniform_(-0.1, 0.1, generator=gen())),
        ("fixed(bits=8, range=100)", torch.randn(64, 100, generator=gen()) * 0.01),
        ("fixed(bits=4, range=0.001)", torch.rand(64, 100, generator=gen()) + 0.1),
        ("stuck(device=fixed(bits=2, headroom=3))", torch.empty(64, 100).uniform_(-0.1, 0.1, generator=gen())),
    ],
)
def test_a_matrix_of_which_one_code_is_left_is_refused(device, target):
    with pytest.raises(NeurofaError, match=r"got weights of about .* become the code .*; expected several codes"):
        build("device", device).program(target, gen())


def test_zeros_constants_and_few_weights_may_be_one_code():
    device = Fixed(bits=2, headroom=3)
    for target in (torch.zeros(8, 8), torch.full((8, 8), 0.01), torch.tensor([[0.01, 0.02]]), torch.empty(0, 4)):
        assert torch.count_nonzero(device.program(target)["code"]) == 0
    sparse = torch.zeros(64, 64)
    sparse[::8, ::8] = torch.randn(8, 8, generator=gen())
    assert torch.count_nonzero(Fixed(bits=4, range=1.0).program(sparse)["code"]) > 40
