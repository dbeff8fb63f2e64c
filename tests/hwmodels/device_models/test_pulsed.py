"""The pulsed step models: many pulses against one at a time, bounds, noise, and what they refuse."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hwmodels import NeurofaError, build, find
from hwmodels.device_models.pulsed import Pulsed
from hwmodels.devices.nonlinear_update import curvature

MODELS = {
    "constant_step": 1e-5,
    "linear_step(gamma_up=0.4, gamma_down=0.7)": 1e-4,
    "soft_bounds": 1e-4,
    "soft_bounds(dw_min=0.2)": 1e-4,
    "soft_bounds_pmax": 1e-4,
    "soft_bounds_reference(additive=False)": 1e-4,
    "exp_step": 0.01,
    "reram_es": 0.03,
    "pow_step": 0.01,
    "pow_step(pow_gamma=2.5)": 0.01,
    "pow_step(pow_gamma=0.6, pow_gamma_dtod=0)": 0.01,
    "piecewise_step(nodes_up=[1, 0.8, 0], nodes_down=[0, 2, 1.5, 1])": 0.05,
}


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def make(spec, **constants):
    return replace(build("device", spec), scale=1.0, **constants)


@pytest.mark.sample(16)
@pytest.mark.parametrize("n", [2, 30, 400])
@pytest.mark.parametrize("spec", MODELS)
def test_many_pulses_end_where_single_pulses_end(spec, n):
    device, gen = make(spec, dw_min_std=0.0, write_noise_std=0.0), generator()
    many = ones = device.program(torch.linspace(-0.5, 0.5, 400, dtype=torch.float64), gen)
    start = device.value(many)
    sign = torch.where(torch.arange(400) % 2 == 0, 1.0, -1.0).double()
    many = device.pulse(many, sign * n, gen)
    for _ in range(n):
        ones = device.pulse(ones, sign, gen)
    travelled = (device.value(ones) - start).abs()
    error = (device.value(many) - device.value(ones)).abs()
    assert (error <= MODELS[spec] * travelled + 1e-9).all()
    assert (travelled > 0).any()


@pytest.mark.parametrize("spec", MODELS)
def test_the_noise_of_many_pulses_is_that_of_single_pulses(spec):
    device, gen = make(spec, dw_min_std=0.5, write_noise_std=0.0, dw_min_dtod=0.0, w_max_dtod=0.0), generator()
    many = ones = device.program(torch.zeros(20000), gen)
    count = torch.full((20000,), 12.0)
    many = device.pulse(many, count, gen)
    for _ in range(12):
        ones = device.pulse(ones, count.sign(), gen)
    if device.dw_min < 0.1:  # far from the bound; soft_bounds(dw_min=0.2) is at it
        assert device.value(many).std().item() == pytest.approx(device.value(ones).std().item(), rel=0.06)
    assert device.value(many).mean().item() == pytest.approx(device.value(ones).mean().item(), rel=0.02)


def test_additive_noise_of_many_pulses_shrinks_towards_the_bound():
    spec = "soft_bounds_reference(dw_min=0.05, dw_min_dtod=0, w_max_dtod=0, w_min_dtod=0, w_max=1, w_min=-1)"
    device, gen = make(spec, reference_std=0.0), generator()
    many = ones = device.program(torch.zeros(40000), gen)
    count = torch.full((40000,), 20.0)
    many = device.pulse(many, count, gen)
    for _ in range(20):
        ones = device.pulse(ones, count.sign(), gen)
    assert many["weight"].std().item() == pytest.approx(ones["weight"].std().item(), rel=0.03)
    assert many["weight"].std().item() < 0.8 * 0.3 * 0.05 * math.sqrt(20)


def test_a_staircase_follows_its_formula():
    still = {"dw_min_dtod": 0.0, "dw_min_std": 0.0, "w_max_dtod": 0.0, "w_min_dtod": 0.0, "scale": 1.0}
    device, gen = find("device", "soft_bounds_pmax")(p_max=500, alpha=0.004, **still), generator()
    device = replace(device, up_down_dtod=0.0)
    cells = device.program(torch.full((1,), -1.0, dtype=torch.float64), gen)
    b = 2 / (1 - math.exp(-0.004 * 500))
    for p in (1, 100, 500):
        reached = device.pulse(cells, torch.full((1,), float(p), dtype=torch.float64), gen)["weight"].item()
        assert reached == pytest.approx(b * (1 - math.exp(-0.004 * p)) - 1, rel=1e-6)


def test_the_reference_is_the_point_of_equal_steps():
    device, gen = make("reram_array_om", corrupt_prob=0.0, reference_std=0.0, write_noise_std=0.0, dw_min_std=0.0), 0
    gen = generator()
    cells = device.program(torch.zeros(5000, dtype=torch.float64), gen)
    inside = (cells["reference"] > cells["bottom"] + 0.3) & (cells["reference"] < cells["top"] - 0.3)
    one = torch.ones(5000, dtype=torch.float64)
    up, down = (device.pulse(cells, sign * one, gen)["weight"] - cells["weight"] for sign in (1, -1))
    free = inside & (up.abs() < 0.3) & (down.abs() < 0.3)
    assert free.sum() > 2000
    assert torch.allclose(up[free], -down[free], rtol=1e-6, atol=1e-9)


SPECS = [
    *MODELS,
    "idealized",
    "gokmen_vlasov",
    "reram_sb",
    "capacitor",
    "ecram",
    "ecram_mo",
    "reram_array_om",
    "reram_array_hfo2",
    "linear_step(additive=True, gamma_up=1.5, diffusion=0.1)",
    "exp_step(A_up=2, A_down=2, a=-0.5)",
]


@settings(max_examples=60, derandomize=True)
@given(
    spec=st.sampled_from(SPECS),
    target=st.lists(st.floats(-1e6, 1e6, width=32), min_size=6, max_size=6),
    change=st.lists(st.floats(-1e6, 1e6, width=32), min_size=6, max_size=6),
    seed=st.integers(0, 1000),
)
def test_states_stay_within_each_devices_bounds(spec, target, change, seed):
    device, gen = build("device", spec), generator(seed)
    cells = device.program(torch.tensor(target), gen)
    for _ in range(2):
        cells = device.write(cells, torch.tensor(change), gen)
        assert (cells["weight"] >= cells["bottom"]).all()
        assert (cells["weight"] <= cells["top"]).all()
        assert device.value(cells).isfinite().all()


def test_fine_steps_in_a_wide_range_are_plain_sgd():
    device = build(
        "device", "constant_step(dw_min=1e-9, dw_min_dtod=0, up_down_dtod=0, w_max=1e3, w_min=-1e3, scale=1)"
    )
    gen = generator()
    weight, change = torch.randn(50, 50, generator=gen).double(), torch.randn(50, 50, generator=gen).double() * 0.01
    after = device.value(device.write(device.program(weight, gen), change, gen))
    assert torch.allclose(after, weight + change, rtol=0, atol=2e-5)
    coarse = replace(device, dw_min=1e-3)
    assert not torch.allclose(coarse.value(coarse.write(coarse.program(weight, gen), change, gen)), after, atol=2e-4)


def test_the_initial_matrix_has_headroom():
    for shape, full in (((10, 36), 0.5), ((4, 3, 3, 3), 3 / math.sqrt(27))):
        cells = build("device", "constant_step").program(torch.zeros(shape), generator())
        assert cells["scale"].item() == pytest.approx(full)


def test_decay_and_diffusion_act_once_per_write():
    device, gen = make("constant_step(lifetime=10, dw_min_dtod=0, w_max=1, w_min=-1, w_max_dtod=0)"), generator()
    cells = device.program(torch.full((100,), 0.5), gen)
    still = torch.zeros(100)
    assert torch.allclose(device.write(cells, still, gen)["weight"], torch.tensor(0.45))
    assert device.ageing is None
    device = make("constant_step(diffusion=0.02, w_max=10, w_min=-10)")
    cells = device.program(torch.zeros(10000), gen)
    spread = device.write(device.write(cells, torch.zeros(10000), gen), torch.zeros(10000), gen)["weight"].std().item()
    assert spread == pytest.approx(0.02 * math.sqrt(2), rel=0.04)


def test_write_noise_is_redrawn_only_where_pulses_arrive():
    device, gen = make("constant_step(write_noise_std=50, w_max=1, w_min=-1, w_max_dtod=0, w_min_dtod=0)"), generator()
    cells = device.program(torch.zeros(20000), gen)
    change = torch.where(torch.arange(20000) < 10000, 0.0, 0.01)
    after = device.write(cells, change, gen)
    assert torch.equal(after["visible"][:10000], cells["visible"][:10000])
    noise = (after["visible"] - after["weight"])[10000:]
    assert noise.std().item() == pytest.approx(0.05, rel=0.03)
    assert abs(noise.mean().item()) < 4 * 0.05 / 100
    assert torch.equal(device.value(after), after["visible"])


def test_stuck_devices_are_a_share_and_never_move():
    device, gen = make("constant_step(corrupt_prob=0.2, corrupt_range=0.05)"), generator()
    cells = device.program(torch.full((20000,), 0.3), gen)
    dead = cells["top"] == cells["bottom"]
    assert dead.double().mean().item() == pytest.approx(0.2, abs=4 * math.sqrt(0.16 / 20000))
    assert cells["weight"][dead].abs().max() <= 0.05
    after = device.write(cells, torch.full((20000,), -0.2), gen)["weight"]
    assert torch.equal(after[dead], cells["weight"][dead])
    assert (after[~dead] != cells["weight"][~dead]).all()


def test_reprogramming_keeps_the_devices():
    device, gen = build("device", "reram_array_om"), generator()
    cells = device.program(torch.zeros(50, 40), gen)
    again = device.reprogram(cells, torch.full((50, 40), 0.1), gen)
    assert all(torch.equal(again[k], cells[k]) for k in cells if k not in ("weight", "visible"))
    assert (again["weight"] != cells["weight"]).float().mean() > 0.5


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("constant_step(dw_min=0)", "positive number"),
        ("constant_step(dw_min=2)", "widen w_max and w_min"),
        ("constant_step(dw_min_std=-0.1)", "0 switches it off"),
        ("constant_step(w_dtod=1)", "did you mean 'w_m"),
        ("constant_step(w_min=0.1)", "bounds must include zero"),
        ("constant_step(w_max=-0.1)", "bounds must include zero"),
        ("constant_step(up_down=1.5)", "0 is symmetric"),
        ("constant_step(corrupt_prob=1.5)", "0 to 1"),
        ("constant_step(lifetime=0.5)", "0 switches decay off"),
        ("constant_step(scale=0)", "a positive number or None"),
        ("linear_step(gamma_up=-1)", "0 is a constant step"),
        ("linear_step(w_min=0)", "a negative number"),
        ("soft_bounds_pmax(alpha=-1)", "alpha > 0"),
        ("soft_bounds_reference(reference_std=-1)", "0 or more"),
        ("exp_step(gamma_up=0)", "use constant_step"),
        ("exp_step(a=0)", "use constant_step"),
        ("pow_step(pow_gamma=-1)", "0 or more"),
        ("piecewise_step(nodes_up=[1])", "two or more"),
        ("reram_es(dw_min=5)", "reram_es"),
        ("one_sided(device=digital)", "a pulsed device"),
        ("one_sided(refresh_lower=0.9)", "change the thresholds"),
        ("nonlinear_update(nl_up=20)", "0.01 to 9"),
        ("nonlinear_update(levels=1)", "at least 2"),
        ("stuck(low=2)", "a probability"),
        ("wear(endurance=0)", "1e999"),
    ],
)
def test_wrong_constants_are_refused(spec, message):
    with pytest.raises(NeurofaError, match=message):
        build("device", spec)


def test_a_nested_device_must_be_one():
    with pytest.raises(NeurofaError, match="expected a Device or its spec"):
        find("device", "wear")(device=3)


def test_a_full_pair_is_refreshed():
    pair, gen = (
        build("device", "one_sided(device=constant_step(scale=1, w_max=1, dw_min=0.01, w_max_dtod=0))"),
        generator(),
    )
    cells = pair.program(torch.zeros(500), gen)
    for _ in range(60):
        cells = pair.write(pair.write(cells, torch.full((500,), 0.05), gen), torch.full((500,), -0.02), gen)
    low, high = (f(cells["plus_weight"], cells["minus_weight"]) for f in (torch.minimum, torch.maximum))
    assert not ((high > 0.75) & (low > 0.25)).any()
    assert (cells["plus_weight"] > cells["minus_weight"]).float().mean() > 0.95
    off = replace(pair, refresh_upper=1.0, refresh_lower=1.0)
    cells = off.program(torch.zeros(500), gen)
    for _ in range(60):
        cells = off.write(off.write(cells, torch.full((500,), 0.05), gen), torch.full((500,), -0.02), gen)
    low, high = (f(cells["plus_weight"], cells["minus_weight"]) for f in (torch.minimum, torch.maximum))
    assert ((high > 0.75) & (low > 0.25)).float().mean() > 0.9


@pytest.mark.parametrize(
    ("nl", "a"),
    [
        (0.5, 2.5199),
        (1, 1.2517),
        (1.46, 0.8487),
        (1.75, 0.7021),
        (2, 0.6090),
        (2.4, 0.4992),
        (3, 0.3868),
        (4.88, 0.2003),
    ],
)
def test_curvatures_are_those_of_the_published_table(nl, a):
    assert 1 / curvature(nl) == pytest.approx(a, abs=1.5e-4)


def test_a_nonlinear_staircase_has_its_levels_and_its_bend():
    device, gen = replace(build("device", "nonlinear_update(cycle_std=0)"), scale=1.0), generator()
    cells = device.program(torch.full((1,), -1.0), gen)
    path = [device.pulse(cells, torch.full((1,), float(p)), gen)["weight"].item() for p in range(33)]
    assert path[-1] == pytest.approx(1, abs=1e-5)
    bend = max(v - (2 * p / 32 - 1) for p, v in enumerate(path)) / 2
    assert bend == pytest.approx(0.099 * 1.75, rel=0.01)
    noisy = replace(device, cycle_std=0.003)
    wide = noisy.program(torch.zeros(50000), gen)
    moved = noisy.pulse(wide, torch.ones(50000), gen)["weight"]
    assert moved.std().item() == pytest.approx(0.006, rel=0.02)


def test_wear_counts_and_freezes():
    ledger, gen = build("device", "wear(device=digital, endurance=3)"), generator()
    cells = ledger.program(torch.zeros(4), gen)
    change = torch.tensor([1.0, 1.0, 0.0, -1.0])
    for _ in range(5):
        cells = ledger.write(cells, change, gen)
    assert ledger.value(cells).tolist() == [3, 3, 0, -3]
    assert cells["cycles"].tolist() == [3, 3, 0, 3]
    pulsed = build("device", "wear(device=constant_step(scale=1), endurance=1e999)")
    cells = pulsed.program(torch.zeros(1000), gen)
    cells = pulsed.write(cells, torch.full((1000,), -0.02), gen)
    assert cells["cycles"].mean().item() == pytest.approx(20)


def test_stuck_elements_bound_the_weight_on_one_side():
    w = torch.linspace(-1, 1, 40000)
    device, gen = build("device", "stuck(low=0.1, high=0.05)"), generator()
    cells = device.program(w, gen)
    seen = device.value(cells)
    high, sound = 0.05, 0.95 * 0.9
    for side, most in ((1, cells["most"] == 0), (-1, cells["least"] == 0)):
        up = (cells["shift"] * side > 0).double().mean().item()
        for share, p in ((most.double().mean().item(), 1 - sound), (up, high * (1 - high))):
            assert abs(share - p) < 4 * math.sqrt(p * (1 - p) / 40000)
        still = most & (cells["shift"] == 0)
        assert (seen[still] * side <= 0).all()
    whole = (cells["most"] > 0) & (cells["least"] < 0)
    assert torch.equal(seen[whole], w[whole])
    one = (cells["shift"] == 1) & (cells["least"] < 0)
    assert torch.allclose(seen[one], 1 - w[one].neg().clamp(min=0))
    # the same elements are written anew: their faults stay
    again = device.reprogram(cells, w.flip(0), gen)
    assert all(torch.equal(again[key], cells[key]) for key in ("most", "least", "shift"))
    assert torch.equal(device.value(again)[whole], w.flip(0)[whole])
    clean = build("device", "stuck(low=0, high=0)")
    assert torch.equal(clean.value(clean.program(w, gen)), w)


def test_every_pulsed_device_says_where_it_comes_from():
    for spec in SPECS:
        device = build("device", spec)
        assert isinstance(device, Pulsed)
        assert device.source
        assert bool(device.fitted_from) == bool(device.verified) == bool(device.tier)


@pytest.mark.parametrize(
    ("spec", "sign", "errors"),
    [
        # at n pulses: largest error of the mean and of the spread that the docstring states
        ("reram_es", 1, {3: (0.05, 0.1), 30: (0.05, 0.1), 100: (0.05, 0.1)}),
        ("reram_es", -1, {3: (0.05, 0.1), 30: (0.05, 0.1), 100: (0.05, 0.1)}),
        ("reram_sb", -1, {3: (0.02, 0.02), 30: (0.02, 0.02), 100: (0.02, 0.02)}),
        ("ecram_mo", 1, {30: (0.02, 0.02), 100: (0.02, 0.02)}),
        ("pcm_gst", 1, {3: (0.1, 0.15), 10: (0.1, 0.15), 100: (0.25, 0.45)}),
    ],
)
def test_pulses_at_once_are_off_against_single_ones_by_what_is_stated(spec, sign, errors):
    device, gen = build("device", spec), generator()
    device = replace(device.inner if spec == "pcm_gst" else device, scale=1.0, write_noise_std=0.0)
    start = single = device.program(torch.zeros(20000), gen)
    one = torch.full((20000,), float(sign))
    sent = 0
    for n, (mean, spread) in errors.items():
        for _ in range(n - sent):
            single = device.pulse(single, one, gen)
        sent = n
        together = device.pulse(start, one * n, gen)
        moved, wanted = (cells["weight"] - start["weight"] for cells in (together, single))
        noise = 4 * (wanted.std() / wanted.mean()).abs().item() / math.sqrt(20000 / 2)
        assert abs(moved.mean().item() / wanted.mean().item() - 1) < mean + noise
        assert abs(moved.std().item() / wanted.std().item() - 1) < spread + 0.02


def test_a_request_is_divided_by_the_step_of_the_source():
    # written out again: the step down at 0 of exp_step, the step in the middle of pow_step, the middle node up
    exp = 0.00135 * (1 - 0.259359) * (1 + 0.081404 * math.exp(5 * 0.5))
    steps = {
        "reram_es(scale=1)": exp,
        "pow_step(dw_min=0.01, pow_gamma=2, scale=1)": 0.0025,
        "piecewise_step(dw_min=0.01, nodes_up=[1, 3, 2], nodes_down=[1, 1, 1], scale=1)": 0.03,
        "pcm_gst": 0.01 * (1 + 2.235) * build("device", "pcm_gst").inner.headroom,
        "soft_bounds(dw_min=0.01, scale=1)": 0.01,
    }
    for spec, step in steps.items():
        device = build("device", spec)
        cells = device.program(torch.zeros(4, 1), generator())
        assert device.granularity(cells).item() == pytest.approx(step, rel=1e-5), spec
    assert exp == pytest.approx(1.475 * 0.00135, rel=1e-3)
