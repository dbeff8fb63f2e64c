"""Events outside the ticks: a wrong unit, an offset in time, rows filled up with zeros, and what is left alone."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from experiments.data._recordings import Recordings
from hwmodels.errors import NeurofaError


def collected(scale: float = 1.0, offset: float = 0.0, *, ticks: int = 100, end: float = 1.1) -> Recordings:
    """Six recordings of 1.1 s or so, of which times are stored in other units or from a later zero."""
    draw = np.random.default_rng(0)
    recordings = Recordings("mine", ticks=ticks, tick=0.01, input_shape=(20,), binary=False)
    for label in range(6):
        times = np.sort(draw.uniform(0.002, end, 200))
        recordings.add((times + offset) * scale, draw.integers(0, 20, 200), label, f"file {label}")
    return recordings


@pytest.mark.parametrize(("scale", "unit"), [(1e3, "ms"), (1e6, "us"), (1e9, "ns")])
def test_another_unit_is_refused_with_the_one_that_fits(scale: float, unit: str) -> None:
    with pytest.raises(NeurofaError, match=rf"as {unit} 9\d\.\d% would fit, so divide the times by {scale:,.0f}"):
        collected(scale).split()


def test_absolute_times_are_refused() -> None:
    with pytest.raises(NeurofaError, match=r"0 of 1,200 events.*subtract where each recording begins"):
        collected(offset=1.6e9).split()


def test_an_offset_is_warned_of() -> None:
    with pytest.warns(UserWarning, match=r"no event before 0\.3\d* s in any of 6 recordings, so that 3\d of 100 ticks"):
        collected(offset=0.3).split()


def test_few_kept_events_are_warned_of_with_the_figure() -> None:
    with pytest.warns(UserWarning, match=r"keeps \d+ of 1,200 events \(1\d\.\d%\) within 20 ticks.*raise ticks"):
        collected(ticks=20).split()


def test_a_late_end_is_what_ticks_are_for() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recordings = collected()
        assert len(recordings.split()) == 6
    assert recordings.kept.endswith("%) within 100 ticks of 0.01 s")


@pytest.mark.parametrize("pads", [2, 70])
def test_rows_filled_up_with_zeros_are_refused(pads: int) -> None:
    recordings = Recordings("mine", ticks=100, tick=0.01, input_shape=(20,), binary=True)
    times, units = np.linspace(0.01, 0.9, 30), np.arange(30) % 20
    with pytest.raises(NeurofaError, match=rf"got {pads} of {30 + pads} events at time 0 in channel 0 at the end of a"):
        recordings.add(np.append(times, np.zeros(pads)), np.append(units, np.zeros(pads, int)), 0, "a")


def test_events_at_time_zero_are_events() -> None:
    recordings = Recordings("mine", ticks=100, tick=0.01, input_shape=(20,), binary=True)
    recordings.add(np.zeros(5), np.zeros(5, int), 0, "all at once")
    recordings.add(np.append(np.linspace(0.9, 0.1, 5), 0.0), np.zeros(6, int), 0, "falling")
    recordings.add([], [], 1, "empty")
    assert len(recordings.split().units) == 7
