"""Error-driven input modulation against steps worked out by hand."""

import pytest
import torch

from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa import Conv2d, Dense, Flatten, Learner, Network
from neurofa.core.randomness import generator
from neurofa.training.extra_passes import make_extra_passes
from neurofa.training.learner import loss_and_teaching
from neurofa.training.replay import record
from tests.oracle.test_rules import batch


def bound(spec, network, **options):
    rule = build("rule", spec)
    return rule, Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=1.0), **options)


def projection(rule, n_in, outputs):
    """F as the text has it, (n_in, o)."""
    return rule.feedback.matrix().weight.detach() * 0.5 * (6 * outputs / n_in) ** 0.5


def softmax_error(y, labels):
    return torch.softmax(y, 1) - torch.eye(y.shape[1], dtype=y.dtype)[labels]


@pytest.mark.parametrize("readout", ["second", "first"])
def test_a_step_of_a_fully_connected_network(readout):
    network = build("network", "mlp(hidden=[7, 6], activation=relu)", input_shape=(5,), outputs=3).double()
    x, labels = batch(4, (5,), 3)
    rule, learner = bound(f"pepita(std=0.5, readout={readout})", network)
    w = [layer.synapses["weight"].weight.detach().clone() for _, layer in network.items()]
    b = [layer.synapses["bias"].weight.detach().clone() for _, layer in network.items()]

    def run(x):
        h = [x, torch.relu(x @ w[0].t() + b[0])]
        h.append(torch.relu(h[1] @ w[1].t() + b[1]))
        return [*h, h[2] @ w[2].t() + b[2]]

    first = run(x)
    e = softmax_error(first[3], labels)
    f = projection(rule, 5, 3)
    assert float(f.abs().max()) <= 0.5 * (6 / 5) ** 0.5
    second = run(x + e @ f.t())
    top = e if readout == "first" else softmax_error(second[3], labels)
    errors = [first[1] - second[1], first[2] - second[2], top]
    learner.step(x, labels)
    for at, (_, layer) in enumerate(network.items()):
        change = layer.synapses["weight"].weight.detach() - w[at]
        assert torch.allclose(change, -errors[at].t() @ second[at] / 4, atol=1e-12)
        assert torch.allclose(layer.synapses["bias"].weight.detach() - b[at], -errors[at].sum(0) / 4, atol=1e-12)
    other = softmax_error(second[3], labels) if readout == "first" else e
    change = network.layer(network.readout).synapses["weight"].weight.detach() - w[2]
    assert not torch.allclose(change, -other.t() @ second[2] / 4, atol=1e-6)


def test_a_convolution_takes_the_mean_over_its_positions():
    layers = [Conv2d(2, 3, 3, stride=2, padding=1, activation="tanh"), Flatten(), Dense(27, 4)]
    network = Network(layers, (2, 6, 6)).double()
    x, labels = batch(3, (2, 6, 6), 4)
    rule, learner = bound("pepita(std=0.5)", network)
    conv = network.layer("conv2d0")
    w, b = (conv.synapses[key].weight.detach().clone() for key in ("weight", "bias"))
    e = softmax_error(network(x), labels)
    modulated = x + (e @ projection(rule, 72, 4).t()).view_as(x)

    def outputs(images):
        return torch.tanh(torch.nn.functional.conv2d(images, w, b, stride=2, padding=1))

    difference = (outputs(x) - outputs(modulated)).flatten(2)
    patches = torch.nn.functional.unfold(modulated, 3, padding=1, stride=2)
    wanted = torch.einsum("bop,bip->oi", difference, patches).view_as(w) / 9 / 3
    learner.step(x, labels)
    assert torch.allclose(w - conv.synapses["weight"].weight.detach(), wanted, atol=1e-12)
    assert not torch.allclose(w - conv.synapses["weight"].weight.detach(), wanted * 9, atol=1e-6)


def test_both_passes_see_the_same_dropout_and_other_noise():
    network = build("network", "mlp(hidden=[40], dropout=0.5)", input_shape=(5,), outputs=3, periphery="training")
    x, labels = batch(4, (5,), 3)
    x = x.float()
    rule, learner = bound("pepita", network)
    tick = record(network, rule, x, generator(0))
    teaching = loss_and_teaching(learner.loss, tick.y, labels)[1]
    second = make_extra_passes(network, rule, tick, teaching, generator(1)).views["dense0"].second_pass
    first = tick.views["dense0"]
    assert torch.equal(first.before["keep"], second.before["keep"])
    assert bool((first.before["keep"] == 0).any())
    assert not torch.equal(first.before["noise"], second.before["noise"])


def test_the_error_format_is_that_of_the_modulation():
    network = build("network", "mlp(hidden=[6])", input_shape=(5,), outputs=3).double()
    rule, _ = bound("pepita(std=0.5, error=sign)", network)
    x, e = torch.zeros(2, 5, dtype=torch.float64), torch.tensor([[0.2, -3.0, 0.1], [1.0, 2.0, -0.5]]).double()
    sent = rule.second_input(x, e, generator(0))
    ratio = sent / (e.sign() @ projection(rule, 5, 3).t())
    assert torch.allclose(ratio, ratio[:, :1].expand_as(ratio))
    plain = sent / (e @ projection(rule, 5, 3).t())
    assert not torch.allclose(plain, plain[:, :1].expand_as(plain))


@pytest.mark.parametrize("feedback", ["crossbar", "opu", "dense(device=reram_es)", "sparse(density=0.5)"])
def test_the_projection_may_be_hardware(feedback):
    network = build("network", "mlp(hidden=[6])", input_shape=(5,), outputs=3)
    _, learner = bound(f"pepita(feedback={feedback})", network)
    before = network.layer("dense0").synapses["weight"].weight.detach().clone()
    x, labels = batch(8, (5,), 3)
    learner.step(x.float(), labels)
    change = network.layer("dense0").synapses["weight"].weight.detach() - before
    assert bool(change.isfinite().all())
    assert bool(change.any())


@pytest.mark.parametrize("spec", ["pepita(std=0)", "pepita(readout=third)"])
def test_wrong_options_are_refused(spec):
    with pytest.raises(NeurofaError, match="expected"):
        build("rule", spec)
