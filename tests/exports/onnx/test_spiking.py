"""Spiking graphs: ONNX step and loop, and NIR, spike for spike; against snnTorch too."""

from __future__ import annotations

import sys
import types

import pytest
import torch

from exports.graph.arrays import Array
from exports.graph.reference import run_ticks, zero_states
from exports.nir import write as nir
from exports.onnx import spiking
from exports.onnx.runtime import Runtime
from exports.verify import verify_file
from hwmodels.errors import NeurofaError
from tests.exports.spiking_nets import images, neuron, spikes, stack

KINDS = [(m, r, d) for m in ("lif", "synaptic", "alif") for r in ("subtract", "zero", "none") for d in (True, False)]


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize(("kind", "reset", "delay"), KINDS)
def test_the_loop_is_exact_at_other_lengths_and_batches(kind, reset, delay, recurrent):
    model = stack(kind, recurrent, reset=reset, delay=delay)
    session = Runtime(spiking.loop_graph(model))
    for ticks, samples in ((30, 6), (7, 1), (1, 3)):
        xs = spikes(model, ticks, samples)
        outputs, seen = run_ticks(model, xs)
        got = session({"input": xs})
        assert torch.equal(got["spikes.hidden"], seen["hidden"])
        assert torch.allclose(got["output"], outputs, atol=1e-5)
    assert 50 < int(run_ticks(model, spikes(model, 30, 6))[1]["hidden"].sum()) < 30 * 6 * 16


@pytest.mark.parametrize("kind", ["lif", "synaptic", "alif"])
def test_the_step_repeated_is_the_loop(kind):
    model = stack(kind, recurrent=True)
    session, states, xs = Runtime(spiking.tick_graph(model)), zero_states(model, 4), spikes(model, 20, 4)
    seen = run_ticks(model, xs)[1]["hidden"]
    for x, z in zip(xs, seen, strict=True):
        got = session({"input": x, **{key: value for key, value in states.items() if key in session.inputs}})
        states = {key.removeprefix("new."): value for key, value in got.items() if key.startswith("new.")}
        assert torch.equal(got["spikes.hidden"], z)


def test_convolutions_spike_in_the_loop():
    model = images()
    xs = spikes(model, 20, 3)
    assert torch.equal(
        Runtime(spiking.loop_graph(model))({"input": xs})["spikes.conv"], run_ticks(model, xs)[1]["conv"]
    )


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
def test_leaky_neurons_are_those_of_snntorch(reset):
    snn = pytest.importorskip("snntorch")
    model = stack(reset=reset)
    node = model.nodes[0]
    cell = snn.Leaky(beta=node.neuron.beta.values, threshold=1.0, reset_mechanism=reset)
    xs, mem, found = spikes(model, 40, 5), None, []
    with torch.no_grad():
        mem = cell.reset_mem()
        for x in xs:
            z, mem = cell(torch.nn.functional.linear(x, node.current.weight.values, node.current.bias.values), mem)
            found.append(z)
    assert torch.equal(torch.stack(found), run_ticks(model, xs)[1]["hidden"])


def through_snntorch(path, xs, kind):
    """The hidden spikes of a NIR file, its nodes made into modules by snnTorch's own reader."""
    reader = pytest.importorskip("nir")
    pytest.importorskip("snntorch")
    if "nirtorch" not in sys.modules:  # only the walk over a graph needs it, and this graph is a chain
        try:
            import nirtorch  # type: ignore[import-not-found]  # noqa: F401
        except ImportError:
            sys.modules["nirtorch"] = types.ModuleType("nirtorch")
    from snntorch.import_nir import _nir_to_snntorch_module

    graph = reader.read(path)
    into, cell = (_nir_to_snntorch_module(graph.nodes[name]) for name in ("hidden_w", "hidden"))
    states, found = (), []
    with torch.no_grad():
        states = cell.reset_mem()
        states = states if isinstance(states, tuple) else (states,)
        for x in xs:
            z, *states = cell(into(x), *states)
            found.append(z)
    assert kind == type(cell).__name__
    return torch.stack(found)


@pytest.mark.parametrize(("kind", "module"), [("lif", "Leaky"), ("synaptic", "Synaptic")])
@pytest.mark.parametrize("delay", [True, False])
def test_nir_runs_in_snntorch_with_the_same_spikes(tmp_path, kind, module, delay):
    model = stack(kind, reset="zero", delay=delay)
    graph, changed = nir.network_to_nir(model, dt=1e-4)
    nir.write_nir(graph, tmp_path / "x.nir")
    xs = spikes(model, 60, 8)
    assert not changed
    got = through_snntorch(tmp_path / "x.nir", xs, module)
    assert torch.equal(got, run_ticks(model, xs)[1]["hidden"])
    assert int(got.sum()) > 300
    assert all(check.ok for check in verify_file(tmp_path / "x.nir", model=model))


def test_nir_refuses_subtraction_with_the_option(tmp_path):
    model = stack(reset="subtract")
    with pytest.raises(
        NeurofaError, match=r"reset 'subtract' at 'hidden' for NIR; expected reset to zero.*--convert-reset"
    ):
        nir.network_to_nir(model)
    _, (changed,) = nir.network_to_nir(model, convert=True)
    assert changed.layer == "hidden"
    assert 0.005 < changed.share < 0.3
    assert changed.spikes[0] != changed.spikes[1]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (stack("alif", reset="zero"), "adaptive thresholds"),
        (stack(reset="none"), "reset 'none'"),
    ],
)
def test_nir_refuses_what_it_cannot_say(model, said):
    with pytest.raises(NeurofaError, match=said):
        nir.network_to_nir(model)


def test_nir_reads_convolutions_recurrence_and_arrays(tmp_path):
    reader = pytest.importorskip("nir")
    for index, model in enumerate((images(reset="zero"), stack(recurrent=True, reset="zero"))):
        path = tmp_path / f"{index}.nir"
        nir.write_nir(nir.network_to_nir(model)[0], path)
        graph = reader.read(path)
        cell = graph.nodes["conv" if index == 0 else "hidden"]
        assert cell.tau.shape == cell.v_threshold.shape == model.nodes[0].out_shape
    assert ("hidden", "hidden_rec") in graph.edges
    assert ("hidden_rec", "hidden") in graph.edges


def test_feedback_is_a_nir_graph_of_its_own(tmp_path):
    reader = pytest.importorskip("nir")
    from tests.exports.learners import learner
    from tests.exports.learners import model as described

    found = learner()
    nir.write_nir(nir.feedback_to_nir(described(found)), tmp_path / "f.nir")
    graph = reader.read(tmp_path / "f.nir")
    b = found.rule.feedback.b.weight.detach()
    assert torch.equal(torch.from_numpy(graph.nodes["fb_dense1"].weight), b[:12])


def test_a_file_of_another_network_does_not_hold(tmp_path):
    nir.write_nir(nir.network_to_nir(stack(reset="zero", seed=1))[0], tmp_path / "x.nir")
    assert not all(check.ok for check in verify_file(tmp_path / "x.nir", model=stack(reset="zero")))


def test_neurons_are_checked_when_they_are_made():
    gen = torch.Generator().manual_seed(0)
    with pytest.raises(NeurofaError, match="dt=0"):
        neuron("lif", (3,), gen, dt=0.0)
    with pytest.raises(NeurofaError, match="outside of 0 to 1"):
        neuron("lif", (3,), gen, beta=Array(values=torch.full((3,), 1.5), meaning="decay"))
    with pytest.raises(NeurofaError, match="threshold of a lif"):
        neuron("lif", (3,), gen, beta=Array(values=torch.full((4,), 0.5), meaning="decay"))
