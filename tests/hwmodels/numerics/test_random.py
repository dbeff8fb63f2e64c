"""Hashed random numbers: moments, tails, independence between positions and between draws."""

import math

import pytest
import torch

from hwmodels.errors import NeurofaError
from hwmodels.numerics.compiled import draw_key
from hwmodels.numerics.random import FEW, Key, hashed_words, normal, uniform

N = 400_000


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def sources():
    return {"hashed": gen(3), "key": Key(draw_key(gen(3)))}


def z(values, mean, variance):
    return (values.double().mean().item() - mean) * math.sqrt(values.numel() / variance)


@pytest.mark.parametrize("source", ["hashed", "key"])
def test_normal_numbers_have_the_moments_and_tails_of_the_normal_law(source):
    x = normal(torch.empty(N), sources()[source]).double()
    for power, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170)):
        assert abs(z(x**power, mean, variance)) < 4, power
    for edge in (0.01, 0.5, 2.0, 4.0):
        beyond = math.erfc(edge / math.sqrt(2))
        assert abs(z((x.abs() > edge).double(), beyond, beyond * (1 - beyond))) < 4, edge
    ordered = x.sort().values
    law = 0.5 * torch.erfc(-ordered / math.sqrt(2))
    distance = (law - (torch.arange(N) + 0.5) / N).abs().max().item()
    assert distance < 1.95 / math.sqrt(N)  # Kolmogorov and Smirnov, 0.1 %


@pytest.mark.parametrize("source", ["hashed", "key"])
def test_uniform_numbers_fill_the_unit_interval_evenly(source):
    u = uniform(torch.empty(N), sources()[source])
    assert u.min() >= 0
    assert u.max() < 1
    cells = torch.histc(u, 1000, 0, 1).double()
    chi = ((cells - N / 1000) ** 2 / (N / 1000)).sum().item()
    assert abs(chi - 999) < 4 * math.sqrt(2 * 999)


@pytest.mark.parametrize("source", ["hashed", "key"])
@pytest.mark.parametrize("draw", [normal, uniform])
def test_positions_and_draws_do_not_know_of_each_other(draw, source):
    origin = sources()[source]
    first, second = (draw(torch.empty(N), origin).double() for _ in range(2))
    scaled = [(x - x.mean()) / x.std() for x in (first, second, first**2, second**2)]
    for a, b in ((0, 1), (0, 3), (2, 3), (2, 1)):
        assert abs(z(scaled[a] * scaled[b], 0, 1)) < 4
    for lag in (1, 2, 28, 784, N // 2, N // 2 + 1):
        for x in scaled[0], scaled[2]:
            assert abs(z(x[lag:] * x[:-lag], 0, 1)) < 4.5, lag


def test_means_over_many_draws_are_as_noisy_as_they_should_be():
    # numbers that came back from draw to draw, or were spread too evenly, would show here
    source = gen(5)
    x = torch.stack([normal(torch.empty(2 * FEW), source) for _ in range(300)]).double()
    for means, size in ((x.mean(0), 300), (x.mean(1), 2 * FEW)):
        spread = means.std().item() * math.sqrt(size)
        assert abs(spread - 1) < 4 / math.sqrt(2 * means.numel())
    neighbours = (x[1:] * x[:-1]).mean(1) * math.sqrt(2 * FEW)
    assert abs(neighbours.std().item() - 1) < 4 / math.sqrt(2 * 299)


def test_the_seed_decides_and_the_generator_moves_on():
    one, same, source = normal(torch.empty(N), gen(1)), normal(torch.empty(N), gen(1)), gen(1)
    assert torch.equal(one, same)
    assert torch.equal(one, normal(torch.empty(N), source))
    assert not torch.equal(one, normal(torch.empty(N), source))
    assert len(hashed_words(100_000, gen(2)).unique()) == 100_000


def test_odd_numbers_other_dtypes_and_small_tensors():
    assert normal(torch.empty(FEW + 1), gen()).shape == (FEW + 1,)
    assert normal(torch.empty(FEW + 1, dtype=torch.float64), gen()).dtype == torch.float64
    assert torch.equal(normal(torch.empty(3), gen()), torch.randn(3, generator=gen()))
    assert uniform(torch.empty(0, 5), gen()).shape == (0, 5)
    with pytest.raises(NeurofaError, match="pass gen="):
        normal(torch.empty(3), None)
