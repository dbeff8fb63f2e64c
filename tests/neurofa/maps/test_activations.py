"""Activations with options are those of torch, and are found for its modules."""

import pytest
import torch
from torch import nn

from hwmodels.registry import build
from neurofa import NeurofaError
from neurofa.maps.activations import from_module

MODULES = {
    "leaky_relu": nn.LeakyReLU(inplace=True),
    "leaky_relu(slope=0.2)": nn.LeakyReLU(0.2),
    "elu": nn.ELU(),
    "elu(alpha=0.5)": nn.ELU(0.5, inplace=True),
    "relu6": nn.ReLU6(inplace=True),
    "softplus": nn.Softplus(),
    "relu": nn.ReLU(inplace=True),
    "gelu": nn.GELU(),
}


@pytest.mark.parametrize("spec", MODULES)
def test_a_module_is_found_and_computed(spec):
    found = from_module(MODULES[spec])
    assert repr(found) == spec
    a = torch.linspace(-8, 25, 67, dtype=torch.float64).requires_grad_()
    y = MODULES[spec](a.clone())
    assert torch.allclose(found.forward(a.detach().clone()), y)
    (slope,) = torch.autograd.grad(y.sum(), a)
    assert torch.allclose(found.derivative(a.detach()), slope)


@pytest.mark.parametrize("module", [nn.LeakyReLU(-0.1), nn.ELU(-1.0), nn.Softplus(beta=2), nn.GELU("tanh"), nn.PReLU()])
def test_what_has_no_counterpart_is_not_found(module):
    assert from_module(module) is None


@pytest.mark.parametrize("spec", ["leaky_relu(slope=-1)", "elu(alpha=-1)"])
def test_wrong_options_are_refused(spec):
    with pytest.raises(NeurofaError, match="expected 0 or more"):
        build("activation", spec)
