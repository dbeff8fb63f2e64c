"""Updates as pulses: exact trains against their closed-form moments and against expected counts."""

from __future__ import annotations

import math

import pytest
import torch

from hwmodels import NeurofaError, build
from hwmodels.device_models.coincidences import count_ones, pack_bits, step_at_coincidences
from hwmodels.device_models.pulses import PulseTrain, play_pulse_trains

CONSTANT = "constant_step(dw_min=0.001, dw_min_dtod=0, up_down_dtod=0, w_max_dtod=0, w_min_dtod=0, scale=1{})"
X = torch.tensor([[1.0, -0.6, 0.25, 0.05]])
D = torch.tensor([[0.8, -0.3, 0.02]])
REPEATS = 600


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def device(more=""):
    return build("device", CONSTANT.format(more))


def scores(moved, lr, s):
    """z of mean and of variance of replicated moves against the train's law, dw = 0.001."""
    k = lr * D.t() @ X / 0.001
    slots = math.ceil(k.abs().max().item())
    mean = k * 0.001
    variance = 1e-6 * (k.abs() * (1 - k.abs() / slots) + k.abs() * s**2)
    n = moved.shape[0]
    second = (moved - mean).square()
    common = k.abs() * n > 20  # rarer coincidences have no Gaussian mean yet
    z_mean = (moved.mean(0) - mean) / (variance / n).sqrt()
    z_variance = (second.mean(0) - variance) / (second.std(0) / math.sqrt(n))
    return z_mean[common].abs().max().item(), z_variance[common].abs().max().item()


@pytest.mark.sample(1)
@pytest.mark.parametrize("lr", [0.0005, 0.004, 0.03])
def test_trains_have_the_mean_of_the_outer_product_and_its_variance(lr):
    analog, gen = device(), generator()
    start = analog.program(torch.zeros(3, 4), gen)
    moved = torch.stack([play_pulse_trains(analog, start, X, D, lr=lr, gen=gen)["weight"] for _ in range(REPEATS)])
    assert max(scores(moved, lr, s=0.3)) < 4
    assert max(scores(moved * 1.4, lr, s=0.3)) > 4


@pytest.mark.parametrize("lr", [0.0005, 0.004, 0.03])
def test_expected_counts_agree_with_the_trains_in_mean_and_variance(lr):
    analog, gen = device(), generator()
    cells = analog.program(torch.zeros(40 * REPEATS, 3, 4), gen)
    moved = analog.write(cells, (lr * D.t() @ X).expand(40 * REPEATS, 3, 4), gen)["weight"]
    assert max(scores(moved, lr, s=0.3)) < 4
    assert max(scores(moved * 1.02, lr, s=0.3)) > 4


def test_a_batch_adds_up():
    analog, gen = device(", dw_min_std=0"), generator()
    x, d = torch.randn(200, 5, generator=gen), torch.randn(200, 4, generator=gen)
    cells = analog.program(torch.zeros(4, 5), gen)
    moved = torch.stack([play_pulse_trains(analog, cells, x, d, lr=1e-4, gen=gen)["weight"] for _ in range(10)]).mean(0)
    wanted = 1e-4 * d.t() @ x
    # every sample's count has at most the variance of a Poisson count
    error = (1e-3 * 1e-4 * d.abs().t() @ x.abs() / 10).sqrt()
    assert ((moved - wanted).abs() / error).max() < 4


def test_a_train_is_cut_at_its_slots_and_a_written_change_is_not():
    analog, gen = device(", dw_min_std=0"), generator()
    cells = analog.program(torch.zeros(1, 1), gen)
    one = torch.ones(1, 1)
    trained = play_pulse_trains(analog, cells, one, one, lr=0.1, gen=gen)["weight"].item()
    written = analog.write(cells, one * 0.1, gen)["weight"].item()
    assert trained == pytest.approx(0.031)
    assert written == pytest.approx(0.1, abs=0.0011)


def test_cancelling_samples_cost_pulses_only_when_played():
    analog, gen = device(), generator()
    cells = analog.program(torch.zeros(20, 20), gen)
    x, d = torch.ones(2, 20), torch.stack([torch.ones(20), -torch.ones(20)])
    assert play_pulse_trains(analog, cells, x, d, lr=0.01, gen=gen)["weight"].std() > 0.0005
    assert torch.equal(analog.write(cells, 0.01 * d.t() @ x, gen)["weight"], cells["weight"])


@pytest.mark.sample(1)
@pytest.mark.parametrize("train", [PulseTrain(fit_length=False), PulseTrain(balance=False), PulseTrain(slots=7)])
def test_every_management_keeps_the_mean(train):
    analog, gen = device(", dw_min_std=0"), generator()
    start = analog.program(torch.zeros(3, 4), gen)
    lr = 0.002  # with balance=False, a = b = sqrt(lr/(dw S)) must stay below 1
    moved = torch.stack(
        [play_pulse_trains(analog, start, X, D, lr=lr, gen=gen, train=train)["weight"] for _ in range(1500)]
    )
    wanted = lr * D.t() @ X
    z = (moved.mean(0) - wanted) / (moved.std(0) / math.sqrt(1500)).clamp(min=1e-6)
    assert z.abs().max() < 4


def test_balanced_trains_cut_the_direction_not_the_input():
    p_x, p_d, used = PulseTrain().probabilities(
        torch.tensor([[1.0, 0.5]]), torch.tensor([[1.0, 0.1]]), torch.tensor(62)
    )
    assert used.item() == 31
    assert p_x[0].tolist() == pytest.approx([1.0, 0.5])
    assert p_d[0].tolist() == pytest.approx([1.0, 0.2])


@pytest.mark.parametrize("spec", ["one_sided(device=constant_step)", "pcm_gst", "nonlinear_update", "reram_array_om"])
def test_every_pulse_driven_device_takes_trains(spec):
    analog, gen = build("device", spec), generator()
    cells = analog.program(torch.zeros(60, 50), gen)
    before = analog.value(cells)
    lr = 4 * analog.granularity(cells).item()
    for sign in (1, -1):
        after = play_pulse_trains(analog, cells, torch.ones(1, 50), torch.full((1, 60), sign * 1.0), lr=lr, gen=gen)
        assert (analog.value(after) - before).mean() * sign > 0
        assert after.keys() == cells.keys()


def test_nothing_moves_without_input_or_direction():
    analog, gen = device(), generator()
    cells = analog.program(torch.randn(3, 4, generator=gen) * 0.1, gen)
    for x, d in ((X * 0, D), (X, D * 0), (X[:0], D[:0])):
        assert torch.equal(play_pulse_trains(analog, cells, x, d, lr=0.1, gen=gen)["weight"], cells["weight"])


def test_counted_pulses_are_exact():
    analog, gen = device(", dw_min_std=0"), generator()
    cells = analog.program(torch.zeros(3), gen)
    moved = analog.pulse(cells, torch.tensor([5.0, -2.0, 0.0]), gen)["weight"]
    assert moved.tolist() == pytest.approx([0.005, -0.002, 0.0])


def test_wrong_calls_are_refused():
    analog, gen = device(), generator()
    cells = analog.program(torch.zeros(3, 4), gen)
    with pytest.raises(NeurofaError, match="turn the sign of d"):
        play_pulse_trains(analog, cells, X, D, lr=-1.0, gen=gen)
    with pytest.raises(NeurofaError, match="flatten other axes"):
        play_pulse_trains(analog, cells, X, D[0], lr=1.0, gen=gen)
    with pytest.raises(NeurofaError, match="31 is the default"):
        PulseTrain(slots=0)
    with pytest.raises(NeurofaError, match="pass gen"):
        analog.write(cells, cells["weight"])


SLOPED = "soft_bounds(dw_min=0.05, dw_min_std={}, scale=1)"


def slot_by_slot(analog, cells, rows, columns, gen):
    """Slow oracle of ``step_at_coincidences``: the whole matrix of devices, one slot after the other."""
    for row, column in zip(rows, columns, strict=True):
        pulses = torch.outer(row, column)
        stepped = analog.advance(cells, torch.ones_like(pulses), pulses.clamp(min=0), gen)
        cells = {key: torch.where(pulses != 0, stepped[key], c) if c.dim() else c for key, c in cells.items()}
    return cells


def lines(slots, n, gen, share=0.5):
    """Random pulses of both signs, (slots, n)."""
    return (torch.rand(slots, n, generator=gen) < share) * torch.randn(slots, n, generator=gen).sign()


def replayed(analog, cells, rows, columns, gen):
    flat = {key: c.reshape(-1).clone() if c.dim() else c for key, c in cells.items()}
    step_at_coincidences(analog.advance, flat, rows, columns, gen)
    return {key: c.view(cells[key].shape) for key, c in flat.items()}


@pytest.mark.parametrize(("slots", "share"), [(1, 0.5), (64, 0.5), (64, 0.02), (63, 1.0), (7, 0.0)])
def test_replayed_slots_step_every_device_in_their_order(slots, share):
    analog, gen = build("device", SLOPED.format(0)), generator()
    cells = analog.program(torch.randn(9, 11, generator=gen) * 0.1, gen)
    rows, columns = lines(slots, 9, gen, share), lines(slots, 11, gen, share)
    slow = slot_by_slot(analog, cells, rows, columns, gen)["weight"]
    assert torch.allclose(replayed(analog, cells, rows, columns, gen)["weight"], slow, rtol=1e-5, atol=1e-6)
    if slots > 7 and share > 0.1:  # control: the order of the slots matters to a device whose steps depend on its state
        turned = slot_by_slot(analog, cells, rows.flip(0), columns.flip(0), gen)["weight"]
        assert not torch.allclose(turned, slow, rtol=1e-3)
    assert (slow != cells["weight"]).any() == (share > 0)


def test_replayed_steps_have_the_noise_of_steps_one_by_one():
    """A device at its bound, where the order of noise and clipping counts, in many copies."""
    gen = generator()
    rows, columns = lines(20, 1, gen, 0.9).expand(20, 100), lines(20, 1, gen, 0.9).expand(20, 200)

    def moments(std):
        analog = build("device", f"constant_step(dw_min=0.2, dw_min_dtod=0, w_max_dtod=0, dw_min_std={std}, scale=1)")
        cells = analog.program(torch.full((100, 200), 0.4), gen)
        return [way(analog, cells, rows, columns, gen)["weight"].double() for way in (slot_by_slot, replayed)]

    def apart(a, b):
        z_mean = (a.mean() - b.mean()) / ((a.var() + b.var()) / a.numel()).sqrt()
        squares = [(v - v.mean()).square() for v in (a, b)]
        z_variance = (squares[0].mean() - squares[1].mean()) / (sum(s.var() for s in squares) / a.numel()).sqrt()
        return max(abs(z_mean.item()), abs(z_variance.item()))

    slow, fast = moments(0.5)
    assert apart(slow, fast) < 4
    assert apart(slow, moments(0.55)[1]) > 4


def test_bits_are_packed_and_counted():
    bits = torch.rand(64, 40, generator=generator()) < 0.5
    bits[:, 0], bits[:, 1] = True, False
    packed = pack_bits(bits)
    assert count_ones(packed).tolist() == bits.sum(0).tolist()
    assert [[w >> t & 1 for t in range(64)] for w in packed.tolist()] == bits.t().int().tolist()
