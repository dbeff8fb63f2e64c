"""Trained spiking networks in files: they describe themselves, come back bit for bit, and spike as they did."""

from __future__ import annotations

import pytest
import torch

from experiments.exporting.load import load_run
from exports.describe.layers import network_nodes
from exports.describe.learners import describe_learner
from exports.graph.nodes import ConvNode, PoolNode
from exports.graph.reference import run_ticks, zero_states
from exports.hdf5.read import open_hardware_file
from exports.hdf5.write import Content, write_hdf5
from exports.nir import run as reader
from exports.nir import write as nir
from exports.onnx import learning, spiking
from exports.onnx.builder import write_onnx
from exports.onnx.runtime import Runtime
from exports.programming.probes import probe_learner
from exports.programming.spike_probes import random_spikes, spike_responses
from exports.restore import rebuild_learner, restore_learner
from exports.verify import verify_file
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.core.network import Network
from neurofa.layers.carriers import Flatten
from neurofa.layers.spiking import Spiking
from neurofa.layers.spiking_conv import SpikingConv2d
from neurofa.neurons.lif import LeakyIntegrator
from neurofa.training.learner import Learner

NEURONS = [
    *(f"lif(reset={r}, delay={d})" for r in ("subtract", "zero", "none") for d in (True, False)),
    "lif(reset=zero, gated=True)",
    "lif(beta=1.0, threshold=0.4)",
    *(f"synaptic(reset={r}, delay={d})" for r in ("subtract", "zero", "none") for d in (True, False)),
    *(f"alif(reset={r}, gain=0.3)" for r in ("subtract", "zero", "none")),
]
"""Resets, delays and gates of all models that fire."""


def grid(network: Network) -> Network:
    """Weights on a grid of 1/64 and larger than drawn, so that sums are exact in any order and neurons fire."""
    with torch.no_grad():
        for name in network.names:
            for value in network.layer(name).synapses.stored().values():
                value.mul_(3 * 64).round_().div_(64)
    return network


def small(neuron: str = "lif", recurrent: bool = True, **options) -> Network:
    spec = f"snn(hidden=[9], neuron={neuron}, recurrent={recurrent})"
    return grid(build("network", spec, input_shape=(6,), outputs=3, seed=1, device="digital", **options))


def convolution(pool: str | None) -> Network:
    width = 16 if pool is None else 4
    layers = [
        SpikingConv2d(1, 3, 3, padding=1, pool=pool, neuron="lif(threshold=0.5)"),
        Flatten(),
        Spiking(3 * width, 2, neuron="leaky"),
    ]
    return grid(Network(layers, (1, 4, 4), seed=1))


def recipe(rule: str = "eprop") -> dict:
    return {
        "network": "snn(hidden=[9], recurrent=True)",
        "input_shape": (6,),
        "outputs": 3,
        "seed": 1,
        "device": "digital",
        "periphery": "exact",
        "rule": rule,
        "loss": "cross_entropy",
        "feedback_scale": "backprop",
    }


def trained(rule: str = "eprop") -> Learner:
    """A recurrent network after some sequences, so that no weight is as it was drawn."""
    made = recipe(rule)
    parts = {key: made[key] for key in ("input_shape", "outputs", "seed", "device", "periphery")}
    network = build("network", made["network"], **parts)
    learner = Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=0.5), seed=3)
    for seed in range(3):
        learner.stream(random_spikes((6,), 12, 5, seed), torch.tensor([0, 1, 2, 0, 1]))
    return learner


def described(learner: Learner, rule: str = "eprop"):
    return describe_learner(learner, rule, {"recipe": recipe(rule)}, 2e-3)


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("neuron", NEURONS)
def test_nodes_and_loop_spike_as_the_layers_do(neuron, recurrent):
    network = small(neuron, recurrent)
    model = describe_learner(Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters())), "dfa", {})
    session, fired = Runtime(spiking.loop_graph(model)), 0
    for ticks, samples_ in ((30, 4), (7, 1)):
        xs = random_spikes((6,), ticks, samples_, ticks)
        wanted = spike_responses(network, xs)
        outputs, spikes = run_ticks(model, xs)
        got = session({"input": xs})
        assert torch.equal(spikes["spiking0"], wanted["spikes.spiking0"])
        assert torch.equal(got["spikes.spiking0"], wanted["spikes.spiking0"])
        assert torch.allclose(outputs, wanted["output"], atol=1e-5)
        assert torch.allclose(got["output"], wanted["output"], atol=1e-4)
        fired += int(wanted["spikes.spiking0"].sum())
    assert 30 < fired < 9 * (30 * 4 + 7)


@pytest.mark.parametrize("pool", [None, "avg_pool2d(size=2)", "max_pool2d(size=2)"])
def test_convolutions_with_their_pooling_spike_as_the_layers_do(pool):
    network = convolution(pool)
    model = describe_learner(Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters())), "dfa", {})
    node = model.nodes[0]
    assert isinstance(node.current, ConvNode)
    assert node.current.out_shape == (3, 4, 4)
    assert (node.pool is None) == (pool is None)
    assert isinstance(node.pool, PoolNode | None)
    xs = random_spikes((1, 4, 4), 25, 3, 0)
    wanted, got = spike_responses(network, xs), Runtime(spiking.loop_graph(model))({"input": xs})
    assert torch.equal(run_ticks(model, xs)[1]["spiking_conv0"], wanted["spikes.spiking_conv0"])
    assert torch.equal(got["spikes.spiking_conv0"], wanted["spikes.spiking_conv0"])
    assert int(wanted["spikes.spiking_conv0"].sum()) > 50


def test_a_potential_above_two_thresholds_resets_at_once_as_the_layers_do():
    # theta comes off once at once, and the rest still counts as a spike that was: the case in which both differ
    network = small("lif(delay=False, threshold=0.2)", recurrent=False)
    model = describe_learner(Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters())), "dfa", {})
    xs = random_spikes((6,), 30, 8, 4)
    assert torch.equal(run_ticks(model, xs)[1]["spiking0"], spike_responses(network, xs)["spikes.spiking0"])


def test_nodes_hold_every_constant_of_the_neurons():
    made = network_nodes(small("alif(beta=0.8, rho=0.9, gain=0.2, threshold=0.7, reset=zero)"), 5e-3)[0].neuron
    values = {key: float(array.values[0]) for key, array in made.arrays().items()}
    assert values == pytest.approx({"beta": 0.8, "rho": 0.9, "kappa": 0.2, "threshold": 0.7})
    assert (made.model, made.reset, made.dt, made.delay) == ("alif", "zero", 5e-3, True)
    readout = network_nodes(small())[-1].neuron
    assert (readout.model, readout.dt) == ("leaky", 1e-3)


def test_surrogates_and_traces_are_constants_of_learning():
    network = small("lif(surrogate=boxcar(width=0.25))")
    learner = Learner(network, "eprop(filtered=False)", optimizer=torch.optim.SGD(network.parameters(), lr=0.25))
    known = describe_learner(learner, "eprop(filtered=False)", {}).learning
    assert known.constants["neurons"]["spiking0"] == {"surrogate": "boxcar(width=0.25, height=1.0)", "traces": "raw"}
    assert known.constants["neurons"]["spiking1"] == {"traces": "raw"}
    assert known.constants["lr"] == 0.25
    assert known.path == "direct"


def test_a_recurrent_network_comes_back_bit_for_bit(tmp_path):
    learner = trained()
    model, path = described(learner), tmp_path / "network.h5"
    write_hdf5(path, model, probe_learner(learner, count=3, repeats=2, seed=0), Content())
    again = rebuild_learner(recipe())
    xs = random_spikes((6,), 30, 7, 9)
    assert not torch.equal(spike_responses(again.network, xs)["output"], spike_responses(learner.network, xs)["output"])
    with open_hardware_file(path) as stored:
        restore_learner(again, stored)
        own = stored.attributes("layers/spiking0")
        assert {key: own[key] for key in ("model", "reset", "reset_delay", "dt", "recurrent_weights")} == {
            "model": "lif",
            "reset": "subtract",
            "reset_delay": True,
            "dt": 2e-3,
            "recurrent_weights": True,
        }
        among = stored.tensor("layers/spiking0/recurrent")
    assert torch.equal(among, learner.network.layer("spiking0").synapses.stored()["recurrent"])
    for part in ("network", "rule"):
        held, found = getattr(learner, part).state_dict(), getattr(again, part).state_dict()
        assert held.keys() == found.keys()
        assert all(torch.equal(value, found[key]) for key, value in held.items())
    wanted, got = spike_responses(learner.network, xs), spike_responses(again.network, xs)
    assert all(torch.equal(value, got[name]) for name, value in wanted.items())
    error = torch.randn(4, 3)
    assert torch.equal(*(part.rule.feedback.send(error, None)("spiking0") for part in (learner, again)))
    checks = verify_file(path, learner, model, xs)
    assert all(check.ok for check in checks), checks
    assert "spikes.spiking0" in next(check.detail for check in checks if check.name == "network")


def test_a_file_with_one_other_weight_does_not_hold(tmp_path):
    learner = trained()
    path = tmp_path / "network.h5"
    write_hdf5(path, described(learner), probe_learner(learner, count=3, repeats=2, seed=0), Content())
    with torch.no_grad():
        learner.network.layer("spiking0").synapses.stored()["recurrent"][0, 1] += 1.0
    failed = {check.name for check in verify_file(path, learner, described(learner)) if not check.ok}
    assert failed == {"against"}


@pytest.mark.parametrize("graph", [spiking.tick_graph, spiking.loop_graph])
def test_onnx_files_are_verified_spike_for_spike(tmp_path, graph):
    learner = trained()
    model, path = described(learner), tmp_path / "x.onnx"
    write_onnx(graph(model), path)
    xs = random_spikes((6,), 11, 6, 2)
    checks = verify_file(path, learner, model, xs)
    assert all(check.ok for check in checks), checks
    assert "0 spikes differ" in checks[-1].detail
    with torch.no_grad():
        learner.network.layer("spiking0").synapses.stored()["recurrent"].mul_(-3)
    assert [check.name for check in verify_file(path, learner, model, xs) if not check.ok] == ["against"]


def test_the_step_is_a_tick_of_the_stream():
    learner = trained()
    model, xs = described(learner), random_spikes((6,), 15, 2, 3)
    session, states = Runtime(spiking.tick_graph(model)), zero_states(model, 2)
    assert set(states) == {"spiking0.u", "spiking0.z", "spiking1.u"}
    for x, z in zip(xs, spike_responses(learner.network, xs)["spikes.spiking0"], strict=True):
        got = session({"input": x, **{key: states[key] for key in states if key in session.inputs}})
        states = {key: got[f"new.{key}"] for key in states}
        assert torch.equal(got["spikes.spiking0"], z)


def test_learning_graphs_refuse_neurons_with_a_memory():
    with pytest.raises(NeurofaError, match="got spiking neurons at 'spiking0'"):
        learning.learning_graph(described(trained("dfa"), "dfa"))
    with pytest.raises(NeurofaError, match="got spiking neurons at 'spiking0'"):
        learning.feedback_graph(described(trained("fa"), "fa"))


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("neuron", ["lif(reset=zero)", "synaptic(reset=zero, delay=False)"])
def test_nir_files_run_from_their_own_numbers(tmp_path, neuron, recurrent):
    network = small(neuron, recurrent)
    learner = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters()))
    model, path = describe_learner(learner, "dfa", {}), tmp_path / "forward.nir"
    graph, changed = nir.network_to_nir(model, dt=1e-4)
    assert not changed
    nir.write_nir(graph, path)
    xs = random_spikes((6,), 30, 5, 6)
    wanted = spike_responses(network, xs)
    got = reader.run_nir(pytest.importorskip("nir").read(path), xs)
    assert torch.equal(got["spikes.spiking0"], wanted["spikes.spiking0"])
    assert torch.allclose(got["output"], wanted["output"], atol=1e-5)
    checks = verify_file(path, learner, model, xs)
    assert all(check.ok for check in checks), checks
    assert checks[-1].name == "spikes"


def test_nir_says_poolings_by_means_inside_a_layer(tmp_path):
    layers = [
        SpikingConv2d(1, 3, 3, padding=1, pool="avg_pool2d(size=2)", neuron="lif(reset=zero, threshold=0.5)"),
        Flatten(),
        Spiking(12, 2, neuron="leaky"),
    ]
    network = grid(Network(layers, (1, 4, 4), seed=1))
    model = describe_learner(Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters())), "dfa", {})
    nir.write_nir(nir.network_to_nir(model)[0], tmp_path / "x.nir")
    xs = random_spikes((1, 4, 4), 20, 3, 1)
    got = reader.run_nir(pytest.importorskip("nir").read(tmp_path / "x.nir"), xs)
    assert torch.equal(got["spikes.spiking_conv0"], spike_responses(network, xs)["spikes.spiking_conv0"])


@pytest.mark.parametrize(
    ("neuron", "said"),
    [
        ("lif", "got reset 'subtract' at 'spiking0' for NIR; expected reset to zero.*--convert-reset"),
        ("lif(reset=zero, gated=True)", "reset 'zero' that drops the next drive at 'spiking0'"),
        ("synaptic(reset=zero)", "reset 'zero' that drops the next drive at 'spiking0'"),
        ("alif(reset=zero)", "adaptive thresholds at 'spiking0'"),
        ("lif(reset=zero, membrane=uniform(bits=8))", r"potentials in uniform\(bits=8.*; expected raw ones"),
    ],
)
def test_nir_refuses_with_the_reason(neuron, said):
    network = small(neuron)
    learner = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters()))
    with pytest.raises(NeurofaError, match=said):
        nir.network_to_nir(describe_learner(learner, "dfa", {}))


def test_converted_resets_are_measured_and_verified(tmp_path):
    learner = trained()
    model = described(learner)
    graph, (changed,) = nir.network_to_nir(model, convert=True)
    assert changed.share > 0
    nir.write_nir(graph, tmp_path / "x.nir")
    checks = verify_file(tmp_path / "x.nir", learner, model)
    assert all(check.ok for check in checks), checks
    assert "resets were converted" in checks[-1].detail


def test_rounded_potentials_are_stored_and_not_computed(tmp_path):
    network = small("lif(membrane=uniform(bits=8))")
    learner = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters()))
    model = describe_learner(learner, "dfa", {})
    write_hdf5(tmp_path / "x.h5", model, probe_learner(learner, count=2, repeats=1, seed=0), Content())
    with open_hardware_file(tmp_path / "x.h5") as stored:
        assert stored.attributes("layers/spiking0")["membrane"].startswith("uniform(bits=8")
    for compute in (spiking.loop_graph, lambda m: run_ticks(m, random_spikes((6,), 3, 2, 0))):
        with pytest.raises(NeurofaError, match="got potentials in uniform"):
            compute(model)


def test_neurons_that_say_nothing_of_their_dynamics_are_stored_by_name():
    class Odd(LeakyIntegrator.__mro__[1]):  # type: ignore[misc]
        name = "odd_for_export"  # not registered: other tests list all neurons
        memories = ("mem",)

        def tick(self, current, state):
            return current, {}, state

        def dynamics(self, left, psi=None):
            raise NotImplementedError

    (node,) = network_nodes(Network([Spiking(4, 3, neuron=Odd())], (4,)))
    assert "'odd_for_export' do not describe" in node.reason
    assert set(node.arrays()) == {"weight", "bias"}


@pytest.mark.slow
def test_a_run_on_spikes_is_exported_verified_and_imported(tmp_path, monkeypatch, capsys):
    from experiments.cli import run_command as neurofa

    monkeypatch.chdir(tmp_path)
    spec = ["--data", "encoded(ticks=6, tick=0.004)", "--network", "snn(hidden=[8], recurrent=True)"]
    assert neurofa(["train", *spec, "--rule", "eprop", "--epochs", "1", "--no-control", "--out", "run"]) == 0
    for form in ("hdf5", "onnx"):
        assert neurofa(["export", "run", "--format", form, "-o", "out"]) == 0
    assert neurofa(["export", "run", "--format", "nir", "--convert-reset", "-o", "out"]) == 0
    capsys.readouterr()
    for name in ("network.h5", "step.onnx", "loop.onnx", "feedback.onnx", "forward.nir", "feedback.nir"):
        assert neurofa(["verify", f"out/{name}", "--against", "run"]) == 0, name
    assert "0 spikes differ" in capsys.readouterr().out
    held = load_run(tmp_path / "run")
    assert held.sample_inputs(5).shape == (6, 5, 1, 8, 8)
    assert [node.neuron.dt for node in held.model().nodes[1:]] == [0.004, 0.004]
    assert neurofa(["import", "out/network.h5", "--into", "run", "--out", "again"]) == 0
    xs = held.sample_inputs(5)
    wanted, got = (spike_responses(part.learner.network, xs) for part in (held, load_run(tmp_path / "again")))
    assert all(torch.equal(value, got[name]) for name, value in wanted.items())
