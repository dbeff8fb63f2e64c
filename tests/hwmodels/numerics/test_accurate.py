"""Digits near zero, eager and in what a compiler is given."""

import pytest
import torch

from hwmodels.numerics.accurate import expm1_


@pytest.mark.parametrize("compiling", [False, True])
def test_small_numbers_keep_their_digits(monkeypatch, compiling):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: compiling)
    x = torch.cat([sign * torch.logspace(-12, 1, 300) for sign in (-1, 1)])
    wanted = x.double().expm1()
    assert ((expm1_(x.clone()) - wanted) / wanted).abs().max() < 2e-6
    naive = (x.exp() - 1).double()
    assert ((naive - wanted) / wanted).abs().max() > 0.5
