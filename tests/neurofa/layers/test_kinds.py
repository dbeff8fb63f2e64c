"""Layers that models use are taken as they compute, learn by every family of rules, and are counted."""

import pytest
import torch
from torch import nn

from hwmodels.registry import build
from neurofa import Block, Learner, Network, NeurofaError, from_sequential
from neurofa.audit.step import audit
from neurofa.core.directions import dense
from neurofa.core.layer import vjp
from neurofa.core.randomness import generator
from neurofa.core.view import LocalView
from neurofa.maps.jvp import tangent
from neurofa.maps.trace import products
from neurofa.testing.flops import FlopCounter
from tests.neurofa.layers import kinds
from tests.oracle.test_bp_is_autograd import directions

# torch says once that an uneven padding costs a copy
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")
LABELS = torch.tensor([0, 1, 2, 1])


def sgd(network):
    return torch.optim.SGD(network.parameters(), lr=0.01)


@pytest.mark.sample(8)
@pytest.mark.parametrize("name", [*kinds.KINDS, *kinds.POOLS])
def test_bp_of_a_converted_model_is_autograd(name):
    model, x = kinds.model(name).double(), kinds.sample(name).double()
    network = from_sequential(model, x.shape[1:])
    assert torch.allclose(network(x), model(x), rtol=1e-10, atol=1e-12)
    found = list(directions(network, "bp", x, LABELS).values())
    nn.functional.cross_entropy(model(x), LABELS, reduction="sum").backward()
    wanted = [p.grad for p in model.parameters()]
    assert len(found) == len(wanted)
    # the readout comes first, the weights of a layer in their own order
    for gradient in wanted:
        (same,) = [g for g in found if g.shape == gradient.shape and torch.allclose(g, gradient, rtol=1e-9, atol=1e-10)]
        assert same is not None


def block_and_view(name, *, own):
    """A block in float64, and its view with a random error; return weights are its own, or equal copies."""
    block = Block(kinds.module(name)).train()
    block.initialise(build("device", "digital"), generator(0, "block"))
    block.double()
    x, params = kinds.sample(name).double(), block.synapses.read()
    back = params if own else {key: params[key].clone() for key in block.traits.returning}
    with torch.no_grad():
        y, after, graph = block.record(params, x, {}, back, True)
    error = torch.randn(y.shape, generator=generator(2, "error"), dtype=y.dtype)
    return block, LocalView(x, y, params, {}, after, back, graph, error=error)


@pytest.mark.sample(8)
@pytest.mark.parametrize("name", kinds.KINDS)
def test_errors_return_through_equal_copies_as_through_the_weights(name):
    block, view = block_and_view(name, own=False)
    with torch.no_grad():
        local = block.backprop_local(view)
        found, below = dense(block.pullback(local)), block.input_error(local, view.return_weights)
    wanted, wanted_below = vjp(block, view)
    assert torch.allclose(below, wanted_below, rtol=1e-9, atol=1e-11)
    for key, gradient in wanted.items():
        assert torch.allclose(found[key], gradient, rtol=1e-9, atol=1e-10), key


@pytest.mark.sample(6)
@pytest.mark.parametrize("name", kinds.KINDS)
def test_the_tangent_is_the_adjoint(name):
    block, view = block_and_view(name, own=True)
    directions, below = vjp(block, view)
    gen = generator(4, "changes")
    moved = {k: torch.randn(w.shape, generator=gen, dtype=w.dtype) for k, w in view.params.items()}
    dot = torch.randn(view.x.shape, generator=gen, dtype=view.x.dtype)
    with torch.no_grad():
        change = tangent(block, view, dot, moved)
    expected = (below * dot).sum() + sum((directions[k] * moved[k]).sum() for k in moved)
    assert float((change * view.error).sum()) == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.sample(6)
@pytest.mark.parametrize("name", [name for name in kinds.KINDS if name != "attention with weights"])
def test_products_are_counted_to_the_flop(name):
    block, view = block_and_view(name, own=True)
    work = products(block, tuple(view.x.shape), sends=True)
    with torch.no_grad(), FlopCounter() as counter:
        block.compute(view.params, view.x, {})
    assert work.forward == counter.flop


def test_products_that_are_written_out_are_refused_by_name():
    block, view = block_and_view("attention with weights", own=True)
    with pytest.raises(NeurofaError, match="block with products that cannot be attributed"):
        products(block, tuple(view.x.shape), sends=True)


@pytest.mark.sample(5)
@pytest.mark.parametrize(
    ("name", "rule"),
    [(name, "dfa") for name in list(kinds.KINDS)[::3]]
    + [(name, "fa") for name in kinds.KINDS]
    + [(name, "kp") for name in list(kinds.KINDS)[1::3]],
)
def test_rules_learn_locally_on_a_device(name, rule):
    network = kinds.network(name, "pcm")
    x = kinds.sample(name)
    report = audit(rule, network, x, LABELS)
    assert report.agrees, report.verdict
    assert report.local, report.verdict
    before = {key: w.detach().clone() for key, w in network.named_parameters()}
    learner = Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=0.5))
    for _ in range(3):
        assert torch.isfinite(learner.step(x, LABELS).loss)
    matrices = [key for key, w in network.named_parameters() if w.dim() > 1 and not torch.equal(w, before[key])]
    assert len(matrices) > 2


@pytest.mark.sample(5)
@pytest.mark.parametrize(
    ("name", "rule"),
    [(name, "raf(rank=2)") for name in kinds.KINDS] + [(name, "weight_mirror") for name in list(kinds.KINDS)[::4]],
)
def test_other_rules_learn_or_refuse_by_name(name, rule):
    network, x = kinds.network(name), kinds.sample(name)
    learner = Learner(network, rule, optimizer=sgd(network))
    refused = kinds.LOW_RANK_REFUSED.get(name) if rule.startswith("raf") else None
    if refused is None:
        assert torch.isfinite(learner.step(x, LABELS).loss)
        return
    with pytest.raises(NeurofaError, match=f"low rank .*{refused}"):
        learner.step(x, LABELS)


def test_a_pooling_that_returns_its_indices_is_refused():
    with pytest.raises(NeurofaError, match=r"got a tuple from a MaxPool2d; expected one tensor"):
        Block(nn.MaxPool2d(2, return_indices=True)).compute({}, torch.randn(2, 3, 8, 8), {})


def test_noise_through_maps_correlates_as_their_weights():
    for name in ("transposed 1d", "conv3d", "cross attention"):
        block = Block(kinds.module(name))
        block.initialise(build("device", "digital"), generator(0, "block"))
        params = block.synapses.read()
        found = dense(block.mirror(params, kinds.sample(name, 4000), 1.0, torch.Generator().manual_seed(0)))
        for key, correlation in found.items():
            assert torch.allclose(correlation, params[key], atol=0.12), (name, key)


@pytest.mark.parametrize("tail", [nn.LogSoftmax(1), nn.Softmax(1)])
def test_a_softmax_at_the_end_is_refused_and_trained_through_in_one_block(tail):
    head = nn.Linear(4, 3)
    with pytest.raises(NeurofaError, match="put it in one Block with the layer before it"):
        from_sequential(nn.Sequential(nn.Linear(4, 4), head, tail), (4,))
    model = nn.Sequential(head, tail).double()
    x = torch.randn(4, 4, dtype=torch.float64)
    network = Network([Block(model)], (4,)).double()
    found = directions(network, "bp", x, LABELS)
    nn.functional.cross_entropy(model(x), LABELS, reduction="sum").backward()
    assert torch.allclose(found["block0.0.weight"], head.weight.grad)
