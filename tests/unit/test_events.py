"""Spikes as events, surrogate derivatives, and what a network makes of sequences."""

import pytest
import torch

from hwmodels.errors import NeurofaError
from hwmodels.registry import build, parts
from neurofa.events import Events
from neurofa.learner import Learner
from neurofa.randomness import generator
from neurofa.stream import judge

T, B, CLASSES = 20, 6, 4


def sequences(ticks=T):
    gen = generator(0, "sequences")
    return (torch.rand(ticks, B, 8, generator=gen) < 0.3).float(), torch.randint(0, CLASSES, (B,), generator=gen)


def test_judging_is_what_learning_sees():
    network = build("network", "snn(hidden=[7, 6])", input_shape=(8,), outputs=CLASSES, seed=1)
    learner = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    xs, target = sequences()
    value, y = judge(learner.network, learner.loss, xs, target, teach=(4, 15), chunk=7)
    result = learner.stream(xs, target, teach=(4, 15), chunk=6)
    torch.testing.assert_close(value, result.loss)
    torch.testing.assert_close(y, result.y)


def test_events_are_what_they_were():
    xs, _ = sequences()
    events = Events.of_dense(xs * 2)
    assert torch.equal(events.dense(), xs * 2)
    assert torch.equal(events.part(3, 9).dense(), xs[3:9] * 2)
    with pytest.raises(NeurofaError, match="no counts"):
        Events.of_dense(xs * 0.5)
    with pytest.raises(NeurofaError, match="channels"):
        Events(torch.tensor([0, 1]), torch.tensor([9]), 1, 1, 8)
    with pytest.raises(NeurofaError, match="rise from 0"):
        Events(torch.tensor([0, 1, 0]), torch.tensor([1]), 2, 1, 8)


def test_every_surrogate_is_the_derivative_that_autograd_sees():
    v = torch.linspace(-2, 2, 41, dtype=torch.float64)
    for name in parts("surrogate"):
        surrogate = build("surrogate", name)
        leaf = v.clone().requires_grad_()
        z = surrogate.fire(leaf)
        assert z.dtype == torch.float64
        assert torch.equal(z.detach(), (v > 0).double())
        (found,) = torch.autograd.grad(z.sum(), leaf)
        assert torch.equal(found, surrogate.derivative(v))
        assert bool((found >= 0).all())


def test_surrogates_are_those_of_snntorch():
    surrogate = pytest.importorskip("snntorch", reason="pip install 'neurofa[spikes]'").surrogate
    v = torch.linspace(-2, 2, 40)
    pairs = {
        "atan(alpha=2.0)": surrogate.atan(alpha=2.0), "fast_sigmoid(slope=25.0)": surrogate.fast_sigmoid(slope=25),
        "sigmoid(slope=25.0)": surrogate.sigmoid(slope=25),
        "straight_through": surrogate.straight_through_estimator(),
    }  # fmt: skip
    for ours, theirs in pairs.items():
        leaf = v.clone().requires_grad_()
        (want,) = torch.autograd.grad(theirs(leaf).sum(), leaf)
        torch.testing.assert_close(build("surrogate", ours).derivative(v), want)
