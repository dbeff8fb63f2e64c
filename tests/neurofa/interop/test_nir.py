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


# ---- the disagreement of simulators ----

SENT = [6, 22, 27, 31, 32, 35, 37, 40, 41, *range(43, 54), *range(67, 79), 84, 85]
"""Hundreds of microseconds x 10 at which the input of the comparison fires: one pulse of 0.1 ms each."""


def exact_spikes(tau, r, threshold, dt, pulses, ticks):
    """Ticks in which a LIF fires, by the exact solution for pulses that last one tick; the reset is at once."""
    v, fired = 0.0, []
    for t in range(ticks):
        at, end = 0.0, float(t in pulses) * r  # v tends to `end` while the tick lasts
        if end > threshold > v:
            crossing = -tau * np.log((end - threshold) / (end - v))
            while at + crossing < dt:
                at, v = at + crossing, 0.0
                fired.append(t)
                crossing = -tau * np.log((end - threshold) / end)
        v = end + (v - end) * np.exp(-(dt - at) / tau)
    return fired


@pytest.mark.parametrize("method", ["euler", "exact"])
def test_the_comparison_of_simulators_is_decided_by_the_exact_solution(method):
    # of nine simulators in the paper of NIR, two fire a pulse early (450, 500) and two a tick late (461, ...)
    ones = np.ones(1)
    neuron = nir.LIF(tau=0.0025 * ones, r=ones, v_leak=0 * ones, v_threshold=0.1 * ones)
    graph = nir_graphs.chain((1,), nir.Affine(weight=np.ones((1, 1)), bias=np.zeros(1)), neuron)
    pulses = [10 * t for t in SENT]
    assert len(pulses) == 34
    xs = torch.zeros(1000, 1, 1)
    xs[pulses] = 1
    y = outputs_of(from_nir(graph, dt=1e-4, method=method), xs, chunk=300)[0]
    exact = exact_spikes(0.0025, 1.0, 0.1, 1e-4, set(pulses), 1000)
    assert y.flatten().nonzero().flatten().tolist() == exact == [460, 510, 710, 760]
