"""Converters and periphery against formulas and loops; every noise has its stated moments."""

import math

import pytest
import torch

from hwmodels import NeurofaError, build
from hwmodels.arrays.converters import ADC, DAC, bit_planes, bound_management, full_scale
from hwmodels.arrays.periphery import Periphery
from hwmodels.arrays.product import analog_product
from hwmodels.arrays.wires import wire_loss
from hwmodels.numerics.bf16 import bf16_pays


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def uniform(*shape, seed=0):
    return torch.rand(shape, generator=gen(seed), dtype=torch.float64) * 2 - 1


def moments(values, mean, std):
    """Largest z of mean and variance of Gaussian numbers."""
    n = values.numel()
    z_mean = abs(values.mean().item() - mean) / (std / math.sqrt(n))
    return max(z_mean, abs(values.var().item() / std**2 - 1) / math.sqrt(2 / n))


@pytest.mark.parametrize("bits", [2, 3, 7, 9])
def test_levels_are_odd_in_number_evenly_spaced_and_reach_the_bound(bits):
    adc = ADC(bits=bits, bound=12.0)
    y = adc.convert(torch.linspace(-15, 15, 20001, dtype=torch.float64))
    levels = y.unique()
    assert len(levels) == 2**bits - 1
    assert adc.step == pytest.approx(24 / (2**bits - 2))
    torch.testing.assert_close(levels.diff(), torch.full_like(levels[1:], adc.step))
    assert levels[-1] == -levels[0] == 12
    assert 0 in levels


def test_exact_converters_only_clip():
    x = uniform(100) * 3
    assert torch.equal(ADC(bits=None, bound=2.0).convert(x), x.clamp(-2, 2))


def test_stochastic_rounding_keeps_the_mean():
    x = torch.full((100_000,), 0.3, dtype=torch.float64)
    dac = DAC(bits=3, rounding="stochastic")
    v = dac.convert(x, gen())
    up = (x[0] / dac.step) % 1
    spread = dac.step * math.sqrt(up * (1 - up))
    assert abs(v.mean().item() - 0.3) < 4 * spread / math.sqrt(len(x))


@pytest.mark.parametrize("converter", [DAC(bits=None, noise=0.03), ADC(bits=None, bound=9.0, noise=0.03)])
def test_noise_has_its_stated_moments(converter):
    x = torch.full((100_000,), 0.5, dtype=torch.float64)
    assert moments(converter.convert(x, gen()), 0.5, 0.03) < 4
    assert moments(converter.convert(x, gen()), 0.5, 0.031) > 4  # a perturbed constant is seen
    with pytest.raises(NeurofaError, match="no generator"):
        converter.convert(x)


def test_full_scales():
    x = torch.tensor([[1.0, -4.0], [0.5, 0.25], [0.0, 0.0]])
    assert full_scale(x, "sample").flatten().tolist() == [4.0, 0.5, 1.0]
    assert full_scale(x, "batch").tolist() == [[4.0]]
    assert full_scale(x, "none").tolist() == [[1.0]]


def test_exact_periphery_is_the_matrix_product():
    x, w = uniform(6, 20) * 5, uniform(20, 7, seed=1)
    torch.testing.assert_close(analog_product(build("periphery", "exact"), x, w), x @ w, rtol=1e-12, atol=1e-12)


def test_product_in_the_order_of_the_formula():
    x, w = uniform(6, 20) * 5, uniform(20, 7, seed=1)
    ours = analog_product(Periphery(in_bits=4, out_bits=5, out_bound=3.0, out_noise=0.0), x, w)
    alpha = x.abs().amax(1, keepdim=True)
    v = torch.round(x / alpha * 7) / 7
    y = (torch.round((v @ w) / 3 * 15) / 15 * 3).clamp(-3, 3)
    torch.testing.assert_close(ours, alpha * y)
    assert (y.abs() == 3).any()  # the bound is reached


def test_output_and_read_noise_have_their_stated_moments():
    x, w = uniform(1, 8), uniform(8, 3, seed=1)
    many = x.expand(50_000, -1)
    quiet = {"in_bits": None, "out_bits": None, "out_bound": 1e6, "full_scale": "none"}
    noisy = analog_product(Periphery(out_noise=0.06, **quiet), many, w, gen())
    assert moments(noisy - x @ w, 0, 0.06) < 4
    read = analog_product(Periphery(out_noise=0.0, read_noise=0.0175, **quiet), many, w, gen())
    expected = 0.0175 * torch.tensor([math.sqrt(sum(abs(w[j, i]) * x[0, j] ** 2 for j in range(8))) for i in range(3)])
    assert moments((read - x @ w) / expected, 0, 1) < 4
    line = analog_product(Periphery(out_noise=0.0, in_noise=0.02, **quiet), many, w, gen())
    assert moments((line - x @ w) / (0.02 * w.norm(dim=0)), 0, 1) < 4


def test_wire_loss_is_the_formula_written_out():
    x, w, gamma = uniform(2, 9), uniform(9, 4, seed=1), 30.0
    ours = wire_loss(x, w / 4, w.abs() / 4, torch.tensor(0.25), gamma)
    for b in range(2):
        for i in range(4):
            a = 9 / gamma * sum(abs(w[j, i]) * abs(x[b, j]) for j in range(9))
            c = a * (0.05 * a**2 - 0.2 * a + 0.5)
            loss = c * sum(w[j, i] * x[b, j] * (1 - (1 - j / 9) ** 2) for j in range(9))
            assert ours[b, i].item() == pytest.approx(loss.item())
    exact = {"in_bits": None, "out_bits": None, "out_bound": 1e6, "out_noise": 0.0, "full_scale": "none"}
    dropped = analog_product(Periphery(ir_drop=0.5, wire_ratio=gamma, **exact), x, w)
    torch.testing.assert_close(dropped, x @ w - 0.5 * ours)


def test_bound_management_ends_where_the_iteration_would():
    x, w = uniform(40, 64), uniform(64, 10, seed=1) + 0.2
    x[:20] *= x[:20].sign()  # all of one sign: large outputs
    part = Periphery(in_bits=8, out_bits=9, out_bound=2.0, out_noise=0.0, bound_management=True)
    ours = analog_product(part, x, w)
    for row, y in zip(x, ours, strict=True):
        alpha = row.abs().max()
        for _ in range(part.most_doublings):
            if (part.dac.level(row / alpha) @ w).abs().max() < 2.0:
                break
            alpha = alpha * 2
        torch.testing.assert_close(y, part.adc.convert(part.dac.level(row / alpha) @ w) * alpha)
    without = analog_product(Periphery(in_bits=8, out_bits=9, out_bound=2.0, out_noise=0.0), x, w)
    assert (ours - x @ w).norm() < 0.3 * (without - x @ w).norm()


def test_bound_management_gives_up_before_the_inputs_are_gone():
    assert Periphery(in_bits=7).most_doublings == 4  # 126 levels / 2^4 is the last above 4
    assert Periphery(in_bits=None).most_doublings == 9
    assert bound_management(torch.tensor([[1e9]]), 1.0, 4).item() == 16


def test_bit_slices_add_up_to_the_whole():
    dac = DAC(bits=6)
    v = dac.level(uniform(5, 12))
    planes, factors = bit_planes(v, dac)
    assert planes.shape == (5, 5, 12)
    assert set(planes.unique().tolist()) <= {-1.0, 0.0, 1.0}
    torch.testing.assert_close((planes * factors).sum(0), v)
    x, w = uniform(5, 12) * 3, uniform(12, 4, seed=1)
    same = {"in_bits": 6, "out_bits": None, "out_bound": 1e6, "out_noise": 0.0}
    whole = analog_product(Periphery(**same), x, w)
    torch.testing.assert_close(analog_product(Periphery(sliced=True, **same), x, w), whole)


def test_noise_of_slices_adds_by_their_powers():
    x, w = torch.ones(50_000, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    part = Periphery(in_bits=4, out_bits=None, out_bound=1e6, out_noise=0.1, sliced=True)
    step = 2 / 14
    assert moments(analog_product(part, x, w, gen()), 0, 0.1 * step * math.sqrt(1 + 4 + 16)) < 4


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("periphery(in_bits=1)", "expected 2 to 24"),
        ("periphery(out_bound=0.0)", "positive"),
        ("periphery(out_noise=-0.1)", "0 or more"),
        ("periphery(read_noise=-1)", "0 or more"),
        ("periphery(wire_ratio=0.0)", "positive"),
        ("periphery(full_scale=row)", "sample"),
        ("periphery(sliced=True, in_bits=None)", "set in_bits"),
        ("periphery(sliced=True, bound_management=True)", "drop one"),
        ("periphery(out_bound=1e999)", "set out_bound"),
    ],
)
def test_wrong_constants_are_refused(spec, message):
    with pytest.raises(NeurofaError, match=message):
        build("periphery", spec)


def test_presets_have_the_constants_of_their_source():
    assert build("periphery", "standard").dac.step == pytest.approx(2 / 254)
    assert build("periphery", "training").adc.step == pytest.approx(0.0784, abs=1e-4)
    assert build("periphery", "inference").read_noise == 0.0175


def test_corrections_of_three_digits_are_within_the_converters_resolution():
    """Wire loss and the size of the cell noise may be multiplied in bfloat16; the product itself may not."""
    x, w = uniform(64, 784), uniform(784, 256, seed=1)
    low = [v.float() for v in (x, w)]
    quiet = {"out_bits": None, "out_noise": 0.0, "full_scale": "none", "in_bits": 8, "out_bound": 1e6}
    plain = Periphery(**quiet)
    assert (analog_product(plain, *low) - analog_product(plain, x, w)).abs().max() < 1e-4
    dropped = Periphery(ir_drop=1.0, **quiet)
    loss = analog_product(plain, x, w) - analog_product(dropped, x, w)
    error = (analog_product(dropped, *low) - analog_product(dropped, x, w)).abs().max()
    step = build("periphery", "inference").adc.step
    assert error < 0.25 * step < step < loss.abs().max()
    assert (error > 1e-4) == bf16_pays(*low)  # three digits, or all of them
    many = x[:1].expand(4000, -1).float()
    noisy = Periphery(read_noise=0.0175, **quiet)
    level = plain.dac.level(x[:1])
    spread = 0.0175 * (level.square() @ w.abs()).sqrt()
    unit = (analog_product(noisy, many, low[1], gen()) - analog_product(plain, x[:1], w)) / spread
    assert moments(unit, 0, 1) < 4
    assert moments(unit, 0, 1.01) > 4


def test_a_sample_that_overflows_is_halved_alone():
    """One of many: what is multiplied again for it is what all would be multiplied for."""
    x, w = uniform(40, 64).float() * 0.1, uniform(64, 10, seed=1).float() + 0.2
    x[7] = x[7].abs() * 10
    part = Periphery(in_bits=8, out_bits=9, out_bound=9.0, out_noise=0.0, bound_management=True)
    alone = torch.cat([analog_product(part, row.view(1, -1), w) for row in x])
    torch.testing.assert_close(analog_product(part, x, w), alone)
    assert (analog_product(Periphery(in_bits=8, out_bits=9, out_bound=9.0, out_noise=0.0), x, w) != alone).any()


def test_output_and_read_noise_add_up_in_one_draw():
    x, w = uniform(1, 8), uniform(8, 3, seed=1)
    quiet = {"in_bits": None, "out_bits": None, "out_bound": 1e6, "full_scale": "none"}
    both = analog_product(Periphery(out_noise=0.01, read_noise=0.0175, **quiet), x.expand(50_000, -1), w, gen())
    spread = (0.0175**2 * (x.square() @ w.abs()) + 0.01**2).sqrt()
    assert moments((both - x @ w) / spread, 0, 1) < 4
    assert moments((both - x @ w) / spread, 0, 1.02) > 4
