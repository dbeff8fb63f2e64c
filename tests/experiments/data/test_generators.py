"""Generated sequences: Mackey-Glass against closed forms, evidence accumulation against its rates."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from experiments.data.mackey_glass import BETA, GAMMA, trajectory
from experiments.reports.forecast import closed_loop_forecast, smape
from hwmodels.errors import NeurofaError
from hwmodels.registry import build


def one_line(error: pytest.ExceptionInfo[NeurofaError]) -> bool:
    text = str(error.value)
    return text.startswith("got ") and "; expected " in text and "\n" not in text


# ---------------------------------------------------------------------- Mackey-Glass


def test_until_the_first_delay_the_solution_is_an_exponential():
    start = 1.2
    rest = BETA * start / (1 + start**10) / GAMMA
    t = torch.arange(18, dtype=torch.float64)
    assert torch.allclose(trajectory(18, tau=17), rest + (start - rest) * torch.exp(-GAMMA * t), rtol=0, atol=1e-9)


def test_later_the_solution_is_that_of_a_general_solver_step_by_step():
    """The method of steps: in every interval of one delay the past is known, and scipy solves an ordinary equation."""
    from scipy.integrate import solve_ivp

    tau, found = 17, trajectory(17 * 4 + 1, tau=17).numpy()

    end, wanted, pasts = 1.2, [], [lambda t: 1.2]
    for interval in range(4):
        begin, past = tau * interval, pasts[-1]

        def slope(t, x, past=past):
            d = past(t - tau)
            return BETA * d / (1 + d**10) - GAMMA * x

        solved = solve_ivp(slope, (begin, begin + tau), [end], rtol=1e-10, atol=1e-12, dense_output=True, max_step=0.5)
        wanted += [float(solved.sol(begin + k)[0]) for k in range(tau)]
        end = float(solved.y[0, -1])
        pasts.append(lambda t, solved=solved: float(solved.sol(t)[0]))

    assert np.abs(found[:-1] - wanted).max() < 1e-6


def test_the_error_falls_with_the_fourth_power_of_the_step():
    exact = trajectory(120, tau=17, substeps=64)
    coarse, fine = ((trajectory(120, tau=17, substeps=n) - exact).abs().max() for n in (2, 4))
    assert 10 < coarse / fine < 22


def test_short_delays_come_to_rest_and_long_ones_do_not():
    # x = beta x / (1 + x^10) / gamma has the fixed point 1
    assert (trajectory(1500, tau=3)[-50:] - 1).abs().max() < 1e-3
    late = trajectory(1500, tau=17)[-500:]
    assert 0.3 < late.min() < 0.6
    assert 1.1 < late.max() < 1.5


def test_at_the_default_delay_nearby_starts_part():
    one, other = trajectory(3000, tau=17), trajectory(3000, tau=17, start=1.2 + 1e-6)
    apart = (one - other).abs()
    assert apart[:100].max() < 1e-4
    assert apart[-500:].max() > 1e-2


SMALL = "mackey_glass(train=400, validation=150, test=150, ticks=100"


def test_the_target_is_the_value_that_follows():
    data = build("data", f"{SMALL}, ahead=3, stride=50)")
    assert [len(split) for split in data.splits().values()] == [6, 1, 1]
    assert (data.regression, data.classes, data.input_shape, data.teach) == (True, 1, (1,), (50, 100))
    xs, y = next(data.batches("train", 4))
    assert xs.shape == y.shape == (100, 4, 1)
    assert xs.dtype == y.dtype == torch.float32
    assert torch.equal(y[:-3], xs[3:])
    assert torch.equal(xs[50:, 0], xs[:-50, 1])


def test_pieces_follow_each_other_and_are_standardised_by_the_first():
    data = build("data", f"{SMALL})")
    whole = trajectory(1700, tau=17)[1000:]
    mean, std = float(data.provenance["mean"]), float(data.provenance["std"])
    assert mean == pytest.approx(float(whole[:400].mean()))
    joined = torch.cat([split.series for split in data.splits().values()])
    assert torch.allclose(joined.double() * std + mean, whole, atol=1e-6)
    raw = build("data", f"{SMALL}, standardise=False)")
    assert torch.equal(raw.test.series, whole[550:].float())


@pytest.mark.parametrize(
    "bad",
    ["tau=0", "tau=2", "ticks=0", "washout=200", "stride=0", "ahead=0", "train=200", "test=10", "validation=200"],
)
def test_impossible_series_are_refused(bad):
    with pytest.raises(NeurofaError, match=rf"got mackey_glass\({bad}\)") as error:
        build("data", f"mackey_glass({bad})")
    assert one_line(error)


def test_the_percentage_error_by_hand():
    forecast, truth = torch.tensor([1.0, -1.0, 0.0, 3.0]), torch.tensor([1.0, 1.0, 0.0, 1.0])
    assert smape(forecast, truth) == pytest.approx(200 * (0 + 1 + 0 + 0.5) / 4)
    assert smape(truth, forecast) == pytest.approx(smape(forecast, truth))
    for other in (truth[:3], truth[:0]):
        with pytest.raises(NeurofaError, match="got a forecast of shape") as error:
            smape(forecast[:0], other)
        assert one_line(error)


def test_autonomous_forecasts_feed_answers_back():
    heard = []

    def step(x):
        heard.append(x.item())
        return 2 * x

    known = torch.tensor([5.0, 1.0]).view(2, 1, 1)
    assert closed_loop_forecast(step, known, 3).flatten().tolist() == [2, 4, 8]
    assert heard == [5, 1, 2, 4]
    with pytest.raises(NeurofaError, match="got 0 known values"):
        closed_loop_forecast(step, known[:0], 3)


def test_a_linear_model_of_the_delayed_past_forecasts_better_than_standing_still():
    data = build("data", "mackey_glass(train=2000, validation=300, test=600, standardise=False)")
    series, test = data.train.series.double(), data.test.series.double()
    past = series.unfold(0, 18, 1)[:-1]
    weights = torch.linalg.lstsq(past, series[18:, None]).solution
    answer = (test.unfold(0, 18, 1)[:-1] @ weights).flatten()
    assert smape(answer, test[18:]) < 0.3 * smape(test[17:-1], test[18:])


# ---------------------------------------------------------------------- evidence accumulation


def test_the_published_task_lasts_2250_ms_on_forty_channels():
    data = build("data", "evidence")
    assert (data.ticks, data.tick, data.input_shape, data.classes) == (2250, 1e-3, (40,), 2)
    assert data.teach == (2100, 2250)
    assert data.train.nbytes == 0


def test_every_period_drives_its_own_channels():
    split = build("data", "evidence(cues=3, cue=20, pause=10, delay=30, recall=15, group=2)").train
    p = split.chances(torch.tensor([[True, False, True]])).view(split.ticks, 4, 2)
    assert torch.equal(p[..., 0], p[..., 1])
    left, right, recall, background = p[..., 0].unbind(1)
    on = [list(range(10 + 30 * k, 30 + 30 * k)) for k in range(3)]
    assert right.nonzero().flatten().tolist() == on[0] + on[2]
    assert left.nonzero().flatten().tolist() == on[1]
    assert recall.nonzero().flatten().tolist() == list(range(120, 135))
    assert background.tolist() == pytest.approx([0.01] * 135)
    assert {round(float(v), 6) for v in (left.max(), right.max(), recall.max())} == {0.04}


def test_labels_are_the_side_with_more_cues_and_balanced():
    # at 1000 spikes in a second the cues can be read off the spikes
    data = build("data", "evidence(cues=5, cue=2, pause=1, delay=3, recall=2, rate=1000, samples=2000, held=10)")
    (xs, y), *more = data.batches("train", 2000, torch.Generator().manual_seed(0))
    assert not more
    spikes = xs.view(data.ticks, 2000, 4, 10)
    right = (spikes[:, :, 1, 0].sum(0) / 2).long()
    assert torch.equal(spikes[:, :, 0, 0].sum(0) / 2 + right, torch.full((2000,), 5.0))
    assert torch.equal(y, (right >= 3).long())
    assert y.float().mean() == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(2000))
    # a fair mixture of binomial(5, 0.3) and binomial(5, 0.7)
    wanted = [sum(math.comb(5, k) * p**k * (1 - p) ** (5 - k) for p in (0.3, 0.7)) / 2 for k in range(6)]
    found = right.bincount(minlength=6) / 2000
    assert torch.allclose(found.double(), torch.tensor(wanted).double(), atol=5 * 0.5 / math.sqrt(2000))


def test_rates_are_as_asked_for():
    data = build("data", "evidence(samples=60)")
    xs, _ = next(data.batches("train", 60, torch.Generator().manual_seed(1)))
    spikes = xs.view(2250, 60, 4, 10)
    background, recall = spikes[:, :, 3].mean() * 1000, spikes[2100:, :, 2].mean() * 1000
    assert float(background) == pytest.approx(10, abs=5 * math.sqrt(10 / 1350))
    assert float(recall) == pytest.approx(40, abs=5 * math.sqrt(40 / 90))
    assert spikes[1050:2100, :, :3].sum() == 0


def test_training_is_endless_and_held_out_samples_are_fixed():
    data = build("data", "evidence(cues=3, cue=20, pause=10, delay=30, recall=20, samples=20, held=12)")

    def all_of(where, size, gen=None):
        xs, y = zip(*data.batches(where, size, gen), strict=True)
        return torch.cat(xs, 1), torch.cat(y)

    gen = torch.Generator().manual_seed(0)
    first, second = all_of("train", 8, gen), all_of("train", 8, gen)
    assert first[0].shape == (140, 20, 40)
    assert not torch.equal(first[0], second[0])
    assert torch.equal(first[0], all_of("train", 8, torch.Generator().manual_seed(0))[0])
    for one, other in zip(all_of("test", 5), all_of("test", 12), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(all_of("test", 12)[0], all_of("validation", 12)[0])
    assert data.to("cpu").test.cut(torch.tensor([3]), None)[0].equal(all_of("test", 12)[0][:, 3:4])


@pytest.mark.parametrize(
    "bad",
    [
        "cues=6",
        "cues=-1",
        "cue=0",
        "pause=-1",
        "delay=-1",
        "recall=0",
        "group=0",
        "rate=1001",
        "background=-1",
        "bias=0.6",
        "samples=0",
        "held=0",
    ],
)
def test_impossible_tasks_are_refused(bad):
    with pytest.raises(NeurofaError, match=rf"got evidence\({bad}\)") as error:
        build("data", f"evidence({bad})")
    assert one_line(error)
