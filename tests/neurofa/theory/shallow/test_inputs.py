"""The hashed inputs of simulated students: the normal law in moments, tails and correlations, and an oracle."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hwmodels.numerics import random as draws
from neurofa.theory.shallow.inputs import FEW, PAIRS, GaussianInputs
from neurofa.theory.shallow.problem import Problem
from neurofa.theory.shallow.simulator import draw_students, simulate_students

Z = 4.5
"""Deviations that chance exceeds in 1 of 150 000 cases."""


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def sample(seed=0, steps=40, runs=100, N=1000):
    """Standard normal numbers, (steps, runs, N), more than are made at once."""
    drawn = GaussianInputs((runs, 1, N), torch.empty(0), gen(seed)).draw(steps)
    assert drawn.shape == (steps, runs, 1, N)
    return drawn.squeeze(2).double() * N**0.5


def z(values, mean, variance):
    return abs(float(values.mean()) - mean) / (variance / values.numel()) ** 0.5


def even_moments(power):
    """<x^p> and the variance of x^p of a standard normal number, p even."""
    return math.prod(range(1, power, 2)), math.prod(range(1, 2 * power, 2)) - math.prod(range(1, power, 2)) ** 2


def test_moments_and_tails_are_those_of_the_normal_law():
    x = sample()
    assert x.numel() > 2 * PAIRS
    for power in (1, 3, 5):
        assert z(x**power, 0, math.prod(range(1, 2 * power, 2))) < Z
    for power in (2, 4, 6):
        assert z(x**power, *even_moments(power)) < Z
    for at in (-4, -3, -2, -1, -0.1, 0.1, 1, 2, 3, 4):
        share = 0.5 * math.erfc(at / 2**0.5)
        assert z((x > at).double(), share, share * (1 - share)) < Z
    # the test sees a variance that is 1 % wrong
    assert z((1.005 * x) ** 2, 1, 2) > Z


def test_cells_of_the_normal_law_are_filled_evenly():
    """1024 cells of equal probability: chi^2 of counts, and of the counts of pairs that share a word."""
    x = sample(steps=20)
    cells = torch.special.ndtr(x.flatten()).mul(1024).long()
    count = torch.bincount(cells, minlength=1024).double()
    expected = x.numel() / 1024
    assert abs(float(((count - expected) ** 2 / expected).sum()) - 1023) < Z * (2 * 1023) ** 0.5
    half = min(PAIRS, cells.numel() // 2)
    coarse = cells // 32
    joint = torch.bincount(coarse[:half] * 32 + coarse[half : 2 * half], minlength=1024).double()
    expected = half / 1024
    assert abs(float(((joint - expected) ** 2 / expected).sum()) - 1023) < Z * (2 * 1023) ** 0.5


@pytest.mark.long
def test_numbers_do_not_know_of_each_other():
    x = sample()
    flat = x.flatten()
    for lag in (1, 2, 3, 1000, PAIRS, 2 * PAIRS, 100_000):
        assert z(flat[:-lag] * flat[lag:], 0, 1) < Z
        assert z((flat[:-lag] ** 2 - 1) * (flat[lag:] ** 2 - 1), 0, 4) < Z
    # runs, steps and places; all pairs of each
    for axes in ((1, 0, 2), (0, 1, 2), (2, 0, 1)):
        rows = x.permute(axes).flatten(1)
        overlap = (rows @ rows.t() / rows.shape[1] ** 0.5).fill_diagonal_(0)
        pairs = len(rows) * (len(rows) - 1) / 2
        assert abs(float(overlap.square().sum()) / 2 / pairs - 1) < Z * (2 / pairs) ** 0.5


def test_sizes_of_inputs_spread_as_chi_squared():
    """|x|^2 of N numbers has variance 2 N: numbers that share a word are independent in their squares too."""
    for N in (10, 1000):
        size = sample(steps=200_000 // N, runs=20, N=N).square().sum(-1)
        assert z(size, N, 2 * N) < Z
        assert z((size - N) ** 2, 2 * N, 48 * N + 8 * N**2) < Z


def test_calls_do_not_know_of_each_other():
    inputs = GaussianInputs((1, 1, 1000), torch.empty(0), gen())
    calls = torch.stack([inputs.draw(20).flatten() for _ in range(200)]).double() * 1000**0.5
    # means over many calls are as noisy as they should be
    means = calls.mean(0) * 200**0.5
    assert z(means, 0, 1) < Z
    assert z(means**2, 1, 2) < Z
    assert z(calls[1:] * calls[:-1], 0, 1) < Z


def test_words_are_those_of_the_common_hash():
    inputs = GaussianInputs((1, 1, 1000), torch.empty(0), gen())
    a, b = 0x89ABCDEF, 0xFEDCBA98
    theirs = draws.lowbias32(torch.arange(1000, dtype=torch.int32).mul_(a - 2**32).add_(b - 2**32))
    assert np.array_equal(inputs._hash(1000, a, b).view(np.int32), theirs.numpy())


def test_numbers_are_those_of_the_formula_word_by_word():
    N, count = 1001, 151  # odd, and more than are made at once
    drawn = GaussianInputs((1, 1, N), torch.empty(0), gen(3)).draw(count).flatten().double() * N**0.5
    a, b = torch.randint(2**32, (2,), generator=gen(3)).tolist()
    pairs = (N * count + 1) // 2
    for i in (0, 1, PAIRS - 1, PAIRS, pairs - 2, pairs - 1):
        place, left = (i, PAIRS) if i < PAIRS else (PAIRS + i, pairs - PAIRS)
        x = hashed(((a | 1) * i + b) % 2**32)
        signed = [word - 2**32 if word >= 2**31 else word for word in (x, x * draws.GOLDEN % 2**32, x | 1)]
        radius, angle = (-2 * math.log(abs(signed[2]) / 2**31)) ** 0.5, math.pi * signed[1] / 2**31
        assert float(drawn[place]) == pytest.approx(radius * math.sin(angle), abs=1e-5)
        if place + left < N * count:
            assert float(drawn[place + left]) == pytest.approx(radius * math.cos(angle), abs=1e-5)


def hashed(x):
    x ^= x >> 16
    x = x * 0x7FEB352D % 2**32
    x ^= x >> 15
    x = x * 0x846CA68B % 2**32
    return x ^ x >> 16


def test_no_word_makes_an_infinite_number():
    inputs = GaussianInputs((1, 1, 4), torch.empty(0), gen())
    inputs._hash = lambda count, *_: np.array([0, 1, 2**31, 2**32 - 1], dtype=np.uint32)[:count]
    out = np.empty(8, dtype=np.float32)
    inputs._fill(out, 1, 0)
    assert np.isfinite(out).all()
    assert np.abs(out).max() < (2 * 31 * math.log(2)) ** 0.5


@pytest.mark.parametrize(("dtype", "steps"), [(torch.float64, 40), (torch.float32, 1)])
def test_torch_draws_in_double_precision_and_few_numbers(dtype, steps):
    drawn = GaussianInputs((1, 1, 1000), torch.empty(0, dtype=dtype), gen(1)).draw(steps)
    assert (steps * 1000 > FEW) == (dtype == torch.float64)
    expected = torch.randn(steps, 1, 1, 1000, generator=gen(1), dtype=dtype) * 1000**-0.5
    torch.testing.assert_close(drawn, expected)


def test_the_seed_decides_a_simulation_and_the_generator_moves_on():
    def final(seed):
        made = draw_students(gen(), runs=20, N=1000, K=2, M=2, sd=0.1)
        simulate_students(Problem(), made, [0.01], gen(seed))
        return made.w

    assert torch.equal(final(1), final(1))
    assert not torch.allclose(final(1), final(2))
    inputs = GaussianInputs((20, 1, 1000), torch.empty(0), gen())
    first = inputs.draw(1).clone()
    assert not torch.equal(first, inputs.draw(1))
    assert torch.equal(first, GaussianInputs((20, 1, 1000), torch.empty(0), gen()).draw(1))


def test_students_learn_alike_from_hashed_and_from_torch_inputs():
    """Means of the order parameters over 300 runs; single precision is hashed, double is not."""
    seen = {}
    for dtype in (torch.float32, torch.float64):
        made = draw_students(gen(), runs=1, N=100, K=2, M=2, sd=0.5, dtype=dtype)
        for name in ("w", "v", "B", "A", "F"):
            common = getattr(draw_students(gen(), runs=1, N=100, K=2, M=2, sd=0.5), name)
            setattr(made, name, common.to(dtype).repeat(300, *[1] * (common.ndim - 1)))
        seen[dtype] = simulate_students(Problem(rate=0.5), made, [2.0], gen(4))[1][0]
    for name in ("Q", "R", "v"):
        one, other = (getattr(order, name).reshape(300, -1) for order in seen.values())
        noise = np.sqrt((one.var(0) + other.var(0)) / 300)
        assert (np.abs(one.mean(0) - other.mean(0)) < Z * noise).all()
