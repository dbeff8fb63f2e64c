"""Learning from sequences: what an update may know of time and space, when weights change, what is refused."""

import copy

import pytest
import torch

from hwmodels.errors import NeurofaError
from hwmodels.registry import build, parts
from neurofa.credit import assign
from neurofa.events import Events
from neurofa.learner import Learner
from neurofa.randomness import generator
from neurofa.replay import dense
from neurofa.rule import taught
from neurofa.sequence import rest, sweep
from neurofa.stream import judge
from neurofa.temporal import Temporal

T, B, CLASSES = 20, 6, 4
LOCAL = ["eprop", "dfa", "drtp", "decolle", "erbp", "stllr", "etlp", "fa", "kp", "adfa", "raf", "readout_only"]


def sequences(ticks=T):
    gen = generator(0, "sequences")
    return (torch.rand(ticks, B, 8, generator=gen) < 0.3).float(), torch.randint(0, CLASSES, (B,), generator=gen)


def learner_of(rule="eprop", network="snn(hidden=[7, 6])", optimizer=torch.optim.SGD, lr=0.5, **options):
    device = options.pop("device", "digital")
    made = build("network", network, input_shape=(8,), outputs=CLASSES, seed=1, device=device)
    if device == "digital":
        for weight in made.parameters():
            weight.data.mul_(3)
    return Learner(made, rule, optimizer=optimizer(made.parameters(), lr=lr), **options)


def weights(learner):
    return {key: value.clone() for key, value in learner.network.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("update", ["chunk", "tick"])
@pytest.mark.parametrize("rule", LOCAL)
def test_no_update_knows_the_future(rule, update):
    xs, target = sequences()
    seen = learner_of(rule)
    # the lesson of the whole sequence, of which only the beginning is there
    seen.stream(xs[:10], target, chunk=5, update=update, teach=(0, 10))
    poisoned = learner_of(rule)
    future = xs.clone()
    future[10:] = float("nan")
    with pytest.raises(NeurofaError, match=r"got NaN or infinity in 'mem' of layer 'spiking0' in ticks 10 to"):
        poisoned.stream(future, target, chunk=5, update=update, teach=(0, 10))
    assert same(weights(seen), weights(poisoned))
    assert not same(weights(seen), weights(learner_of(rule)))


def directions(learner, poison):
    """Directions of every layer from one recorded sweep, with the other layers' weights overwritten."""
    network, rule = learner.network, learner.rule
    xs, target = sequences()
    found = {}
    with torch.no_grad():
        gen = generator(4, "noise")
        tick, _ = sweep(
            network, xs.flatten(0, 1), T, rest(network, B), gen=gen, returns=learner.returns_of(rule),
            below=rule.chained,
        )  # fmt: skip
        teaching = taught(learner.loss, tick.y, target.repeat(T))[1]
        names = [name for name, layer in network.items() if isinstance(layer, Temporal)]
        for mine in names:
            trial = copy.deepcopy(network)
            for name in names:
                if poison and name != mine:
                    for weight in trial.layer(name).parameters():
                        weight.data.fill_(float("nan"))
            views = dict(tick.views)
            if poison:  # the weights as read are the layer's own: others' go too
                views = {
                    name: view if name == mine or not view.params else _poisoned(view) for name, view in views.items()
                }

            def emit(name, layer, view, directions, mine=mine):
                if name == mine:
                    found[name] = dense(directions)

            assign(trial, rule, type(tick)(tick.y, views), teaching, emit, gen)
    return found


def _poisoned(view):
    from dataclasses import replace

    bad = {key: torch.full_like(w, float("nan")) for key, w in view.params.items()}
    return replace(view, params=bad, returns=bad if view.returns is view.params else view.returns)


@pytest.mark.parametrize("rule", ["eprop", "dfa", "drtp", "decolle", "erbp", "stllr", "fa", "kp", "ostl", "bptt"])
def test_no_update_needs_the_weights_of_other_layers(rule):
    learner = learner_of(rule)
    clean, poisoned = directions(learner, False), directions(learner, True)
    alike = all(
        torch.equal(value, poisoned[name][key]) for name, found in clean.items() for key, value in found.items()
    )
    assert alike == (rule not in ("ostl", "bptt"))


def test_weights_change_when_they_are_asked_to():
    xs, target = sequences()
    found = {}
    for update in ("end", "chunk", "tick"):
        learner = learner_of("dfa")
        calls = []
        finish = learner.deposit.finish
        learner.deposit.finish = lambda calls=calls, finish=finish: (calls.append(1), finish())
        learner.stream(xs, target, chunk=8, update=update)
        found[update] = (len(calls), weights(learner))
    assert [count for count, _ in found.values()] == [0, 3, T]  # the end gathers
    assert not same(found["end"][1], found["chunk"][1])
    assert not same(found["chunk"][1], found["tick"][1])


def test_gathering_leaves_plain_sgd_without_grad():
    learner = learner_of("dfa")
    xs, target = sequences()
    for _ in range(3):
        learner.stream(xs, target, chunk=5)
        assert all(weight.grad is None for weight in learner.network.parameters())
    assert learner.direct


@pytest.mark.parametrize("options", [{"accumulate": 2}, {"clip": 0.01}, {"optimizer": torch.optim.Adam, "lr": 0.01}])
def test_every_optimizer_sees_one_direction_a_sequence(options):
    xs, target = sequences()
    whole, cut = learner_of("dfa", **options), learner_of("dfa", **options)
    start = weights(whole)
    for _ in range(2):
        whole.stream(xs, target, chunk=T)
        cut.stream(xs, target, chunk=3)
    assert not same(start, weights(whole))
    for key, value in weights(whole).items():
        torch.testing.assert_close(weights(cut)[key], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("device", ["fixed(bits=6)", "reram_es", "mixed_precision(device=pcm)"])
def test_devices_learn_from_sequences(device):
    learner = learner_of("dfa", device=device, lr=0.05)
    xs, target = sequences()
    losses = [float(learner.stream(xs, target, chunk=8).loss) for _ in range(12)]
    assert min(losses[-3:]) < losses[0]


def test_a_periphery_stands_around_currents():
    plain = build("network", "snn(hidden=[7])", input_shape=(8,), outputs=CLASSES, seed=1)
    noisy = build("network", "snn(hidden=[7])", input_shape=(8,), outputs=CLASSES, seed=1, periphery="training")
    xs, target = sequences()
    loss = build("loss", "cross_entropy")
    exact = judge(plain, loss, xs, target)[1]
    assert not torch.equal(exact, judge(noisy, loss, xs, target, gen=generator(0, "noise"))[1])
    learner = Learner(noisy, "dfa", optimizer=torch.optim.SGD(noisy.parameters(), lr=0.1))
    assert torch.isfinite(learner.stream(xs, target).loss)


def test_judging_is_what_learning_sees():
    learner = learner_of("dfa")
    xs, target = sequences()
    value, y = judge(learner.network, learner.loss, xs, target, teach=(4, 15), chunk=7)
    result = learner.stream(xs, target, teach=(4, 15), chunk=6)
    torch.testing.assert_close(value, result.loss)
    torch.testing.assert_close(y, result.y)


def test_numbers_are_taught_tick_by_tick():
    learner = learner_of("eprop", network="snn(hidden=[30], readout='leaky(kappa=0.5)')", loss="mse", lr=0.05)
    xs, _ = sequences()
    target = xs[..., :CLASSES].cumsum(0) / T
    losses = [float(learner.stream(xs, target, chunk=9).loss) for _ in range(60)]
    assert losses[-1] < 0.7 * losses[0]


def refused(match, **given):
    xs, target = given.pop("xs", None), given.pop("target", None)
    ours = sequences()
    learner = given.pop("learner", None) or learner_of(given.pop("rule", "dfa"), **given.pop("made", {}))
    before = weights(learner)
    with pytest.raises(NeurofaError, match=match) as caught:
        learner.stream(ours[0] if xs is None else xs, ours[1] if target is None else target, **given)
    assert "\n" not in str(caught.value)
    assert same(before, weights(learner))


def test_what_is_no_sequence_is_refused():
    xs, _ = sequences()
    refused(r"batch first; expected \(T, B, 8\)", xs=xs.transpose(0, 1))
    refused("got a sequence of shape", xs=xs[..., :5])
    refused("got a sequence of shape", xs=xs[0])
    refused("expected floating point", xs=xs.long())
    refused("where spikes were promised", xs=xs * 0.5, binary=True)
    refused("one target a sample", target=torch.zeros(B + 1, dtype=torch.long))
    refused(r"got teach=\(3, 30\)", teach=(3, 30))
    refused(r"got teach=\(5, 5\)", teach=(5, 5))
    refused("got chunk=0", chunk=0)
    refused("update='never'", update="never")


def test_what_cannot_learn_from_sequences_is_refused():
    refused("compares two passes", rule="pepita")
    refused("expected leaky integrators", rule="eprop", made={"network": "snn(readout=lif)"})
    refused(r"NaN or infinity in 'mem' of layer 'spiking1'", learner=_broken())


def _broken():
    learner = learner_of("dfa")
    learner.network.layer("spiking1").synapse("weight").weight.data[0, 0] = float("nan")
    for weight in learner.network.parameters():
        weight.data.nan_to_num_(0.0)
    learner.network.layer("spiking1").synapse("bias").weight.data[0] = float("inf")
    return learner


@pytest.mark.parametrize(
    ("neuron", "match"),
    [
        ("lif(beta=1.5)", "got lif"), ("lif(beta=-0.1)", "expected 0 to 1"), ("lif(threshold=0.0)", "positive"),
        ("lif(reset=later)", "expected subtract, zero, none"), ("alif(gain=-1.0)", "expected 0 or more"),
        ("leaky(kappa=2.0)", "got leaky"), ("lif(surrogate='atan(alpha=0.0)')", "got atan"),
        ("lif(surrogate='table(edges=[1.0, 0.0])')", "got table"),
    ],
)  # fmt: skip
def test_impossible_neurons_are_refused(neuron, match):
    with pytest.raises(NeurofaError, match=match):
        build("neuron", neuron)


def test_traces_that_convolutions_cannot_keep_are_refused():
    for network, rule in (("conv_snn(channels=[2], neuron=alif)", "dfa"), ("conv_snn(channels=[2])", "eprop")):
        made = build("network", network, input_shape=(1, 8, 8), outputs=CLASSES)
        learner = Learner(made, rule, optimizer=torch.optim.SGD(made.parameters(), lr=0.1))
        xs, target, before = torch.ones(4, B, 1, 8, 8), torch.zeros(B, dtype=torch.long), weights(learner)
        with pytest.raises(NeurofaError, match="behind a convolution"):
            learner.stream(xs, target, chunk=2, update="chunk")
        assert same(before, weights(learner))
        learner.stream(xs, target, chunk=4)
        assert not same(before, weights(learner))


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
