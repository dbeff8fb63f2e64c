"""Drawn torch models become equal networks with equal gradients, or are refused by name; none is wrong."""

import collections
import copy
import re
import warnings

import pytest
import torch
from torch import nn

from neurofa import Learner, NeurofaError, from_sequential
from neurofa.core.network import evaluating
from neurofa.maps.wrapped import independent_copy
from tests.neurofa.interop.drawn_modules import FunctionalDropout, Noisy, drawn_model

RANDOM = (nn.modules.dropout._DropoutNd, Noisy, FunctionalDropout, nn.RReLU)


def draws(model):
    """Whether a model draws numbers in training."""
    inner = [getattr(m, "dropout", 0.0) for m in model.modules()]
    return any(isinstance(m, RANDOM) for m in model.modules()) or any(isinstance(p, float) and p for p in inner)


def gradients(model, x, labels):
    """Gradients of the mean loss by autograd, by parameter in order; zeros where there is none."""
    y = model(x.clone())
    weights = [p for p in model.parameters() if p.requires_grad]
    loss = nn.functional.cross_entropy(y, labels)
    found = iter(torch.autograd.grad(loss, weights, allow_unused=True) if weights else ())
    of = {p: next(found) for p in weights}
    return y.detach(), [torch.zeros_like(p) if of.get(p) is None else of[p] for p in model.parameters()]


def agree(model, network, x, labels):
    """Assert equal outputs and equal changes of the weights by one step; False if torch itself cannot train it."""
    try:
        y, wanted = gradients(model, x, labels)
    except RuntimeError as error:
        if "inplace operation" not in str(error):
            raise
        return False  # two modules in a row that work in place
    before = [p.detach().clone() for p in network.parameters()]
    learning = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(learning or network.parameters(), lr=1.0)
    result = Learner(network, "bp", optimizer=optimizer).step(x, labels)
    close = 1e-8 if x.dtype == torch.float64 else 1e-3
    torch.testing.assert_close(result.y, y, rtol=close, atol=close)
    for old, p, gradient in zip(before, network.parameters(), wanted, strict=True):
        size = float(gradient.abs().max())
        torch.testing.assert_close(old - p.detach(), gradient, rtol=close, atol=close * max(size, 1.0))
    return True


def verdict(seed):
    """ "equal", or why the drawn model is refused."""
    model, shape = drawn_model(seed)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    modes = [m.training for m in model.modules()]
    drawn, refusal = torch.get_rng_state(), ""
    try:
        network = from_sequential(model, shape)
    except NeurofaError as error:
        refusal = str(error)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert modes == [m.training for m in model.modules()]
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    if refusal:
        assert "\n" not in refusal
        assert "expected" in refusal
        assert re.search("module|layer", refusal)
        return re.sub(r"'[^']*'|\([^()]*\)|\b[0-9.e+-]+\b", "_", refusal.split(";")[0])[:70]
    like = next(model.parameters())
    gen = torch.Generator().manual_seed(seed)
    x = torch.randn(5, *shape, generator=gen).to(like)
    labels = torch.randint(0, 3, (5,), generator=gen)
    if not draws(model):
        agree(independent_copy(model), copy.deepcopy(network), x, labels)
        agree(independent_copy(model).train(), copy.deepcopy(network).train(), x, labels)
    with evaluating(network), torch.no_grad():
        twin = independent_copy(model).eval()
        torch.testing.assert_close(network(x.clone()), twin(x.clone()), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(network.module()(x.clone()), twin(x.clone()), rtol=1e-4, atol=1e-4)
    if not agree(independent_copy(model).eval(), copy.deepcopy(network).eval(), x, labels):
        return "equal outputs of a model that torch itself cannot train"
    if draws(model):
        torch.manual_seed(1)
        first = network.train()(x, torch.Generator().manual_seed(3))
        torch.manual_seed(2)
        assert torch.equal(first, network(x, torch.Generator().manual_seed(3)))
        return "equal, drawn from the seed"
    return "equal"


@pytest.mark.sample(1)
@pytest.mark.parametrize("first", range(0, 40, 10))
def test_drawn_models_are_equal_or_refused(first):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        counts = collections.Counter(verdict(seed) for seed in range(first, first + 10))
    assert sum(n for reason, n in counts.items() if reason.startswith("equal")) >= 5, counts


@pytest.mark.slow
def test_five_hundred_drawn_models_are_equal_or_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        counts = collections.Counter(verdict(seed) for seed in range(1000, 1500))
    for reason, n in counts.most_common():
        print(f"{n:4}  {reason}")
    assert sum(n for reason, n in counts.items() if reason.startswith("equal")) >= 350, counts
