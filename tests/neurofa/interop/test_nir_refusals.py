"""What no neurons here can be, and what is wrong in a file, is refused in one line that names it."""

import numpy as np
import pytest
import torch

from neurofa import NeurofaError
from neurofa.interop.nir import from_nir
from tests.neurofa.interop.nir_graphs import between, chain, conv, cuba, gen, li, lif, linear, subgraph_recurrent

nir = pytest.importorskip("nir")
h5py = pytest.importorskip("h5py")


class Stored:
    """A graph whose content no library checks."""

    def __init__(self, content):
        self.content, self.nodes = content, content["nodes"]

    def to_dict(self):
        return self.content


def changed(change, graph=None):
    content = (graph or good()).to_dict()
    change(content)
    return Stored(content)


def good():
    g = gen(0)
    return chain((6,), linear(5, 6, g), lif((5,), g), linear(3, 5, g), li((3,), g), names=["fc", "lif", "out", "li"])


def two_ways(node):
    g = gen(1)
    nodes = {"input": nir.Input(np.array([6])), "a": linear(6, 6, g), "x": node, "sum": linear(3, 6, g)}
    nodes |= {"li": li((3,), g), "output": nir.Output(np.array([3]))}
    edges = [("input", "a"), ("a", "x"), ("x", "sum"), ("a", "sum"), ("sum", "li"), ("li", "output")]
    return nir.NIRGraph(nodes, edges)


def long_loop():
    g = gen(2)
    nodes = {"input": nir.Input(np.array([6])), "a": lif((6,), g), "w": linear(6, 6, g), "b": lif((6,), g)}
    nodes |= {"v": linear(6, 6, g), "output": nir.Output(np.array([6]))}
    edges = [("input", "a"), ("a", "w"), ("w", "b"), ("b", "v"), ("v", "a"), ("b", "output")]
    return nir.NIRGraph(nodes, edges)


def drop(key, *names):
    def change(content):
        for name in names:
            del content["nodes"][name][key]

    return change


def put(name, key, value):
    def change(content):
        content["nodes"][name][key] = value

    return change


def edges(*more, without=()):
    def change(content):
        content["edges"] = [e for e in [*content["edges"], *more] if e not in without]

    return change


def node(name, about):
    def change(content):
        content["nodes"][name] = about

    return change


def nan_inside(content):
    content["nodes"]["block"]["nodes"]["rsynaptic"]["nodes"]["w_rec"]["weight"][2, 1] = np.nan


G = gen(9)
REFUSED = {
    "delay": (lambda: chain((6,), nir.Delay(delay=np.full(6, 5e-3)), linear(3, 6, G)), "Delay 'n0' of 0.005 s"),
    "branch of neurons": (lambda: two_ways(lif((6,), gen(3))), "LIF 'x' on one of several ways from 'a' to 'sum'"),
    "loop of two populations": (long_loop, "loop through 'a', 'w', 'b', 'v'"),
    "threshold below reset": (
        lambda: chain((6,), lif((6,), G, v_reset=np.full(6, 2.0))),
        "v_threshold at or below v_reset",
    ),
    "leak of a channel": (
        lambda: chain((1, 4, 4), conv(2, 1, 3, G), lif((2, 4, 4), G), nir.Flatten(None, 0, -1), linear(2, 32, G)),
        "v_leak that differs within a channel of LIF 'n1'",
    ),
    "recurrent CubaLIF with a leak": (
        lambda: changed(
            lambda c: c["nodes"]["block"]["nodes"]["rsynaptic"]["nodes"]["lif"]["v_leak"].fill(0.1),
            subgraph_recurrent(),
        ),
        "recurrent weights at CubaLIF 'block/rsynaptic/lif' with v_leak other than v_reset",
    ),
    "short time constant": (
        lambda: chain((6,), lif((6,), G, tau=np.full(6, 1e-4))),
        "tick of 0.001 s for tau of 0.0001",
    ),
    "no time constant": (lambda: chain((6,), lif((6,), G, tau=np.zeros(6))), "tau of 0 s in LIF 'n0'"),
    "several outputs": (
        lambda: changed(node("second", {"type": "Output", "shape": np.array([3])})),
        "2 nodes of type Output",
    ),
    "several inputs": (
        lambda: changed(node("second", {"type": "Input", "shape": np.array([6])})),
        "2 nodes of type Input",
    ),
    "no input": (lambda: changed(lambda c: c["nodes"].pop("input")), "no node 'input'"),
    "unknown node": (
        lambda: changed(node("x", {"type": "LIFF"})),
        "node 'x' of type 'LIFF'.*did you mean 'LIF'|node 'x'",
    ),
    "unconnected node": (
        lambda: changed(node("x", {"type": "Linear", "weight": np.eye(3)})),
        "'x' .* without a way from",
    ),
    "dead end": (lambda: changed(edges(without=[("li", "output")])), "without a way to the output"),
    "edge to nowhere": (lambda: changed(edges(("lif", "nowhere"))), "no node 'nowhere'"),
    "edge twice": (lambda: changed(edges(("lif", "out"))), "two edges"),
    "no edges": (lambda: changed(lambda c: c.pop("edges")), "without a way to the output"),
    "missing value": (lambda: changed(drop("tau", "lif")), "LIF 'lif' .* NIR refuses"),
    "missing threshold": (lambda: changed(drop("v_threshold", "lif")), "LIF 'lif' .* NIR refuses .*'v_threshold'"),
    "unequal constants": (lambda: changed(put("lif", "tau", np.ones(4))), "LIF 'lif' .* NIR refuses"),
    "wrong weights": (
        lambda: changed(put("out", "weight", np.ones((3, 4)))),
        "shape .5,. behind 'lif' at Linear 'out'; expected .4,",
    ),
    "wrong neurons": (
        lambda: changed(put("out", "weight", np.ones((4, 5)))),
        "tau of shape .3,. at 'li'; expected .4,",
    ),
    "NaN": (lambda: changed(put("out", "weight", np.full((3, 5), np.nan))), "NaN or infinity in weight of 'out'"),
    "NaN inside a graph in a graph": (
        lambda: changed(nan_inside, subgraph_recurrent()),
        "NaN or infinity in weight of 'block/rsynaptic/w_rec'",
    ),
    "infinite tau": (lambda: changed(put("lif", "tau", np.full(5, np.inf))), "NaN or infinity in tau of 'lif'"),
    "output of another shape": (lambda: changed(put("output", "shape", np.array([4]))), "at Output 'output'"),
    "flattening too much": (
        lambda: changed(put("n0", "end_dim", 4), chain((2, 3), nir.Flatten(None, 0, -1), linear(3, 6, G))),
        "Flatten 'n0'; expected at least 5 axes",
    ),
    "kernel larger than the image": (
        lambda: changed(put("n0", "weight", np.ones((2, 1, 9, 9))), chain((1, 4, 4), conv(2, 1, 3, G, padding=0))),
        "Conv2d 'n0'",
    ),
    "nothing between": (
        lambda: nir.NIRGraph({"i": nir.Input(np.array([3])), "o": nir.Output(np.array([3]))}, [("i", "o")]),
        "input and output alone",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name(case):
    make, said = REFUSED[case]
    with pytest.raises(NeurofaError, match=said) as refusal:
        from_nir(make(), dt=1e-3)
    words = str(refusal.value)
    assert words.startswith("got ")
    assert "; expected " in words
    assert "\n" not in words


def test_the_length_of_a_tick_is_never_guessed():
    with pytest.raises(NeurofaError, match="no dt for LIF 'lif'"):
        from_nir(good())
    for dt in (0.0, -1e-3, float("nan")):
        with pytest.raises(NeurofaError, match="expected a positive number of seconds"):
            from_nir(good(), dt=dt)
    with pytest.raises(NeurofaError, match=r"method='eulr'; expected euler or exact.*did you mean 'euler'"):
        from_nir(good(), dt=1e-3, method="eulr")
    # what has no time needs none
    assert from_nir(chain((6,), linear(3, 6, G), nir.Threshold(threshold=np.ones(3)))).outputs == 3


def stored(tmp_path, graph=None):
    path = tmp_path / "graph.nir"
    nir.write(path, graph or good())
    return path


def cut(path):
    path.write_bytes(path.read_bytes()[:-3000])


def with_file(change):
    def act(path):
        with h5py.File(path, "r+") as file:
            change(file)

    return act


def newer(file):
    del file["version"]
    file["version"] = "7.1"


def huge(file):
    del file["node/nodes/fc/weight"]
    file.create_dataset("node/nodes/fc/weight", (10**7, 10**6), dtype="f4", chunks=(100, 100))


DAMAGES = {
    "truncated": (cut, "cannot be read"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be read"),
    "text": (lambda path: path.write_text("no file of NIR"), "cannot be read"),
    "later version": (with_file(newer), "of NIR 7.1; expected at most"),
    "no version": (with_file(lambda file: file.pop("version")), "without a version"),
    "no graph": (with_file(lambda file: file.pop("node")), "cannot be read"),
    "no nodes": (with_file(lambda file: file["node"].pop("nodes")), "without nodes"),
    "claims too much": (with_file(huge), "claims"),
    "missing": (lambda path: path.unlink(), "is no file"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_are_refused_in_one_line(tmp_path, damage):
    change, said = DAMAGES[damage]
    path = stored(tmp_path)
    change(path)
    with pytest.raises(NeurofaError, match=said) as refusal:
        from_nir(path, dt=1e-3)
    assert "\n" not in str(refusal.value)


def test_constants_out_of_range_of_a_neuron_are_refused():
    from neurofa.neurons import LIF

    for bad in (
        {"beta": torch.tensor([0.5, 1.5])},
        {"threshold": torch.tensor([1.0, 0.0])},
        {"beta": torch.tensor([torch.nan])},
    ):
        with pytest.raises(NeurofaError, match="expected"):
            LIF(**bad)


def test_a_two_dimensional_population_of_lines_and_leaks_by_channel_are_taken():
    g = gen(4)
    leak = np.repeat(between(-0.1, 0.1, (2, 1), g), 16, 1).reshape(2, 4, 4)
    own = lif(
        (2, 4, 4), g, v_leak=leak, v_reset=np.zeros((2, 4, 4)), tau=np.full((2, 4, 4), 1e-2), r=np.full((2, 4, 4), 5.0)
    )
    graph = chain((1, 4, 4), conv(2, 1, 3, g), own, nir.Flatten(None, 0, -1), linear(2, 32, g), cuba((2,), g))
    assert from_nir(graph, dt=1e-3).outputs == 2
