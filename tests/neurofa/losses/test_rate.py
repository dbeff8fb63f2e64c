"""Losses of sequences: `rate` against autograd through all ticks, `per_tick` as what is done where nothing is said."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from hwmodels.errors import NeurofaError
from neurofa import Learner, build
from neurofa.training.evaluation import respond, sequence_loss

T, B = 7, 5


def made(loss="cross_entropy", rule="bptt", lr=0.5):
    network = build("network", "snn(hidden=[12])", input_shape=(6,), outputs=3, seed=1)
    learner = Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=lr), loss=loss)
    gen = torch.Generator().manual_seed(0)
    return learner, (torch.rand(T, B, 6, generator=gen) < 0.5).float(), torch.arange(B) % 3


def outputs(learner, xs):
    return torch.cat([part.tick.y for part in respond(learner.network, xs)]).view(T, B, -1)


@pytest.mark.parametrize(("spec", "mean"), [("rate", False), ("rate(mean=True)", True)])
def test_a_rate_is_the_loss_of_the_sum_or_mean(spec, mean):
    learner, xs, y = made(spec, lr=0.0)
    total = outputs(learner, xs).sum(0) / (T if mean else 1)
    expected = cross_entropy(total, y)
    assert learner.stream(xs, y).loss == pytest.approx(float(expected), rel=1e-5)
    assert sequence_loss(learner.network, learner.loss, xs, y, chunk=2).loss == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(("spec", "mean"), [("rate", False), ("rate(mean=True)", True)])
@pytest.mark.parametrize("teach", [None, (2, 6)])
def test_errors_of_a_rate_are_those_of_autograd(spec, mean, teach):
    loss = build("loss", spec)
    begin, end = teach or (0, T)
    y = torch.randn(end - begin, B, 3, dtype=torch.float64, requires_grad=True)
    target = torch.arange(B) % 3
    value = cross_entropy(y.mean(0) if mean else y.sum(0), target)
    (wanted,) = torch.autograd.grad(value, y)
    result = loss.of_ticks(y.detach().flatten(0, 1), target.repeat(end - begin), B)
    assert torch.allclose(result.value, value)
    # the learner divides by the taught ticks and by the samples
    assert torch.allclose(result.error.view_as(y) / ((end - begin) * B), wanted)
    assert torch.equal(result.target[:B] / (1 if mean else end - begin), one_hot(target, 3).double())


@pytest.mark.parametrize("rule", ["eprop", "dfa", "bptt", "ostl"])
def test_a_rate_teaches_every_tick_with_one_error(rule):
    learner, xs, y = made("rate(mean=True)", rule, lr=0.1)
    first = float(learner.stream(xs, y).loss)
    for _ in range(30):
        last = float(learner.stream(xs, y).loss)
    assert last < 0.9 * first


def test_per_tick_is_what_is_done_where_nothing_is_said():
    losses = []
    for spec in ("cross_entropy", "per_tick"):
        learner, xs, y = made(spec, "eprop")
        losses.append([float(learner.stream(xs, y, chunk=3).loss) for _ in range(3)])
    assert losses[0] == losses[1]


def test_the_readout_learns_by_the_rate_as_autograd_says():
    learner, xs, y = made("rate(mean=True)", "readout_only", lr=1.0)
    readout = learner.network.layer(learner.network.readout)
    before = readout.synapses["weight"].weight.detach().clone()
    learner.stream(xs, y)
    moved = before - readout.synapses["weight"].weight.detach()
    other, _, _ = made("rate(mean=True)", "bptt", lr=1.0)
    kept = other.network.layer(other.network.readout).synapses["weight"].weight
    start = kept.detach().clone()
    other.stream(xs, y)
    assert torch.allclose(moved, start - kept.detach(), atol=1e-6)


@pytest.mark.parametrize(("options", "said"), [({"chunk": 3}, "one chunk"), ({"update": "tick"}, "use loss per_tick")])
def test_a_rate_in_chunks_is_refused(options, said):
    learner, xs, y = made("rate", "eprop")
    with pytest.raises(NeurofaError, match=said):
        learner.stream(xs, y, **options)


def test_targets_of_single_ticks_have_no_rate():
    learner, xs, _ = made("rate(loss=mse)", "eprop")
    with pytest.raises(NeurofaError, match="use loss per_tick"):
        learner.stream(xs, torch.zeros(T, B, 3))
    with pytest.raises(NeurofaError, match=r"got per_tick\(loss=rate\)"):
        build("loss", "per_tick(loss=rate)")
