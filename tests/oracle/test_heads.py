"""Local losses against autograd of the losses themselves."""

import math

import pytest
import torch

from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa import Learner
from neurofa.core.randomness import generator
from neurofa.training.learner import loss_and_teaching
from neurofa.training.replay import collect, record
from tests.oracle.test_bp_is_autograd import directions
from tests.oracle.test_rules import batch

NETS = [
    ("mlp(hidden=[9, 8], norm=layer)", (6,), 1),
    ("cnn(channels=[3, 4], kernel=3, hidden=8, norm=batch)", (3, 8, 8), -2),
    ("vit(width=8, heads=2, depth=2)", (3, 8, 8), 2),
]


def made(spec, shape, outputs=5):
    return build("network", spec, input_shape=shape, outputs=outputs, seed=1).double()


def bound(spec, network):
    rule = build("rule", spec)
    return rule, Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=0.1))


def credit_of(network, rule, learner, x, labels, seed=0):
    tick = record(network, rule, x, generator(0))
    return tick, collect(network, rule, tick, loss_and_teaching(learner.loss, tick.y, labels)[1], generator(seed))


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize(("spec", "shape", "axis"), NETS)
def test_exact_local_gradients_are_those_of_autograd(spec, shape, axis, groups):
    network = made(spec, shape)
    x, labels = batch(6, shape, 5)
    rule, learner = bound(f"local_loss(gradient=exact, groups={groups})", network)
    tick, credit = credit_of(network, rule, learner, x, labels)
    bp = directions(network, "bp", x, labels)
    served = 0
    for name in rule.shapes:
        view = tick.views[name]
        params = {k: w.clone().requires_grad_() for k, w in view.params.items()}
        head = rule.head(name).weight.detach().clone().requires_grad_()
        with torch.enable_grad():
            h = network.layer(name).compute(params, view.x, view.before)[0]
            f = h if h.dim() == 2 else h.mean((2, 3)) if h.dim() == 4 else h.mean(1)
            pairs = zip(f.tensor_split(groups, 1), head.tensor_split(groups, 1), strict=True)
            loss = sum(torch.nn.functional.cross_entropy(part @ a.t(), labels, reduction="sum") for part, a in pairs)
            loss.backward()
        for key, leaf in params.items():
            if leaf.grad is not None:
                assert torch.allclose(credit.directions[name][key], leaf.grad, atol=1e-10), (name, key)
        assert torch.allclose(credit.plastic[name]["head"], head.grad, atol=1e-10)
        key = max(params, key=lambda k: params[k].dim())
        assert not torch.allclose(credit.directions[name][key], bp[f"{name}.{key}"], atol=1e-3)
        served += 1
    assert served >= 2


@pytest.mark.sample(1)
@pytest.mark.parametrize("groups", [1, 3])
def test_forward_local_gradients_are_unbiased(groups):
    network = made("mlp(hidden=[6, 5])", (4,), 3)
    x, labels = batch(4, (4,), 3)
    rule, learner = bound(f"local_loss(groups={groups})", network)
    exact, other = bound(f"local_loss(gradient=exact, groups={groups})", network)
    for name in rule.shapes:
        exact.head(name).program(rule.head(name).weight.detach())
    wanted = credit_of(network, exact, other, x, labels)[1].directions
    runs = [credit_of(network, rule, learner, x, labels, seed)[1].directions for seed in range(10_000, 10_600)]
    for name in rule.shapes:
        found = torch.stack([run[name]["weight"] for run in runs])
        error = found.std(0) / math.sqrt(len(runs))
        assert float(((found.mean(0) - wanted[name]["weight"]) / error).abs().max()) < 4.5
        assert float(((found.mean(0) + wanted[name]["weight"]) / error).abs().max()) > 4.5


@pytest.mark.long
def test_more_probes_and_smaller_groups_lower_the_variance():
    network = made("mlp(hidden=[12, 12])", (4,), 3)
    x, labels = batch(4, (4,), 3)

    def variance(options):
        rule, learner = bound(f"local_loss({options})", network)
        runs = [credit_of(network, rule, learner, x, labels, seed)[1].directions for seed in range(200)]
        found = torch.stack([run["dense0"]["weight"] for run in runs])
        return float(found.var(0).sum() / found.mean(0).square().sum())

    one = variance("groups=1")
    assert variance("groups=1, probes=8") < 0.5 * one
    assert variance("groups=6") < 0.7 * one


def test_random_feedback_that_equals_the_head_is_exact():
    network = made("mlp(hidden=[6, 5])", (4,), 3)
    x, labels = batch(4, (4,), 3)
    rule, learner = bound("local_loss(gradient=random)", network)
    exact, other = bound("local_loss(gradient=exact)", network)
    for name in rule.shapes:
        exact.head(name).program(rule.head(name).weight.detach())
    wanted = credit_of(network, exact, other, x, labels)[1].errors
    assert not torch.allclose(credit_of(network, rule, learner, x, labels)[1].errors["dense0"], wanted["dense0"])
    for name in rule.shapes:
        rule.backs[name].program(rule.head(name).weight.detach())
    found = credit_of(network, rule, learner, x, labels)[1].errors
    for name in rule.shapes:
        assert torch.allclose(found[name], wanted[name], atol=1e-12)


def test_fixed_heads_stay():
    network = made("mlp(hidden=[6, 5])", (4,), 3)
    for heads, stays in (("fixed", True), ("learn", False)):
        rule, learner = bound(f"local_loss(heads={heads})", network)
        before = rule.head("dense0").weight.detach().clone()
        learner.step(*batch(4, (4,), 3))
        assert torch.equal(rule.head("dense0").weight.detach(), before) is stays


@pytest.mark.parametrize(
    "spec",
    [
        "local_loss(gradient=x)",
        "local_loss(probes=0)",
        "local_loss(groups=0)",
        "local_loss(heads=x)",
        "local_guess(space=x)",
    ],
)
def test_wrong_options_are_refused(spec):
    with pytest.raises(NeurofaError, match="expected"):
        build("rule", spec)


def test_there_are_at_most_as_many_groups_as_channels():
    network = made("mlp(hidden=[6, 5])", (4,), 3)
    rule, learner = bound("local_loss", network)
    learner.step(*batch(4, (4,), 3))
    assert rule.groups == 8
    assert [len(heard.errors) for heard in rule._heard.values()] == [5, 6]
    assert bound("local_loss(gradient=exact)", network)[0].groups == 1
