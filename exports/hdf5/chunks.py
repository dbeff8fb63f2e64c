"""Compressed chunks: shuffled and deflated on several threads, and stored past HDF5's own filters, which read them.

h5py compresses on one thread and keeps the default strategy of zlib; no library of filters changes either for the
standard gzip, which every reader of HDF5 knows.
"""

from __future__ import annotations

import itertools
import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

PIECE, SHARE = 2**12, 16
"""Bytes of one sample, and the part of a chunk (1 / SHARE) on which the two strategies are compared."""


class ChunkCompressor:
    """Compress chunks and store them; what is read back is what h5py's own filters would have stored.

    A chunk is a zlib stream of the bytes, first bytes of all numbers first (the shuffle of HDF5), as the filters
    ``shuffle`` and ``gzip`` of the dataset say. HDF5 calls them on one thread; here as many threads work as torch uses,
    and torch uses one until :meth:`close`: its share of the work is small, and its threads would wait in a loop.

    Args:
        level: level of gzip, 1 to 9.
    """

    def __init__(self, level: int) -> None:
        self.level, self.threads = level, torch.get_num_threads()
        self._pool = None
        if self.threads > 1:
            self._pool = ThreadPoolExecutor(self.threads, "deflate")
            torch.set_num_threads(1)
        self._pending: deque[tuple[Any, tuple[int, ...], Future[bytes]]] = deque()

    def put(self, dataset: Any, start: int, block: np.ndarray[Any, Any]) -> None:
        """Store some rows of a dataset, at once or later.

        Args:
            dataset: a dataset of h5py, with the filters ``shuffle`` and ``gzip``.
            start: the first row, the first of a chunk.
            block: contiguous; up to the end of a chunk, or of the dataset.
        """
        size = dataset.chunks
        for corner in itertools.product(*(range(0, n, c) for n, c in zip(block.shape, size, strict=True))):
            chunk = block[tuple(slice(at, at + c) for at, c in zip(corner, size, strict=True))]
            if chunk.shape != size:  # HDF5 stores chunks over the edge of a dataset in full size
                chunk = np.pad(chunk, [(0, c - n) for n, c in zip(chunk.shape, size, strict=True)])
            offset = (start + corner[0], *corner[1:])
            if self._pool is None:
                dataset.id.write_direct_chunk(offset, deflate_chunk(chunk, self.level))
                continue
            self._pending.append((dataset.id, offset, self._pool.submit(deflate_chunk, chunk, self.level)))
            self._store(2 * self.threads)

    def _store(self, most: int) -> None:
        """Store compressed chunks, oldest first, until at most ``most`` are pending."""
        while len(self._pending) > most:
            dataset_id, offset, stream = self._pending.popleft()
            dataset_id.write_direct_chunk(offset, stream.result())

    def finish(self) -> None:
        """Store all pending chunks."""
        self._store(0)

    def close(self) -> None:
        """Drop all pending chunks, and end the threads."""
        self._pending.clear()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            torch.set_num_threads(self.threads)


def deflate_chunk(chunk: np.ndarray[Any, Any], level: int) -> bytes:
    """Return the zlib stream of one chunk.

    The search for repetitions finds none in trained or random weights, and takes most of the time; Huffman codes of the
    single bytes alone make them smaller. Both strategies are tried on samples of the chunk.

    Args:
        chunk: the numbers.
        level: level of gzip, 1 to 9.
    """
    planes = np.ascontiguousarray(np.ascontiguousarray(chunk).view(np.uint8).reshape(-1, chunk.itemsize).T).reshape(-1)
    content = planes.data
    samples = [content[at : at + PIECE] for at in range(0, len(content), PIECE * SHARE)]
    strategies = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY)
    best = min(strategies, key=lambda strategy: len(_zlib_stream(samples, level, strategy)))
    return _zlib_stream([content], level, best)


def _zlib_stream(pieces: list[memoryview], level: int, strategy: int) -> bytes:
    """Return one zlib stream of independent pieces: a sample must not refer to the one before it."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, strategy)
    parts = []
    for piece in pieces[:-1]:
        parts += [compressor.compress(piece), compressor.flush(zlib.Z_FULL_FLUSH)]
    return b"".join([*parts, compressor.compress(pieces[-1]), compressor.flush()])
