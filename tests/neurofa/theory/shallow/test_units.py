"""Gaussian averages of the shallow problem: closed forms against Monte Carlo and against quadrature."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hwmodels.errors import NeurofaError
from neurofa.theory.shallow.units import UNITS, find_units

CLOSED = ["erf", "linear"]


def covariance(seed, n=4):
    gen = np.random.default_rng(seed)
    factor = gen.normal(size=(n, n))
    return factor @ factor.T / 2


def integrands(units):
    def g(u):
        return units.g(torch.from_numpy(u)).numpy()

    def slope(u):
        return units.slope(torch.from_numpy(u)).numpy()

    return {
        "i2": (2, lambda u: g(u[0]) * g(u[1])),
        "j2": (2, lambda u: slope(u[0]) * slope(u[1])),
        "i3": (3, lambda u: slope(u[0]) * u[1] * g(u[2])),
        "i4": (4, lambda u: slope(u[0]) * slope(u[1]) * g(u[2]) * g(u[3])),
    }


def z_score(units, name, c, claimed, samples=400_000):
    n, integrand = integrands(units)[name]
    gen = np.random.default_rng(1)
    # a covariance may be singular, where two fields are one
    values, vectors = np.linalg.eigh(c[:n, :n])
    u = (vectors * np.sqrt(values.clip(0))) @ gen.normal(size=(n, samples))
    seen = integrand(u)
    return (seen.mean() - claimed) / (seen.std() / samples**0.5)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", ["i2", "j2", "i3", "i4"])
@pytest.mark.parametrize("activation", CLOSED)
def test_closed_forms_agree_with_monte_carlo(activation, name, seed):
    units, c = find_units(activation), covariance(seed)
    n, _ = integrands(units)[name]
    if (activation, name) == ("linear", "j2"):
        assert units.j2(c[:2, :2]) == 1  # no spread to measure
        return
    claimed = float(getattr(units, name)(c[:n, :n]))
    assert abs(z_score(units, name, c, claimed)) < 4.5
    # two fields exchanged that are no equals, and the sample tells
    order = {"i2": [0, 0], "j2": [0, 0], "i3": [2, 1, 0], "i4": [0, 2, 1, 3]}[name]
    wrong = float(getattr(units, name)(c[np.ix_(order, order)]))
    assert abs(z_score(units, name, c, wrong)) > 10


@pytest.mark.parametrize("name", ["i2", "i3", "i4"])
def test_fields_may_be_one_and_the_same(name):
    units, twice = find_units("erf"), np.array([0, 1, 0, 1])
    c = covariance(2, n=2)[np.ix_(twice, twice)]
    n, _ = integrands(units)[name]
    assert abs(z_score(units, name, c, float(getattr(units, name)(c[:n, :n])))) < 4.5


@pytest.mark.parametrize("name", ["i2", "j2", "i3", "i4"])
@pytest.mark.parametrize("activation", CLOSED)
def test_closed_forms_agree_with_quadrature(activation, name):
    units, c = find_units(activation), covariance(3) / 4  # so small that few nodes do
    n, integrand = integrands(units)[name]
    nodes, weights = np.polynomial.hermite_e.hermegauss({2: 60, 3: 40, 4: 22}[n])
    z = np.stack(np.meshgrid(*[nodes] * n, indexing="ij")).reshape(n, -1)
    w = np.stack(np.meshgrid(*[weights] * n, indexing="ij")).reshape(n, -1).prod(0) / (2 * np.pi) ** (n / 2)
    u = np.linalg.cholesky(c[:n, :n]) @ z
    assert getattr(units, name)(c[:n, :n]) == pytest.approx((w * integrand(u)).sum(), rel=2e-4)


def test_rectified_pairs():
    relu, c = UNITS["relu"], covariance(0)[:2, :2]
    claimed = float(relu.i2(c))
    assert abs(z_score(relu, "i2", c, claimed)) < 4.5
    assert abs(z_score(relu, "i2", c, float(UNITS["linear"].i2(c)))) > 10
    assert relu.i2(np.array([[2.0, 2.0], [2.0, 2.0]])) == pytest.approx(1.0)  # half of the second moment
    assert relu.i2(np.array([[2.0, -2.0], [-2.0, 2.0]])) == pytest.approx(0.0, abs=1e-12)
    assert relu.i2(np.array([[0.0, 0.0], [0.0, 3.0]])) == 0


@pytest.mark.parametrize("activation", UNITS)
def test_slopes_are_derivatives(activation):
    units = UNITS[activation]
    u = torch.linspace(-3, 3, 13, dtype=torch.float64).add(0.01).requires_grad_()
    units.g(u).sum().backward()
    assert u.grad is not None
    torch.testing.assert_close(units.slope(u.detach()), u.grad)


def test_many_at_once_and_unknown_names():
    erf = UNITS["erf"]
    stack = np.stack([covariance(seed) for seed in range(6)]).reshape(2, 3, 4, 4)
    both = erf.i4(stack)
    assert both.shape == (2, 3)
    assert both[1, 2] == erf.i4(stack[1, 2])
    with pytest.raises(NeurofaError, match="did you mean 'relu'"):
        find_units("rleu")
