"""The equations of low-rank feedback against a simulation sample by sample, and what a fixed P can reach."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hwmodels.errors import NeurofaError
from neurofa.theory.lowrank.equations import (
    Plasticity,
    Weights,
    error_moments,
    mode_strengths,
    reachable_strengths,
    velocity,
)
from neurofa.theory.lowrank.simulation import (
    full_batches,
    initial_weights,
    online_batches,
    random_teacher,
    simulate_weights,
)
from neurofa.theory.lowrank.solution import solve_weights
from neurofa.theory.moments import Moments

N, K, M, R = 12, 8, 6, 2
RULES = {
    "backpropagation": Plasticity(transport=True, q="fixed", p="fixed", decay=0.01),
    "all fixed": Plasticity(q="fixed", p="fixed", decay=0.02),
    "q kp": Plasticity(p="fixed", decay=0.05, decay_back=0.03),
    "q track": Plasticity(q="track", p="fixed", rate_q=2.0),
    "labels": Plasticity(p="labels", rate_p=0.05, decay=0.02, decay_back=0.02),
    "errors": Plasticity(p="errors", rate_p=0.1, decay=0.02, decay_back=0.02),
    "track": Plasticity(q="track", p="track", rate_q=1.0, rate_p=2.0, fading=0.3, decay=0.01),
}


def task(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, Weights]:
    gen = torch.Generator().manual_seed(seed)
    x = torch.randn(200, N, generator=gen, dtype=torch.float64)
    return x, x @ random_teacher(N, M, M, gen).t(), initial_weights(N, K, M, R, gen)


def far(a: list[Weights], b: list[Weights]) -> float:
    """Largest difference of an element of any of the matrices at any time."""
    pairs = [(s, t) for u, v in zip(a, b, strict=True) for s, t in zip(u.matrices(), v.matrices(), strict=True)]
    return max((s - t).abs().max().item() for s, t in pairs)


@pytest.mark.sample(2)
@pytest.mark.parametrize("name", RULES)
def test_simulation_goes_to_theory_in_proportion_to_the_learning_rate(name: str) -> None:
    x, y, begin = task()
    found = []
    for lr in (4e-3, 2e-3):
        steps = round(2 / lr)
        times, path = simulate_weights(full_batches(x, y), begin, RULES[name], lr=lr, steps=steps, every=steps // 6)
        found.append(far(path, solve_weights(Moments.of(x, y), begin, RULES[name], times)))
    assert found[1] < 0.015
    assert found[0] / found[1] == pytest.approx(2, abs=0.15)


@pytest.mark.sample(2)
@pytest.mark.parametrize("name", [name for name in RULES if name != "backpropagation"])
def test_another_decay_or_another_p_disagrees(name: str) -> None:
    x, y, begin = task()
    times, path = simulate_weights(full_batches(x, y), begin, RULES[name], lr=4e-3, steps=500, every=100)
    moments, rule = Moments.of(x, y), RULES[name]
    right = far(path, solve_weights(moments, begin, rule, times))
    turned = replace(begin, p=begin.p.flip(1))
    for wrong in (
        solve_weights(moments, begin, replace(rule, decay=rule.decay + 0.1), times),
        solve_weights(moments, turned, rule, times),
    ):
        assert far(path, wrong) > 10 * right


@pytest.mark.long
def test_online_learning_follows_the_theory_of_white_inputs() -> None:
    gen = torch.Generator().manual_seed(3)
    a, begin = random_teacher(N, M, M, gen), task()[2]
    rule = RULES["labels"]
    times, path = simulate_weights(online_batches(a, 64, gen), begin, rule, lr=1e-3, steps=3000, every=500)
    white = Moments.white(a)
    difference = mode_strengths(white, path) - mode_strengths(white, solve_weights(white, begin, rule, times))
    assert difference.abs().max() < 0.03


def test_velocities_of_the_weights_are_gradients() -> None:
    x, y, begin = task()
    w1, w2 = begin.w1.clone().requires_grad_(), begin.w2.clone().requires_grad_()
    loss = (y - x @ w1.t() @ w2.t()).square().sum(1).mean() / 2
    gradients = torch.autograd.grad(loss, (w1, w2))
    found = velocity(Moments.of(x, y), begin, Plasticity(transport=True, q="fixed", p="fixed"), 0.0)
    torch.testing.assert_close((-found.w1, -found.w2), gradients)
    # tracking is gradient descent on |W2^T - Q P|^2 / 2
    q, p = begin.q.clone().requires_grad_(), (begin.p + 0.1).requires_grad_()
    gradients = torch.autograd.grad((begin.w2.t() - q @ p).square().sum() / 2, (q, p))
    moved = replace(begin, p=p.detach())
    found = velocity(Moments.of(x, y), moved, Plasticity(q="track", p="track"), 0.0)
    torch.testing.assert_close((-found.q, -found.p), gradients)
    # Kolen-Pollack: what W2 does, seen through P
    found = velocity(Moments.of(x, y), begin, Plasticity(q="kp", p="fixed"), 0.0)
    torch.testing.assert_close(found.q, (begin.p @ found.w2).t())


def test_moments_of_errors_are_those_of_samples() -> None:
    x, y, begin = task()
    error = y - x @ begin.w1.t() @ begin.w2.t()
    found = error_moments(Moments.of(x, y), begin.w2 @ begin.w1)
    torch.testing.assert_close(found, error.t() @ error / len(x))


def test_strengths_are_one_for_the_teacher_and_zero_for_nothing() -> None:
    a = random_teacher(N, M, M, torch.Generator().manual_seed(0))
    white = Moments.white(a)
    whole = Weights(w1=torch.eye(N, dtype=torch.float64), w2=a, q=a[:R].t(), p=a[:R, :M])
    nothing = replace(whole, w2=torch.zeros_like(a))
    found = mode_strengths(white, [whole, nothing])
    torch.testing.assert_close(found, torch.stack([torch.ones(M), torch.zeros(M)]).double())


def test_a_fixed_p_leads_where_reach_says() -> None:
    _, _, begin = task()
    white = Moments.white(random_teacher(N, M, M, torch.Generator().manual_seed(0)))
    u, _, _ = white.modes()
    small = replace(begin, w1=begin.w1 * 1e-4, w2=begin.w2 * 1e-4)
    across = begin.p * 3
    for p in (u[:, :R].t().contiguous(), across):
        for q in ("kp", "fixed"):
            (end,) = solve_weights(white, replace(small, p=p), Plasticity(q=q, p="fixed"), [12.0])
            final = mode_strengths(white, [end])[0]
            torch.testing.assert_close(final, reachable_strengths(white, p), atol=0.01, rtol=0)
    torch.testing.assert_close(reachable_strengths(white, u[:, :R].t()), torch.tensor([1.0, 1, 0, 0, 0, 0]).double())
    assert reachable_strengths(white, across).sum().item() == pytest.approx(R)
    assert reachable_strengths(white, across).max() < 0.95
    # two rows that say the same count once
    assert reachable_strengths(white, across[:1].expand(2, -1)).sum().item() == pytest.approx(1)


def test_p_learns_the_leading_directions_of_the_labels() -> None:
    _, _, begin = task()
    white = Moments.white(random_teacher(N, M, M, torch.Generator().manual_seed(0)))
    u, _, _ = white.modes()
    (end,) = solve_weights(white, begin, Plasticity(p="labels", rate_p=0.1), [60.0])
    torch.testing.assert_close(end.p @ end.p.t(), torch.eye(R).double(), atol=1e-3, rtol=0)
    assert (end.p @ u[:, :R]).square().sum().item() == pytest.approx(R, abs=1e-3)


def test_what_cannot_be_solved_is_said() -> None:
    x, y, begin = task()
    with pytest.raises(NeurofaError, match="times that do not increase"):
        solve_weights(Moments.of(x, y), begin, RULES["labels"], [1.0, 1.0])
    with pytest.raises(NeurofaError, match=r"Plasticity\(p=oja\)"):
        Plasticity(p="oja")
    with pytest.raises(NeurofaError, match="decay"):
        Plasticity(decay=-1)
    with pytest.raises(NeurofaError, match="rank 7"):
        initial_weights(N, K, M, 7, torch.Generator())
    with pytest.raises(NeurofaError, match="without bound"):
        simulate_weights(full_batches(x, y), begin, RULES["labels"], lr=1.0, steps=200, every=50)
