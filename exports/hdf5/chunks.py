"""Compressed chunks: shuffled and deflated on several threads, and stored past HDF5's own filters, which read them."""

from __future__ import annotations

import itertools
import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

PIECE, SHARE = 2**12, 16
"""Bytes of one sample, and the part of a chunk (1 / SHARE) on which the two ways to deflate it are compared."""


class Chunks:
    """Compresses chunks and stores them; what is read back is what h5py's own filters would have stored.

    A chunk is a zlib stream of the bytes, first bytes of all numbers first (the shuffle of HDF5), as the filters
    ``shuffle`` and ``gzip`` of the dataset say. HDF5 calls them on one thread; here as many work as torch uses, and
    torch uses one until the end: what it does to blocks is little beside this, and its threads would wait in a loop.

    Args:
        level: of gzip, 1 to 9.
    """

    def __init__(self, level: int) -> None:
        self.level, self.threads = level, torch.get_num_threads()
        self._pool = None
        if self.threads > 1:
            self._pool = ThreadPoolExecutor(self.threads, "deflate")
            torch.set_num_threads(1)
        self._under_way: deque[tuple[Any, tuple[int, ...], Future[bytes]]] = deque()

    def put(self, made: Any, start: int, block: np.ndarray[Any, Any]) -> None:
        """Store some rows of a dataset; some of it may come later.

        Args:
            made: dataset of h5py with the filters ``shuffle`` and ``gzip``.
            start: the first row, the first of a chunk.
            block: contiguous; up to the end of a chunk, or of the dataset.
        """
        size = made.chunks
        for corner in itertools.product(*(range(0, n, c) for n, c in zip(block.shape, size, strict=True))):
            chunk = block[tuple(slice(at, at + c) for at, c in zip(corner, size, strict=True))]
            if chunk.shape != size:  # chunks that stand over the edge are stored whole
                chunk = np.pad(chunk, [(0, c - n) for n, c in zip(chunk.shape, size, strict=True)])
            offset = (start + corner[0], *corner[1:])
            if self._pool is None:
                made.id.write_direct_chunk(offset, deflated(chunk, self.level))
                continue
            self._under_way.append((made.id, offset, self._pool.submit(deflated, chunk, self.level)))
            self._settle(2 * self.threads)

    def _settle(self, left: int) -> None:
        """Store what is compressed, oldest first, until no more than this many chunks are under way."""
        while len(self._under_way) > left:
            dataset, offset, stream = self._under_way.popleft()
            dataset.write_direct_chunk(offset, stream.result())

    def finish(self) -> None:
        """Store everything."""
        self._settle(0)

    def close(self) -> None:
        """Drop what is not stored, and end the threads."""
        self._under_way.clear()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            torch.set_num_threads(self.threads)


def deflated(chunk: np.ndarray[Any, Any], level: int) -> bytes:
    """The stream of one chunk.

    Search for repetitions finds none in trained or random weights, and takes most of the time; codes for the single
    bytes alone make them smaller. Which of both serves a chunk is tried on samples of it.

    Args:
        chunk: the numbers.
        level: of gzip, 1 to 9.
    """
    planes = np.ascontiguousarray(np.ascontiguousarray(chunk).view(np.uint8).reshape(-1, chunk.itemsize).T).reshape(-1)
    content = planes.data
    samples = [content[at : at + PIECE] for at in range(0, len(content), PIECE * SHARE)]
    plain, coded = (len(_stream(samples, level, way)) for way in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY))
    return _stream([content], level, zlib.Z_HUFFMAN_ONLY if coded < plain else zlib.Z_DEFAULT_STRATEGY)


def _stream(pieces: list[memoryview], level: int, strategy: int) -> bytes:
    """One zlib stream; no piece knows of the one before it, as bytes of another plane would not."""
    made = zlib.compressobj(level, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, strategy)
    found = []
    for piece in pieces[:-1]:
        found += [made.compress(piece), made.flush(zlib.Z_FULL_FLUSH)]
    return b"".join([*found, made.compress(pieces[-1]), made.flush()])
