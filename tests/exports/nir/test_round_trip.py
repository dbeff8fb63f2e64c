"""What goes out as NIR comes back with the same spikes, and what is wrong inside a file is found."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from exports.describe.learners import describe_learner
from exports.nir.write import network_to_nir, write_nir
from exports.verify import verify_file
from neurofa import Learner, Network, build
from neurofa.interop.nir import from_nir
from neurofa.layers import AvgPool2d, Flatten, Spiking, SpikingConv2d
from neurofa.neurons import LIF, LeakyIntegrator, Synaptic
from neurofa.spiking.temporal import Temporal
from neurofa.training.evaluation import respond
from tests.neurofa.interop import nir_graphs

nir = pytest.importorskip("nir")
TICKS, BATCH, TICK = 30, 3, 1e-3


def decays(*shape: int, low: float = 0.5, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * (0.98 - low) + low


def thresholds(*shape: int) -> torch.Tensor:
    return decays(*shape, low=0.3, seed=1)


def lif(*shape: int, **more) -> LIF:
    return LIF(beta=decays(*shape), threshold=thresholds(*shape), reset="zero", **more)


def dense() -> Network:
    readout = Spiking(9, 4, neuron=LeakyIntegrator(kappa=decays(4)))
    return Network([Spiking(12, 9, neuron=lif(9, delay=False), bias=False), readout], (12,))


def recurrent() -> Network:
    first = Spiking(
        12, 9, neuron=Synaptic(alpha=decays(9), beta=decays(9, seed=2), reset="zero", delay=False), recurrent=True
    )
    return Network([first, Spiking(9, 4, neuron=lif(4))], (12,))


def shared() -> Network:
    return build("network", "snn(hidden=[9], recurrent=True, neuron=lif(reset=zero))", input_shape=(12,), outputs=4)


def images() -> Network:
    pooled = SpikingConv2d(2, 3, 3, padding=1, neuron=lif(3, 4, 4), pool=AvgPool2d(2))
    last = Spiking(12, 4, neuron=LeakyIntegrator(kappa=0.9))
    return Network([pooled, SpikingConv2d(3, 3, 3, neuron=lif(3, 2, 2)), Flatten(), last], (2, 8, 8))


def without_leak() -> Network:
    first = Spiking(12, 9, neuron=LIF(beta=1.0, reset="zero", threshold=thresholds(9)))
    second = Spiking(9, 9, neuron=LIF(beta=0.0, reset="none", threshold=0.3))
    return Network([first, second, Spiking(9, 4, neuron=LeakyIntegrator(kappa=1.0))], (12,))


def ticks_of(network: Network) -> tuple[torch.Tensor, list[torch.Tensor]]:
    gen = torch.Generator().manual_seed(5)
    xs = (torch.rand(TICKS, BATCH, *network.input_shape, generator=gen) < 0.6).float()
    runs = list(respond(network, xs))
    names = [name for name, layer in network.items() if isinstance(layer, Temporal) and layer.neuron.spiking]
    return torch.cat([r.tick.y for r in runs]), [torch.cat([r.tick.views[n].y for r in runs]) for n in names]


@pytest.mark.parametrize("make", [dense, recurrent, shared, images, without_leak])
def test_networks_go_out_and_come_back_with_equal_spikes(tmp_path, make):
    network = make()
    for _, layer in network.chain:
        for key, part in layer.synapses.items():  # so that they fire
            part.program(part.weight.detach() * (2.0 if key == "weight" else 1.0))
    learner = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    graph, changes = network_to_nir(describe_learner(learner, "dfa", {}, TICK))
    assert not changes
    write_nir(graph, tmp_path / "graph.nir")
    again = from_nir(tmp_path / "graph.nir")  # the file states the tick
    (y, spikes), (y_again, spikes_again) = ticks_of(network), ticks_of(again)
    assert torch.allclose(y, y_again, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(spikes, spikes_again, strict=True):
        assert torch.equal(ours, theirs)
        assert 0.02 < float(ours.mean()) < 0.9
    assert all(check.ok for check in verify_file(tmp_path / "graph.nir"))


def test_nan_inside_a_graph_in_a_graph_is_found_by_verification(tmp_path):
    graph = nir_graphs.subgraph_recurrent()
    graph.nodes["block"].nodes["rsynaptic"].nodes["lif"].tau_mem[3] = np.nan
    nir.write(tmp_path / "graph.nir", graph)
    (found,) = [check for check in verify_file(tmp_path / "graph.nir") if check.name == "finite"]
    assert not found.ok
    assert "block/rsynaptic/lif.tau_mem" in found.detail
