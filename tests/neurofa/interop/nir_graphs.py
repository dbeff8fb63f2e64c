"""Hand-made NIR graphs for tests: every type of node, alone and together."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

nir = pytest.importorskip("nir")


def gen(seed=0):
    return np.random.default_rng(seed)


def linear(n_out, n_in, g, scale=1.0):
    return nir.Linear(weight=g.normal(size=(n_out, n_in)) * scale)


def affine(n_out, n_in, g, scale=1.0):
    return nir.Affine(weight=g.normal(size=(n_out, n_in)) * scale, bias=g.normal(size=n_out) * 0.1)


def between(low, high, shape, g):
    return g.uniform(low, high, shape)


def lif(shape, g, **more):
    """Every neuron with constants of its own."""
    own = {
        "tau": between(2e-3, 2e-2, shape, g),
        "r": between(2.0, 8.0, shape, g),
        "v_leak": between(-0.1, 0.1, shape, g),
        "v_threshold": between(0.5, 1.0, shape, g),
        "v_reset": between(-0.2, 0.2, shape, g),
    }
    return nir.LIF(**(own | more))


def cuba(shape, g, kind=None, **more):
    own = {
        "tau_syn": between(2e-3, 8e-3, shape, g),
        "tau_mem": between(2e-3, 2e-2, shape, g),
        "r": between(15.0, 25.0, shape, g),
        "v_leak": np.zeros(shape),
        "w_in": between(1.0, 2.0, shape, g),
    }
    if kind is None:
        own |= {"v_threshold": between(0.5, 1.0, shape, g), "v_reset": np.zeros(shape)}
    return (kind or nir.CubaLIF)(**(own | more))


def li(shape, g):
    zero = between(-0.2, 0.2, shape, g)
    return nir.LI(tau=between(2e-3, 2e-2, shape, g), r=between(0.5, 2.0, shape, g), v_leak=zero)


def chain(shape, *nodes, names=None):
    """A graph of nodes in a row."""
    names = names or [f"n{i}" for i in range(len(nodes))]
    inside = dict(zip(names, nodes, strict=True))
    row = ["input", *names, "output"]
    ends = {"input": nir.Input(np.array(shape)), "output": nir.Output(None)}
    edges = list(itertools.pairwise(row))
    # the library takes kernels for square when it infers shapes
    return nir.NIRGraph({**ends, **inside}, edges, type_check=square(nodes))


def square(nodes):
    return all(len(set(n.weight.shape[2:])) == 1 for n in nodes if isinstance(n, nir.Conv2d))


def conv(c_out, c_in, side, g, **more):
    own = {"input_shape": None, "stride": 1, "padding": 1, "dilation": 1, "groups": 1}
    own |= more
    weight = g.normal(size=(c_out, c_in // own["groups"], *np.broadcast_to(side, (2,)))) * 0.6
    return nir.Conv2d(weight=weight, bias=g.normal(size=c_out) * 0.1, **own)


def pool(kind, size=2, padding=0):
    return kind(kernel_size=np.array([size] * 2), stride=np.array([size] * 2), padding=np.array([padding] * 2))


def dense():
    g = gen(1)
    return chain((6,), affine(9, 6, g), lif((9,), g), linear(7, 9, g), lif((7,), g), affine(3, 7, g), li((3,), g))


def current_based():
    g = gen(2)
    return chain((6,), linear(9, 6, g), cuba((9,), g), affine(3, 9, g), cuba((3,), g))


def current_based_with_leak():
    g = gen(3)
    one = cuba((9,), g, v_leak=between(-0.1, 0.1, (9,), g), v_reset=between(-0.2, 0.2, (9,), g))
    return chain((6,), affine(9, 6, g), one, affine(3, 9, g), cuba((3,), g, nir.CubaLI))


def integrators():
    g = gen(4)
    fires = nir.IF(r=between(200, 900, (9,), g), v_threshold=between(0.5, 1, (9,), g), v_reset=between(-1, 0, (9,), g))
    return chain((6,), linear(9, 6, g), fires, linear(3, 9, g), nir.I(r=between(10, 20, (3,), g)))


def recurrent():
    g = gen(5)
    nodes = {
        "input": nir.Input(np.array((6,))),
        "fc": affine(9, 6, g),
        "l.lif": lif((9,), g),
        "l.w_rec": affine(9, 9, g, 0.3),
        "out": linear(3, 9, g),
        "li": li((3,), g),
        "output": nir.Output(np.array((3,))),
    }
    edges = [("input", "fc"), ("fc", "l.lif"), ("l.lif", "l.w_rec"), ("l.w_rec", "l.lif"), ("l.lif", "out")]
    return nir.NIRGraph(nodes, [*edges, ("out", "li"), ("li", "output")])


def subgraph_recurrent():
    """As snnTorch writes an RLeaky, in a graph in a graph."""
    g = gen(6)
    inner = nir.NIRGraph(
        {
            "input": nir.Input(np.array((9,))),
            "lif": cuba((9,), g),
            "w_rec": linear(9, 9, g, 0.3),
            "output": nir.Output(np.array((9,))),
        },
        [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")],
    )
    middle = chain((9,), inner, linear(4, 9, g), names=["rsynaptic", "fc"])
    return chain((6,), linear(9, 6, g), middle, lif((4,), g), names=["fc", "block", "lif"])


def convolutional():
    g = gen(7)
    return chain(
        (2, 8, 8),
        conv(3, 2, 3, g),
        pool(nir.AvgPool2d),
        lif((3, 4, 4), g, r=np.full((3, 4, 4), 12.0), v_leak=np.zeros((3, 4, 4)), v_reset=np.zeros((3, 4, 4))),
        conv(4, 3, 3, g, padding=0, stride=1),
        nir.IF(r=between(100, 300, (4, 2, 2), g), v_threshold=between(0.3, 0.6, (4, 2, 2), g)),
        pool(nir.SumPool2d),
        nir.Flatten(None, start_dim=0, end_dim=-1),
        affine(3, 4, g),
        li((3,), g),
    )


def odd_convolutions():
    """Grouped, dilated, oblong and one-dimensional convolutions, and partial flattening."""
    g = gen(8)
    line = nir.Conv1d(
        input_shape=None,
        weight=g.normal(size=(4, 6, 3)) * 0.5,
        stride=2,
        padding=1,
        dilation=1,
        groups=1,
        bias=g.normal(size=4) * 0.1,
    )
    return chain(
        (4, 6, 5),
        conv(6, 4, (3, 2), g, padding=(1, 0), groups=2),
        lif((6, 6, 4), g, v_leak=np.zeros((6, 6, 4)), v_reset=np.zeros((6, 6, 4))),
        conv(6, 6, 3, g, padding="same", dilation=1),
        nir.Flatten(None, start_dim=1, end_dim=2),
        line,
        lif((4, 12), g, v_leak=np.zeros((4, 12)), v_reset=np.zeros((4, 12))),
        nir.Flatten(None, start_dim=0, end_dim=-1),
        linear(3, 48, g),
        li((3,), g),
    )


def branches():
    """Two ways of weights and one without, which are summed before the neurons."""
    g = gen(9)
    nodes = {
        "input": nir.Input(np.array((6,))),
        "a": affine(6, 6, g),
        "b": linear(5, 6, g),
        "c": linear(6, 5, g),
        "lif": lif((6,), g),
        "out": linear(3, 6, g),
        "li": li((3,), g),
        "output": nir.Output(np.array((3,))),
    }
    edges = [("input", "a"), ("input", "b"), ("b", "c"), ("a", "lif"), ("c", "lif"), ("input", "lif")]
    return nir.NIRGraph(nodes, [*edges, ("lif", "out"), ("out", "li"), ("li", "output")])


def scaled_thresholds():
    """Scale before and behind weights, a Threshold without memory, neurons without weights before them."""
    g = gen(10)
    return chain(
        (6,),
        nir.Scale(scale=between(0.5, 2, (6,), g)),
        lif((6,), g),
        affine(8, 6, g),
        nir.Scale(scale=between(-1, 2, (8,), g)),
        nir.Threshold(threshold=between(-0.5, 0.5, (8,), g)),
        linear(3, 8, g),
        nir.Scale(scale=between(0.5, 2, (3,), g)),
        lif((3,), g),
    )


def self_excited():
    """An edge from neurons to themselves, and one through a Scale."""
    g = gen(11)
    nodes = {
        "input": nir.Input(np.array((6,))),
        "fc": linear(5, 6, g),
        "lif": lif((5,), g),
        "scale": nir.Scale(scale=between(-0.3, 0.3, (5,), g)),
        "out": linear(3, 5, g),
        "li": li((3,), g),
        "output": nir.Output(np.array((3,))),
    }
    edges = [("input", "fc"), ("fc", "lif"), ("lif", "lif"), ("lif", "scale"), ("scale", "lif"), ("lif", "out")]
    return nir.NIRGraph(nodes, [*edges, ("out", "li"), ("li", "output")])


def convolution_inside():
    """A convolution with its neurons in a graph in a graph, behind a delay of nothing."""
    g = gen(12)
    fires = nir.IF(r=between(300, 900, (2, 4, 4), g), v_threshold=between(0.5, 1, (2, 4, 4), g))
    inner = chain((1, 4, 4), conv(2, 1, 3, g, input_shape=(4, 4)), fires, names=["conv", "if"])
    middle = chain((1, 4, 4), nir.Delay(delay=np.zeros((1, 4, 4))), inner, names=["delay", "unit"])
    flat = nir.Flatten({"input": np.array([2, 4, 4])}, start_dim=0, end_dim=-1)
    return chain((1, 4, 4), middle, flat, affine(3, 32, g), lif((3,), g), names=["block", "flat", "fc", "lif"])


GRAPHS = [
    dense,
    current_based,
    current_based_with_leak,
    integrators,
    recurrent,
    subgraph_recurrent,
    convolutional,
    odd_convolutions,
    branches,
    scaled_thresholds,
    self_excited,
    convolution_inside,
]
