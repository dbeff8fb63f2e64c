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
"""The error is flat where it falls slower than t^-FLAT."""
LEFT = 0.1
"""A plateau is left at this share of the error with which it was entered."""
RTOL, ATOL = 1e-8, 1e-11
NOTHING = 1e-12
"""An error as small is rounding, and its slope means nothing."""
AWAY = 1e6
"""Order parameters as large have left for good."""


@dataclass(frozen=True, kw_only=True)
class Solution:
    """A trajectory of order parameters."""

    t: Array
    """(times,), steps / N."""
    order: OrderParameters
    """Leading axis: times."""
    error: Array
    """(times,), generalisation error eps_g."""
    entry: float | None
    """When the decay, once faster, became slower than t^-1/2: the first plateau, or the last level there is."""
    level: float | None
    """The error at that time."""
    exit: float | None
    """When the error fell below a tenth of that level; None: not within these times."""


def solve(problem: Problem, start: OrderParameters, times: Sequence[float], *, stop: float | None = None) -> Solution:
    """Integrate the closed equations of one run.

    The plateau is found by the solver's events. Its entry is where -d ln eps_g / d ln t falls through 1/2; with the
    error there as its level, the integration goes on, and the exit is where eps_g falls through a tenth of the level.

    Args:
        problem: how the student learns.
        start: order parameters of one run at t = 0.
        times: increasing, >= 0, in steps / N.
        stop: the trajectory ends with the time of this error; later ones are left out.

    Raises:
        NeurofaError: equations that do not close, times that do not increase, or a solution that runs away.
    """
    flow = Flow(problem, start)
    t = np.asarray(times, dtype=np.float64)
    if len(t) == 0 or t[0] < 0 or (np.diff(t) <= 0).any():
        raise NeurofaError(f"got times {list(times)[:4]}...; expected increasing ones, >= 0; sort them")

    def slow(now: float, state: Array) -> float:
        error = flow.error(state)
        return 1.0 if error < NOTHING else -now * flow.error_rate(state) / error - FLAT

    def below(level: float) -> Callable[[float, Array], float]:
        return lambda _, state: flow.error(state) - level

    ends = [] if stop is None else [_event(below(stop))]
    first = _leg(flow, flow.state(start), 0.0, t, [_event(slow), *ends], stop=1)
    if first.hit != 0:
        return _solution(flow, [first], None, None, None)
    level = flow.error(first.state)
    rest = t[t > first.now]
    if len(rest) == 0:
        return _solution(flow, [first], first.now, level, None)
    second = _leg(flow, first.state, first.now, rest, [_event(below(LEFT * level)), *ends], stop=1)
    legs, left = [first, second], None
    if second.hit == 0:
        left = second.now
        if (rest > left).any():
            legs.append(_leg(flow, second.state, left, rest[rest > left], ends, stop=0))
    return _solution(flow, legs, first.now, level, left)


@dataclass(frozen=True)
class _Leg:
    t: Array
    states: Array
    now: float
    state: Array
    hit: int | None
    """Which event ended it."""


def _event(function: Callable[[float, Array], float]) -> Callable[[float, Array], float]:
    """An event that ends the integration when the function falls through zero."""
    function.terminal, function.direction = True, -1  # type: ignore[attr-defined]
    return function


def _leg(
    flow: Flow, state: Array, now: float, t: Array, events: Sequence[Callable[[float, Array], float]], stop: int
) -> _Leg:  # fmt: skip
    from scipy.integrate import solve_ivp

    if t[-1] <= now:
        return _Leg(t[:1], state[None], now, state, None)

    def near(_: float, state: Array) -> float:
        return AWAY - float(np.abs(state).max())

    # LSODA turns to an implicit method where a large rate makes the equations stiff. A trial step may leave the domain
    # of the averages: the solver sees NaN and takes a smaller one; whether it succeeds in the end is asked for below
    with np.errstate(invalid="ignore", over="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = solve_ivp(
            flow, (now, t[-1]), state, method="LSODA", t_eval=t, events=[*events, _event(near)], rtol=RTOL, atol=ATOL
        )
    if not found.success or len(found.t_events[-1]):
        reached = found.t_events[-1][0] if found.success else max([now, *found.t])
        raise NeurofaError(
            f"got a solution that runs away at t={reached:g}; expected a finite one; lower rate or noise"
        )
    states = np.reshape(found.y, (len(state), -1)).T
    hit = next((index for index, times in enumerate(found.t_events) if len(times)), None)
    if hit is None:
        return _Leg(found.t, states, float(t[-1]), states[-1], None)
    end, last = float(found.t_events[hit][0]), found.y_events[hit][0]
    if hit == stop:
        return _Leg(np.append(found.t, end), np.concatenate([states, last[None]]), end, last, hit)
    return _Leg(found.t, states, end, last, hit)


def _solution(
    flow: Flow, legs: Sequence[_Leg], entry: float | None, level: float | None, left: float | None
) -> Solution:  # fmt: skip
    order = flow.order(np.concatenate([leg.states for leg in legs]))
    return Solution(
        t=np.concatenate([leg.t for leg in legs]), order=order, error=order.error(flow.units), entry=entry,
        level=level, exit=left,
    )  # fmt: skip
