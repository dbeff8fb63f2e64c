"""Spikes as events, surrogate derivatives, and what a network makes of sequences."""

import pytest
import torch

from hwmodels.errors import NeurofaError
from hwmodels.registry import build, parts
from neurofa.core.event_rows import dense_rows, event_rows
from neurofa.core.events import Events
from neurofa.core.randomness import generator
from neurofa.spiking.sequence import initial_states
from neurofa.training.evaluation import sequence_loss
from neurofa.training.learner import Learner, forward_pass

T, B, CLASSES = 20, 6, 4


def sequences(ticks=T):
    gen = generator(0, "sequences")
    return (torch.rand(ticks, B, 8, generator=gen) < 0.3).float(), torch.randint(0, CLASSES, (B,), generator=gen)


def test_judging_is_what_learning_sees():
    network = build("network", "snn(hidden=[7, 6])", input_shape=(8,), outputs=CLASSES, seed=1)
    learner = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    xs, target = sequences()
    value, y = sequence_loss(learner.network, learner.loss, xs, target, teach=(4, 15), chunk=7)
    result = learner.stream(xs, target, teach=(4, 15), chunk=6)
    torch.testing.assert_close(value, result.loss)
    torch.testing.assert_close(y, result.y)


def test_events_are_what_they_were():
    xs, _ = sequences()
    events = Events.from_dense(xs * 2)
    assert torch.equal(events.dense(), xs * 2)
    assert torch.equal(events.slice_ticks(3, 9).dense(), xs[3:9] * 2)
    with pytest.raises(NeurofaError, match="no counts"):
        Events.from_dense(xs * 0.5)
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
        "atan(alpha=2.0)": surrogate.atan(alpha=2.0),
        "fast_sigmoid(slope=25.0)": surrogate.fast_sigmoid(slope=25),
        "sigmoid(slope=25.0)": surrogate.sigmoid(slope=25),
        "straight_through": surrogate.straight_through_estimator(),
    }
    for ours, theirs in pairs.items():
        leaf = v.clone().requires_grad_()
        (want,) = torch.autograd.grad(theirs(leaf).sum(), leaf)
        torch.testing.assert_close(build("surrogate", ours).derivative(v), want)


def silent(share, rows=1100, channels=130):
    return (torch.rand(rows, channels, generator=generator(1, "silent")) < share).float()


def test_dense_spikes_are_taken_as_the_events_that_they_are():
    x = silent(0.03)
    x[5], x[-1] = 0, 0
    found = event_rows(x)
    assert found.layout == torch.sparse_csr
    assert torch.equal(dense_rows(found), x)
    assert torch.equal(dense_rows(event_rows(x.double().mul(1))), x.double())
    assert torch.equal(dense_rows(event_rows(torch.zeros_like(x))), torch.zeros_like(x))


@pytest.mark.parametrize(
    "x", [silent(0.2), silent(0.03) * 0.5, silent(0.03) * 2, -silent(0.03), silent(0.03, 100), silent(0.03) * torch.nan]
)
def test_what_is_no_sparse_matrix_of_spikes_stays_as_it_is(x):
    assert event_rows(x) is x


def test_learning_from_dense_spikes_is_learning_from_their_events():
    gen, learnt = generator(2, "long"), []
    xs, labels = (torch.rand(90, 8, 120, generator=gen) < 0.05).float(), torch.randint(0, CLASSES, (8,), generator=gen)
    noise = 1 + torch.finfo(torch.float32).eps  # almost the same numbers, which dense products serve
    for given in (xs, Events.from_dense(xs), xs * noise):
        network = build("network", "snn(hidden=[7])", input_shape=(120,), outputs=CLASSES, seed=1)
        learner = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=0.5))
        learner.stream(given, labels, chunk=90)
        learnt.append(torch.cat([p.detach().flatten() for p in network.parameters()]))
    assert torch.equal(learnt[0], learnt[1])
    assert not torch.equal(learnt[0], learnt[2])
    torch.testing.assert_close(learnt[0], learnt[2], rtol=1e-4, atol=1e-6)


def test_images_of_few_spikes_are_events_behind_their_flattening():
    network = build("network", "snn(hidden=[7])", input_shape=(2, 8, 8), outputs=CLASSES)
    x = silent(0.03, 800, 128).view(-1, 2, 8, 8)
    tick = forward_pass(network, x, states=initial_states(network, 8), ticks=100)
    lowest, readout = tick.views[network.lowest], tick.views[network.readout]
    assert lowest.x.layout == torch.sparse_csr
    assert torch.equal(dense_rows(lowest.x), x.flatten(1))
    assert readout.x.layout == torch.strided
