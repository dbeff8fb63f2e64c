"""Eligibility by chunks against autograd through every tick, and rules against references that go tick by tick."""

import itertools

import pytest
import torch

from hwmodels.errors import NeurofaError
from hwmodels.registry import build, parts
from neurofa.core.directions import dense
from neurofa.core.events import Events
from neurofa.layers.spiking import Spiking
from neurofa.layers.spiking_conv import SpikingConv2d
from neurofa.neurons.lif import LIF
from neurofa.testing.neurons import neuron_specs
from neurofa.training.learner import Learner, forward_pass
from neurofa.training.sequence_rules import check_sequence_rule
from tests.oracle.spikes import (
    by_autograd,
    by_chunks,
    excited,
    near,
    network_of,
    spikes,
    streamed,
    through_time,
    weights,
)

T, B, INPUTS, N = 23, 3, 6, 7
FIRING = [spec for name in ("lif", "synaptic", "alif") for spec in neuron_specs(name)]


def given(layer_shape=(N,), inputs=(INPUTS,), ticks=T):
    gen = torch.Generator().manual_seed(5)
    xs = (torch.rand(ticks, B, *inputs, generator=gen) < 0.4).double()
    return xs, torch.randn(ticks, B, *layer_shape, generator=gen, dtype=torch.float64)


@pytest.mark.sample(4)
@pytest.mark.parametrize("kappa", [0.0, 0.7])
@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("neuron", FIRING)
def test_directions_by_chunks_are_autograd_with_the_recurrence_cut(neuron, recurrent, kappa):
    xs, signal = given()
    layer = excited(Spiking(INPUTS, N, neuron=neuron, recurrent=recurrent), xs, signal)
    wanted = by_autograd(layer, xs, signal, kappa)
    for k in (1, 5, T):
        assert near(by_chunks(layer, xs, signal, k, kappa)[0], wanted), k
    assert recurrent != near(by_autograd(layer, xs, signal, kappa, cut=False), wanted)


@pytest.mark.parametrize("neuron", ["lif", "lif(delay=False)", "lif(reset=none)", "synaptic", "synaptic(reset=none)"])
def test_convolutions_by_chunks_are_autograd(neuron):
    xs, signal = given((3, 3, 3), (2, 5, 5))
    layer = excited(SpikingConv2d(2, 3, 3, stride=2, padding=1, neuron=neuron), xs, signal)
    wanted = by_autograd(layer, xs, signal)
    for k in (1, 5, T):
        assert near(by_chunks(layer, xs, signal, k)[0], wanted), k


@pytest.mark.sample(2)
@pytest.mark.parametrize("teach", [None, (4, 9), (17, 23)])
@pytest.mark.parametrize("neuron", ["lif", "lif(reset=zero, delay=False)", "synaptic(reset=zero)", "alif"])
@pytest.mark.parametrize("recurrent", [False, True])
def test_symmetric_eprop_is_bptt_with_the_recurrence_cut(neuron, recurrent, teach):
    spec = f"snn(hidden=[9], neuron={neuron}, recurrent={recurrent}, readout=leaky(kappa=0.8))"
    xs, labels = spikes(T, 4, INPUTS), torch.tensor([0, 2, 1, 2])
    wanted, whole = (through_time(network_of(spec, INPUTS, 3), xs, labels, teach, cut=cut) for cut in (True, False))
    for k in (1, 5, T):
        ours = streamed(network_of(spec, INPUTS, 3), "eprop_symmetric", xs, labels, chunk=k, teach=teach)
        assert near(ours, wanted), k
    assert recurrent != near(ours, whole)
    assert near(streamed(network_of(spec, INPUTS, 3), "bptt", xs, labels, teach=teach), whole)


def reference_eprop(network, matrix, xs, labels, teach, kappa):
    """E-prop of one hidden layer with a trace for every sample, neuron and input; LIF and ALIF after Bellec et al."""
    (hidden, layer), (last, top) = network.items()
    neuron, read, out = layer.neuron, layer.synapses.read(), top.synapses.read()
    state = layer.initial_state(torch.zeros(B, N, dtype=xs.dtype))
    psi_before = torch.zeros(B, N, 1, dtype=xs.dtype)
    names = ["weight", "recurrent", "bias"]
    eps, eps_a, bar = (dict.fromkeys(names, 0.0) for _ in range(3))
    traces = dict.fromkeys(["weight", "bias"], 0.0)
    total, y, z = {}, torch.zeros(B, 3, dtype=xs.dtype), torch.zeros(B, N, dtype=xs.dtype)
    for t, x in enumerate(xs):
        inputs = {"weight": x[:, None], "recurrent": z[:, None], "bias": x.new_ones(B, 1, 1)}
        z, after = layer.compute(read, x, state)
        state = {k: after[k] for k in state}
        psi = neuron.surrogate.derivative(after["v"])[..., None]
        y = kappa * y + z @ out["weight"].t() + out["bias"]
        error = torch.softmax(y, 1) - torch.nn.functional.one_hot(labels, 3)
        live = teach[0] <= t < teach[1]
        signal = error @ matrix.t()
        for key in names:
            if neuron.name == "alif":
                eps_a[key] = psi_before * eps[key] + (neuron.rho - psi_before * neuron.gain) * eps_a[key]
            eps[key] = neuron.beta * eps[key] + inputs[key]
            found = psi * (eps[key] - getattr(neuron, "gain", 0.0) * eps_a[key])
            bar[key] = kappa * bar[key] + found
            if live:
                now = (signal[..., None] * bar[key]).sum(0)
                total[f"{hidden}.{key}"] = total.get(f"{hidden}.{key}", 0) + now.view(
                    layer.synapses.stored()[key].shape
                )
        psi_before = psi
        traces["weight"], traces["bias"] = kappa * traces["weight"] + z, kappa * traces["bias"] + 1
        if live:
            total[f"{last}.weight"] = total.get(f"{last}.weight", 0) + error.t() @ traces["weight"]
            total[f"{last}.bias"] = total.get(f"{last}.bias", 0) + error.sum(0) * traces["bias"]
    return {key: value / (B * (teach[1] - teach[0])) for key, value in total.items()}


@pytest.mark.sample(5)
@pytest.mark.parametrize("teach", [(0, T), (4, 9)])
@pytest.mark.parametrize("neuron", ["lif", "alif"])
@pytest.mark.parametrize("k", [1, 5, T])
def test_random_feedback_eprop_is_the_reference_tick_by_tick(neuron, teach, k):
    spec = f"snn(hidden=[{N}], neuron={neuron}, recurrent=True, readout=leaky(kappa=0.8))"
    xs, labels = spikes(T, B, INPUTS), torch.tensor([0, 2, 1])
    network, rule = network_of(spec, INPUTS, 3), build("rule", "eprop")
    ours = streamed(network, rule, xs, labels, chunk=k, teach=teach)
    matrix = rule.feedback.matrix().weight.detach()
    assert near(ours, reference_eprop(network_of(spec, INPUTS, 3), matrix, xs, labels, teach, 0.8))


DRAWS = "draws noise for every row of a chunk"
POOLS = "its feedback adapts to statistics of a chunk"
NOT_CHUNKED = {
    **dict.fromkeys(
        ["brsf", "fdfa", "forward_gradient", "grape2025", "grape2026", "local_guess", "local_loss", "weight_mirror"],
        DRAWS,
    ),
    **dict.fromkeys(["draf", "raf"], POOLS),
}
"""Rules that serve sequences, but whose directions depend on the chunk, and why."""


def serving():
    """Rules that learn from sequences."""
    found = []
    for name in parts("rule"):
        try:
            check_sequence_rule(build("rule", name))
        except NeurofaError:
            continue
        found.append(name)
    return found


def learnt(name, xs, chunk):
    network = network_of("snn(hidden=[7, 6], recurrent=True)", INPUTS, 3)
    learner = Learner(network, name, optimizer=torch.optim.SGD(network.parameters(), lr=0.5))
    learner.stream(xs, torch.tensor([0, 2, 1, 2]), chunk=chunk)
    # whole numbers count chunks: when a rule does something now and then
    pathway = {key: value.clone() for key, value in learner.rule.state_dict().items() if value.is_floating_point()}
    return weights(network) | pathway


@pytest.mark.sample(2)
@pytest.mark.parametrize("name", serving())
def test_any_chunk_gives_the_same_directions_dense_and_as_events(name):
    xs = spikes(13, 4, INPUTS)
    wanted = learnt(name, xs, 1)
    before = weights(network_of("snn(hidden=[7, 6], recurrent=True)", INPUTS, 3))
    assert any(not torch.equal(wanted[key], w) for key, w in before.items())
    for chunk in (1, 4, 13):
        for given_as in (xs, Events.from_dense(xs)):
            ours = learnt(name, given_as, chunk)
            alike = all(torch.allclose(ours[key], w, rtol=1e-9, atol=1e-11) for key, w in wanted.items())
            assert alike or (chunk > 1 and name in NOT_CHUNKED), (chunk, type(given_as).__name__)
    assert alike != (name in NOT_CHUNKED), NOT_CHUNKED.get(name)


def test_most_rules_serve_sequences():
    assert {"bptt", "dfa", "drtp", "eprop", "eprop_adaptive", "erbp", "etlp", "ostl", "stllr"} < set(serving())
    assert set(NOT_CHUNKED) <= set(serving())
    assert "pepita" not in serving()


@pytest.mark.parametrize("traces", ["uniform(bits=4, range=8.0)", "uniform(bits=4)", "pow2", "ternary"])
@pytest.mark.parametrize("k", [1, 5, T])
def test_traces_in_a_number_format_are_rounded_every_tick(traces, k):
    xs, signal = given()
    layer = excited(Spiking(INPUTS, N, recurrent=True, traces=traces), xs, signal)
    read, state = layer.synapses.read(), layer.initial_state(torch.zeros_like(signal[0]))
    q, trace = layer.traces.quantize, {}
    total, z = {}, torch.zeros_like(signal[0])
    for x, error in zip(xs, signal, strict=True):
        inputs = {"weight": x, "recurrent": z, "bias": torch.ones(1, 1, dtype=x.dtype)}
        z, after = layer.compute(read, x, state)
        state = {key: after[key] for key in state}
        delta = error * layer.neuron.surrogate.derivative(after["v"])
        for key, seen in inputs.items():
            trace[key] = q(trace.get(key, torch.zeros_like(seen)) * layer.neuron.beta + seen)
            found = (delta * trace[key]).sum(0) if key == "bias" else delta.t() @ trace[key]
            total[key] = total.get(key, 0) + found
    ours, _ = by_chunks(layer, xs, signal, k)
    assert near(ours, total, 1e-12)


def test_fine_traces_approach_raw_ones():
    xs, signal = given()
    exact, _ = by_chunks(excited(Spiking(INPUTS, N, recurrent=True), xs, signal), xs, signal, 5)
    off = []
    for bits in (6, 10, 14, 20):
        layer = excited(Spiking(INPUTS, N, recurrent=True, traces=f"uniform(bits={bits}, range=16.0)"), xs, signal)
        ours, _ = by_chunks(layer, xs, signal, 5)
        off.append(max(float((ours[k] - w).abs().max() / w.abs().max()) for k, w in exact.items()))
    assert off[0] > 1e-3
    assert all(late < early / 4 for early, late in itertools.pairwise(off))
    assert off[-1] < 1e-4


def hidden_signals(network, rule, xs, labels):
    """(T, B, N) learning signals of a direct rule, the potentials and spikes of the hidden layer before learning."""
    states = {
        name: layer.initial_state(torch.zeros(B, layer.map.channels, dtype=xs.dtype)) for name, layer in network.items()
    }
    tick = forward_pass(network, xs.flatten(0, 1), states=states, ticks=len(xs))
    error = torch.softmax(tick.y, 1) - torch.nn.functional.one_hot(labels, 3).repeat(len(xs), 1)
    view = tick.views[network.lowest]
    signal = error @ rule.feedback.matrix().weight.detach().t() / (B * len(xs))
    return (rows.unflatten(0, (len(xs), B)) for rows in (signal, view.after["v"], view.y))


@pytest.mark.parametrize("k", [1, 5, T])
def test_erbp_adds_the_error_at_every_spike_inside_the_window(k):
    spec = f"snn(hidden=[{N}], recurrent=True)"
    xs, labels = spikes(T, B, INPUTS), torch.tensor([0, 2, 1])
    network, rule = network_of(spec, INPUTS, 3), build("rule", "erbp(window=0.8)")
    ours = streamed(network, rule, xs, labels, chunk=k)
    signal, v, z = hidden_signals(network_of(spec, INPUTS, 3), rule, xs, labels)
    wanted = {key: torch.zeros_like(ours[f"{network.lowest}.{key}"]) for key in ("weight", "recurrent", "bias")}
    before = torch.zeros_like(z[0])
    for t in range(T):
        for b in range(B):
            for j in range(N):
                if abs(float(v[t, b, j])) < 0.8:
                    wanted["weight"][j] += signal[t, b, j] * xs[t, b]
                    wanted["recurrent"][j] += signal[t, b, j] * before[b]
                    wanted["bias"][j] += signal[t, b, j]
        before = z[t]
    assert near({key: ours[f"{network.lowest}.{key}"] for key in wanted}, wanted)


STLLR_SPEC = "stllr(post=0.7, pre=-0.3, decay_in=0.8, decay_out=0.6, psi=neuron)"


@pytest.mark.parametrize("k", [1, 5, T])
def test_stllr_has_a_causal_and_a_non_causal_term(k):
    spec = f"snn(hidden=[{N}], recurrent=True)"
    xs, labels = spikes(T, B, INPUTS), torch.tensor([0, 2, 1])
    network, rule = network_of(spec, INPUTS, 3), build("rule", STLLR_SPEC)
    ours = streamed(network, rule, xs, labels, chunk=k)
    signal, v, z = hidden_signals(network_of(spec, INPUTS, 3), rule, xs, labels)
    wanted, came, active = {}, {}, torch.zeros_like(z[0])
    before = torch.zeros_like(z[0])
    for t in range(T):
        psi = LIF().surrogate.derivative(v[t])
        for key, x in {"weight": xs[t], "recurrent": before, "bias": torch.ones(B, 1, dtype=xs.dtype)}.items():
            came[key] = 0.8 * came.get(key, 0) + x
            term = 0.7 * psi[..., None] * came[key][:, None] - 0.3 * active[..., None] * x[:, None]
            wanted[key] = wanted.get(key, 0) + (signal[t][..., None] * term).sum(0)
        active = 0.6 * active + psi
        before = z[t]
    wanted["bias"] = wanted["bias"].squeeze(1)
    assert near({key: ours[f"{network.lowest}.{key}"] for key in wanted}, wanted)


def test_a_static_step_after_a_sequence_starts_from_rest():
    xs, labels = spikes(T, B, INPUTS), torch.tensor([0, 2, 1])
    for name in ("stllr", "erbp", "eprop"):
        after, fresh = (network_of(f"snn(hidden=[{N}])", INPUTS, 3) for _ in range(2))
        learner = Learner(after, name, optimizer=torch.optim.SGD(after.parameters(), lr=0.0))
        learner.stream(xs, labels, chunk=4)
        learner.optimizer.param_groups[0]["lr"] = 1.0
        learner.step(xs[0, :2], labels[:2])
        Learner(fresh, name, optimizer=torch.optim.SGD(fresh.parameters(), lr=1.0)).step(xs[0, :2], labels[:2])
        ours, theirs = weights(after), weights(fresh)
        assert all(torch.equal(ours[key], w) for key, w in theirs.items())


def test_dense_of_an_empty_chunk_of_events_is_zero():
    """A chunk in which nothing happens still decays traces and potentials."""
    xs = spikes(12, 4, INPUTS)
    xs[4:8] = 0
    network = network_of("snn(hidden=[7])", INPUTS, 3)
    ours = streamed(network, "eprop", Events.from_dense(xs), torch.tensor([0, 2, 1, 2]), chunk=4)
    theirs = streamed(network_of("snn(hidden=[7])", INPUTS, 3), "eprop", xs, torch.tensor([0, 2, 1, 2]), chunk=12)
    assert near(dense(ours), theirs, 1e-11)


@pytest.mark.parametrize(
    ("whole", "same"),
    [
        ("snn(hidden=[5], readout=leaky(kappa=1))", "snn(hidden=[5], readout=leaky(kappa=1.0))"),
        ("snn(hidden=[5], readout=leaky(kappa=0))", "snn(hidden=[5], readout=leaky(kappa=0.0))"),
        ("snn(hidden=[5], neuron=lif(beta=1))", "snn(hidden=[5], neuron=lif(beta=1.0))"),
        ("snn(hidden=[5], neuron=lif(beta=0, reset=zero))", "snn(hidden=[5], neuron=lif(beta=0.0, reset=zero))"),
        ("snn(hidden=[5], neuron=synaptic(alpha=1, beta=0))", "snn(hidden=[5], neuron=synaptic(alpha=1.0, beta=0.0))"),
        ("snn(hidden=[5], neuron=alif(beta=1, rho=1))", "snn(hidden=[5], neuron=alif(beta=1.0, rho=1.0))"),
    ],
)
@pytest.mark.parametrize("rule", ["eprop", "dfa", "bptt"])
def test_whole_numbers_are_decays_as_floats_are(whole, same, rule):
    xs, labels = spikes(9, B, INPUTS), torch.tensor([0, 2, 1])
    ours, theirs = (streamed(network_of(spec, INPUTS, 3), rule, xs, labels, chunk=4) for spec in (whole, same))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def hidden_cosine(ours, wanted, network):
    a, b = (
        torch.cat([w.flatten() for key, w in sorted(d.items()) if key.startswith(network.lowest)])
        for d in (ours, wanted)
    )
    return float(torch.cosine_similarity(a, b, dim=0))


@pytest.mark.parametrize(("recurrent", "least", "most"), [(False, 1 - 1e-9, 1 + 1e-9), (True, 0.2, 0.95)])
def test_ostl_is_the_gradient_through_time_without_recurrent_weights_only(recurrent, least, most):
    spec = f"snn(hidden=[9], recurrent={recurrent}, readout=leaky(kappa=0.0))"
    xs, labels = spikes(T, 4, INPUTS), torch.tensor([0, 2, 1, 2])
    network = network_of(spec, INPUTS, 3)
    wanted = through_time(network_of(spec, INPUTS, 3), xs, labels, cut=False)
    ours = streamed(network, "ostl", xs, labels, chunk=5)
    assert least < hidden_cosine(ours, wanted, network) < most
