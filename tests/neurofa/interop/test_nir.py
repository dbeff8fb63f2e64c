"""Graphs of NIR become networks whose spikes are those of an independent simulator, or are refused by name."""

import numpy as np
import pytest
import torch

from neurofa.interop.nir import from_nir
from neurofa.training.evaluation import respond
from tests.neurofa.interop import nir_graphs
from tests.neurofa.interop.nir_reference import simulate

nir = pytest.importorskip("nir")
DT, TICKS, BATCH = 1e-3, 40, 2


def spikes_for(network, rate=0.4, seed=3):
    gen = torch.Generator().manual_seed(seed)
    return (torch.rand(TICKS, BATCH, *network.input_shape, generator=gen) < rate).double()


def outputs_of(network, xs, chunk=17):
    """Outputs (T, B, o), and the spikes of all layers."""
    runs = list(respond(network, xs, chunk=chunk))
    spiking = [n for n, layer in network.items() if getattr(getattr(layer, "neuron", None), "spiking", False)]
    views = {n: torch.cat([r.tick.views[n].y for r in runs]).unflatten(0, (len(xs), -1)) for n in spiking}
    return torch.cat([r.tick.y for r in runs]).unflatten(0, (len(xs), -1)), views


@pytest.mark.parametrize("method", ["euler", "exact"])
@pytest.mark.parametrize("make", nir_graphs.GRAPHS, ids=lambda make: make.__name__)
def test_hand_made_graphs_fire_as_an_independent_simulator_does(tmp_path, make, method):
    graph = make()
    source = graph
    if make is not nir_graphs.odd_convolutions:  # NIR infers no shapes of oblong kernels, and writes none without
        source = tmp_path / "graph.nir"
        nir.write(source, graph)
    network = from_nir(source, dt=DT, method=method, dtype=torch.float64)
    xs = spikes_for(network)
    y, spikes = outputs_of(network, xs)
    for b in range(BATCH):
        theirs, fired = simulate(graph, xs[:, b].numpy(), DT, method)
        assert np.allclose(y[:, b].numpy(), theirs, rtol=1e-9, atol=1e-9)
        for (name, ours), (node, z) in zip(spikes.items(), fired.items(), strict=True):
            assert np.array_equal(ours[:, b].numpy().reshape(z.shape), z), (name, node)
            assert 0.004 < z.mean() < 0.9, (node, z.mean())
