"""Encoders against snntorch's spikegen, and against their own definitions where it is absent."""

from __future__ import annotations

import math

import pytest
import torch

from experiments.data.encoders import Encoder
from hwmodels.errors import NeurofaError
from hwmodels.registry import build, parts

X = torch.rand(6, 3, 5, generator=torch.Generator().manual_seed(0))
X[0, 0] = torch.tensor([0.0, 1.0, 0.005, 0.01, 0.02])


@pytest.fixture(scope="module")
def spikegen():
    return pytest.importorskip("snntorch.spikegen", reason="snntorch is not installed: its encoders are the oracle")


def encode(spec: str, x: torch.Tensor = X, ticks: int = 20, seed: int = 0) -> torch.Tensor:
    code: Encoder = build("encoder", spec)
    xs = x if code.takes == {"moving"} else x.expand(ticks, *x.shape)
    return code.encode(xs, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("spec", "same"),
    [
        ("rate", {}),
        ("rate(gain=0.5, offset=0.25)", {"gain": 0.5, "offset": 0.25}),
        ("rate(gain=3, clip=True)", {"gain": 3}),
        ("rate(first=4)", {"first_spike_time": 4}),
    ],
)
def test_rate_draws_what_snntorch_draws_from_the_same_generator(spikegen, spec, same):
    with torch.random.fork_rng():
        torch.manual_seed(7)
        wanted = spikegen.rate(X, num_steps=20, **same)
    assert torch.equal(encode(spec, seed=7), wanted)


def test_rate_of_moving_values_is_snntorchs(spikegen):
    moving = torch.rand(20, 4, 3, generator=torch.Generator().manual_seed(1))
    with torch.random.fork_rng():
        torch.manual_seed(7)
        wanted = spikegen.rate(moving, time_var_input=True)
    assert torch.equal(build("encoder", "rate").encode(moving, torch.Generator().manual_seed(7)), wanted)


@pytest.mark.parametrize("ticks", [5, 20, 60])
@pytest.mark.parametrize(
    ("spec", "same"),
    [
        ("latency(tau=3, clip=False, linear=False, normalize=False)", {"tau": 3}),
        ("latency(tau=3, linear=False, normalize=False)", {"tau": 3, "clip": True}),
        ("latency(tau=3, threshold=0.2, linear=False, normalize=False)", {"tau": 3, "threshold": 0.2, "clip": True}),
        ("latency(linear=False)", {"normalize": True, "clip": True}),
        ("latency(linear=False, first=2)", {"normalize": True, "clip": True, "first_spike_time": 2}),
        ("latency(tau=4, normalize=False)", {"tau": 4, "linear": True, "clip": True}),
        ("latency", {"linear": True, "normalize": True, "clip": True}),
        ("latency(tau=2, first=3, linear=False, normalize=False)", {"tau": 2, "first_spike_time": 3, "clip": True}),
    ],
)
def test_latency_is_snntorchs(spikegen, spec, same, ticks):
    # a value below the threshold stands in X, so that snntorch's batch too has the latest possible time
    wanted = spikegen.latency(X, num_steps=ticks, bypass=True, **same)
    found = encode(spec, ticks=ticks)
    assert found.sum() > 0
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("padding", [False, True])
@pytest.mark.parametrize("off", [False, True])
def test_delta_is_snntorchs(spikegen, padding, off):
    wanted = spikegen.delta(X, threshold=0.15, padding=padding, off_spike=off)
    found = encode(f"delta(threshold=0.15, padding={padding}, off={off})")
    assert found.abs().sum() > 0
    assert torch.equal(found, wanted.float())


def test_rate_spikes_are_bernoulli():
    p = torch.linspace(0, 1, 11)
    spikes = encode("rate", p, ticks=20000)
    assert spikes[:, 0].sum() == 0
    assert spikes[:, -1].mean() == 1
    assert ((spikes.mean(0) - p).abs() <= 5 * (p * (1 - p) / 20000).sqrt()).all()
    half = spikes[:, 5] - 0.5
    assert abs((half[1:] * half[:-1]).mean()) < 5 * 0.25 / math.sqrt(20000)  # ticks are independent


def test_latency_is_one_spike_the_earlier_the_larger():
    x = torch.tensor([1.0, 0.6, 0.3, 0.1, 0.02, 0.001])
    spikes = encode("latency(linear=False)", x, ticks=50)
    assert spikes.sum(0).tolist() == [1, 1, 1, 1, 1, 0]
    times = spikes.argmax(0)[:-1]
    assert (times.diff() >= 0).all()
    tau = 49 / math.log((0.01 + 1e-7) / 1e-7)
    assert times.tolist() == [round(tau * math.log(v / (v - 0.01))) for v in x[:-1].tolist()]


def test_by_default_latency_is_linear_over_all_ticks():
    assert encode("latency", torch.tensor([1.0, 0.75, 0.5, 0.02]), ticks=41).argmax(0).tolist() == [0, 10, 20, 39]


def test_a_late_spike_does_not_happen():
    assert encode("latency(tau=100, linear=False, normalize=False)", torch.tensor([1.0, 0.02]), ticks=10).sum(
        0
    ).tolist() == [1, 0]


def test_one_sample_does_not_depend_on_the_others():
    x = torch.tensor([[0.9, 0.5], [0.4, 0.001]])
    together = encode("latency(linear=False)", x)
    assert torch.equal(together[:, :1], encode("latency(linear=False)", x[:1]))


def test_delta_marks_rises_and_falls():
    x = torch.tensor([0.0, 0.3, 0.35, 0.1])[:, None]
    assert encode("delta(threshold=0.2, off=True)", x).flatten().tolist() == [0, 1, 0, -1]
    assert encode("delta(threshold=0.2)", x + 0.3).flatten().tolist() == [1, 1, 0, 0]
    assert encode("delta(threshold=0.2, padding=True)", x + 0.3).flatten().tolist() == [0, 1, 0, 0]


def test_current_is_the_value_in_every_tick():
    assert torch.equal(encode("current(gain=2)", ticks=3), torch.stack([2 * X] * 3))


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ("rate(gain=2)", "probabilities from 0 to 2"),
        ("rate(offset=-0.1)", "probabilities from -0.1 to 0.9"),
        ("rate(first=-1)", "0 ticks or more"),
        ("latency(tau=0)", "a tau above 0"),
        ("latency(threshold=1)", "between 0 and 1"),
        ("latency(first=-1)", "0 ticks or more"),
        ("delta(threshold=0)", "above 0"),
    ],
)
def test_bad_options_are_refused(spec, what):
    with pytest.raises(NeurofaError, match=what):
        build("encoder", spec)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
@pytest.mark.parametrize("name", list(parts("encoder")))
def test_values_outside_0_to_1_are_refused(name, value):
    x = X.clone()
    x[1, 1, 1] = value
    with pytest.raises(NeurofaError, match=f"for encoder '{name}'; expected 0 to 1"):
        encode(name, x)
    assert torch.isfinite(encode(name)).all()


def test_the_same_generator_gives_the_same_spikes():
    assert torch.equal(encode("rate", seed=4), encode("rate", seed=4))
    assert not torch.equal(encode("rate", seed=4), encode("rate", seed=5))
