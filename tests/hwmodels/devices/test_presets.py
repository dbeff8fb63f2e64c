"""The ten published presets have the moments that their table states."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from hwmodels import build
from hwmodels.device import Device

N = 100_000
# dw_min, up_down, w_max, w_min, spreads of dw, w_max, w_min and up_down, cycle noise, write noise, stuck share
TABLE = {
    "reram_es": (0.00135, 0.259359, 1, -1, 0.2, 0.3, 0.3, 0.05, 5.0, 75, 0),
    "reram_sb": (0.002, 0, 1.25, -0.75, 0.3, 0.24, 0.4, 0.01, 3.75, 56, 0),
    "capacitor": (0.005, 0, 1, -1, 0.1, 0.07, 0.07, 0.06, 0.3, 0, 0),
    "ecram": (0.002, 0, 1.1724, -0.8276, 0.1, 0.05, 0.05, 0.01, 0.3, 0, 0),
    "ecram_mo": (2.8214e-4, 0, 1.1714, -0.8286, 0.1, 0.05, 0.05, 0.01, 2.0, 0, 0),
    "idealized": (0.0002, 0, 1, -1, 0.3, 0.3, 0.3, 0, 0.3, 0, 0),
    "gokmen_vlasov": (0.0016, 0, 1, -1, 0.3, 0.3, 0.3, 0.01, 0.3, 0, 0),
    "pcm_gst": (0.01, 0, 2, 0, 0.2, 0.1, 0, 0.05, 0.6, 0, 0),
    "reram_array_om": (0.0949, 0, 1, -1, 0.7829, 0.3499, 0.5695, 0.01, 0.4158, 1.4113, 0.1348),
    "reram_array_hfo2": (0.4622, 0, 1, -1, 0.7125, 0.4295, 0.5990, 0.01, 0.2174, 0.5841, 0.0977),
}
LOG_NORMAL = ("reram_array_om", "reram_array_hfo2")
STATES = {  # range over step
    "reram_es": 1481,
    "reram_sb": 1000,
    "capacitor": 400,
    "ecram": 1000,
    "ecram_mo": 7089,
    "idealized": 10000,
    "gokmen_vlasov": 1250,
    "pcm_gst": 200,
    "reram_array_om": 21,
    "reram_array_hfo2": 4.3,
}


def preset(name):
    device = build("device", name)
    return replace(device.inner if name == "pcm_gst" else device, scale=1.0)


def folded(mean, std):
    """Mean and standard deviation of |N(mean, std)|."""
    if std == 0:
        return abs(mean), 0.0
    u = mean / std
    average = std * math.sqrt(2 / math.pi) * math.exp(-u * u / 2) + mean * math.erf(u / math.sqrt(2))
    return average, math.sqrt(mean**2 + std**2 - average**2)


def scores(sample, mean, std):
    """z of the sample's mean and of its variance."""
    sample = sample.double()
    if std == 0:
        wrong = (sample - mean).abs().max().item() > 1e-6 * max(abs(mean), 1e-9)
        return [math.inf if wrong else 0.0]
    n = sample.numel()
    second = (sample - mean).square()
    return [
        abs(sample.mean().item() - mean) / (std / math.sqrt(n)),
        abs(second.mean().item() - std**2) / (second.std().item() / math.sqrt(n)),
    ]


def worst(device, name):
    """The largest z of a preset's device-to-device moments, noise and stuck share against the table."""
    dw, ud, w_max, w_min, s_dw, s_max, s_min, s_ud, _, s_write, stuck = TABLE[name]
    cells = device.program(torch.zeros(N), torch.Generator().manual_seed(3))
    dead = cells["top"] == cells["bottom"]
    z = [abs(dead.double().mean().item() - stuck) / max(math.sqrt(stuck * (1 - stuck) / N), 1e-12)]
    sound = {key: cell[~dead] for key, cell in cells.items() if cell.dim()}
    up, down = min(ud, 0), -max(ud, 0)
    for key, shift in (("up", up), ("down", down)):
        if name in LOG_NORMAL:
            square = math.exp(s_dw**2)
            mean, std = math.sqrt(square) + shift, math.sqrt((square - 1) * square + s_ud**2)
        else:
            mean, std = folded(1 + shift, math.hypot(s_dw, s_ud))
        z += scores(sound[key] / dw, mean, std)
    z += scores((sound["up"] - sound["down"]) / (2 * dw), (up - down) / 2, s_ud) if s_ud else [0.0]
    z += scores(sound["top"], *folded(w_max, abs(w_max) * s_max))
    z += scores(-sound["bottom"], *folded(-w_min, abs(w_min) * s_min))
    if s_write:
        z += scores(cells["visible"] - cells["weight"], 0.0, s_write * dw)
    return max(z)


@pytest.mark.parametrize("name", TABLE)
def test_devices_differ_as_published(name):
    device = preset(name)
    assert worst(device, name) < 4
    assert (TABLE[name][2] - TABLE[name][3]) / device.dw_min == pytest.approx(STATES[name], rel=0.01)


PERTURBED = [
    ("reram_es", "dw_min", 1.02),
    ("reram_es", "up_down", 1.05),
    ("reram_es", "write_noise_std", 1.02),
    ("reram_sb", "w_min", 1.02),
    ("capacitor", "up_down_dtod", 1.05),
    ("ecram", "w_max", 0.995),
    ("gokmen_vlasov", "dw_min_dtod", 1.05),
    ("pcm_gst", "w_max_dtod", 1.05),
    ("reram_array_om", "corrupt_prob", 0.9),
    ("reram_array_om", "dw_min_dtod", 0.95),
    ("reram_array_hfo2", "w_min_dtod", 1.05),
]


@pytest.mark.parametrize(("name", "key", "factor"), PERTURBED)
def test_a_perturbed_constant_is_seen(name, key, factor):
    device = preset(name)
    assert worst(replace(device, **{key: getattr(device, key) * factor}), name) > 4


def response(name, v, up):
    """Mean step and standard deviation of one pulse at v, in units of dw_min, written out again from the table."""
    s = TABLE[name][8]
    if name in ("idealized", "gokmen_vlasov"):
        y = 1.0
    elif name in ("capacitor", "ecram", "ecram_mo"):
        gammas = {"capacitor": (0.05, 0.05), "ecram": (0.1153, 0.5085), "ecram_mo": (0.4152, 0.7342)}[name]
        y = 1 - gammas[0] * v / TABLE[name][2] if up else 1 - gammas[1] * v / TABLE[name][3]
    elif name == "reram_es":
        z = -0.5 * v - 0.5
        y = 1 + 1.18445 * math.exp(5 * z) if up else (1 - 0.259359) * (1 + 0.081404 * math.exp(-5 * z))
    elif name == "pcm_gst":
        z = -v
        y = 1 + 27.235 * math.exp(2.5 * z) if up else 1 + 2.235 * math.exp(-2.5 * z)
        return y, s * (y + (0.042 + 0.108 * abs(v)) / 0.01)
    else:
        y = 1 - v / (TABLE[name][2] if up else TABLE[name][3])
        return y, s
    return y, s if name == "capacitor" else s * y


STILL = {"dw_min_dtod": 0.0, "up_down_dtod": 0.0, "w_max_dtod": 0.0, "w_min_dtod": 0.0, "corrupt_prob": 0.0}


def worst_step(device, name):
    still = replace(device, **STILL, write_noise_std=0.0)
    gain = 1.0  # exp(0 xi)
    if hasattr(still, "gamma_up_dtod"):
        still = replace(still, gamma_up_dtod=0.0, gamma_down_dtod=0.0, lifetime=0.0)
    if hasattr(still, "reference_std"):
        still = replace(still, reference_std=0.0, subtract_symmetry=False)
    # where neither mean nor noise meets a bound
    states = {"pcm_gst": (1.0,), "reram_array_hfo2": (0.0, 0.05)}.get(name, (-0.2, 0.0, 0.2))
    z = []
    for v in states:
        cells = still.program(torch.full((N,), float(v)).double(), torch.Generator().manual_seed(5))
        for sign in (1, -1):
            after = still.pulse(cells, torch.full((N,), float(sign)).double(), torch.Generator().manual_seed(6))
            moved = (after["weight"] - v) * sign / TABLE[name][0]
            mean, std = response(name, v, sign > 0)
            z += scores(moved, gain * mean, gain * std)
    return max(z)


@pytest.mark.sample(4)
@pytest.mark.parametrize("name", TABLE)
def test_a_pulse_moves_as_published(name):
    device = preset(name)
    assert worst_step(device, name) < 4
    assert worst_step(replace(device, dw_min_std=device.dw_min_std * 1.03), name) > 4


def test_step_constants_are_seen():
    assert worst_step(replace(preset("pcm_gst"), A_up=-24.0), "pcm_gst") > 4
    assert worst_step(replace(preset("ecram"), gamma_down=0.6), "ecram") > 4
    assert worst_step(replace(preset("reram_es"), gamma_up=5.4), "reram_es") > 4


@pytest.mark.parametrize("name", TABLE)
def test_presets_say_where_they_come_from(name):
    device = build("device", name)
    assert isinstance(device, Device)
    assert device.name == name
    assert "aihwkit" in device.source
    assert device.fitted_from
    assert device.verified == "read"
    assert device.tier == ("array measured" if name in LOG_NORMAL else "single device")
    assert (preset(name).corrupt_prob > 0) == (name in LOG_NORMAL)


def test_the_capacitor_forgets():
    cells = preset("capacitor").program(torch.zeros(N), torch.Generator().manual_seed(1))
    assert (1 / cells["leak"]).median().item() == pytest.approx(1e6, rel=0.01)
