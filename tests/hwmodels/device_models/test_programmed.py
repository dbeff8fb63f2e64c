"""Inference devices: programming noise, drift and read noise against published values."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch

from hwmodels import NeurofaError, build
from hwmodels.device import relaxed
from hwmodels.devices.pcm import Pcm

N = 100_000
DAY = 86400.0


def programmed(device, r, seed=1):
    """Cells of N devices whose G+ aims at the share r between g_min and g_max."""
    return device.program(torch.full((N,), float(r), dtype=torch.float64), torch.Generator().manual_seed(seed))


def spec(text):
    return build("device", text)


def z_of_std(sample, mean, std):
    second = (sample - mean).square()
    return max(
        abs(sample.mean().item() - mean) / (std / math.sqrt(N)),
        abs(second.mean().item() - std**2) / (second.std().item() / math.sqrt(N)),
    )


PROGRAMMING = [
    ("pcm(range=1)", 1.0, 25.0, 1.05538),
    ("pcm(range=1)", 0.5, 12.5, 0.952705),
    ("pcm(range=1)", 0.25, 6.25, 0.68141125),
    ("pcm(range=1)", 0.1, 2.5, 0.448249),
    ("hermes(range=1)", 1.0, 20.7, 1.09269895),
    ("hermes(range=1)", 0.5, 10.35, 0.99101311),
    ("hermes(range=1, devices=1)", 1.0, 10.35, 1.0075064),
    ("state_independent(range=1)", 0.3, 7.5, 0.2),
    ("reram_cmo(range=1, pair=True)", 0.5, 48.6, 0.05275426),
    ("reram_cmo(range=1, acceptance=2)", 0.0, 48.6, 0.55992566),
    ("reram_wan(range=1)", 1.0, 40.0, 1.103),
]


@pytest.mark.parametrize(("text", "r", "g", "sigma"), PROGRAMMING)
def test_programming_noise_is_as_published(text, r, g, sigma):
    device = spec(text)
    if device.name == "reram_wan":  # its spread is measured one second after programming
        cells = relaxed(device, programmed(device, r), 1.0)
        plus = device.conductances(cells)[0]
    else:
        plus = programmed(device, r)["plus"]
    assert z_of_std(plus, g, sigma) < 4
    assert z_of_std(plus, g, sigma * 1.02) > 4


@pytest.mark.parametrize(("r", "kept"), [(1.0, 0.664), (0.25, 0.664), (0.1, 0.605), (0.01, 0.449)])
def test_phase_change_memory_keeps_its_share_after_a_day(r, kept):
    nu = programmed(spec("pcm(range=1)"), r)["plus_drift"]
    assert ((DAY + 20) / 20) ** -nu.mean().item() == pytest.approx(kept, abs=0.003)
    assert (nu >= 0).all()


@pytest.mark.parametrize(
    ("text", "r", "mu", "sd"),
    [
        ("pcm(range=1)", 0.1, 0.06009, 0.02288),
        ("hermes(range=1)", 1.0, 0.0174, 0.0048),
        ("hermes(range=1)", 0.05, 0.09774, 0.02935),
        ("state_independent(range=1, nu_std=0.02)", 0.5, 0.1, 0.02),
    ],
)
def test_drift_exponents_are_as_published(text, r, mu, sd):
    nu = programmed(spec(text), r)["plus_drift"]
    # the given digits are rounded: allow for that beside the sampling error
    assert nu.mean().item() == pytest.approx(mu, abs=4 * sd / math.sqrt(N) + 1e-3 * mu)
    assert nu.std().item() == pytest.approx(sd, rel=0.02)


@pytest.mark.parametrize(
    ("text", "r", "q", "t0", "t_read"),
    [
        ("pcm(range=1)", 1.0, 0.0088, 20, 250e-9),
        ("hermes(range=1)", 1.0, 0.0123, 300, 512e-9),
        ("hermes(range=1, devices=1)", 0.5, 0.0217, 200, 512e-9),
    ],
)
def test_read_noise_grows_with_age(text, r, q, t0, t_read):
    device = spec(text)
    for age in (0.0, 3600.0):
        g = torch.full((1,), r * device.g_max, dtype=torch.float64)
        sigma = device.read_sigma(g, g, torch.full((1,), age, dtype=torch.float64)).item()
        growth = math.sqrt(math.log((age + t0 + t_read) / (2 * t_read)))
        assert sigma == pytest.approx(r * device.g_max * q * growth, rel=1e-3)


def test_reads_scatter_by_the_noise_of_both_devices():
    device, gen = spec("pcm(range=1)"), torch.Generator().manual_seed(4)
    cells = relaxed(device, programmed(device, 0.5), 100.0)
    plus, minus = device.conductances(cells)
    age = cells["age"]
    sigma = (
        device.read_sigma(cells["plus"], plus, age) ** 2 + device.read_sigma(cells["minus"], minus, age) ** 2
    ).sqrt()
    z = (device.read(cells, gen) - device.value(cells)) / (sigma / 25)
    assert z_of_std(z, 0.0, 1.0) < 4
    assert not torch.equal(device.read(cells, gen), device.read(cells, gen))


def test_resistive_memory_relaxes_as_published():
    device = spec("reram_cmo(range=1)")
    cells = programmed(device, 0.0)
    moved = device.conductances(relaxed(device, cells, DAY))[0] - cells["plus"]
    assert z_of_std(moved, -0.08900206 * math.log(DAY), 0.04201137 * math.log(DAY) + 0.41183342) < 4
    sigma = device.read_sigma(cells["plus"][:1] * 0 + 100, cells["plus"][:1] * 0 + 100, torch.ones(1).double()).item()
    assert sigma == pytest.approx(0.02773165 * 2 * math.sqrt(math.log((1 + 1e-6) / 2e-6)))


@pytest.mark.parametrize(
    ("age", "sigma"), [(0.0, 1.103), (1.0, 1.103), (DAY, 2.651), (2 * DAY, 2.677), (9 * DAY, 2.677)]
)
def test_the_spread_of_neurram_is_that_of_its_three_times(age, sigma):
    device = spec("reram_wan(range=1)")
    plus = device.conductances(relaxed(device, programmed(device, 1.0), age))[0]
    assert z_of_std(plus, 40.0, sigma) < 4


def test_a_wrong_coefficient_is_seen():
    @dataclass(frozen=True, kw_only=True)
    class Wrong(Pcm):
        def programming_sigma(self, g):
            return super().programming_sigma(g) * 1.03

    assert z_of_std(programmed(Wrong(range=1.0), 1.0)["plus"], 25.0, 1.05538) > 4


def test_only_changed_weights_are_reprogrammed_and_young_again():
    device, gen = spec("pcm(range=1)"), torch.Generator().manual_seed(1)
    cells = relaxed(device, device.program(torch.zeros(1000), gen), 50.0)
    change = torch.where(torch.arange(1000) < 500, 0.3, 0.0)
    after = device.write(cells, change, gen)
    for key in ("plus", "minus", "plus_drift", "minus_drift"):
        assert torch.equal(after[key][500:], cells[key][500:])
        assert (after[key][:500] != cells[key][:500]).any()
    assert after["age"].tolist() == [0.0] * 500 + [50.0] * 500
    assert device.value(after)[:500].mean().item() == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("name", ["pcm", "hermes", "state_independent", "reram_cmo", "reram_wan"])
def test_weights_map_to_conductances_within_the_range(name):
    device, gen = spec(name), torch.Generator().manual_seed(1)
    target = torch.linspace(-0.2, 0.2, 2001)
    cells = device.program(target, gen)
    assert cells["range"].item() == pytest.approx(0.2)
    assert (device.value(cells) - target).abs().mean() < 0.05
    assert (cells["plus"] >= 0).all()
    assert device.value(device.program(torch.zeros(3), gen)).isfinite().all()
    assert device.source
    assert device.verified == "read"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pcm(g_max=0)", "more than g_min"),
        ("pcm(g_min=-1)", "conductances are positive"),
        ("pcm(range=0)", "a positive number or None"),
        ("pcm(headroom=0.5)", "must fit in"),
        ("hermes(devices=3)", "1 or 2"),
        ("reram_cmo(acceptance=1)", "0.2 or 2"),
        ("reram_cmo(g_max=100)", "the fit ends there"),
        ("reram_wan(g_max=50)", "the fit ends there"),
        ("state_independent(prog_std=-1)", "0 switches it off"),
    ],
)
def test_wrong_constants_are_refused(text, message):
    with pytest.raises(NeurofaError, match=message):
        spec(text)
