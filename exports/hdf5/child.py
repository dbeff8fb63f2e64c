"""The script of :mod:`exports.hdf5.apart`: reads an HDF5 file, and sends what it reads block by block.

It runs as a process of its own, and imports nothing but h5py and numpy, so that it starts in a moment. Its standard
input holds the job as JSON: ``path``; ``names`` of the datasets to send, or null to read all there is and send nothing;
``largest``, bytes that a dataset may claim. Every block is a line of JSON on the standard output, and as many bytes of
numbers as it says; the last line holds ``end``, or the ``error`` and whether the file is ``whole``.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import Any

import h5py
import numpy as np

ROWS, BYTES = 2**12, 2**24
"""Rows of unequal lengths, and bytes of others, in one block."""


def send(payload: bytes = b"", **head: Any) -> None:
    """Write one block."""
    sys.stdout.buffer.write(json.dumps(head | {"bytes": len(payload)}).encode() + b"\n" + payload)
    sys.stdout.buffer.flush()


def blocks(item: Any, largest: int) -> Any:
    """Yield the rows of a dataset, in blocks; a single number is one row.

    Args:
        item: the dataset.
        largest: bytes that it may claim.

    Raises:
        OSError: it claims more.
    """
    if item.nbytes > largest:
        raise OSError(f"dataset '{item.name}' claims {item.nbytes:.3g} bytes")
    if not item.shape or not item.size:
        yield item[()]
        return
    step = ROWS if item.dtype.kind == "O" else max(1, BYTES * len(item) // item.nbytes)
    for start in range(0, len(item), step):
        yield item[start : start + step]


def send_column(name: str, item: Any, largest: int) -> None:
    """Send a dataset of numbers, or of rows of numbers of unequal lengths.

    Args:
        name: of the dataset.
        item: the dataset.
        largest: bytes that it may claim.

    Raises:
        ValueError: it holds other values, or is a single one.
    """
    if not item.shape:
        raise ValueError(f"{name} is a single value")
    ragged = h5py.check_vlen_dtype(item.dtype)
    dtype = item.dtype if ragged is None else ragged
    if not isinstance(dtype, np.dtype) or dtype.kind not in "fiubcSU":
        raise ValueError(f"{name} holds other values than numbers")
    for block in blocks(item, largest):
        lengths = None if ragged is None else [len(row) for row in block]
        values = block if ragged is None else np.concatenate(block) if len(block) else np.zeros(0, dtype)
        content = np.ascontiguousarray(values, dtype).tobytes()
        send(content, name=name, dtype=dtype.str, shape=block.shape, lengths=lengths)


def read_all(file: Any, largest: int) -> None:
    """Read every attribute and dataset of a file, and drop it; values that are no numbers are an answer too.

    Args:
        file: open.
        largest: bytes that a dataset may claim.
    """

    def read(_: str, item: Any) -> None:
        with suppress(Exception):  # whoever reads the file meets it again, and says so
            for name in item.attrs:
                if item.attrs.get_id(name).get_storage_size() <= largest:
                    item.attrs[name]
            for _block in blocks(item, largest) if isinstance(item, h5py.Dataset) else ():
                send()
        send()

    read("/", file)
    file.visititems(read)


def main() -> None:
    """Do the job on the standard input."""
    job = json.loads(sys.stdin.readline())
    try:
        with h5py.File(job["path"], "r") as file:
            if job["names"] is None:
                read_all(file, job["largest"])
            for name in job["names"] or ():
                send_column(name, file[name], job["largest"])
    except (OSError, RuntimeError, MemoryError) as error:
        send(error=str(error), whole=False)
    except Exception as error:
        send(error=str(error), whole=True)
    else:
        send(end=True)


if __name__ == "__main__":
    main()
