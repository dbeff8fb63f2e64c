"""Feedback of low rank against what its equations say."""

import pytest
import torch

from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa import Learner
from neurofa.core.directions import LowRank, Outer
from neurofa.core.randomness import generator
from neurofa.families.low_rank import P, Q, along_p, along_q, oja, standardised
from neurofa.rules.ldfa import truncated
from neurofa.training.learner import loss_and_teaching
from neurofa.training.replay import collect, record
from tests.oracle.test_bp_is_autograd import directions
from tests.oracle.test_rules import batch

SPECS = [
    ("mlp(hidden=[9, 7], norm=layer)", (6,)),
    ("cnn(channels=[3, 4], kernel=3, hidden=10, norm=batch)", (3, 8, 8)),
    ("vgg(plan=[4, M, 6], norm=batch)", (3, 8, 8)),
    ("resnet20(width=4, blocks=1)", (3, 8, 8)),
    ("vit(width=8, heads=2, depth=2)", (3, 8, 8)),
]


def bound(rule, spec, shape, *, lr=0.1, seed=0):
    network = build("network", spec, input_shape=shape, outputs=5, seed=seed).double()
    made = build("rule", rule)
    learner = Learner(network, made, optimizer=torch.optim.SGD(network.parameters(), lr=lr), clip=1e12)
    return network, made, learner


def credit_of(network, rule, learner, x, labels):
    tick = record(network, rule, x, generator(0))
    return collect(network, rule, tick, loss_and_teaching(learner.loss, tick.y, labels)[1], generator(0))


@pytest.mark.sample(9)
@pytest.mark.parametrize("rule", ["raf(rank=1000)", "ldfa_local(rank=1000)", "ldfa_normative(rank=1000)"])
@pytest.mark.parametrize(("spec", "shape"), SPECS)
def test_factors_of_the_weight_itself_are_bp(rule, spec, shape):
    network, made, learner = bound(rule, spec, shape)
    x, labels = batch(8, shape, 5)
    wanted = directions(network, "bp", x, labels)
    for name, layer in network.items():
        for key in layer.traits.returning:
            weight = layer.synapses[key].weight.detach()
            if key in made.maps(name):
                whole = truncated(weight, min(len(weight), weight[0].numel()), generator(0))
                made.factor(name, P + key).program(whole.p)
                made.factor(name, Q + key).program(whole.q)
            elif key in made.beside(name):
                made.beside(name)[key].program(weight)
    credit = credit_of(network, made, learner, x, labels)
    for name, found in credit.directions.items():
        for key, direction in found.items():
            assert torch.allclose(direction, wanted[f"{name}.{key}"], atol=1e-9), (name, key)
    # the control: other factors give other directions
    top = made.plan.readout.name
    factor = made.factor(top, Q + made.maps(top)[0])
    factor.program(factor.weight.detach().flip(0))
    lowest = made.plan.sites[0]
    other = credit_of(network, made, learner, x, labels).directions[lowest.name]
    key = next(iter(lowest.returning))
    assert not torch.allclose(other[key], wanted[f"{lowest.name}.{key}"], atol=1e-6)


@pytest.mark.sample(3)
@pytest.mark.parametrize(("spec", "shape"), SPECS)
def test_raf_with_p_the_identity_is_kp(spec, shape):
    x, labels = batch(8, shape, 5)
    first, kp, run = bound("kp(decay=0)", spec, shape)
    second, raf, other = bound("raf(p=identity)", spec, shape)
    for name, layer in first.items():
        for key in layer.traits.returning:
            if key in raf.maps(name):
                raf.factor(name, Q + key).program(kp.beside(name)[key].weight.detach())
    for _ in range(3):
        run.step(x, labels)
        other.step(x, labels)
    for name, layer in first.items():
        for key in layer.synapses.read():
            assert torch.allclose(layer.synapses[key].weight, second.layer(name).synapses[key].weight, atol=1e-10)
    # the control: at rank 1 the same start goes elsewhere
    third, _, narrow = bound("raf(rank=1)", spec, shape)
    for _ in range(3):
        narrow.step(x, labels)
    lowest, key = next((n, k) for n, layer in first.items() for k in layer.traits.returning)
    ours, theirs = (n.layer(lowest).synapses[key].weight for n in (first, third))
    assert not torch.allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize(("spec", "shape"), SPECS)
def test_q_follows_p_transposed_times_the_change_of_w(spec, shape):
    network, made, learner = bound("raf(rank=3)", spec, shape)
    x, labels = batch(8, shape, 5)
    credit = credit_of(network, made, learner, x, labels)
    seen = 0
    for site in made.plan.sites:
        for key in made.maps(site.name):
            p = made.factor(site.name, P + key).weight.detach()
            wanted = torch.einsum("or,o...->r...", p, credit.directions[site.name][key])
            assert torch.allclose(credit.plastic[site.name][Q + key], wanted, atol=1e-11)
            seen += 1
    assert seen >= 2


def test_local_factors_follow_the_change_of_w():
    network, made, learner = bound("ldfa_local(rank=3)", "mlp(hidden=[9, 7])", (6,))
    x, labels = batch(8, (6,), 5)
    credit = credit_of(network, made, learner, x, labels)
    p, q = (made.factor("dense2", which + "weight").weight.detach() for which in (P, Q))
    change = credit.directions["dense2"]["weight"]
    assert torch.allclose(credit.plastic["dense2"][P + "weight"], change @ q.t(), atol=1e-12)
    assert torch.allclose(credit.plastic["dense2"][Q + "weight"], p.t() @ change, atol=1e-12)


def test_factored_and_dense_directions_agree():
    gen = generator(0)
    back = LowRank(torch.randn(6, 2, generator=gen), torch.randn(2, 5, generator=gen))
    outer = Outer(torch.randn(8, 6, generator=gen), torch.randn(8, 5, generator=gen))
    for along in (along_p, along_q):
        assert torch.allclose(along(back, outer).dense(), along(back, outer.dense()), atol=1e-5)


def test_oja_ends_orthonormal_in_the_leading_directions():
    gen = generator(0)
    basis = torch.linalg.qr(torch.randn(12, 12, generator=gen, dtype=torch.float64))[0]
    size = torch.tensor([3.0, 2.5, 2.0, *[0.3] * 9], dtype=torch.float64)
    z = torch.randn(4000, 12, generator=gen, dtype=torch.float64) * size @ basis.t()
    z = z - z.mean(0)
    p = torch.randn(12, 3, generator=gen, dtype=torch.float64) * 0.1
    for _ in range(2000):
        p = p - 0.02 * oja(p, z) / len(z)
    assert torch.allclose(p.t() @ p, torch.eye(3, dtype=torch.float64), atol=1e-6)
    leading = torch.linalg.eigh(z.t() @ z)[1][:, -3:]
    assert torch.allclose(p @ p.t(), leading @ leading.t(), atol=1e-6)
    assert oja(leading, z).abs().max() < 1e-9 * (z.t() @ z).abs().max()


def test_oja_follows_the_errors_at_each_map_of_a_block():
    network, made, learner = bound("raf(rank=3, step=None)", "vit(width=8, heads=2, depth=1)", (3, 8, 8))
    x, labels = batch(8, (3, 8, 8), 5)
    credit = credit_of(network, made, learner, x, labels)
    block = next(s.name for s in made.plan.sites if any("qkv" in k for k in s.returning))
    for key in made.maps(block):
        error = credit.inner[block][key]
        z = standardised(error)
        p = made.factor(block, P + key).weight.detach()
        wanted = -(z.t() @ z @ p - p @ (p.t() @ z.t() @ z @ p))
        assert torch.allclose(credit.plastic[block][P + key], wanted, atol=1e-9), key
        # what the bias learns is the sum of the errors at the map's output
        bias = credit.directions[block][key.replace("weight", "bias")]
        assert torch.allclose(error.flatten(0, -2).sum(0), bias, atol=1e-9)


def test_ranks_are_those_asked_for():
    _, made, _ = bound("raf(rank=2)", "vit(width=8, heads=2, depth=1)", (3, 8, 8))
    ranks = {key: made.factor(s.name, P + key).weight.shape[1] for s in made.plan.sites for key in made.maps(s.name)}
    assert ranks.pop("qkv.weight") == 6
    assert set(ranks.values()) == {2}
    _, made, _ = bound("raf(rank=2, only=[dense1])", "mlp(hidden=[9, 7])", (6,))
    assert made.factor("dense1", P + "weight").weight.shape == (7, 2)
    assert made.factor("dense2", P + "weight").weight.shape == (5, 5)
    assert made.maps("dense0") == []


def test_normative_factors_are_the_truncated_decomposition_again_every_so_often():
    network, made, learner = bound("ldfa_normative(rank=3, every=2)", "mlp(hidden=[9, 7])", (6,), lr=0.05)
    x, labels = batch(8, (6,), 5)

    def off() -> float:
        u, s, v = torch.linalg.svd(network.layer("dense2").synapses["weight"].weight.detach())
        best = u[:, :3] * s[:3] @ v[:3]
        back = LowRank(*(made.factor("dense2", which + "weight").weight.detach() for which in (P, Q)))
        return float((back.dense() - best).norm() / best.norm())

    def look() -> None:
        record(network, made, x, generator(0))

    look()
    assert off() < 1e-3
    learner.step(x, labels)
    look()
    assert off() > 1e-4
    learner.step(x, labels)
    look()
    assert off() < 1e-3


@pytest.mark.parametrize(
    "spec",
    [
        "raf(rank=0)",
        "raf(p=sideways)",
        "raf(q=sideways)",
        "raf(oja=0)",
        "raf(clamp=-1)",
        "ldfa_local(init=x)",
        "ldfa_normative(every=-1)",
    ],
)
def test_wrong_options_are_refused(spec):
    with pytest.raises(NeurofaError, match="expected"):
        build("rule", spec)


def test_unknown_layers_are_refused():
    with pytest.raises(NeurofaError, match="dense9"):
        bound("raf(only=[dense9])", "mlp(hidden=[9, 7])", (6,))


def test_two_factors_keep_directions_of_singular_value_one_only():
    """With dW = -d W the factors follow P <- (1 - d) P + d W Q^T and Q <- (1 - d) Q + d P^T W."""
    gen = torch.Generator().manual_seed(0)
    u, v = (torch.linalg.qr(torch.randn(6, 3, dtype=torch.float64, generator=gen))[0] for _ in range(2))
    w = u @ torch.tensor([1.3, 1.0, 0.6]).double().diag() @ v.t()
    _, rule, _ = bound("ldfa_local(rank=3)", "mlp(hidden=[6, 6], bias=False)", (6,))
    p, q = (rule.factor("dense1", which + "weight") for which in (P, Q))
    decay, sizes = 0.05, []
    for _ in range(300):
        back = LowRank(p.weight.data.double(), q.weight.data.double())
        sizes.append((u.t() @ back.dense() @ v).diagonal().abs())
        learnt = rule.learn("dense1", "weight", back, None, -decay * w)
        for factor, key in ((p, P + "weight"), (q, Q + "weight")):
            factor.weight.data.mul_(1 - decay).sub_(learnt[key])
    growing, kept, dying = sizes[-1] / sizes[100]
    assert growing > 10
    assert kept == pytest.approx(1, abs=0.2)
    assert dying < 0.1
    assert not torch.allclose(LowRank(p.weight.data, q.weight.data).dense(), w, rtol=0.1)
