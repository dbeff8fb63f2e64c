"""Datasets written block by block, with checksums, into a file that takes its name when it is whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from exports.files.disk import SpillingFile
from exports.files.heap import separate_blocks
from exports.files.optional import require_library
from exports.files.seal import FRONT, seal
from exports.hdf5.chunks import ChunkCompressor
from exports.hdf5.layout import (
    FORMAT,
    VERSION,
    attributes_digest,
    canonical_bytes,
    limit_metadata_cache,
    manifest_digest,
)
from exports.programming.integers import BLOCK
from exports.schema import readme_text
from hwmodels.errors import NeurofaError
from hwmodels.files import atomic_path

CHUNK = 2**18
"""Numbers in one compressed chunk: one megabyte of float32."""

Block = Callable[[slice], Tensor]
"""Compute some rows of a dataset, given as a slice; for 0-dim data it gives the number, whatever the slice."""


class Writer:
    """Write datasets and groups into an HDF5 file, and keep its manifest: the SHA-256 of every dataset.

    Args:
        file: a file of h5py, open for writing.
        compression: level of gzip, 0 (none) to 9.
        disk: below the file; it is asked before every block whether it is full.
    """

    def __init__(self, file: Any, *, compression: int, disk: SpillingFile) -> None:
        self.file, self.disk = file, disk
        self.filters: dict[str, Any] = {}
        self.compressor: ChunkCompressor | None = None
        if compression:
            self.filters = {"compression": "gzip", "compression_opts": compression, "shuffle": True}
            self.compressor = ChunkCompressor(compression)
        self.manifest: list[tuple[str, str]] = []

    def group(self, path: str, /, **attributes: Any) -> None:
        """Create a group where it is missing, and add attributes to it."""
        _set_attributes(self.file.require_group(path), attributes)

    def tensor(self, path: str, values: Tensor, *, finite: bool = True, **attributes: Any) -> None:
        """Write a tensor as a dataset, streamed.

        Args:
            path: path of the dataset in the file.
            values: the numbers.
            finite: refuse infinity.
            attributes: ``unit``, ``meaning`` and more; None: left out.

        Raises:
            NeurofaError: NaN, or infinity where ``finite``.
        """

        def block(rows: slice) -> Tensor:
            return values[rows] if values.ndim else values

        self.blocks(path, values, block, finite=finite, **attributes)

    def blocks(self, path: str, like: Tensor, block: Block, *, finite: bool = True, **attributes: Any) -> None:
        """Write a dataset whose rows are computed block by block.

        Args:
            path: path of the dataset in the file.
            like: shape and dtype of the whole; its numbers are not read.
            block: computes some rows.
            finite: refuse infinity.
            attributes: ``unit``, ``meaning`` and more; None: left out.

        Raises:
            NeurofaError: NaN, or infinity where ``finite``.
        """
        shape, digest = tuple(like.shape), hashlib.sha256()
        if shape and all(shape):
            row = int(np.prod(shape[1:], dtype=np.int64))
            rows = max(1, min(shape[0], CHUNK // max(1, row)))
            chunks = (rows, *shape[1:]) if row <= CHUNK else (1, *_inner_chunk(shape[1:]))
            dtype = np.dtype(str(like.dtype).removeprefix("torch."))
            dataset = self.file.create_dataset(path, shape=shape, dtype=dtype, chunks=chunks, **self.filters)
            # a block ends where a chunk ends: every chunk is compressed and stored once
            step = max(rows, BLOCK // max(1, row) // rows * rows)
            for start in range(0, shape[0], step):
                self.disk.require_whole()
                numbers = _finite_numbers(path, block(slice(start, min(shape[0], start + step))), finite)
                if self.compressor is None:
                    dataset[start : start + len(numbers)] = numbers
                else:
                    self.compressor.put(dataset, start, numbers)
                digest.update(canonical_bytes(numbers))
        else:  # HDF5 has no chunks of nothing, nor of a single number
            self.disk.require_whole()
            numbers = _finite_numbers(path, block(slice(None)), finite)
            dataset = self.file.create_dataset(path, data=numbers)
            digest.update(canonical_bytes(numbers))
        _set_attributes(dataset, {key: value for key, value in attributes.items() if value is not None})
        self.manifest.append((path, digest.hexdigest()))

    def finish(self) -> None:
        """Write the manifest: nothing may be added afterwards."""
        if self.compressor is not None:
            self.compressor.finish()
        lines = sorted(self.manifest)
        attributes = attributes_digest(self.file)
        group = self.file.require_group("manifest")
        group.attrs["attributes_sha256"] = attributes
        group.create_dataset("path", data=[path.encode() for path, _ in lines])
        group.create_dataset("sha256", data=[digest.encode() for _, digest in lines])
        self.file.attrs["manifest_sha256"] = manifest_digest(lines, attributes)

    def close(self) -> None:
        """End the threads that compress."""
        if self.compressor is not None:
            self.compressor.close()


def _set_attributes(item: Any, attributes: dict[str, Any]) -> None:
    for key, value in attributes.items():
        item.attrs[key] = _attribute(value)


def _attribute(value: Any) -> Any:
    """Return a value as an attribute: nested values and None as JSON text."""
    if isinstance(value, tuple | list) and value and all(isinstance(v, int) and not isinstance(v, bool) for v in value):
        return np.asarray(value, dtype=np.int64)
    if isinstance(value, str | int | float | np.ndarray | np.generic):
        return value
    return json.dumps(value, sort_keys=True, default=str)


def _finite_numbers(path: str, block: Tensor, finite: bool) -> np.ndarray[Any, Any]:
    block = block.detach().cpu()
    # a finite sum proves that a block has no NaN and no infinity; one that overflows has to be searched
    if block.is_floating_point() and not bool(block.sum().isfinite()):
        good = block.isfinite().all() if finite else ~block.isnan().any()
        if not bool(good):
            raise NeurofaError(
                f"got NaN or infinity in '{path}'; expected finite numbers to program; train again with a lower rate"
            )
    return np.asarray(block.numpy(), order="C")


def _inner_chunk(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the inner axes of a chunk where one row is larger than a chunk."""
    left, sizes = CHUNK, list[int]()
    for n in reversed(shape):
        sizes.append(max(1, min(n, left)))
        left = max(1, left // n)
    return tuple(reversed(sizes))


@contextmanager
def create_file(path: Path, kind: str, *, compression: int = 1) -> Iterator[Writer]:
    """Create a file that is whole or absent: written beside its name, and renamed at the end.

    Args:
        path: of the file.
        kind: ``network`` or ``measured``.
        compression: level of gzip.

    Raises:
        NeurofaError: h5py is missing, or the place cannot be written.
    """
    h5py = require_library("h5py")
    with separate_blocks(), atomic_path(path) as part, SpillingFile(part) as disk:
        # metadata of the newer format carries checksums of its own
        with h5py.File(disk, "w", libver=("v110", "v110"), userblock_size=FRONT) as file:
            limit_metadata_cache(file)
            writer = Writer(file, compression=compression, disk=disk)
            file.attrs["format"], file.attrs["format_version"], file.attrs["kind"] = FORMAT, VERSION, kind
            file.attrs["created_utc"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
            file.attrs["README"] = readme_text()
            try:
                yield writer
                writer.finish()
            finally:
                writer.close()
        disk.require_whole()
        seal(part)
