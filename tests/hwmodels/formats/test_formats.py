"""Number formats against slow oracles, one number at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from hwmodels import NeurofaError, build
from hwmodels.format import round_stochastically, straight_through

NUMBERS = st.lists(st.floats(-100, 100, allow_subnormal=False).filter(lambda v: v == 0 or abs(v) > 1e-6), min_size=1)
BITS = st.integers(2, 12)


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def fmt(spec):
    return build("format", spec)


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def nearest_of(levels, value, step):
    """The distance of a value to its nearest level, in steps."""
    return min(abs(level - value) for level in levels) / step


@given(values=NUMBERS, bits=BITS, full=st.one_of(st.none(), st.floats(0.1, 50)))
def test_symmetric_numbers_are_the_nearest_levels(values, bits, full):
    y = fmt(f"uniform(bits={bits}, range={full})").quantize(tensor(values)).tolist()
    top = 2 ** (bits - 1) - 1
    scale = (full or max(abs(v) for v in values)) / top
    if scale == 0:
        assert y == [0.0] * len(values)
        return
    for value, got in zip(values, y, strict=True):
        code = got / scale
        assert abs(code - round(code)) < 1e-6
        assert abs(round(code)) <= top
        wanted = min(max(value / scale, -top), top)
        assert abs(code - wanted) <= 0.5 + 1e-6
        assert value != 0 or got == 0


@given(values=NUMBERS, bits=BITS)
def test_asymmetric_numbers_are_the_nearest_of_two_to_the_b_levels_with_an_exact_zero(values, bits):
    low, high = min(0.0, *values), max(0.0, *values)
    scale = (high - low) / (2**bits - 1)
    assume(scale > 0)
    assume(abs(-low / scale % 1 - 0.5) > 1e-6)  # on a tie of the zero point either choice is right
    zero = round(-low / scale)
    levels = [(q - zero) * scale for q in range(2**bits)]
    y = fmt(f"uniform(bits={bits}, symmetric=False)").quantize(tensor(values)).tolist()
    for value, got in zip(values, y, strict=True):
        assert nearest_of(levels, got, scale) < 1e-6
        assert abs(got - value) / scale <= nearest_of(levels, value, scale) + 1e-6
        assert value != 0 or got == 0


def test_asymmetric_range_has_one_code_more_below_zero():
    y = fmt("uniform(bits=3, symmetric=False, range=3.5)").quantize(torch.tensor([-9.0, -4.0, -0.4, 0.0, 2.9, 9.0]))
    assert y.tolist() == [-4, -4, 0, 0, 3, 3]


def test_a_half_goes_to_the_even_code():
    y = fmt("uniform(bits=4, range=7)").quantize(torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5]))
    assert y.tolist() == [0, 2, 2, 0, -2]


def test_channels_have_their_own_scales():
    x = torch.randn(4, 3, 5, generator=gen()) * torch.tensor([1e-3, 1.0, 10.0, 0.0]).view(4, 1, 1)
    for symmetric in (True, False):
        y = fmt(f"uniform(bits=5, per=channel, symmetric={symmetric})").quantize(x)
        one = fmt(f"uniform(bits=5, symmetric={symmetric})")
        assert torch.equal(y, torch.stack([one.quantize(row) for row in x]))


@given(values=NUMBERS, bits=BITS)
def test_stochastic_numbers_are_one_of_the_two_neighbours(values, bits):
    x = tensor(values)
    y = fmt(f"uniform(bits={bits}, rounding=stochastic)").quantize(x, gen())
    scale = x.abs().max().item() / (2 ** (bits - 1) - 1)
    assume(scale > 0)
    assert ((y - x).abs() < scale * (1 + 1e-6)).all()
    codes = y / scale
    assert torch.allclose(codes, codes.round(), atol=1e-6)


@pytest.mark.parametrize("value", [0.25, -0.25, 0.5, 3.9, -2.05, 0.001])
def test_stochastic_rounding_is_unbiased_with_at_most_a_quarter_step_squared_of_variance(value):
    n = 200_000
    x = torch.full((n,), value)
    y = fmt("uniform(bits=4, range=7, rounding=stochastic)").quantize(x, gen(3)).double()
    fraction = x[0].item() - math.floor(value)
    variance = fraction * (1 - fraction)
    z = (y.mean().item() - x[0].item()) / math.sqrt(variance / n)
    assert abs(z) < 5
    assert y.var().item() == pytest.approx(variance, rel=0.1)
    assert y.var(correction=0).item() <= 0.25


def test_stochastic_rounding_draws_as_its_numpy_counterpart():
    q = torch.randn(1000, generator=gen(1), dtype=torch.float64) * 5
    u = torch.rand(1000, generator=gen(2), dtype=torch.float64).numpy()
    low = np.floor(q.numpy())
    wanted = low + (u < q.numpy() - low)
    assert np.array_equal(round_stochastically(q.clone(), gen(2)).numpy(), wanted)


def test_stochastic_rounding_keeps_whole_numbers_where_floor_of_the_sum_does_not():
    q = torch.full((2_000_000,), 2.0**20 + 1)
    assert torch.equal(round_stochastically(q.clone(), gen()), q)
    assert not torch.equal((q + torch.rand(q.shape, generator=gen())).floor(), q)


@given(values=NUMBERS, threshold=st.floats(0, 5), relative=st.booleans())
def test_ternary(values, threshold, relative):
    x = tensor(values)
    theta = threshold * float(np.mean(np.abs(values))) if relative else threshold
    assume(all(abs(abs(v) - theta) > 1e-9 for v in values))
    y = fmt(f"ternary(threshold={threshold}, relative={relative})").quantize(x)
    assert y.tolist() == [float(np.sign(v)) * (abs(v) > theta) for v in values]


def test_ternary_threshold_itself_is_silent():
    assert fmt("ternary(threshold=0.5)").quantize(torch.tensor([0.5, -0.5, 0.6, -0.6])).tolist() == [0, 0, 1, -1]


@given(values=NUMBERS)
def test_sign(values):
    assert fmt("sign").quantize(tensor(values)).tolist() == [float(np.sign(v)) for v in values]


@given(values=NUMBERS, bits=st.integers(2, 6), flush=st.booleans(), full=st.one_of(st.none(), st.floats(0.1, 50)))
def test_powers_of_two(values, bits, flush, full):
    size = full or max(abs(v) for v in values)
    assume(size > 0)
    top = round(math.log2(size))
    bottom = top - (2 ** (bits - 1) - 2)
    y = fmt(f"pow2(bits={bits}, flush={flush}, range={full})").quantize(tensor(values)).tolist()
    for value, got in zip(values, y, strict=True):
        if value == 0 or (flush and abs(value) < 2.0**bottom / 2):
            assert got == 0
            continue
        assume(abs(math.log2(abs(value)) % 1 - 0.5) > 1e-9)
        assert got == math.copysign(2.0 ** min(max(round(math.log2(abs(value))), bottom), top), value)


@pytest.mark.parametrize("spec", ["pow2", "uniform", "uniform(symmetric=False)", "uniform(rounding=stochastic)"])
@pytest.mark.parametrize("size", [1e-44, 1e-38, 1e-30, 1e30])
def test_extreme_scales_stay_finite(spec, size):
    x = torch.linspace(-1, 1, 9) * size
    assert fmt(spec).quantize(x, gen()).isfinite().all()


def test_raw_is_the_same_tensor():
    x = torch.randn(3, generator=gen())
    assert fmt("raw").quantize(x) is x


@pytest.mark.parametrize(
    ("spec", "bits"),
    [("raw", math.inf), ("sign", 1), ("ternary", math.log2(3)), ("pow2(bits=5)", 5), ("uniform(bits=6)", 6)],
)
def test_bits(spec, bits):
    assert fmt(spec).bits == bits


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    ("spec", "inside"),
    [
        ("raw", [1, 1, 1, 1]),
        ("uniform", [1, 1, 1, 1]),
        ("pow2", [1, 1, 1, 1]),
        ("uniform(range=0.5)", [0, 1, 1, 0]),
        ("uniform(range=0.5, symmetric=False)", [0, 1, 1, 0]),
        ("pow2(range=2)", [0, 1, 1, 1]),
        ("sign", [0, 1, 1, 1]),
        ("ternary", [0, 1, 1, 1]),
    ],
)
def test_straight_through_gradient(spec, inside):
    x = torch.tensor([-3.0, -0.5, 0.2, 0.9], requires_grad=True)
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0])
    y = straight_through(fmt(spec), x)
    (y * weight).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [a * b for a, b in zip(inside, weight.tolist(), strict=True)]
    through = torch.func.vjp(lambda v: straight_through(fmt(spec), v), x.detach())[1](weight)[0]
    assert torch.equal(through, x.grad)


@pytest.mark.parametrize("spec", ["sign", "ternary", "ternary(relative=True)", "pow2", "uniform"])
def test_quantize_itself_has_no_gradient_to_mislead(spec):
    x = torch.randn(5, generator=gen(), requires_grad=True)
    assert not fmt(spec).quantize(x).requires_grad


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("uniform(bits=-3)", "got uniform(bits=-3); expected 2 to 24; use uniform(bits=8)"),
        ("uniform(bits=0)", "got uniform(bits=0); expected 2 to 24; use uniform(bits=8)"),
        ("uniform(bits=1)", "got uniform(bits=1); expected 2 to 24; use sign for one bit"),
        ("uniform(bits=25)", "got uniform(bits=25); expected 2 to 24; use uniform(bits=8)"),
        ("uniform(range=0)", "got uniform(range=0); expected a positive number or None; change the value"),
        ("uniform(range=1e999)", "got uniform(range=inf); expected a positive number or None; change the value"),
        ("uniform(per=row)", "got uniform(per=row); expected tensor or channel; change the value"),
        ("uniform(rounding=up)", "got uniform(rounding=up); expected nearest or stochastic; change the value"),
        ("pow2(bits=1)", "got pow2(bits=1); expected 2 to 24; use sign for one bit"),
        ("pow2(range=-2)", "got pow2(range=-2); expected a positive number or None; change the value"),
        ("ternary(threshold=-0.1)", "got ternary(threshold=-0.1); expected 0 or more; 0.1 is the default"),
        ("ternary(threshold=1e999)", "got ternary(threshold=inf); expected 0 or more; 0.1 is the default"),
        ("ternary(relative=1)", "got ternary(relative=1); expected True or False; change the value"),
    ],
)
def test_wrong_options_are_refused(spec, message):
    with pytest.raises(NeurofaError) as caught:
        fmt(spec)
    assert str(caught.value) == message


def test_wrong_options_from_python_are_refused():
    from hwmodels.formats.uniform import Uniform

    with pytest.raises(NeurofaError, match=r"got uniform\(per=row\); expected tensor or channel; choose one"):
        Uniform(per="row")  # type: ignore[arg-type]
    with pytest.raises(NeurofaError, match=r"got uniform\(rounding=up\); expected nearest or stochastic; choose one"):
        Uniform(rounding="up")  # type: ignore[arg-type]


def test_stochastic_rounding_without_a_generator_is_refused():
    with pytest.raises(NeurofaError, match="got no generator"):
        fmt("uniform(rounding=stochastic)").quantize(torch.zeros(3))


def test_a_channel_scale_for_a_vector_is_refused():
    with pytest.raises(NeurofaError, match=r"got a tensor of shape \(3,\) for uniform\(per=channel\)"):
        fmt("uniform(per=channel)").quantize(torch.zeros(3))
