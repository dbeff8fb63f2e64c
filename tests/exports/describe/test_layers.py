"""Nodes are checked when they are built; adapters exist for every layer and say what they cannot."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from exports.describe.layers import Place, layer_node, network_nodes
from exports.describe.pathways import rule_path
from exports.graph.arrays import Array, Matrix
from exports.graph.model import Model
from exports.graph.nodes import ConvNode, DenseNode, FlattenNode
from exports.graph.pathways import DirectPath, Factors, Slice
from exports.graph.reference import evaluate_node
from hwmodels.errors import NeurofaError
from hwmodels.registry import build, parts
from neurofa.core.layer import Layer
from neurofa.core.network import Network
from neurofa.layers.block import Block
from tests.exports.learners import learner

W = Matrix(values=torch.zeros(3, 4), meaning="weights")
SHORT = Array(values=torch.zeros(2), meaning="bias")
GOOD = DenseNode(name="a", in_shape=(4,), out_shape=(3,), weight=W)
KERNELS = Matrix(values=torch.zeros(2, 1, 3, 3), meaning="kernels")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Array(values=torch.zeros(1), meaning="x", unit="mho"), "unit 'mho'"),
        (lambda: Array(values=torch.zeros(1), meaning=""), "without a meaning"),
        (lambda: Matrix(values=torch.zeros(3), meaning="x"), "two axes"),
        (lambda: Matrix(values=torch.zeros(3, 4), meaning="x", faults=torch.zeros(3, 4)), "expected bool"),
        (lambda: Matrix(values=torch.zeros(3, 4), meaning="x", conductance=(2.0, 1.0)), "conductances from 2.0"),
        (lambda: DenseNode(name="a", in_shape=(5,), out_shape=(3,), weight=W), r"of shape \(3, 4\); expected \(3, 5\)"),
        (lambda: DenseNode(name="a", in_shape=(4,), out_shape=(3,), weight=W, activation="tan"), "did you mean 'tanh'"),
        (lambda: DenseNode(name="a", in_shape=(4,), out_shape=(3,), weight=W, bias=SHORT), "bias of node 'a'"),
        (lambda: ConvNode(name="a", in_shape=(1, 8, 8), out_shape=(2, 9, 9), weight=KERNELS), "kernels"),
        (lambda: FlattenNode(name="a", in_shape=(2, 3), out_shape=(5,)), "all values in one vector"),
        (lambda: Model(input_shape=(9,), nodes=(GOOD,)), "behind"),
        (lambda: Model(input_shape=(9,), nodes=()), "without nodes"),
        (lambda: Slice(layer="a", rows=(0, 4), shape=(5,)), "expected 5"),
        (lambda: DirectPath(matrix=W, slices=(Slice(layer="a", rows=(0, 5), shape=(5,)),)), "rows inside"),
        (lambda: Factors(p=W, q=W), "one rank"),
    ],
)
def test_nodes_that_do_not_fit_are_refused(make, said):
    with pytest.raises(NeurofaError, match=rf"got .*{said}"):
        make()


# gated layers are listed as their operations
@pytest.mark.parametrize("name", sorted(set(parts("layer")) - {"glu", "squeeze_excite"}))
def test_every_layer_describes_itself(name):
    assert build("layer", name).traits.facts is not None, name


def test_a_layer_that_says_nothing_is_listed_as_operations():
    class Odd(Layer):
        def initialise(self, device, gen):
            self.synapses.add("w", torch.randn(3, 3, generator=gen), device, gen)

        def compute(self, params, x, state):
            return torch.sin(x @ params["w"].t()), {}

    network = Network([Odd()], (3,))
    (name,) = network.names
    node = layer_node(network.layer(name), Place(name, (3,), (3,), {}))
    assert [op.target for op in node.ops][-1] == "sin.default"
    assert [type(a) for a in node.arrays().values()] == [Matrix]


@pytest.mark.parametrize("network", ["mlp", "cnn", "mlp(hidden=[12, 9], norm=layer, activation=leaky_relu)"])
def test_the_reference_computes_what_the_network_does(network):
    found = learner(network)
    found.network.eval()
    x = torch.randn(4, *found.network.input_shape, generator=torch.Generator().manual_seed(0))
    wanted, h = found.network(x), x
    for node in network_nodes(found.network):
        h = evaluate_node(node, h)
    assert torch.allclose(h, wanted, atol=1e-6)


def test_a_block_that_cannot_be_traced_is_stored_all_the_same():
    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.read = nn.Linear(4, 2)

        def forward(self, x):
            return self.read(x) if float(x.sum()) > 0 else -self.read(x)

    (node,) = network_nodes(Network([Block(Branch())], (4,)))
    assert "cannot be traced" in node.reason
    assert set(node.arrays()) == {"read.weight", "read.bias"}


def test_nothing_is_copied():
    found = learner()
    (_, first, *_) = network_nodes(found.network)
    assert first.weight.values.data_ptr() == found.network.layer("dense1").synapses["weight"].weight.data_ptr()
    path = rule_path(found.rule, {})
    assert path.matrix.values.data_ptr() == found.rule.feedback.b.weight.data_ptr()
