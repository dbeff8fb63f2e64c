"""Eligibility traces: the exact derivative through a neuron's own memory, forwards in time, K ticks at a time.

A weight's direction is sum_t L_t e_t with the learning signal L_t at the neuron's output and the eligibility

    e_t = c_t . eps_t,    eps_t = M_t eps_{t-1} + g_t x_t,    filtered: f_t = kappa f_{t-1} + e_t in the place of e_t,

where x is the weight's input and M, g, c are the neuron's (:class:`neurofa.core.dynamics.Dynamics`). No future tick is
needed. Within a chunk of ticks the same sum is cheaper in the adjoint order: lambda_t = c_t L_t + M_{t+1}^T
lambda_{t+1} gives the error at the input current, D_t = g_t . lambda_t, and the chunk's direction is one product

    sum_t D_t x_t^T  +  (M_0^T lambda_0) . eps_before.

eps is carried from chunk to chunk. If M and g are numbers shared by all neurons, one trace per input is shared by all
of them, (B, n_in) for each memory; otherwise every weight has its own, (B, n_out, n_in). The result is the same for any
K.

Source: Bellec et al. 2020, Nature Communications 11, 3625, eqs. for LIF and ALIF; the adjoint order is derived here.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from neurofa.core.dynamics import Coefficient, Dynamics
from neurofa.core.event_rows import weighted_tick_sums

Term = Tensor | float
"""(B, *shape), or a number shared by all samples and neurons."""


def as_ticks(rows: Tensor, batch: int) -> Tensor:
    """Return rows in the order of ticks, (K B, ...), as (K, B, ...)."""
    ticks: Tensor = torch.unflatten(rows, 0, (-1, batch))
    return ticks


def is_constant(dynamics: Dynamics) -> bool:
    """Return whether all neurons can share one trace per input: M is constant, and g for every lasting state variable.

    Args:
        dynamics: of any ticks.
    """
    if any(isinstance(c, Tensor) for row in dynamics.move for c in row):
        return False
    # a memory without a path to the next tick needs no trace, so that its g may vary
    persists = [any(row[a] != 0.0 for row in dynamics.move) for a in range(len(dynamics.enter))]
    return all(not isinstance(g, Tensor) for g, used in zip(dynamics.enter, persists, strict=True) if used)


@dataclass(frozen=True, slots=True)
class Adjoint:
    """Errors at input currents and state variables of neurons, for an error at their outputs in K ticks."""

    delta: Tensor
    """(K, B, *shape): D, error at the input currents."""
    carried: tuple[Tensor, ...]
    """(B, *shape) each: M_0^T lambda_0, error at the state variables before the first tick."""
    filtered: Term = 0.0
    """Error at the filtered eligibility before the first tick."""


def adjoint(
    dynamics: Dynamics,
    signal: Tensor,
    *,
    kappa: float = 0.0,
    ends: Sequence[float] | None = None,
    end: float = 0.0,
) -> Adjoint:
    """Return the errors at input currents and state variables, backwards in time through the neurons' own memory.

    Args:
        dynamics: of the K ticks.
        signal: (K, B, *shape), learning signal L at the outputs; not changed.
        kappa: decay of the filter through which the signal arrives; 0: none.
        ends: error at each state variable after the last tick, the same for all neurons; None: none.
        end: error at the filtered eligibility after the last tick.
    """
    d, ticks = len(dynamics.enter), len(signal)
    mu = signal
    # adjoint of the filter: mu_t = L_t + kappa mu_{t+1}
    if kappa or end:
        mu = signal.clone()
        if end:
            mu[-1] += end
        steps = mu.unbind(0)
        for t in range(ticks - 2, -1, -1):
            steps[t].add_(steps[t + 1], alpha=kappa)
    if d == 1 and ends is None and is_constant(dynamics):
        return _single(dynamics, mu, kappa)
    lam: list[Term] = [0.0] * d if ends is None else list(ends)
    delta = torch.empty_like(signal)
    # on entry to tick t, lam is M_{t+1}^T lambda_{t+1}
    for t in range(ticks - 1, -1, -1):
        lam = [_plus(_times(_at(dynamics.out[a], t), mu[t]), lam[a]) for a in range(d)]
        total: Term = 0.0
        for a in range(d):
            total = _plus(total, _times(_at(dynamics.enter[a], t), lam[a]))
        delta[t] = total
        lam = _back(dynamics, lam, t)
    blank = signal[0]
    carried = tuple(x if isinstance(x, Tensor) else torch.full_like(blank, x) for x in lam)
    return Adjoint(delta, carried, mu[0] * kappa)


def _single(dynamics: Dynamics, mu: Tensor, kappa: float) -> Adjoint:
    """Return the adjoint for one memory with a decay shared by all neurons: a recursive filter, in place."""
    (out,), (enter,), ((move,),) = dynamics.out, dynamics.enter, dynamics.move
    assert isinstance(move, float) and isinstance(enter, float)
    lam = mu * out
    if move:
        steps = lam.unbind(0)
        for t in range(len(steps) - 2, -1, -1):
            steps[t].add_(steps[t + 1], alpha=move)
    tail = lam[0] * move
    return Adjoint(lam if enter == 1.0 else lam.mul_(enter), (tail,), mu[0] * kappa)


def _back(dynamics: Dynamics, lam: Sequence[Term], t: int) -> list[Term]:
    """Return M_t^T lambda."""
    previous: list[Term] = []
    for a in range(len(lam)):
        total: Term = 0.0
        for b in range(len(lam)):
            total = _plus(total, _times(_at(dynamics.move[b][a], t), lam[b]))
        previous.append(total)
    return previous


def instant(dynamics: Dynamics, signal: Tensor) -> Tensor:
    """Return the error at the input currents within the same tick: sum_a c_a g_a L, (K, B, *shape).

    Args:
        dynamics: of the K ticks.
        signal: (K, B, *shape), learning signal L at the outputs.
    """
    total: Term = 0.0
    for out, enter in zip(dynamics.out, dynamics.enter, strict=True):
        total = _plus(total, _times(out, enter))
    error = _times(total, signal)
    return error if isinstance(error, Tensor) else torch.full_like(signal, error)


def forward_change(dynamics: Dynamics, changes: Tensor) -> Tensor:
    """Return the first-order change of the outputs for changes of the input currents, both (K, B, *shape).

    It is the transpose of :func:`adjoint`.

    Args:
        dynamics: of the K ticks.
        changes: (K, B, *shape), changes of the input currents.
    """
    d = len(dynamics.enter)
    memory: list[Term] = [0.0] * d
    outputs = torch.empty_like(changes)
    for t in range(len(changes)):
        moved: list[Term] = []
        for a in range(d):
            total = _times(_at(dynamics.enter[a], t), changes[t])
            for b in range(d):
                total = _plus(total, _times(_at(dynamics.move[a][b], t), memory[b]))
            moved.append(total)
        memory = moved
        out: Term = 0.0
        for a in range(d):
            out = _plus(out, _times(_at(dynamics.out[a], t), memory[a]))
        outputs[t] = out
    return outputs


def shared_trace(dynamics: Dynamics, x: Tensor, batch: int, before: Tensor | None) -> Tensor:
    """Return the eligibility traces after K ticks that all neurons share, one per input; M and g are constant.

    Args:
        dynamics: constant.
        x: (K B, ...) inputs, tick by tick, or (K B, n_in) rows of events.
        batch: B.
        before: (d, B, ...) traces before the first tick; None: zero.

    Returns:
        (d, B, ...): M^K before + sum_s M^(K-1-s) g x_s.
    """
    # one product with the weights M^(K-1-s) g instead of a loop over ticks
    weights, power = powers(dynamics, len(x) // batch)
    weights = weights.to(x.device, x.dtype)
    if x.layout == torch.sparse_csr:
        traces = weighted_tick_sums(x, weights, batch)
    else:
        traces = (weights @ x.reshape(weights.shape[1], -1)).view(len(weights), batch, *x.shape[1:])
    return traces if before is None else traces + torch.tensordot(power.to(before), before, 1)


def powers(dynamics: Dynamics, ticks: int) -> tuple[Tensor, Tensor]:
    """Return powers of constant dynamics over K ticks: (d, K), M^(K-1-s) g in column s, and (d, d), M^K; float64.

    Args:
        dynamics: constant.
        ticks: K.
    """
    move = tuple(tuple(c for c in row if isinstance(c, float)) for row in dynamics.move)
    # a varying g belongs to a memory that does not persist, which needs no trace
    return _powers(move, tuple(g if isinstance(g, float) else 0.0 for g in dynamics.enter), ticks)


@functools.lru_cache(maxsize=64)
def _powers(move: tuple[tuple[float, ...], ...], enter: tuple[float, ...], ticks: int) -> tuple[Tensor, Tensor]:
    m, step = torch.tensor(move, dtype=torch.float64), torch.tensor(enter, dtype=torch.float64)
    columns = []
    power = torch.eye(len(step), dtype=torch.float64)
    for _ in range(ticks):
        columns.append(power @ step)
        power = m @ power
    return torch.stack(columns[::-1], 1), power


def own_traces(dynamics: Dynamics, xs: Tensor, before: Tensor | None, kappa: float, like: Tensor) -> Tensor:
    """Return the eligibility traces of every single weight after K ticks.

    Args:
        dynamics: of K ticks of n_out neurons.
        xs: (K, B, n_in) inputs.
        before: (d or d + 1, B, n_out, n_in) traces before the first tick; None: zero.
        kappa: decay of the filter; with kappa > 0 the last trace is the filtered eligibility.
        like: (K, B, n_out), with the dtype and device of the neurons.

    Returns:
        (d, B, n_out, n_in), or (d + 1, B, n_out, n_in) if kappa > 0.
    """
    d = len(dynamics.enter)
    no_signal = torch.zeros_like(like)
    inputs = xs.transpose(0, 1)
    traces = []
    # trace a is the derivative of memory a after the last tick: the adjoint of a unit error there
    for a in range(d + (kappa > 0)):
        ends = [float(a == b) for b in range(d)]
        back = adjoint(dynamics, no_signal, kappa=kappa, ends=ends, end=float(a == d))
        trace = torch.bmm(back.delta.permute(1, 2, 0), inputs)
        if before is not None:
            for tail, old in zip(back.carried, before, strict=False):
                trace += tail.unsqueeze(2) * old
            if a == d:
                trace += before[d] * _column(back.filtered)
        traces.append(trace)
    return torch.stack(traces)


def _column(term: Term) -> Term:
    return term.unsqueeze(2) if isinstance(term, Tensor) else term


def from_traces(back: Adjoint, before: Tensor) -> Tensor:
    """Return what inputs of earlier chunks add to the direction of a chunk: (n_out, n_in), summed over the batch.

    Args:
        back: adjoint of the chunk's learning signals.
        before: (d or d + 1, B, n_out, n_in), traces that :func:`own_traces` returned for the earlier ticks.
    """
    terms = [*back.carried, *([back.filtered] if len(before) > len(back.carried) else [])]
    total = torch.zeros_like(before[0, 0])
    for term, trace in zip(terms, before, strict=True):
        assert isinstance(term, Tensor)
        total += torch.einsum("bn,bni->ni", term, trace)
    return total


def _at(coefficient: Coefficient, t: int) -> Term:
    return coefficient[t] if isinstance(coefficient, Tensor) else coefficient


def _times(a: Term, b: Term) -> Term:
    """Return a b; the numbers 0 and 1 cost no tensor operation and change no bit."""
    if isinstance(a, float) and a in (0.0, 1.0):
        return b if a else 0.0
    if isinstance(b, float) and b in (0.0, 1.0):
        return a if b else 0.0
    return a * b


def _plus(a: Term, b: Term) -> Term:
    if isinstance(a, float) and a == 0.0:
        return b
    return a if isinstance(b, float) and b == 0.0 else a + b
