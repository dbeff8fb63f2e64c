"""Direct feedback of low rank against what its equations say."""

import pytest
import torch

from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa import Learner
from neurofa.audit.step import audit
from neurofa.core.randomness import generator
from neurofa.families.low_rank import oja
from neurofa.training.learner import loss_and_teaching
from neurofa.training.replay import collect, record
from tests.oracle.test_bp_is_autograd import directions
from tests.oracle.test_rules import batch, linear_chain


def bound(spec, network, lr=0.1, **options):
    rule = build("rule", spec)
    return rule, Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=lr, **options))


def credit_of(network, rule, learner, x, labels):
    tick = record(network, rule, x, generator(0))
    return tick, collect(network, rule, tick, loss_and_teaching(learner.loss, tick.y, labels)[1], generator(0))


@pytest.mark.parametrize("broadcast", ["penultimate", "transported"])
def test_with_the_weights_in_its_factors_it_is_bp_on_a_linear_network(broadcast):
    network = linear_chain([6, 8, 7, 9, 5])
    x, labels = batch(8, (6,), 5)
    wanted = directions(network, "bp", x, labels)
    rule, learner = bound(f"draf(rank=9, broadcast={broadcast})", network)
    w = [layer.synapses["weight"].weight.detach() for _, layer in network.items()]
    if broadcast == "penultimate":
        rule.beside("dense3")["weight"].program(w[3])
    for name, q in (("dense0", (w[2] @ w[1]).t()), ("dense1", w[2].t())):
        rule.factor("p", name).program(torch.eye(9, dtype=torch.float64))
        rule.factor("q", name).program(q)
    found = credit_of(network, rule, learner, x, labels)[1].directions
    for name in network.names:
        assert torch.allclose(found[name]["weight"], wanted[f"{name}.weight"], atol=1e-11), name
    rule.factor("p", "dense0").program(torch.eye(9, dtype=torch.float64).flip(0))
    other = credit_of(network, rule, learner, x, labels)[1].directions
    assert not torch.allclose(other["dense0"]["weight"], wanted["dense0.weight"], atol=1e-3)


def test_with_fixed_factors_of_full_rank_it_is_dfa():
    first, second = (build("network", "mlp(hidden=[9, 7])", input_shape=(6,), outputs=5).double() for _ in range(2))
    x, labels = batch(8, (6,), 5)
    dfa, run = bound("dfa", first)
    draf, other = bound("draf(rank=5, broadcast=output, p=fixed, q=fixed)", second)
    for name, rows in dfa.feedback.slices.items():
        draf.factor("p", name).program(torch.eye(5, dtype=torch.float64))
        draf.factor("q", name).program(dfa.feedback.matrix().weight.detach()[rows])
    for _ in range(3):
        run.step(x, labels)
        other.step(x, labels)
    for name, layer in first.items():
        assert torch.allclose(layer.synapses["weight"].weight, second.layer(name).synapses["weight"].weight, atol=1e-12)
    draf.factor("p", "dense0").program(2 * torch.eye(5, dtype=torch.float64))
    run.step(x, labels)
    other.step(x, labels)
    ours, theirs = (n.layer("dense0").synapses["weight"].weight for n in (first, second))
    assert not torch.allclose(ours, theirs, atol=1e-4)


def test_factors_learn_from_the_sent_error_and_the_layer_s_own_activity():
    network = build("network", "mlp(hidden=[9, 7])", input_shape=(6,), outputs=5).double()
    x, labels = batch(8, (6,), 5)
    rule, learner = bound("draf(rank=3, oja=0.5)", network)
    tick, credit = credit_of(network, rule, learner, x, labels)
    e = credit.errors["dense1"]
    p, q = (rule.factor(which, "dense0").weight.detach().clone() for which in "pq")
    assert torch.allclose(credit.errors["dense0"], e @ p @ q.t(), atol=1e-12)
    assert torch.allclose(credit.plastic["dense0"]["q"], tick.views["dense0"].y.t() @ (e @ p), atol=1e-12)
    z = (e - e.mean(0)) / (e.std(0) + 1e-8)
    c = z.t() @ z / 7
    assert torch.allclose(credit.plastic["dense0"]["p"], -0.5 * (c @ p - p @ p.t() @ c @ p), atol=1e-10)
    assert torch.allclose(credit.plastic["dense2"]["weight"], credit.directions["dense2"]["weight"], atol=1e-12)
    # at orthonormal leading directions of what is sent, P stays; anywhere else it moves
    leading = torch.linalg.eigh(c)[1][:, -3:]
    rule.factor("p", "dense0").program(leading)
    assert credit_of(network, rule, learner, x, labels)[1].plastic["dense0"]["p"].abs().max() < 1e-9
    assert oja(p, z).abs().max() > 1e-3


@pytest.mark.long
def test_p_ends_orthonormal_in_the_directions_of_the_error():
    network = build("network", "mlp(hidden=[12, 10])", input_shape=(6,), outputs=4).double()
    x, labels = batch(32, (6,), 4)
    rule, learner = bound("draf(rank=2, oja=50)", network, lr=0.01)
    start = {key: value.clone() for key, value in network.state_dict().items()}
    beside = rule.beside("dense2")
    back = {key: s.weight.detach().clone() for key, s in beside.items()}
    for _ in range(600):
        learner.step(x, labels)  # the error stands still
        network.load_state_dict(start)
        for key, value in back.items():
            beside[key].program(value)
    _, credit = credit_of(network, rule, learner, x, labels)
    e = credit.errors["dense1"]
    z = (e - e.mean(0)) / e.std(0)
    leading = torch.linalg.eigh(z.t() @ z)[1][:, -2:]
    p = rule.factor("p", "dense0").weight.detach()
    assert torch.allclose(p.t() @ p, torch.eye(2, dtype=torch.float64), atol=1e-4)
    assert torch.allclose(p @ p.t(), leading @ leading.t(), atol=1e-3)
    assert not torch.allclose(p @ p.t(), leading.flip(0) @ leading.flip(0).t(), atol=0.1)


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("spec", "local"),
    [("draf", True), ("draf(broadcast=output)", True), ("draf(p=fixed)", True), ("draf(broadcast=transported)", False)],
)
@pytest.mark.parametrize(
    ("network", "shape"),
    [
        ("mlp(hidden=[9, 8, 7])", (6,)),
        ("cnn(channels=[3, 4], kernel=3, hidden=6, norm=batch)", (2, 8, 8)),
        ("vit(width=8, heads=2, depth=2)", (3, 8, 8)),
    ],
)
def test_every_way_to_broadcast_is_as_local_as_it_says(spec, local, network, shape):
    made = build("network", network, input_shape=shape, outputs=5)
    x, labels = batch(6, shape, 5)
    report = audit(spec, made, x.float(), labels)
    assert report.agrees, report.verdict
    assert report.local is local


def test_one_hidden_layer_receives_the_error_itself():
    network = build("network", "mlp(hidden=[9])", input_shape=(6,), outputs=5).double()
    rule, learner = bound("draf", network)
    assert not rule.shapes
    learner.step(*batch(8, (6,), 5))
    rule, learner = bound("draf(broadcast=output)", network)
    assert rule.factor("p", "dense0").weight.shape == (5, 5)


@pytest.mark.parametrize("spec", ["draf(rank=0)", "draf(broadcast=x)", "draf(p=x)", "draf(q=x)", "draf(oja=0)"])
def test_wrong_options_are_refused(spec):
    with pytest.raises(NeurofaError, match="expected"):
        build("rule", spec)
