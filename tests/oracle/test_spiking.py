"""Eligibility in closed form, chunk by chunk, beside backpropagation through time with the recurrence cut."""

import math

import pytest
import torch

from hwmodels.registry import build, parts
from neurofa.events import Events
from neurofa.layer import LocalView
from neurofa.layers.spiking import Spiking
from neurofa.layers.spiking_conv import SpikingConv2d
from neurofa.learner import Learner
from neurofa.randomness import generator
from neurofa.temporal import OUT

T, B, N_IN, N = 14, 3, 6, 5
FIRING = [
    "lif(beta=0.8)", "lif(reset=none)", "lif(reset=zero)", "lif(reset=zero, gated=True)", "lif(delay=False)",
    "lif(reset=zero, delay=False)", "lif(reset=zero, delay=False, gated=True)", "synaptic", "synaptic(reset=none)",
    "synaptic(reset=zero)", "synaptic(delay=False)", "synaptic(reset=zero, delay=False)", "alif(gain=0.3)",
    "alif(reset=zero)", "alif(reset=none, gain=0.5)",
]  # fmt: skip


def layer_of(neuron, *, recurrent=False, scale=5.0, **options):
    gen = generator(1, "layer")
    layer = Spiking(N_IN, N, neuron=neuron, recurrent=recurrent, **options)
    layer.initialise(build("device", "digital"), gen)
    layer.double()
    for weight in layer.parameters():
        weight.data.mul_(scale)
    return layer


def inputs(seed=2):
    gen = generator(seed, "inputs")
    xs = (torch.rand(T, B, N_IN, generator=gen) < 0.4).double()
    return xs, torch.randn(T, B, N, generator=gen).double()


def dense(direction):
    return direction if isinstance(direction, torch.Tensor) else direction.dense()


def by_autograd(layer, xs, signals, kappa, *, cut=True):
    """Gradient of sum_t L_t . f_t, f the filtered outputs, through the neurons' own memories."""
    leaves = {key: w.clone().requires_grad_() for key, w in layer.read().items()}
    state, f, loss, ys = layer.rest(torch.zeros_like(signals[0])), 0.0, 0.0, []
    with torch.enable_grad():
        for x, signal in zip(xs, signals, strict=True):
            y, after = layer.compute(leaves, x, state)
            if cut and OUT in after:
                after[OUT] = after[OUT].detach()
            state = {key: after[key] for key in state}
            f = kappa * f + y
            loss = loss + (f * signal).sum()
            ys.append(y.detach())
    found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    return torch.stack(ys), dict(zip(leaves, found, strict=True))


@torch.no_grad()
def by_chunks(layer, xs, signals, kappa, chunk):
    state = layer.rest(torch.zeros_like(signals[0]))
    traces, total, ys = {}, {}, []
    for begin in range(0, len(xs), chunk):
        part, signal = xs[begin : begin + chunk], signals[begin : begin + chunk]
        before, x = {**state, **traces}, part.flatten(0, 1)
        y, left, state = layer.sweep(layer.read(), x, len(part), before)
        view = LocalView(x, y, layer.read(), before, left, error=signal.flatten(0, 1), kappa=kappa)
        for key, direction in layer.pullback(layer.localise(view)).items():
            total[key] = total.get(key, 0) + dense(direction)
        traces = layer.carry_traces(view)
        ys.append(y.unflatten(0, (len(part), -1)))
    return torch.cat(ys), total


def agree(ours, theirs, tolerance=1e-8):
    for key, direction in theirs.items():
        assert torch.allclose(ours[key], direction, rtol=0, atol=tolerance * float(direction.abs().max())), key


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("kappa", [0.0, 0.7])
@pytest.mark.parametrize("neuron", FIRING)
def test_any_chunk_gives_the_gradient_with_the_recurrence_cut(neuron, kappa, recurrent):
    layer = layer_of(neuron, recurrent=recurrent)
    xs, signals = inputs()
    ys, theirs = by_autograd(layer, xs, signals, kappa)
    assert 0.05 < ys.mean() < 0.8
    for chunk in (1, 5, T):
        spikes, ours = by_chunks(layer, xs, signals, kappa, chunk)
        assert torch.equal(spikes, ys)
        agree(ours, theirs)


def test_the_cut_is_seen():
    layer = layer_of("lif", recurrent=True)
    xs, signals = inputs()
    _, cut = by_autograd(layer, xs, signals, 0.0)
    _, whole = by_autograd(layer, xs, signals, 0.0, cut=False)
    assert not torch.allclose(cut["recurrent"], whole["recurrent"], rtol=1e-3)


def test_a_leaky_readout_likewise():
    layer = layer_of("leaky(kappa=0.8)")
    xs, signals = inputs()
    ys, theirs = by_autograd(layer, xs, signals, 0.0)
    for chunk in (1, 5, T):
        found, ours = by_chunks(layer, xs, signals, 0.0, chunk)
        torch.testing.assert_close(found, ys)
        agree(ours, theirs)


@pytest.mark.parametrize("neuron", ["lif", "synaptic"])
def test_convolutions_likewise(neuron):
    layer = SpikingConv2d(2, 3, 3, padding=1, neuron=neuron)
    layer.initialise(build("device", "digital"), generator(1, "layer"))
    layer.double()
    for weight in layer.parameters():
        weight.data.mul_(4)
    gen = generator(3, "images")
    xs = (torch.rand(T, B, 2, 5, 5, generator=gen) < 0.3).double()
    signals = torch.randn(T, B, 3, 5, 5, generator=gen).double()
    ys, theirs = by_autograd(layer, xs, signals, 0.0)
    assert 0.05 < ys.mean() < 0.8
    for chunk in (1, 4, T):
        spikes, ours = by_chunks(layer, xs, signals, 0.0, chunk)
        assert torch.equal(spikes, ys)
        agree(ours, theirs)


@pytest.mark.parametrize("chunk", [1, 4, T])
def test_rounded_traces_are_those_of_every_tick(chunk):
    layer = layer_of("lif(beta=0.8)", traces="uniform(bits=5, range=8.0)")
    xs, signals = inputs()
    trace, steady, theirs = torch.zeros(B, N_IN).double(), torch.zeros(1, 1).double(), {}
    state = layer.rest(torch.zeros(B, N).double())
    for x, signal in zip(xs, signals, strict=True):
        trace = layer.traces.quantize(0.8 * trace + x)
        steady = layer.traces.quantize(0.8 * steady + 1)
        _, after = layer.compute(layer.read(), x, state)
        delta = signal * layer.neuron.psi({"v": after["v"]})
        state = {key: after[key] for key in state}
        theirs["weight"] = theirs.get("weight", 0) + delta.t() @ trace
        theirs["bias"] = theirs.get("bias", 0) + (delta * steady).sum(0)
    agree(by_chunks(layer, xs, signals, 0.0, chunk)[1], theirs)
    exact = by_chunks(layer_of("lif(beta=0.8)"), xs, signals, 0.0, chunk)[1]
    fine = by_chunks(layer_of("lif(beta=0.8)", traces="uniform(bits=24, range=16.0)"), xs, signals, 0.0, chunk)[1]
    agree(fine, exact, 1e-4)
    assert not torch.allclose(theirs["weight"], exact["weight"], rtol=1e-3)


STEPS, BATCH, INPUTS, CLASSES = 23, 6, 20, 5
NETWORKS = {
    "lif": "snn(hidden=[8, 7])",
    "recurrent alif": "snn(hidden=[8, 7], recurrent=True, neuron='alif(gain=0.2)')",
}
BY_THE_CHUNK = {
    **dict.fromkeys(("brsf", "fdfa", "forward_gradient", "grape2025", "grape2026", "local_guess"), "draws by the pass"),
    **dict.fromkeys(("local_loss", "weight_mirror"), "draws by the pass"),
    **dict.fromkeys(("raf", "draf"), "its subspace learns from the errors of a chunk"),
}
"""Rules whose directions depend on the chunk, and why."""


def sequences():
    gen = generator(0, "sequences")
    xs = (torch.rand(STEPS, BATCH, INPUTS, generator=gen) < 0.3).double()
    return xs, torch.randint(0, CLASSES, (BATCH,), generator=gen)


def network_of(spec, scale=4.0):
    network = build("network", spec, input_shape=(INPUTS,), outputs=CLASSES, seed=1).double()
    for weight in network.parameters():
        weight.data.mul_(scale)
    return network


def trained(rule, spec, *, chunk, sparse=False, steps=2):
    network = network_of(spec)
    learner = Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=0.5), seed=3)
    xs, target = sequences()
    for _ in range(steps):
        learner.stream(Events.of_dense(xs) if sparse else xs, target, chunk=chunk, teach=(3, STEPS))
    return {key: value.clone() for key, value in network.state_dict().items()}


@pytest.mark.parametrize("spec", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("rule", sorted(set(parts("rule")) - set(BY_THE_CHUNK) - {"pepita"}))
def test_no_rule_knows_how_ticks_are_cut(rule, spec):
    whole = trained(rule, spec, chunk=STEPS)
    start = network_of(spec).state_dict()
    assert any(not torch.equal(whole[key], start[key]) for key in whole)
    for chunk, sparse in ((1, False), (5, True)):
        cut = trained(rule, spec, chunk=chunk, sparse=sparse)
        for key, value in whole.items():
            assert torch.allclose(cut[key], value, rtol=0, atol=1e-10), key


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("neuron", ["lif", "synaptic", "alif(gain=0.3)"])
def test_symmetric_eprop_is_the_gradient_of_the_loss(neuron, recurrent):
    spec = f"snn(hidden=[8], neuron={neuron}, recurrent={recurrent}, readout='leaky(kappa=0.7)')"
    network = network_of(spec)
    xs, target = sequences()
    hidden, readout = (network.layer(name) for name in network.names)
    leaves = [{k: w.clone().requires_grad_() for k, w in layer.read().items()} for layer in (hidden, readout)]
    states = [layer.rest(torch.zeros(BATCH, n).double()) for layer, n in ((hidden, 8), (readout, CLASSES))]
    loss = 0.0
    with torch.enable_grad():
        for x in xs:
            z, after = hidden.compute(leaves[0], x, states[0])
            states[0] = {k: after[k].detach() if k == OUT else after[k] for k in states[0]}
            y, states[1] = readout.compute(leaves[1], z, states[1])
            loss = loss + torch.nn.functional.cross_entropy(y, target) / STEPS
    wanted = torch.autograd.grad(loss, [w for params in leaves for w in params.values()])
    for chunk in (1, 6, STEPS):
        ours = network_of(spec)
        learner = Learner(ours, "eprop_symmetric", optimizer=torch.optim.SGD(ours.parameters(), lr=1.0))
        result = learner.stream(xs, target, chunk=chunk)
        assert math.isclose(float(result.loss), float(loss.detach()), rel_tol=1e-10)
        moved = [
            before - layer.read()[key]
            for name, params in zip(ours.names, leaves, strict=True)
            for layer in [ours.layer(name)]
            for key, before in params.items()
        ]
        for step, gradient in zip(moved, wanted, strict=True):
            assert torch.allclose(step, gradient, rtol=0, atol=1e-8 * float(gradient.abs().max()))
    # the gradient through the recurrence is another one
    through = network_of(spec)
    Learner(through, "bptt", optimizer=torch.optim.SGD(through.parameters(), lr=1.0)).stream(xs, target)
    same = torch.allclose(through.layer(through.names[0]).read()["weight"], ours.layer(ours.names[0]).read()["weight"])
    assert same == (not recurrent)


@pytest.mark.parametrize("recurrent", [False, True])
def test_random_eprop_keeps_a_trace_for_every_weight(recurrent):
    """The textbook's way: (B, n, n_in) traces, filtered, tick by tick."""
    spec = f"snn(hidden=[8], recurrent={recurrent}, readout='leaky(kappa=0.7)')"
    network = network_of(spec)
    learner = Learner(network, "eprop", optimizer=torch.optim.SGD(network.parameters(), lr=1.0))
    xs, target = sequences()
    hidden, readout = (network.layer(name) for name in network.names)
    b = learner.rule.feedback.matrix().weight.detach().clone()
    before = hidden.read()["weight"].clone()
    x_bar, filtered = torch.zeros(BATCH, INPUTS).double(), torch.zeros(BATCH, 8, INPUTS).double()
    states = [layer.rest(torch.zeros(BATCH, n).double()) for layer, n in ((hidden, 8), (readout, CLASSES))]
    wanted = torch.zeros(8, INPUTS).double()
    with torch.no_grad():
        for x in xs:
            z, after = hidden.compute(hidden.read(), x, states[0])
            states[0] = {k: after[k] for k in states[0]}
            y, states[1] = readout.compute(readout.read(), z, states[1])
            x_bar = hidden.neuron.beta * x_bar + x
            psi = hidden.neuron.psi({"v": after["v"]})
            filtered = 0.7 * filtered + psi.unsqueeze(2) * x_bar.unsqueeze(1)
            error = (torch.softmax(y, 1) - torch.nn.functional.one_hot(target, CLASSES)) / STEPS / BATCH
            wanted += torch.einsum("bn,bni->ni", error @ b.t(), filtered)
    learner.stream(xs, target, chunk=4)
    assert torch.allclose(before - hidden.read()["weight"], wanted, rtol=0, atol=1e-10)


def by_hand(rule, signal_of):
    """Directions of the hidden weight by a loop over ticks; ``signal_of`` gives post and pre factors of a tick."""
    network = network_of("snn(hidden=[8])")
    learner = Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=1.0))
    xs, target = sequences()
    hidden, readout = (network.layer(name) for name in network.names)
    b = learner.rule.feedback.matrix().weight.detach().clone()
    before = hidden.read()["weight"].clone()
    states = [layer.rest(torch.zeros(BATCH, n).double()) for layer, n in ((hidden, 8), (readout, CLASSES))]
    wanted = torch.zeros(8, INPUTS).double()
    with torch.no_grad():
        for x in xs:
            z, after = hidden.compute(hidden.read(), x, states[0])
            states[0] = {k: after[k] for k in states[0]}
            y, states[1] = readout.compute(readout.read(), z, states[1])
            error = (torch.softmax(y, 1) - torch.nn.functional.one_hot(target, CLASSES)) / STEPS / BATCH
            for left, right in signal_of(hidden, x, after, error @ b.t()):
                wanted += left.t() @ right
    learner.stream(xs, target, chunk=4)
    assert wanted.abs().max() > 0
    assert torch.allclose(before - hidden.read()["weight"], wanted, rtol=0, atol=1e-10)


def test_erbp_adds_the_error_at_every_spike_inside_the_gate():
    by_hand("erbp(window=0.7)", lambda layer, x, after, L: [(L * (after["v"].abs() < 0.7), x)])


def test_stllr_follows_both_traces():
    trace = {"in": torch.zeros(BATCH, INPUTS).double(), "out": torch.zeros(BATCH, 8).double()}

    def terms(layer, x, after, signal):
        psi = layer.neuron.psi({"v": after["v"]})
        trace["in"] = 0.6 * trace["in"] + x
        found = [(1.5 * signal * psi, trace["in"]), (-0.5 * signal * trace["out"], x)]
        trace["out"] = 0.7 * trace["out"] + psi
        return found

    by_hand("stllr(post=1.5, pre=-0.5, decay_in=0.6, decay_out=0.7)", terms)


@pytest.mark.parametrize("delay", [True, False])
@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("model", ["Leaky", "RLeaky", "Synaptic"])
def test_spikes_are_those_of_snntorch(model, reset, delay):
    snn = pytest.importorskip("snntorch", reason="compares with snntorch; pip install 'neurofa[spikes]'")
    gen = generator(5, "currents")
    currents = torch.randn(200, 4, N, generator=gen).double()
    weight = torch.randn(N, N, generator=gen).double()
    common = {"beta": 0.9, "reset_mechanism": reset, "reset_delay": delay}
    if model == "Leaky":
        theirs, ours = snn.Leaky(**common), f"lif(reset={reset}, delay={delay})"
    elif model == "RLeaky":
        theirs = snn.RLeaky(**common, linear_features=N)
        theirs.recurrent.double()
        theirs.recurrent.weight.data.copy_(weight)
        theirs.recurrent.bias.data.zero_()
        ours = f"lif(reset={reset}, delay={delay}, gated=True)"
    else:
        theirs, ours = snn.Synaptic(alpha=0.8, **common), f"synaptic(alpha=0.8, reset={reset}, delay={delay})"
    for name in ("beta", "alpha", "threshold"):
        if hasattr(theirs, name):
            setattr(theirs, name, torch.tensor(round(float(getattr(theirs, name)), 6), dtype=torch.float64))
    layer = Spiking(N, N, neuron=ours, recurrent=model == "RLeaky", bias=False)
    layer.initialise(build("device", "digital"), gen)
    layer.double()
    layer.synapse("weight").program(torch.eye(N).double())
    if model == "RLeaky":
        layer.synapse("recurrent").program(weight)
    with torch.no_grad():
        spikes = []
        spk = mem = syn = torch.zeros(4, N).double()
        for current in currents:
            if model == "Leaky":
                spk, mem = theirs(current, mem)
            elif model == "RLeaky":
                spk, mem = theirs(current, spk.double(), mem)
            else:
                spk, syn, mem = theirs(current, syn, mem)
            spikes.append(spk.double())
        y, _, _ = layer.sweep(layer.read(), currents.flatten(0, 1), 200, layer.rest(torch.zeros(4, N).double()))
    want = torch.stack(spikes)
    assert 0.02 < want.mean() < 0.9
    assert torch.equal(y.unflatten(0, (200, 4)), want)
