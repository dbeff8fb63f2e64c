"""The simulated students: against one sample at a time with autograd, and what hardware does to them."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch

from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.theory.shallow.degeneracy import can_succeed, signs_agree, success_probability
from neurofa.theory.shallow.hardware import HardwareNoise
from neurofa.theory.shallow.problem import Problem
from neurofa.theory.shallow.simulator import Students, draw_students, simulate_students
from neurofa.theory.shallow.units import UNITS


def students(seed=0, **sizes):
    sizes = {"runs": 3, "N": 40, "K": 3, "M": 2, "sd": 0.7} | sizes
    return draw_students(torch.Generator().manual_seed(seed), dtype=torch.float64, **sizes)


@pytest.mark.parametrize("rule", ["dfa", "bp"])
@pytest.mark.parametrize("activation", UNITS)
def test_a_step_is_that_of_one_student_with_autograd(activation, rule):
    problem, before, after = Problem(rate=0.3, activation=activation, rule=rule), students(), students()
    simulate_students(problem, after, [1 / 40], torch.Generator().manual_seed(1))
    inputs = torch.randn(3, 40, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    g, twice = problem.units.g, []
    for run, x in enumerate(inputs):
        w, v = before.w[run].clone().requires_grad_(), before.v[run].clone().requires_grad_()
        y = before.A[run] @ g(before.B[run] @ x / 40**0.5)
        hidden = g(w @ x / 40**0.5)
        error = y - v @ hidden
        (gradient,) = torch.autograd.grad(0.5 * error**2, v, retain_graph=True)
        torch.testing.assert_close(after.v[run], v.detach() - 0.3 / 40 * gradient)
        feedback = before.F[run] if rule == "dfa" else v.detach()
        (change,) = torch.autograd.grad(hidden, w, error.detach() * feedback)
        torch.testing.assert_close(after.w[run], before.w[run] + 0.3 * change)
        twice.append(torch.allclose(after.w[run], before.w[run] + 0.3 * 2 * change))
    assert not all(twice)


def test_order_parameters_are_averages_over_inputs():
    made = students(runs=1, N=300)
    order, units = made.order(), UNITS["erf"]
    x = torch.randn(100_000, 300, generator=torch.Generator().manual_seed(2)).double() / 300**0.5
    e = units.g(x @ made.B[0].T) @ made.A[0] - units.g(x @ made.w[0].T) @ made.v[0]
    half = 0.5 * e**2
    assert abs(float(half.mean()) - order.error(units)[0]) < 4.5 * float(half.std()) / 100_000**0.5
    assert order.alignment()[0] == pytest.approx(float(torch.cosine_similarity(made.v[0], made.F[0], dim=0)))
    assert order[0].Q.shape == (3, 3)


def test_runs_are_their_own_and_seeds_repeat():
    problem = Problem(hardware=HardwareNoise(read_noise=0.1, feedback_noise=0.1, update_noise=0.1, pulse_noise=0.1))
    first, second = students(), students()
    for made in (first, second):
        simulate_students(problem, made, [0.5, 1.0], torch.Generator().manual_seed(5))
    assert torch.equal(first.w, second.w)
    assert torch.equal(first.v, second.v)
    # a run beside a broken one is not touched by it
    broken, whole = students(), students()
    broken.w[0] = math.nan
    for made in (broken, whole):
        simulate_students(Problem(), made, [1.0], torch.Generator().manual_seed(5))
    assert broken.w[0].isnan().all()
    assert torch.equal(broken.w[1:], whole.w[1:])


def test_noise_of_a_unit_is_that_of_its_weights():
    """Read noise is drawn a unit; here a weight, as arrays have it."""
    runs, N, s = 20_000, 20, 0.8
    gen, x = torch.Generator().manual_seed(0), torch.randn(20, generator=torch.Generator().manual_seed(1))
    w = torch.randn(N, generator=gen)
    fields = ((w + s * torch.randn(runs, N, generator=gen)) @ x) / N**0.5
    spread = s * float(x.norm()) / N**0.5
    assert abs(float(fields.var()) / spread**2 - 1) < 4.5 * (2 / runs) ** 0.5
    z = (fields - w @ x / N**0.5) / spread
    assert abs(float(z.pow(4).mean()) - 3) < 4.5 * (96 / runs) ** 0.5


def test_noisy_writes_of_the_readout_make_it_diffuse_at_every_size():
    """Why the closed equations refuse them: the spread of v does not shrink with N."""
    for N in (20, 80):
        made = students(runs=2000, N=N, K=1, M=1, sd=0.0)
        made.A.zero_()
        problem = Problem(rate=1e-6, hardware=HardwareNoise(readout_update_noise=0.3))
        simulate_students(problem, made, [2.0], torch.Generator().manual_seed(0))
        assert float(made.v.var()) / (0.3**2 * 2) == pytest.approx(1, abs=4.5 * (2 / 2000) ** 0.5)


def test_feedback_and_error_pass_through_their_formats():
    exact, coarse = students(runs=2, K=4), students(runs=2, K=4)
    io = HardwareNoise(feedback=build("format", "uniform(bits=2)"))
    _, seen = simulate_students(Problem(hardware=io), coarse, [1.0], torch.Generator().manual_seed(0))
    largest = exact.F.abs().max(1, keepdim=True).values
    assert np.allclose(seen.F[0], (exact.F / largest).round() * largest)  # each run has its own scale
    exact.F = coarse.F
    simulate_students(Problem(), exact, [1.0], torch.Generator().manual_seed(0))
    assert torch.equal(exact.w, coarse.w)
    signs = students()
    of_signs = Problem(hardware=HardwareNoise(error=build("format", "sign")))
    simulate_students(of_signs, signs, [1 / 40], torch.Generator().manual_seed(0))
    plain = students()
    simulate_students(Problem(), plain, [1 / 40], torch.Generator().manual_seed(0))
    start = students()
    ratio = (signs.w - start.w) / (plain.w - start.w)
    assert torch.equal(signs.v, plain.v)  # the readout gets the error itself
    assert torch.allclose(ratio, ratio[:, :1, :1].expand_as(ratio))
    assert not torch.allclose(ratio, torch.ones_like(ratio))


def test_probability_of_success_counts_signs():
    for K, M in ((1, 1), (4, 2), (5, 2), (3, 3), (2, 3)):
        signs = list(product((-1, 1), repeat=K))
        assert success_probability(K, M) == pytest.approx(sum(s.count(1) >= M for s in signs) / len(signs))


def test_success_is_predicted_and_signs_are_compared():
    made = students(runs=3, K=3, M=2)
    made.F = torch.tensor([[1.0, 2.0, -1.0], [1.0, -2.0, -1.0], [1.0, 1.0, 1.0]])
    made.v = torch.tensor([[3.0, 0.1, -1.0], [1.0, -1.0, 1.0], [1.0, 1.0, 0.0]])
    assert can_succeed(made.order()).tolist() == [True, False, True]
    assert signs_agree(made.order()).tolist() == [True, False, False]
    made.A.neg_()
    with pytest.raises(NeurofaError, match="positive"):
        can_succeed(made.order())


def test_rectified_units_need_the_right_signs():
    """The sign of one feedback weight decides whether one unit learns another."""
    made = draw_students(torch.Generator().manual_seed(0), runs=12, N=30, K=1, M=1, sd=1e-3)
    made.F = torch.ones(12, 1)
    made.F[6:] = -1
    problem = Problem(activation="relu", rate=0.3)
    _, seen = simulate_students(problem, made, [60.0], torch.Generator().manual_seed(1))
    error = seen.error(problem.units)[0]
    assert ((error < 1e-2) == can_succeed(seen)[0]).all()
    assert (error[6:] > 0.1).all()


def test_bad_sizes_and_times_are_refused():
    gen = torch.Generator()
    for wrong in ({"runs": 0}, {"N": 0}, {"K": 0}, {"sd": -1.0}, {"feedback": "uniform"}):
        with pytest.raises(NeurofaError):
            students(**wrong)
    for times in ([], [1.0, 0.5], [-1.0], [1.0, 1.001]):
        with pytest.raises(NeurofaError, match="sort"):
            simulate_students(Problem(), students(), times, gen)
    assert isinstance(students(), Students)
