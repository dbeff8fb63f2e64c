"""Recurrent networks without spikes, against torch's own layers and against autograd without the recurrent paths."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.audit.sequence import audit_sequence
from neurofa.core.network import Network
from neurofa.interop.snntorch import to_snntorch
from neurofa.spiking.temporal import Temporal
from neurofa.training.learner import Learner

T, B, N_IN, N, OUT = 7, 4, 3, 5, 2
KINDS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


def _network(kind: str, hidden: str = "[5]", readout: str = "leaky(kappa=0.0)") -> Network:
    own = ", decay=0.0" if kind == "rnn" else ""
    spec = f"{kind}(hidden={hidden}, readout='{readout}'{own})"
    network: Network = build("network", spec, input_shape=(N_IN,), outputs=OUT)
    return network.double()


def _sequence() -> tuple[Tensor, Tensor]:
    gen = torch.Generator().manual_seed(1)
    return torch.randn(T, B, N_IN, generator=gen, dtype=torch.float64), torch.randint(OUT, (B,), generator=gen)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", [1, 2])
def test_bptt_is_autograd_through_torchs_layer(kind: str, layers: int) -> None:
    network = _network(kind, str([N] * layers))
    theirs = KINDS[kind](N_IN, N, layers).double()
    read = nn.Linear(N, OUT).double()
    pairs: list[tuple[Tensor, Tensor]] = []
    for index, name in enumerate(network.names[:-1]):
        own = network.layer(name).synapses
        for key, theirs_key in (("weight", "weight_ih"), ("recurrent", "weight_hh"), ("bias", "bias_ih")):
            pairs.append((own[key].weight, getattr(theirs, f"{theirs_key}_l{index}")))
        getattr(theirs, f"bias_hh_l{index}").data.zero_()
    last = network.layer(network.readout).synapses
    pairs += [(last["weight"].weight, read.weight), (last["bias"].weight, read.bias)]
    for ours, other in pairs:
        other.data.copy_(ours.data)
    xs, y = _sequence()
    outputs = read(theirs(xs)[0])
    loss = F.cross_entropy(outputs.flatten(0, 1), y.repeat(T))
    loss.backward()  # type: ignore[no-untyped-call]
    before = [ours.detach().clone() for ours, _ in pairs]
    learner = Learner(network, "bptt", optimizer=torch.optim.SGD(network.parameters(), lr=1.0))
    result = learner.stream(xs, y)
    assert result.loss.item() == pytest.approx(loss.item(), rel=1e-12)
    for (ours, other), old in zip(pairs, before, strict=True):
        assert other.grad is not None
        torch.testing.assert_close(old - ours, other.grad, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("kind", ["rnn", "rnn(decay=0.8)", "gru", "lstm"])
@pytest.mark.parametrize("chunk", [1, 3, T])
def test_online_directions_are_exact_but_for_what_returns_through_recurrent_weights(kind: str, chunk: int) -> None:
    spec = kind if "(" in kind or kind != "rnn" else "rnn(decay=0.0)"
    network = build("network", spec, input_shape=(N_IN,), outputs=OUT).double()
    name = network.names[0]
    layer, readout = network.layer(name), network.layer(network.readout)
    assert isinstance(layer, Temporal)
    assert isinstance(readout, Temporal)
    xs, y = _sequence()
    leaves = {key: s.weight.detach().clone().requires_grad_() for key, s in layer.synapses.items()}
    state = layer.initial_state(torch.zeros(B, layer.synapses["recurrent"].weight.shape[1], dtype=torch.float64))
    shown = []
    for x in xs:
        fed = state | {"out": state["out"].detach()}  # outputs of the tick before, as given inputs
        out, after = layer.compute(leaves, x, fed)
        state = {key: after[key] for key in state}
        shown.append(out)
    # errors that the rule delivers, by its own random pathway
    learner = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=1.0))
    memory, errors = torch.zeros(B, OUT, dtype=torch.float64), []
    w, b = readout.synapses["weight"].weight, readout.synapses["bias"].weight
    for out in shown:
        memory = memory * 0.9 + out.detach() @ w.t() + b
        errors.append((memory.softmax(1) - F.one_hot(y, OUT)) / (T * B))
    matrix = learner.rule.feedback.matrix()
    assert matrix is not None
    signals = [error.detach() @ matrix.weight.t() for error in errors]
    expected = torch.autograd.grad(shown, list(leaves.values()), signals)
    learner.stream(xs, y, chunk=chunk)
    for (key, leaf), gradient in zip(leaves.items(), expected, strict=True):
        torch.testing.assert_close(leaf.detach() - layer.synapses[key].weight, gradient, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize(("rule", "local"), [("eprop", True), ("bptt", False)])
@pytest.mark.parametrize("kind", KINDS)
def test_an_online_update_needs_no_other_layer_and_no_later_tick(kind: str, rule: str, local: bool) -> None:
    network = build("network", f"{kind}(hidden=[4])", input_shape=(N_IN,), outputs=OUT)
    xs, y = _sequence()
    report = audit_sequence(rule, network, xs[:4].float(), y)
    assert report.local == report.declared_local == local
    assert report.dependencies[network.names[0]].learns
    assert report.dependencies[network.names[0]].future_ticks == ("no" if local else "yes")


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_gates_are_refused_by_name_where_they_have_no_counterpart(kind: str) -> None:
    network = build("network", f"{kind}(hidden=[4])", input_shape=(N_IN,), outputs=OUT)
    with pytest.raises(NeurofaError, match=f"recurrent {kind} neurons at layer '{kind}0' for snnTorch"):
        to_snntorch(network)
    with pytest.raises(NeurofaError, match=f"periphery for layer '{kind}0'"):
        network.attach("standard")


@pytest.mark.parametrize("rule", ["stllr", "erbp"])
@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_rules_with_a_neurons_own_eligibility_refuse_gates_by_name(rule: str, kind: str) -> None:
    network = build("network", f"{kind}(hidden=[5])", input_shape=(N_IN,), outputs=OUT)
    learner = Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    xs, y = _sequence()
    for ticks in (T, 40 * T):
        with pytest.raises(NeurofaError, match=f"rule '{rule}' on layer '{kind}0' of {kind} units"):
            learner.stream(xs.float().repeat(ticks // T, 1, 1), y)


@pytest.mark.parametrize("kind", KINDS)
def test_memory_of_a_tick_is_told_by_size(kind: str) -> None:
    network = _network(kind, "[5, 4]")
    gates = {"rnn": 1, "gru": 3, "lstm": 4}[kind]
    assert [len(network.layer(name).synapses["weight"].weight) for name in network.names] == [5 * gates, 4 * gates, OUT]
    assert [network.shapes[name] for name in network.names] == [(5,), (4,), (OUT,)]


def test_impossible_rate_neurons_are_refused() -> None:
    with pytest.raises(NeurofaError, match=r"decay=1\); expected at least 0 and below 1"):
        build("neuron", "rate(decay=1)")
    with pytest.raises(NeurofaError, match=r"function=sin\); expected tanh, relu"):
        build("neuron", "rate(function=sin)")
