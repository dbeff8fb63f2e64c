"""ONNX graphs: the numbers of torch, in onnxruntime, for inference, feedback and steps of learning."""

from __future__ import annotations

import pytest
import torch

from exports.onnx.builder import checked_model, write_onnx
from exports.onnx.inference import inference_graph, int8_inference_graph
from exports.onnx.learning import feedback_graph, initial_values, learning_graph
from exports.onnx.runtime import Runtime
from exports.verify import verify_file
from hwmodels.errors import NeurofaError
from hwmodels.registry import build, parts
from tests.exports.learners import learner, model

NETS = [
    "mlp",
    "mlp(hidden=[12, 9], norm=layer, activation=gelu)",
    "cnn",
    "cnn(channels=[3, 4], hidden=8, activation=silu)",
]


def images(found, batch, seed=0):
    return torch.randn(batch, *found.network.input_shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("network", [*NETS, pytest.param("vit", marks=pytest.mark.slow)])
def test_inference_is_that_of_torch(network):
    found = learner(network)
    described = model(found, network)
    session = Runtime(inference_graph(described))
    found.network.eval()
    for batch in (1, 7):
        x = images(found, batch)
        assert torch.allclose(session({"input": x})["output"], found.network(x), atol=1e-5)
    x = images(found, 64)
    rough = Runtime(int8_inference_graph(described, x))({"input": x})["output"]
    exact = found.network(x)
    assert 0 < float((rough - exact).abs().max()) < 0.1 * float(exact.abs().max())


def test_whole_numbers_in_the_graph_are_int8():
    found = learner()
    made = int8_inference_graph(model(found), images(found, 8))
    kinds = {i.name: i.data_type for i in made.graph.initializer}
    assert kinds["dense1.weight_codes"] == 3  # INT8
    assert {n.op_type for n in made.graph.node} >= {"QuantizeLinear", "DequantizeLinear"}
    assert {o.domain: o.version for o in made.opset_import} == {"": 17}


@pytest.mark.parametrize(
    "rule",
    ["dfa", "dfa(feedback=pooled)", "tdfa", "dfa(error=uniform(bits=4))", "dfa(feedback=mzi)", "dfa(error=sign)"],
)
@pytest.mark.parametrize("network", ["mlp", "cnn"])
def test_feedback_is_that_of_torch(network, rule):
    found = learner(network, rule)
    session = Runtime(feedback_graph(model(found, network, rule)))
    error = torch.randn(6, 10, generator=torch.Generator().manual_seed(0))
    ask = found.rule.feedback.send(found.rule.encoder.quantize(error))
    for name in found.rule.feedback.slices:
        assert torch.allclose(session({"error": error})[f"teaching.{name}"], ask(name), atol=1e-5)


def test_feedback_of_a_chain_is_what_backpropagation_says():
    found = learner(rule="bp")
    session = Runtime(feedback_graph(model(found, rule="bp")))
    plain, x = found.network.module(), images(found, 5)
    error = torch.randn(5, 10, generator=torch.Generator().manual_seed(0))
    seen = {}
    h = x
    for module, name in zip(plain, found.network.names, strict=True):
        h = seen[name] = module(h).requires_grad_() if not h.requires_grad else module(h)
        h.retain_grad()
    h.backward(error)
    got = session({"input": x, "error": error})
    for name in ("dense1", "dense2"):
        assert torch.allclose(got[f"teaching.{name}"], seen[name].grad, atol=1e-6)


def test_the_ideal_part_of_a_noisy_pathway_says_so():
    found = learner(rule="dfa(feedback=opu)")
    assert (
        Runtime(feedback_graph(model(found, rule="dfa(feedback=opu)"))).metadata["ideal_part_of_a_noisy_pathway"]
        == "true"
    )


def follow(found, described, steps, batch=8, lr=0.1, labels=None, data=None):
    """The largest difference of any weight after some steps in onnxruntime and in torch."""
    session = Runtime(learning_graph(described))
    weights = {name: array.values.clone() for name, array in initial_values(described).items()}
    begun = {name: value.clone() for name, value in weights.items()}
    for step in range(steps):
        x = images(found, batch, step) if data is None else data[step]
        t = (
            torch.randint(10, (batch,), generator=torch.Generator().manual_seed(step))
            if labels is None
            else labels[step]
        )
        feeds = {"input": x, "target": t, "lr": torch.tensor(lr), **weights}
        got = session({name: value for name, value in feeds.items() if name in session.inputs})
        weights |= {name.removeprefix("new."): value for name, value in got.items() if name.startswith("new.")}
        found.step(x, t)
    now = initial_values(described)  # views of the learner's own weights
    moved = [name for name in now if not torch.equal(begun[name], weights[name])]
    return max(float((now[name].values - weights[name]).abs().max()) for name in now), moved


WHOLE_STEPS = ("dfa", "drtp", "adfa", "dkp", "fa", "bp", "kp", "ldfa_local", "readout_only")


def test_rules_that_declare_their_whole_step_are_known():
    declared = {rule.name for name in parts("rule") if (rule := build("rule", name)).declares.plasticity is not None}
    assert declared == set(WHOLE_STEPS)


@pytest.mark.sample(10)
@pytest.mark.parametrize("rule", WHOLE_STEPS)
@pytest.mark.parametrize("network", ["mlp", "cnn(channels=[3, 4], hidden=8, activation=tanh)"])
def test_steps_of_learning_follow_torch(network, rule):
    found = learner(network, rule, weight_decay=1e-3)
    found.network.train()
    off, moved = follow(found, model(found, network, rule), 10)
    assert off < 1e-5
    assert len(moved) >= (2 if rule == "readout_only" else 6)


@pytest.mark.parametrize(
    "network", ["cnn", "mlp(hidden=[12, 9], norm=batch)", "mlp(hidden=[12, 9], norm=layer, activation=gelu)"]
)
def test_normalisation_learns_too(network):
    found = learner(network)
    found.network.train()
    off, moved = follow(found, model(found, network), 3)
    assert off < 1e-4
    assert any("norm_gain" in name for name in moved)


def test_chained_errors_return_encoded_while_the_readout_sees_them_raw():
    found = learner(rule="fa(error=ternary)")
    found.network.train()
    assert follow(found, model(found, rule="fa(error=ternary)"), 5)[0] < 1e-5


@pytest.mark.parametrize(
    ("network", "rule", "device", "options", "said"),
    [
        ("mlp", "draf", "digital", {}, "rule 'draf'"),
        pytest.param("vit", "dfa", "digital", {}, "a block at 'block0'", marks=pytest.mark.slow),
        ("mlp", "dfa", "pcm", {}, "weights on pcm"),
        ("mlp", "dfa", "digital", {"momentum": 0.9}, "momentum=0.9"),
        ("mlp(hidden=[12], dropout=0.1)", "dfa", "digital", {}, "dropout at 'dense1'"),
        ("mlp(hidden=[12, 9], norm=batch)", "fa", "digital", {}, "a norm at 'dense2'"),
        ("mlp", "dfa(error=uniform(bits=4, rounding=stochastic))", "digital", {}, "the format uniform"),
    ],
)
def test_what_has_no_learning_graph_is_refused_with_the_reason(network, rule, device, options, said):
    found = learner(network, rule, device, steps=0, **options)
    with pytest.raises(NeurofaError, match=rf"got .*{said}.*; expected .*; "):
        learning_graph(model(found, network, rule, device))


def test_files_are_verified_against_torch(tmp_path):
    found = learner()
    described = model(found)
    for name, made in (
        ("i", inference_graph(described)),
        ("f", feedback_graph(described)),
        ("l", learning_graph(described)),
    ):
        write_onnx(made, tmp_path / f"{name}.onnx")
        checks = verify_file(tmp_path / f"{name}.onnx", found, described)
        assert {c.name: c.ok for c in checks} == dict.fromkeys(
            ("opens", "digest", "checker", "metadata", "finite", "runs", "against"), True
        )
    other = learner(steps=5)
    wrong = {c.name: c.ok for c in verify_file(tmp_path / "i.onnx", other, model(other))}
    assert not wrong["against"]
    (tmp_path / "x.onnx").write_bytes((tmp_path / "i.onnx").read_bytes()[:100])
    assert not all(c.ok for c in verify_file(tmp_path / "x.onnx"))


def test_a_wrong_graph_is_refused():
    made = inference_graph(model(learner()))
    made.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 11
    with pytest.raises(NeurofaError, match="checker refuses"):
        checked_model(made)


def test_weights_beyond_one_protocol_buffer_are_refused():
    from exports.graph.arrays import Matrix
    from exports.graph.model import Model
    from exports.graph.nodes import DenseNode

    huge = torch.zeros(1).expand(30000, 20000)  # 2.4 GB that are not there
    node = DenseNode(name="a", in_shape=(20000,), out_shape=(30000,), weight=Matrix(values=huge, meaning="w"))
    with pytest.raises(NeurofaError, match=r"2\.24 GiB of weights .* below 2 GiB"):
        inference_graph(Model(input_shape=(20000,), nodes=(node,)))


@pytest.mark.slow
def test_a_hundred_steps_on_mnist_follow_torch(real_data):
    from experiments.runs.build import load_data
    from exports.describe.learners import describe_learner
    from hwmodels.registry import build
    from neurofa.training.learner import Learner

    data = load_data("mnist")
    network = build("network", "mlp(hidden=[256, 256])", input_shape=data.input_shape, outputs=10, seed=0)
    found = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    batches = [b for b, _ in zip(data.batches("train", 32), range(100), strict=False)]
    off, _ = follow(
        found, describe_learner(found, "dfa", {}), 100, 32, labels=[t for _, t in batches], data=[x for x, _ in batches]
    )
    assert off < 1e-4
