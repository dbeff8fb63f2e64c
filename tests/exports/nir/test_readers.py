"""NIR files in the hands of other libraries: nirtorch walks the graph, and snnTorch's neurons fire as ours do."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from exports.graph.model import Model
from exports.graph.reference import run_ticks
from exports.nir import write
from tests.exports.spiking_nets import chain, images, spikes, spiking

nir = pytest.importorskip("nir")
nirtorch = pytest.importorskip("nirtorch")
reader = pytest.importorskip("snntorch.import_nir")


def pair(kind: str, recurrent: bool) -> Model:
    """Two layers that fire, since neither library has leaky integrators."""
    gen = torch.Generator().manual_seed(0)
    options: dict[str, Any] = {"reset": "zero", "delay": kind == "lif"}
    return chain(
        spiking("hidden", 12, 16, gen, kind, recurrent, **options), spiking("out", 16, 5, gen, kind, **options)
    )


def convolution() -> Model:
    model, gen = images(reset="zero"), torch.Generator().manual_seed(4)
    out = spiking("out", 48, 4, gen, "lif", reset="zero")
    out.current.weight.values.mul_(4)
    return chain(*model.nodes[:-1], out)


def streamed(network, xs):
    """The output's spikes, tick by tick."""
    state, found = None, []
    with torch.no_grad():
        for x in xs:
            z, state = network(x, state)
            found.append(z)
    return torch.stack(found)


@pytest.mark.parametrize("kind", ["lif", "synaptic"])
def test_snntorch_reads_whole_files_with_the_same_spikes(tmp_path, kind):
    model = pair(kind, recurrent=False)
    write.write_nir(write.network_to_nir(model, dt=1e-4)[0], tmp_path / "x.nir")
    xs = spikes(model, 60, 8)
    got = streamed(reader.import_from_nir(nir.read(tmp_path / "x.nir")), xs)
    assert torch.equal(got, run_ticks(model, xs)[1]["out"])
    assert 30 < int(got.sum()) < got.numel() / 2


def test_snntorch_reads_convolutions_with_the_same_spikes(tmp_path):
    model = convolution()
    write.write_nir(write.network_to_nir(model, dt=1e-4)[0], tmp_path / "x.nir")
    xs = spikes(model, 60, 1)
    # shapes in NIR have no batch, and snnTorch flattens from the first axis: one sample, without one
    got = streamed(reader.import_from_nir(nir.read(tmp_path / "x.nir")), xs[:, 0])
    assert torch.equal(got, run_ticks(model, xs)[1]["out"][:, 0])
    assert 10 < int(got.sum()) < got.numel()


@pytest.mark.parametrize("kind", ["lif", "synaptic"])
def test_nirtorch_walks_recurrent_files_with_the_same_spikes(tmp_path, kind):
    model = pair(kind, recurrent=True)
    write.write_nir(write.network_to_nir(model, dt=1e-4)[0], tmp_path / "x.nir")
    xs = spikes(model, 60, 8)
    # snnTorch wraps a loop into a graph inside the graph, which nirtorch 2.6 does not call; it walks the loop itself
    kinds = (nir.Affine, nir.Linear, nir.LIF, nir.CubaLIF)
    modules = {node: lambda n: reader._nir_to_snntorch_module(n, init_hidden=True) for node in kinds}
    got = streamed(nirtorch.nir_to_torch(nir.read(tmp_path / "x.nir"), modules), xs)
    assert torch.equal(got, run_ticks(model, xs)[1]["out"])
    assert not torch.equal(got, run_ticks(pair(kind, recurrent=False), xs)[1]["out"])
    assert 100 < int(got.sum()) < got.numel()
