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
import torch
from torch import Tensor

from exports.files.heap import apart
from exports.files.optional import need
from exports.hdf5.chunks import Chunks
from exports.hdf5.layout import FORMAT, README, VERSION, attributes_digest, digest_block, lean, total
from exports.programming.integers import BLOCK
from hwmodels.errors import NeurofaError
from hwmodels.files import atomic_path

CHUNK = 2**18
"""Numbers in one compressed chunk: one megabyte of float32."""


class Writer:
    """Writes datasets and groups, and keeps the manifest.

    Args:
        file: open for writing.
        compression: level of gzip, 0 (none) to 9.
    """

    def __init__(self, file: Any, *, compression: int) -> None:
        self.file, self.compression = file, compression
        self.chunks = Chunks(compression) if compression else None
        self.manifest: list[tuple[str, str]] = []

    def group(self, path: str, /, **attributes: Any) -> Any:
        """A group, made where it is missing, with more attributes."""
        found = self.file.require_group(path)
        for key, value in attributes.items():
            found.attrs[key] = stored(value)
        return found

    def tensor(
        self, path: str, values: Tensor, *, unit: str, meaning: str, finite: bool = True, **attributes: Any
    ) -> None:
        """A dataset of a tensor's numbers, streamed.

        Raises:
            NeurofaError: NaN, or infinity where ``finite``.
        """

        def block(at: slice) -> Tensor:
            return values[at] if values.ndim else values

        self.blocks(
            path, tuple(values.shape), values.dtype, block, unit=unit, meaning=meaning, finite=finite, **attributes
        )

    def blocks(
        self, path: str, shape: tuple[int, ...], dtype: torch.dtype, block: Callable[[slice], Tensor], *, unit: str,
        meaning: str, finite: bool = True, **attributes: Any,
    ) -> None:  # fmt: skip
        """A dataset whose rows are asked for block by block.

        Args:
            path: in the file.
            shape: of the whole.
            dtype: of the numbers.
            block: gives some rows; for 0-dim data, whatever it is asked, the number.
            unit: see :data:`exports.graph.arrays.UNITS`.
            meaning: one line.
            finite: refuse infinity.
            attributes: more of them.
        """
        kind = np.dtype(str(dtype).removeprefix("torch."))
        if not shape or not all(shape):
            whole = block(slice(None)).detach().cpu().numpy()
            self._look(path, torch.from_numpy(np.atleast_1d(whole)), finite)
            made = self.file.create_dataset(path, data=whole)
            self._close(path, made, hashlib.sha256(digest_block(whole)), unit, meaning, attributes)
            return
        row = int(np.prod(shape[1:], dtype=np.int64))
        rows = max(1, min(shape[0], CHUNK // max(1, row)))
        chunk = (rows, *shape[1:]) if row <= CHUNK else (1, *_cut(shape[1:]))
        filters = (
            {"compression": "gzip", "compression_opts": self.compression, "shuffle": True} if self.compression else {}
        )
        made = self.file.create_dataset(path, shape=shape, dtype=kind, chunks=chunk, **filters)
        digest = hashlib.sha256()
        step = max(rows, BLOCK // max(1, row) // rows * rows)
        for start in range(0, shape[0], step):
            at = slice(start, min(shape[0], start + step))
            part = block(at).detach().cpu()
            self._look(path, part, finite)
            numbers = np.ascontiguousarray(part.numpy())
            if self.chunks is None:
                made[at] = numbers
            else:
                self.chunks.put(made, start, numbers)
            digest.update(digest_block(numbers))
        self._close(path, made, digest, unit, meaning, attributes)

    @staticmethod
    def _look(path: str, part: Tensor, finite: bool) -> None:
        if not part.is_floating_point():
            return
        # the sum of a block is finite exactly if nothing in it is NaN or infinite, up to overflow, which is looked into
        fine = bool(part.sum().isfinite()) or bool(part.isfinite().all() if finite else ~part.isnan().any())
        if not fine:
            raise NeurofaError(
                f"got NaN or infinity in '{path}'; expected finite numbers to program; train again with a lower rate"
            )

    def _close(self, path: str, made: Any, digest: Any, unit: str, meaning: str, attributes: dict[str, Any]) -> None:
        for key, value in {"unit": unit, "meaning": meaning, **attributes}.items():
            if value is not None:
                made.attrs[key] = stored(value)
        self.manifest.append((path, digest.hexdigest()))

    def finish(self) -> None:
        """Write the manifest: nothing may be added afterwards."""
        if self.chunks is not None:
            self.chunks.finish()
        lines = sorted(self.manifest)
        attributes = attributes_digest(self.file)
        group = self.file.require_group("manifest")
        group.attrs["attributes_sha256"] = attributes
        group.create_dataset("path", data=[path.encode() for path, _ in lines])
        group.create_dataset("sha256", data=[digest.encode() for _, digest in lines])
        self.file.attrs["manifest_sha256"] = total(lines, attributes)

    def close(self) -> None:
        """End the threads that compress."""
        if self.chunks is not None:
            self.chunks.close()


def _cut(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The inner axes of a chunk where one row is larger than a chunk."""
    left, found = CHUNK, list[int]()
    for n in reversed(shape):
        found.append(max(1, min(n, left)))
        left = max(1, left // n)
    return tuple(reversed(found))


def stored(value: Any) -> Any:
    """A value as an attribute: nested values and None as JSON text."""
    if isinstance(value, tuple | list) and value and all(isinstance(v, int) and not isinstance(v, bool) for v in value):
        return np.asarray(value, dtype=np.int64)
    if isinstance(value, str | int | float | np.ndarray | np.generic):
        return value
    return json.dumps(value, sort_keys=True, default=str)


@contextmanager
def create(path: Path, kind: str, *, compression: int = 1) -> Iterator[Writer]:
    """A file that is whole or not there: written beside its name, and renamed at the end.

    Args:
        path: of the file.
        kind: ``network`` or ``measured``.
        compression: level of gzip.

    Raises:
        NeurofaError: the extra is missing, or the place cannot be written.
    """
    h5py = need("h5py")
    # metadata of the newer format carries checksums of its own
    with apart(), atomic_path(path) as part, h5py.File(part, "w", libver=("v110", "v110")) as file:
        lean(file)
        writer = Writer(file, compression=compression)
        file.attrs["format"], file.attrs["format_version"], file.attrs["kind"] = FORMAT, VERSION, kind
        file.attrs["created_utc"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
        file.attrs["README"] = README
        try:
            yield writer
            writer.finish()
        finally:
            writer.close()
