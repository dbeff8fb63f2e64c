"""Files as other simulators write them: snnTorch's own exporter, and the conventions of Norse and Sinabs."""

import warnings

import numpy as np
import pytest
import torch

from neurofa import NeurofaError
from neurofa.interop.nir import from_nir
from tests.neurofa.interop.nir_graphs import chain, gen
from tests.neurofa.interop.nir_reference import simulate
from tests.neurofa.interop.test_nir import outputs_of

nir = pytest.importorskip("nir")
TICKS = 40


def sent(shape, rate=0.5, samples=1):
    return (torch.rand(TICKS, samples, *shape, generator=torch.Generator().manual_seed(2)) < rate).double()


def exported(*modules, width=6):
    """What snntorch.export_nir makes of modules in a row, and the modules."""
    pytest.importorskip("nirtorch")
    from snntorch.export_nir import export_to_nir

    network = torch.nn.Sequential(*modules)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # snnTorch 1.0 calls a function of nirtorch that will go
        return export_to_nir(network, torch.zeros(1, width), ignore_dims=[0]), network


def vector(value, n):
    return torch.full((n,), value) + torch.linspace(0, 0.05, n)


def test_files_of_snntorch_fire_as_snntorch_does(tmp_path):
    snn = pytest.importorskip("snntorch")
    torch.manual_seed(0)
    common = {"init_hidden": True, "reset_mechanism": "zero", "reset_delay": False}
    graph, network = exported(
        torch.nn.Linear(6, 9),
        snn.Leaky(beta=vector(0.8, 9), threshold=vector(0.5, 9), **common),
        torch.nn.Linear(9, 5, bias=False),
        snn.Synaptic(alpha=vector(0.7, 5), beta=vector(0.85, 5), threshold=vector(0.1, 5), **common),
    )
    nir.write(tmp_path / "x.nir", graph)
    xs = sent((6,), samples=3).float()
    y, _ = outputs_of(from_nir(tmp_path / "x.nir", dt=1e-4), xs)
    with torch.no_grad():
        theirs = torch.stack([network(x) for x in xs])
    assert torch.equal(y, theirs)
    assert 0.05 < float(y.mean()) < 0.9


@pytest.mark.parametrize("kind", ["RLeaky", "RSynaptic"])
def test_recurrent_files_of_snntorch_fire_as_the_graph_says(tmp_path, kind):
    snn = pytest.importorskip("snntorch")
    torch.manual_seed(1)
    decays = {"alpha": vector(0.7, 9)} if kind == "RSynaptic" else {}
    neurons = getattr(snn, kind)(
        beta=vector(0.8, 9),
        threshold=vector(0.5, 9),
        linear_features=9,
        init_hidden=True,
        reset_mechanism="zero",
        **decays,
    )
    readout = snn.Leaky(beta=vector(0.9, 4), threshold=vector(0.3, 4), init_hidden=True)
    graph, _ = exported(torch.nn.Linear(6, 9), neurons, torch.nn.Linear(9, 4), readout)
    nir.write(tmp_path / "x.nir", graph)
    network = from_nir(tmp_path / "x.nir", dt=1e-4, dtype=torch.float64)
    xs = sent((6,))
    y, spikes = outputs_of(network, xs)
    theirs, fired = simulate(graph, xs[:, 0].numpy(), 1e-4)
    assert np.array_equal(y[:, 0].numpy(), theirs)
    assert all(np.array_equal(a[:, 0].numpy(), b) for a, b in zip(spikes.values(), fired.values(), strict=True))
    assert network.layer(network.names[0]).recurrent
    assert theirs.sum() > 3


def test_numbers_instead_of_arrays_stand_for_every_neuron():
    """As snnTorch writes neurons that were given one beta and one threshold."""
    g, one = gen(3), np.array(5e-3)
    scalar = nir.LIF(tau=one, r=np.array(9.0), v_leak=0 * one, v_threshold=np.array(0.7), v_reset=0 * one)
    weight = g.normal(size=(5, 6))
    nodes = {
        "input": nir.Input(np.array([6])),
        "0": nir.Linear(weight=weight),
        "1": scalar,
        "output": nir.Output(np.array([5])),
    }
    graph = nir.NIRGraph(nodes, [("input", "0"), ("0", "1"), ("1", "output")], type_check=False)
    xs = sent((6,))
    y, _ = outputs_of(from_nir(graph, dt=1e-3, dtype=torch.float64), xs)
    assert np.array_equal(y[:, 0].numpy(), simulate(graph, xs[:, 0].numpy(), 1e-3)[0])
    assert 0.01 < float(y.mean()) < 0.9


def test_norse_and_its_current_based_readout(tmp_path):
    """Norse: numbered nodes, r = 1, single precision, small thresholds; LICell is a CubaLI."""
    g, n = gen(4), (8,)
    ones = np.ones(n, dtype=np.float32)
    hidden = nir.CubaLIF(
        tau_syn=5e-3 * ones, tau_mem=1e-2 * ones, r=ones, v_leak=0 * ones, v_threshold=0.1 * ones, v_reset=0 * ones
    )
    last = np.ones(3, dtype=np.float32)
    readout = nir.CubaLI(tau_syn=5e-3 * last, tau_mem=1e-2 * last, r=last, v_leak=0 * last)
    weights = [g.normal(size=s).astype(np.float32) for s in ((8, 6), (3, 8))]
    graph = chain(
        (6,),
        nir.Affine(weight=weights[0], bias=np.zeros(8, dtype=np.float32)),
        hidden,
        nir.Affine(weight=weights[1], bias=np.zeros(3, dtype=np.float32)),
        readout,
        names=["0", "1", "2", "3"],
    )
    nir.write(tmp_path / "norse.nir", graph)
    xs = sent((6,))
    y, spikes = outputs_of(from_nir(tmp_path / "norse.nir", dt=1e-3, dtype=torch.float64), xs)
    theirs, fired = simulate(graph, xs[:, 0].numpy(), 1e-3)
    assert np.allclose(y[:, 0].numpy(), theirs, atol=1e-9)
    (z,) = spikes.values()
    assert np.array_equal(z[:, 0].numpy(), fired["1"])
    assert 0.01 < fired["1"].mean() < 0.9


def test_sinabs_counts_ticks_of_one_and_sums_pools(tmp_path):
    """Sinabs: IF neurons over whole images, sum pooling, no time: a tick of 1 s."""
    g = gen(5)

    def fires(*shape):
        ones = np.ones(shape, dtype=np.float32)
        return nir.IF(r=ones, v_threshold=ones, v_reset=0 * ones)

    def conv(c_out, c_in, side):
        weight = (g.normal(size=(c_out, c_in, 3, 3)) * 0.4).astype(np.float32)
        options = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
        return nir.Conv2d(input_shape=(side, side), weight=weight, bias=np.zeros(c_out), **options)

    def pooling():
        return nir.SumPool2d(kernel_size=np.array([2, 2]), stride=np.array([2, 2]), padding=np.array([0, 0]))

    graph = chain(
        (2, 6, 6),
        conv(3, 2, 6),
        fires(3, 6, 6),
        pooling(),
        conv(2, 3, 3),
        fires(2, 3, 3),
        nir.Flatten({"input": np.array([2, 3, 3])}, start_dim=0, end_dim=-1),
        nir.Affine(weight=g.normal(size=(4, 18)) * 0.4, bias=np.zeros(4)),
        fires(4),
        names=[str(i) for i in range(8)],
    )
    nir.write(tmp_path / "sinabs.nir", graph)
    network = from_nir(tmp_path / "sinabs.nir", dt=1.0, dtype=torch.float64)
    xs = sent((2, 6, 6), rate=0.3)[:16]
    y, spikes = outputs_of(network, xs)
    theirs, fired = simulate(graph, xs[:, 0].numpy(), 1.0)
    assert np.array_equal(y[:, 0].numpy(), theirs)
    for ours, z in zip(spikes.values(), fired.values(), strict=True):
        assert np.array_equal(ours[:, 0].numpy().reshape(z.shape), z)
        assert 0.01 < z.mean() < 0.9
    assert not [layer for _, layer in network.items() if layer.name == "block"]  # so that every format can write it


def test_edges_of_an_old_file_without_their_nodes_are_refused():
    """snnTorch of 2023 renamed the nodes of a recurrent graph and not its edges."""
    graph = chain((4,), nir.Linear(weight=np.eye(4)), names=["fc"]).to_dict()
    graph["edges"] = [("input", "lif"), ("lif", "output")]

    class Stored:
        nodes = graph["nodes"]

        def to_dict(self):
            return graph

    with pytest.raises(NeurofaError, match=r"no node 'lif'.*expected one of fc, input, output"):
        from_nir(Stored(), dt=1e-4)
