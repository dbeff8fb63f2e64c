"""Chunks that are compressed beside HDF5 are what its own filters make of the same numbers."""

from __future__ import annotations

import threading
import zlib

import h5py
import numpy as np
import pytest
import torch

from exports.hdf5 import writer
from exports.hdf5.chunks import deflate_chunk
from exports.hdf5.writer import create_file
from hwmodels.errors import NeurofaError

NUMBERS = torch.Generator().manual_seed(0)
TENSORS = {
    "float": torch.randn(37, 50, generator=NUMBERS),
    "line": torch.randn(1999, generator=NUMBERS),
    "double": torch.randn(5, 3, 4, 7, generator=NUMBERS).double(),
    "codes": torch.randint(-127, 128, (90, 33), generator=NUMBERS).to(torch.int8),
    "wide": torch.randint(-9999, 9999, (19, 21), generator=NUMBERS).to(torch.int16),
    "faults": torch.rand(64, 41, generator=NUMBERS) < 0.1,
    "zeros": torch.zeros(61, 47),
    "long_rows": torch.randn(3, 700, generator=NUMBERS),
    "turned": torch.randn(50, 37, generator=NUMBERS).t(),
    "empty": torch.zeros(0, 5),
    "one": torch.tensor(3.5),
}


@pytest.fixture(params=[1, 2])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("level", [1, 9])
def test_chunks_are_those_of_the_filters(tmp_path, monkeypatch, threads, level):
    monkeypatch.setattr(writer, "CHUNK", 300)
    monkeypatch.setattr(writer, "BLOCK", 700)
    with create_file(tmp_path / "x.h5", "network", compression=level) as made:
        for name, values in TENSORS.items():
            made.tensor(name, values, unit="1", meaning="numbers")
    assert torch.get_num_threads() == threads
    with h5py.File(tmp_path / "x.h5") as found, h5py.File(tmp_path / "oracle.h5", "w") as oracle:
        seen = 0
        for name, values in TENSORS.items():
            got = found[name]
            assert np.array_equal(got[()], values.numpy())
            assert got.dtype == values.numpy().dtype
            if got.chunks is None:
                continue
            assert (got.compression, got.compression_opts, got.shuffle) == ("gzip", level, True)
            same = oracle.create_dataset(
                name, data=values.numpy(), chunks=got.chunks, compression="gzip", compression_opts=level, shuffle=True
            )
            assert got.id.get_num_chunks() == same.id.get_num_chunks()
            for index in range(same.id.get_num_chunks()):
                info = same.id.get_chunk_info(index)
                (_, own), (mask, wanted) = (d.id.read_direct_chunk(info.chunk_offset) for d in (got, same))
                if mask == 0:
                    seen += 1
                    assert zlib.decompress(own) == zlib.decompress(wanted)
        assert seen > 50


def test_the_shorter_of_two_ways_is_taken():
    noise = torch.randn(2**16, generator=NUMBERS).numpy()
    rows = np.tile(torch.randn(256, generator=NUMBERS).numpy(), 256)
    for numbers, share in ((noise, 0.99), (rows, 1.0), (np.zeros_like(noise), 1.0)):
        planes = np.ascontiguousarray(numbers.view(np.uint8).reshape(-1, 4).T)
        assert len(deflate_chunk(numbers, 1)) <= share * len(zlib.compress(planes, 1))
    assert len(deflate_chunk(rows, 1)) < 0.1 * len(deflate_chunk(noise, 1))


def written(path, threads, *, last):
    """A file of two datasets, the second ending with a number of choice."""
    with create_file(path, "network") as made:
        made.tensor("good", torch.randn(900, 900), unit="1", meaning="numbers")
        assert bool(deflating()) == (threads > 1)
        made.tensor("second", torch.cat([torch.randn(2000, 900), torch.full((1, 900), last)]), unit="1", meaning="some")


def deflating():
    return [thread for thread in threading.enumerate() if thread.name.startswith("deflate")]


def test_a_file_that_fails_ends_its_threads(tmp_path, threads):
    with pytest.raises(NeurofaError, match="NaN"):
        written(tmp_path / "x.h5", threads, last=float("nan"))
    assert torch.get_num_threads() == threads
    assert not deflating()
    assert not list(tmp_path.iterdir())
    written(tmp_path / "x.h5", threads, last=1.0)
    assert not deflating()
    assert [p.name for p in tmp_path.iterdir()] == ["x.h5"]
