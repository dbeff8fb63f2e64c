"""Times of alignment, its fall, and the order of layers."""

from __future__ import annotations

import pytest

from hwmodels.errors import NeurofaError
from neurofa.diagnostics.phases import FLOOR, alignment_order, phases


def test_a_course_that_aligns_and_memorises():
    found = phases([0, 1, 10, 100, 1000], [0.0, 0.1, 0.5, 0.8, 0.6])
    assert found is not None
    assert (found.start, found.peak, found.peak_time, found.end) == (0.0, 0.8, 100, 0.6)
    # half of the peak, 0.4, lies three quarters of the way from 0.1 to 0.5
    assert found.align == pytest.approx(1 + 0.75 * 9)
    assert found.memorise == 100


def test_a_course_that_stays_up_does_not_memorise_and_a_small_dip_is_no_fall():
    rising = phases([0, 1, 2], [0.0, 0.5, 0.8])
    dipping = phases([0, 1, 2], [0.0, 0.8, 0.73])
    assert rising is not None
    assert rising.memorise is None
    assert dipping is not None
    assert dipping.memorise is None


def test_what_never_aligns_has_no_time():
    found = phases([0, 1, 2], [-0.2, FLOOR - 0.001, 0.0])
    assert found is not None
    assert found.align is None
    assert found.memorise is None
    assert phases([0, 1, 2], [None, 0.5, None]) is None
    skipped = phases([0, 1, 2], [0.0, None, 0.5])
    assert skipped is not None
    assert skipped.align == pytest.approx(1.0)


@pytest.mark.parametrize(("times", "values"), [([0, 0], [0.1, 0.2]), ([0, 1], [0.1]), ([1, 0], [0.1, 0.2])])
def test_times_must_rise(times, values):
    with pytest.raises(NeurofaError, match="times rising"):
        phases(times, values)


def test_order_is_ranked_against_depth():
    assert alignment_order({"a": 1.0, "b": 2.0, "c": 3.0}) == (["a", "b", "c"], pytest.approx(1))
    assert alignment_order({"a": 3.0, "b": 2.0, "c": 1.0}) == (["c", "b", "a"], pytest.approx(-1))
    names, tau = alignment_order({"a": 1.0, "b": None, "c": 3.0, "d": 2.0})
    assert names == ["a", "d", "c"]
    assert tau == pytest.approx(1 / 3)
    assert alignment_order({"a": 1.0, "b": 1.0})[1] is None
    assert alignment_order({"a": 1.0, "b": None})[1] is None
    assert alignment_order({}) == ([], None)
