"""Solutions of the closed equations, with the times at which a student enters and leaves its plateau."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hwmodels.errors import NeurofaError
from neurofa.theory.shallow.flow import Flow
from neurofa.theory.shallow.order_parameters import OrderParameters
from neurofa.theory.shallow.problem import Problem
from neurofa.theory.shallow.units import Array

FLAT = 0.5
"""The error is on a plateau where it falls slower than t^-FLAT."""
LEFT = 0.1
"""A plateau ends at this share of the error at its entry."""
RTOL, ATOL = 1e-8, 1e-11
ROUNDING = 1e-12
"""Errors below are rounding, and their slope means nothing."""
DIVERGED = 1e6
"""Order parameters above do not come back."""


@dataclass(frozen=True, kw_only=True)
class Solution:
    """Order parameters and error of one student in time, with the times of its plateau."""

    t: Array
    """(times,), steps / N."""
    order: OrderParameters
    """Leading axis: times."""
    error: Array
    """(times,), generalisation error eps_g."""
    entry: float | None
    """Time at which the decay, once faster, became slower than t^-1/2: the first plateau, or the final level."""
    level: float | None
    """The error at that time."""
    exit: float | None
    """Time at which the error fell below a tenth of that level; None: not within these times."""


def solve_flow(
    problem: Problem, start: OrderParameters, times: Sequence[float], *, stop: float | None = None
) -> Solution:
    """Return the solution of the closed equations for one student, by numerical integration.

    The plateau is found by the solver's events. Its entry is where -d ln eps_g / d ln t falls through 1/2; with the
    error there as its level, the integration goes on, and the exit is where eps_g falls through a tenth of the level.

    Args:
        problem: setting in which the student learns.
        start: order parameters of one run at t = 0.
        times: increasing, >= 0, in steps / N.
        stop: error at which the trajectory ends; later times are left out.

    Raises:
        NeurofaError: equations that do not close, times that do not increase, or a solution that runs away.
    """
    flow = Flow(problem, start)
    t = np.asarray(times, dtype=np.float64)
    if len(t) == 0 or t[0] < 0 or (np.diff(t) <= 0).any():
        raise NeurofaError(f"got times {list(times)[:4]}...; expected increasing ones, >= 0; sort them")

    def excess_decay(now: float, state: Array) -> float:
        error = flow.error(state)
        return 1.0 if error < ROUNDING else -now * flow.error_rate(state) / error - FLAT

    def error_above(level: float) -> Callable[[float, Array], float]:
        return lambda _, state: flow.error(state) - level

    ends = [] if stop is None else [_event(error_above(stop))]
    first = _integrate(flow, flow.state(start), 0.0, t, [_event(excess_decay), *ends], stop=1)
    if first.hit != 0:
        return _joined(flow, [first], None, None, None)
    level = flow.error(first.state)
    rest = t[t > first.now]
    if len(rest) == 0:
        return _joined(flow, [first], first.now, level, None)
    second = _integrate(flow, first.state, first.now, rest, [_event(error_above(LEFT * level)), *ends], stop=1)
    segments, left = [first, second], None
    if second.hit == 0:
        left = second.now
        if (rest > left).any():
            segments.append(_integrate(flow, second.state, left, rest[rest > left], ends, stop=0))
    return _joined(flow, segments, first.now, level, left)


@dataclass(frozen=True)
class _Segment:
    """Part of a trajectory up to an event."""

    t: Array
    states: Array
    now: float
    """Time at the end."""
    state: Array
    """Variables at the end."""
    hit: int | None
    """Index of the event that ended it."""


def _event(function: Callable[[float, Array], float]) -> Callable[[float, Array], float]:
    """Mark a function as an event that ends the integration when it falls through zero."""
    function.terminal, function.direction = True, -1  # type: ignore[attr-defined]
    return function


def _integrate(
    flow: Flow, state: Array, now: float, t: Array, events: Sequence[Callable[[float, Array], float]], stop: int
) -> _Segment:
    """Integrate from ``now`` to the last of the times ``t``, or to the first event.

    Args:
        flow: the equations.
        state: variables at ``now``.
        now: steps / N.
        t: times of the result, increasing.
        events: functions whose fall through zero ends the segment.
        stop: index of the event whose time and state join the trajectory.
    """
    from scipy.integrate import solve_ivp

    if t[-1] <= now:
        return _Segment(t[:1], state[None], now, state, None)

    def margin(_: float, state: Array) -> float:
        return DIVERGED - float(np.abs(state).max())

    # LSODA turns to an implicit method where a large rate makes the equations stiff. A trial step may leave the domain
    # of the averages: the solver then sees NaN and takes a smaller one; success in the end is checked below
    with np.errstate(invalid="ignore", over="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        events = [*events, _event(margin)]
        result = solve_ivp(flow, (now, t[-1]), state, method="LSODA", t_eval=t, events=events, rtol=RTOL, atol=ATOL)
    if not result.success or len(result.t_events[-1]):
        reached = result.t_events[-1][0] if result.success else max([now, *result.t])
        raise NeurofaError(
            f"got a solution that runs away at t={reached:g}; expected a finite one; lower rate or noise"
        )
    states = np.reshape(result.y, (len(state), -1)).T
    hit = next((index for index, times in enumerate(result.t_events) if len(times)), None)
    if hit is None:
        return _Segment(result.t, states, float(t[-1]), states[-1], None)
    end, last = float(result.t_events[hit][0]), result.y_events[hit][0]
    if hit == stop:
        return _Segment(np.append(result.t, end), np.concatenate([states, last[None]]), end, last, hit)
    return _Segment(result.t, states, end, last, hit)


def _joined(
    flow: Flow, segments: Sequence[_Segment], entry: float | None, level: float | None, left: float | None
) -> Solution:
    t = np.concatenate([segment.t for segment in segments])
    order = flow.order(np.concatenate([segment.states for segment in segments]))
    return Solution(t=t, order=order, error=order.error(flow.units), entry=entry, level=level, exit=left)
