"""A NIR file on a disk that is full."""

from __future__ import annotations

import resource
import signal

import pytest
import torch

from exports.nir.write import network_to_nir, write_nir
from hwmodels.files import StorageError
from tests.exports.spiking_nets import chain, spiking


@pytest.mark.parametrize("size", [100, 5000])
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, size):
    gen = torch.Generator().manual_seed(0)
    graph = network_to_nir(chain(spiking("out", 40, 50, gen, reset="zero")), dt=1e-4)[0]
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        with pytest.raises(StorageError, match="File too large"):
            write_nir(graph, tmp_path / "x.nir")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(tmp_path.iterdir())
