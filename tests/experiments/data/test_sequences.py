"""Sequences: splits, batches, ragged events against their slow oracle, fixed and fresh draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from experiments.charts.raster import one_sample, raster_chart
from experiments.data import Sequences
from experiments.data._recordings import EventSplit, Recordings
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.core.events import Events
from neurofa.core.randomness import generator

TICKS, TICK, SHAPE = 12, 0.01, (2, 5)


def one_line(error: pytest.ExceptionInfo[NeurofaError]) -> bool:
    text = str(error.value)
    return text.startswith("got ") and "; expected " in text and "\n" not in text


def raw(n: int = 9, seed: int = 0):
    """Unsorted recordings, one of them empty, some events past the last tick."""
    draw = np.random.default_rng(seed)
    sizes = [0 if i == 3 else int(draw.integers(5, 60)) for i in range(n)]
    return [(draw.uniform(0, 0.15, k), draw.integers(0, 10, k)) for k in sizes]


def split_of(recordings, *, binary: bool = False) -> EventSplit:
    made = Recordings("test", ticks=TICKS, tick=TICK, input_shape=SHAPE, binary=binary)
    for i, (when, which) in enumerate(recordings):
        made.add(when, which, i % 3, f"recording {i}")
    return made.split()


def data_of(**other) -> Sequences:
    split = split_of(raw())
    return Sequences(
        **{
            "name": "test",
            "train": split,
            "validation": split,
            "test": split,
            "classes": 3,
            "input_shape": SHAPE,
            "ticks": TICKS,
            "tick": TICK,
            "provenance": {},
            **other,
        }
    )


@pytest.mark.parametrize("index", [[0], [3], [8, 3, 0, 3], list(range(9))])
def test_a_batch_of_events_equals_binning_in_real_time(index):
    recordings = raw()
    found, y = split_of(recordings).cut(torch.tensor(index))
    times = [torch.from_numpy(recordings[i][0]) for i in index]
    units = [torch.from_numpy(recordings[i][1]) for i in index]
    wanted = Events.from_times(times, units, ticks=TICKS, tick=TICK, channels=10)
    assert found.shape == (TICKS, len(index), 10)
    assert wanted.dense().sum() > 0 or index == [3]
    assert torch.equal(found.dense(), wanted.dense())
    assert y.tolist() == [i % 3 for i in index]


def test_binary_events_count_once_a_tick():
    twice = split_of(raw()).cut(torch.arange(9))[0].dense()
    once = split_of(raw(), binary=True).cut(torch.arange(9))[0].dense()
    assert twice.max() > 1
    assert torch.equal(once, (twice > 0).float())


def test_chosen_recordings_keep_their_events():
    split = split_of(raw())
    few = split.chosen(torch.tensor([7, 3, 2]))
    assert torch.equal(few.cut(torch.arange(3))[0].dense(), split.cut(torch.tensor([7, 3, 2]))[0].dense())
    assert few.y.tolist() == [1, 0, 2]
    assert few.at.dtype == torch.int16


def test_half_precision_times_are_binned_in_double_precision():
    times = np.array([0.0999, 0.5, 0.7], np.float16)
    made = Recordings("test", ticks=800, tick=0.001, input_shape=(1,), binary=False)
    made.add(times, np.zeros(3, np.uint16), 0, "here")
    assert made.split().at.tolist() == np.floor(times.astype(np.float64) / 0.001).astype(int).tolist()


def test_a_time_on_the_border_begins_the_later_tick():
    millis = np.arange(1000)
    made = Recordings("test", ticks=100, tick=0.01, input_shape=(1,), binary=False)
    made.add(millis * 1e-3, np.zeros(1000), 0, "here")
    assert made.split().at.tolist() == (millis // 10).tolist()
    times, units = [torch.from_numpy(millis * 1e-3)], [torch.zeros(1000)]
    assert Events.from_times(times, units, ticks=100, tick=0.01, channels=1).rows.diff().tolist() == [10] * 100


@pytest.mark.parametrize(
    ("times", "units", "what"),
    [
        ([0.1, -0.1], [0, 0], "negative or non-finite time"),
        ([0.1, float("nan")], [0, 0], "negative or non-finite time"),
        ([0.1, 0.2], [0, 10], "channels from 0 to 10"),
        ([0.1, 0.2], [0, -1], "channels from -1 to 0"),
        ([0.1, 0.2], [0], "one channel a time"),
    ],
)
def test_broken_recordings_name_their_file(times, units, what):
    made = Recordings("test", ticks=5, tick=0.1, input_shape=SHAPE, binary=False)
    with pytest.raises(NeurofaError, match=rf"{what}.*") as error:
        made.add(times, units, 0, "here.bin")
    assert one_line(error)
    assert "here.bin" in str(error.value)


def test_batches_hold_every_sample_once_in_the_generators_order():
    data = data_of()
    stored = data.train.cut(torch.arange(9))[0].dense()

    def epoch(gen):
        pieces = list(data.batches("train", 4, gen))
        assert [len(y) for _, y in pieces] == [4, 4, 1]
        return torch.cat([xs.dense() for xs, _ in pieces], 1), torch.cat([y for _, y in pieces])

    assert torch.equal(epoch(None)[0], stored)
    shuffled, y = epoch(torch.Generator().manual_seed(5))
    order = torch.randperm(9, generator=torch.Generator().manual_seed(5))
    assert torch.equal(shuffled, stored[:, order])
    assert torch.equal(y, (torch.arange(9) % 3)[order])


def test_an_empty_split_gives_no_batch():
    empty = Recordings("test", ticks=TICKS, tick=TICK, input_shape=SHAPE, binary=False).split()
    assert list(data_of(validation=empty).batches("validation", 4)) == []


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"ticks": 0}, "0 ticks"),
        ({"tick": 0.0}, "of 0.0 s"),
        ({"ticks": 13}, "of 12 ticks"),
        ({"input_shape": (10,)}, r"expected 12 of \(10,\)"),
        ({"classes": 2}, "labels from 0 to 2"),
        ({"teach": (3, 13)}, r"taught in ticks \(3, 13\)"),
        ({"teach": (4, 4)}, r"taught in ticks \(4, 4\)"),
    ],
)
def test_what_does_not_fit_together_is_refused(other, what):
    with pytest.raises(NeurofaError, match=what) as error:
        data_of(**other)
    assert one_line(error)


def test_unknown_splits_and_empty_batches_are_refused():
    with pytest.raises(NeurofaError, match="got split 'valid'"):
        data_of().batches("valid", 4)
    with pytest.raises(NeurofaError, match="got batch size 0"):
        data_of().batches("train", 0)


# ---------------------------------------------------------------------- encoded static data


def spikes_of(data, where, size, gen=None):
    return torch.cat([xs for xs, _ in data.batches(where, size, gen)], 1)


def test_the_embedded_digits_are_encoded_without_any_file():
    data = build("data", "encoded")
    assert (data.ticks, data.input_shape, data.classes, data.regression) == (25, (1, 8, 8), 10, False)
    assert [len(split) for split in data.splits().values()] == [1257, 180, 360]
    xs, y = next(data.batches("test", 32))
    assert xs.shape == (25, 32, 1, 8, 8)
    assert xs.dtype == torch.float32
    assert set(xs.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(y, build("data", "digits").test.y[:32])


def test_rates_are_the_grey_levels():
    data = build("data", "encoded(data='digits(subset=20)', ticks=400)")
    grey = build("data", "digits(subset=20)").train.x
    grey = (grey - grey.min()) / (grey.max() - grey.min())  # 0 to 16 in the file
    assert (grey * 16 - (grey * 16).round()).abs().max() < 1e-4
    rate = spikes_of(data, "train", 20).mean(0)
    assert rate[grey == 0].max() == 0
    assert rate[grey == 1].min() == 1
    middle = grey * (1 - grey) > 0
    off = ((rate - grey) / (grey * (1 - grey) / 400).sqrt())[middle]
    assert off.abs().max() < 5
    assert off.std() == pytest.approx(1, abs=0.1)


def test_held_out_spikes_are_fixed_and_training_spikes_are_fresh():
    data = build("data", "encoded(data='digits(subset=30)')")
    assert torch.equal(spikes_of(data, "validation", 7), spikes_of(data, "validation", 64))
    assert not torch.equal(spikes_of(data, "validation", 64)[:, :30], spikes_of(data, "train", 64)[:, :30])
    gen = torch.Generator().manual_seed(3)
    first, second = spikes_of(data, "train", 10, gen), spikes_of(data, "train", 10, gen)
    assert not torch.equal(first, second)
    assert torch.equal(first, spikes_of(data, "train", 10, torch.Generator().manual_seed(3)))
    other = build("data", "encoded(data='digits(subset=30)', seed=1)")
    assert not torch.equal(spikes_of(data, "test", 64), spikes_of(other, "test", 64))
    one = data.test.cut(torch.tensor([11]), None)[0]
    assert torch.equal(one, data.test.draw(torch.tensor([11]), generator(0, "test", "11"))[0])


def test_scanning_shows_one_column_after_the_other():
    data = build("data", "encoded(encoder=current, scan=True, ticks=16)")
    assert data.input_shape == (1, 8)
    whole = build("data", "encoded(encoder=current, ticks=1)")
    xs, still = spikes_of(data, "test", 100), spikes_of(whole, "test", 100)[0]
    for tick in range(16):
        assert torch.equal(xs[tick], still[..., tick // 2])


def test_colours_are_rescaled_each_by_their_own_range():
    from experiments.data.encoded import value_range

    x = torch.rand(20, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 5, 9])[:, None, None]
    low, span = value_range(x)
    assert torch.allclose(((x - low) / span).amax((0, 2, 3)), torch.ones(3))
    low, span = value_range(torch.full((4, 3), 2.0))
    assert (low.item(), span.item()) == (2, 1)


def test_numbers_as_targets_hold_in_every_tick():
    data = build("data", "encoded(data='teacher(task=regression, samples=20, validation=5, test=6)', ticks=4)")
    assert data.regression
    xs, y = next(data.batches("test", 5))
    assert y.shape == (4, 5, 10)
    assert torch.equal(y, data.test.inputs.y[:5].expand(4, 5, 10))
    assert xs.shape == (4, 5, 100)


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ("encoded(data=encoded)", "got data 'encoded', which are sequences"),
        ("noisy_labels(data=encoded)", "got data 'encoded', which are sequences"),
        ("encoded(encoder=delta)", "use scan=True"),
        ("encoded(encoder=latency, scan=True, ticks=24)", "use scan=False"),
        ("encoded(scan=True, ticks=25)", "use ticks=24"),
        ("encoded(ticks=0)", "1 or more"),
        ("encoded(tick=0)", "of a time above 0"),
        ("encoded(encoder='rate(first=25)')", "at most 24"),
    ],
)
def test_what_cannot_be_encoded_is_refused(spec, what):
    with pytest.raises(NeurofaError, match=what) as error:
        next(build("data", spec).batches("test", 2))
    assert one_line(error)


def test_a_copy_elsewhere_is_the_same_data():
    data = data_of()
    moved = data.to("cpu")
    assert moved.compute == torch.device("cpu")
    assert torch.equal(moved.train.cut(torch.arange(9))[0].dense(), data.train.cut(torch.arange(9))[0].dense())
    assert replace(data, name="other").name == "other"


# ---------------------------------------------------------------------- pictures


def test_one_sample_is_taken_out_of_a_batch():
    events = split_of(raw()).cut(torch.arange(9))[0]
    for sample in (0, 3, 8):
        assert torch.equal(one_sample(events, sample), events.dense()[:, sample])
    with pytest.raises(NeurofaError, match="got sample 9 of 9"):
        one_sample(events, 9)
    assert one_sample(torch.ones(4, 2, 3)).shape == (4, 6)
    with pytest.raises(NeurofaError, match="expected some ticks and channels"):
        one_sample(torch.ones(4, 0))


@pytest.mark.parametrize(
    "spikes",
    [
        split_of(raw()).cut(torch.arange(2))[0],
        torch.randint(-1, 2, (20, 4, 3), generator=torch.Generator().manual_seed(0)).float(),
        torch.zeros(5, 3),
        torch.rand(20, 6, generator=torch.Generator().manual_seed(0)),
        torch.rand(20, 1, generator=torch.Generator().manual_seed(0)),
    ],
)
def test_every_kind_of_sample_is_drawn(tmp_path, spikes):
    raster_chart(tmp_path / "a.png", spikes, tick=0.01, title="a sample", teach=(2, 4))
    from matplotlib.image import imread

    picture = imread(tmp_path / "a.png")[..., :3]
    assert picture.shape[0] > 400
    assert picture.min() < 0.2
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
