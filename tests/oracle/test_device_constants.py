"""Constants and formulas of published device models, written out again from the texts that state them."""

import math

import pytest
import torch

from hwmodels.devices import Hermes, OneSided, PowStep, ReRamArrayHfO2, ReRamArrayOM, ReRamCmo, ReRamSB
from hwmodels.devices import SoftBoundsReference as Reference
from hwmodels.numerics.clipped_normal import clipped_variance
from hwmodels.registry import build

N = 40_000
SHARES = (1e-4, 0.02, 0.09, 0.1, 0.15, 0.165, 0.3, 0.31, 0.6, 1.0)


def gen(seed=1):
    return torch.Generator().manual_seed(seed)


def clip(x, low, high):
    return min(max(x, low), high)


def hermes_nu_mean(r):
    return clip(-0.0387 * math.log(r) - 0.0182, 0.072, 0.13) if r < 0.0945 else -0.0436 * r * r - 0.0126 * r + 0.0736


def hermes_nu_std(r, devices):
    log = math.log(r)
    if devices == 1:
        return clip(-0.0120 * log - 0.0023, 0.0124, 0.04) if r < 0.3039 else -0.0165 * r * r + 0.0116 * r + 0.0104
    return clip(-0.0117 * log - 0.0057, 0.0091, 0.04) if r < 0.3055 else -0.0118 * r * r + 0.0093 * r + 0.0073


def hermes_q(r, devices):
    log = math.log(r)
    if devices == 1:
        if r < 0.1591:
            return clip(-0.0078 * log + 0.0038, 0.0179, 0.04)
        return 0.0664 * r**3 - 0.1352 * r * r + 0.0768 * r + 0.0088
    return (
        clip(-0.0117 * log - 0.0069, 0.015, 0.04) if r < 0.16 else 0.0069 * r**3 - 0.028 * r * r + 0.0211 * r + 0.0123
    )


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("r", SHARES)
def test_hermes_has_a_fit_of_its_own_for_each_number_of_devices(r, devices):
    device = Hermes(devices=devices)
    g_max, t0, t_read = {1: (10.35, 200.0, 512e-9), 2: (20.7, 300.0, 512e-9)}[devices]
    g = torch.tensor([r * g_max], dtype=torch.float64)
    for xi in (-1.0, 0.0, 2.0):
        nu = abs(hermes_nu_mean(r) + xi * hermes_nu_std(r, devices))
        assert device.drift_constant(g, torch.full_like(g, xi)).item() == pytest.approx(nu, rel=1e-9)
    for age in (0.0, 3600.0):
        now = 0.9 * g  # Q follows the programmed conductance, the size of the noise the drifted one
        sigma = device.read_sigma(g, now, torch.full_like(g, age)).item()
        growth = math.sqrt(math.log((age + t0 + t_read) / (2 * t_read)))
        assert sigma == pytest.approx(now.item() * hermes_q(r, devices) * growth, rel=1e-9)


@pytest.mark.parametrize(
    ("acceptance", "offset", "slope"), [(0.2, 0.00081107, 0.00106879), (2, 0.01121854, 0.01129027)]
)
def test_cmo_memory_stores_a_weight_on_one_device_within_its_range(acceptance, offset, slope):
    device = ReRamCmo(acceptance=acceptance, range=1.0)
    cells = device.program(torch.linspace(-1, 1, N, dtype=torch.float64), gen())
    assert "minus" not in cells
    wanted = torch.linspace(9.0, 88.2, N, dtype=torch.float64)
    z = (cells["plus"] - wanted) / (offset + slope * wanted)
    middle = z[N // 10 : -N // 10]
    assert middle.std().item() == pytest.approx(1, abs=0.02)
    assert abs(middle.mean().item()) < 0.03
    day = device.relax(cells, 86400.0)
    (now,) = device.conductances(day)
    log_t = math.log(86400.0)
    moved = (now - cells["plus"])[N // 10 : -N // 10]
    assert moved.mean().item() == pytest.approx(-0.08900206 * log_t, abs=0.02)
    assert moved.std().item() == pytest.approx(0.04201137 * log_t + 0.41183342, rel=0.02)
    assert device.value(day)[N // 10 : -N // 10].sub(device.value(cells)[N // 10 : -N // 10]).mean().item() == (
        pytest.approx(-0.08900206 * log_t / 39.6, abs=5e-4)  # a single device shows the mean drift
    )
    sigma = device.read_sigma(wanted, wanted, torch.full_like(wanted, 86400.0))
    growth = math.sqrt(math.log((86400.0 + 1e-6) / 2e-6))
    assert torch.allclose(sigma, 0.02773165 * wanted.log10() * growth)
    for g in (cells["plus"], now, (device.read(day, gen()) + 1) * 39.6 + 9.0):
        assert g.min() >= 9.0 - 1e-9
        assert g.max() <= 88.2 + 1e-9


def test_cmo_pairs_cancel_the_mean_drift_and_reads_have_the_stated_variance():
    for device in (ReRamCmo(range=1.0), ReRamCmo(range=1.0, pair=True)):
        cells = device.relax(device.program(torch.full((N,), 0.99, dtype=torch.float64), gen()), 10.0)
        cells = {
            key: cell[:1].expand(N) if cell.dim() else cell for key, cell in cells.items()
        }  # one device, read often
        reads = device.read(cells, gen(2))
        assert reads.var().item() == pytest.approx(device.read_variance(cells)[0].item(), rel=0.04)
    half = torch.full((N,), 0.0, dtype=torch.float64)
    year = ReRamCmo(range=1.0, pair=True)
    assert abs(year.value(year.relax(year.program(half, gen()), 3e7)).mean().item()) < 1e-3


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (2.0, 0.5), (-1.0, 3.0), (0.5, 0.0)])
def test_the_variance_of_a_clipped_normal_number(mean, std):
    x = torch.randn(400_000, generator=gen(), dtype=torch.float64).mul_(std).add_(mean).clamp_(-1, 2)
    one = torch.ones(1, dtype=torch.float64)
    assert clipped_variance(mean * one, std * one, -1.0, 2.0).item() == pytest.approx(
        x.var().item(), rel=0.01, abs=1e-9
    )


def test_exponents_of_a_power_step_share_their_spread():
    device = PowStep(pow_gamma=1.5, pow_gamma_dtod=0.2, pow_up_down=0.3, pow_up_down_dtod=0.05)
    cells = device.program(torch.zeros(N, dtype=torch.float64), gen())
    up, down = cells["power_up"] / 1.5, cells["power_down"] / 1.5
    assert up.mean().item() == pytest.approx(1.0, abs=0.005)
    assert down.mean().item() == pytest.approx(0.7, abs=0.005)  # the asymmetry shrinks one of the two
    half_sum, half_difference = (up + down) / 2, (up - down) / 2
    assert half_sum.std().item() == pytest.approx(0.2, rel=0.02)
    assert half_difference.std().item() == pytest.approx(0.05, rel=0.02)
    plain = PowStep(pow_up_down=-0.3).program(torch.zeros(N, dtype=torch.float64), gen())
    assert torch.allclose(plain["power_down"] - plain["power_up"], torch.full((N,), 0.3, dtype=torch.float64))


def test_only_the_array_presets_have_a_spread_of_the_reference():
    for device, spread in ((Reference(), 0.0), (ReRamSB(), 0.0), (ReRamArrayOM(), 0.05), (ReRamArrayHfO2(), 0.05)):
        assert (device.reference_mean, device.reference_std) == (0.0, spread)


def test_a_refresh_writes_the_difference_back_by_at_most_31_pulses():
    still = "dw_min_dtod=0, dw_min_std=0, up_down_dtod=0, w_max=1, w_min=-1, w_max_dtod=0, w_min_dtod=0, scale=1"
    steps = build("device", f"linear_step(dw_min=0.01, gamma_up=0.5, gamma_up_dtod=0, {still})")
    pair = OneSided(device=steps, reset_std=0.0)
    for full, empty, pulses in ((0.9, 0.8, 10), (0.9, 0.3, 31)):
        cells = pair.program(torch.zeros(50), gen())
        cells["plus_weight"], cells["minus_weight"] = torch.full((50,), full), torch.full((50,), empty)
        after = pair.settle(cells, gen())
        fresh = steps.program(torch.zeros(50), gen())
        wanted = steps.pulse(fresh, torch.full((50,), float(pulses)), gen())[
            "weight"
        ]  # steps of the device, unverified
        assert (after["plus_weight"] - wanted).abs().max() <= 0.0101  # a difference is no whole number of steps
        assert after["minus_weight"].abs().max() <= 1e-6
    exact = OneSided(device=steps, reset_std=0.0, refresh_pulses=None)
    assert torch.allclose(exact.value(exact.settle(cells, gen())), torch.full((50,), 0.6))
