"""The idx files of MNIST and its relatives: four gzip files, each identified by its checksum.

Format: big-endian magic number 0x0000080D (unsigned bytes, D dimensions), D sizes of 4 bytes, then the bytes.
Source: Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from experiments.data import _files
from experiments.data._images import image_dataset
from experiments.data.base import Dataset
from hwmodels.errors import NeurofaError

NAMES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
AGAIN = "delete the file to download it again"


@dataclass(frozen=True, kw_only=True)
class IdxSource:
    """Origin of the four idx files of MNIST, or of a data set in its format."""

    name: str
    folder: str
    """Folder of the files, relative to the data folder."""
    addresses: Sequence[str]
    """Web folders that hold the files, tried in order."""
    checksums: Mapping[str, str]
    """SHA-256 of the official files by name."""
    classes: int = 10


def idx_dataset(source: IdxSource, *, validation: int, subset: int | None) -> Dataset:
    """Return the data set that four idx files hold; files that are missing are downloaded.

    Args:
        source: origin of the files.
        validation: training images to hold out.
        subset: training images to keep; None: all.

    Raises:
        NeurofaError: a file is damaged, is not the official one, or cannot be downloaded.
    """
    provenance: dict[str, str] = {}
    splits = {}
    for where, (image_name, label_name) in NAMES.items():
        images, labels = (_load(source, name, provenance) for name in (image_name, label_name))
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
            raise NeurofaError(
                f"got {image_name} of shape {tuple(images.shape)} with {label_name} of {tuple(labels.shape)}; "
                "expected (N, H, W) with (N,); delete both files to download them again"
            )
        splits[where] = images[:, None], labels
    return image_dataset(
        source.name,
        splits["train"],
        splits["test"],
        classes=source.classes,
        validation=validation,
        subset=subset,
        provenance=provenance,
    )


def _load(source: IdxSource, name: str, provenance: dict[str, str]) -> Tensor:
    """Return the content of one file, and add its checksum to ``provenance``."""
    relative = f"{source.folder}/{name}"
    wanted = source.checksums[name]
    path = _files.find_file(relative)
    if path is None:
        addresses = [f"{address}{name}" for address in source.addresses]
        path = _files.download(addresses, f"sha256:{wanted}", _files.cache_folder() / relative)
    blob = _files.read_file(path)
    values = read_idx(blob, path)
    got = _files.sha256(blob)
    if got != wanted:
        raise NeurofaError(f"got sha256 {got} for {path}; expected {wanted}; {AGAIN}")
    provenance[name] = f"sha256:{got}"
    return values


def read_idx(blob: bytes, path: Path) -> Tensor:
    """Unpack one gzip-compressed idx file of unsigned bytes.

    Args:
        blob: content of the file.
        path: path of the file, for messages.

    Returns:
        A uint8 tensor of the sizes in the header.

    Raises:
        NeurofaError: not gzip, wrong magic number, or fewer or more bytes than the header states.
    """
    gzip = zlib.decompressobj(wbits=31)
    try:
        data = gzip.decompress(blob) + gzip.flush()
    except zlib.error as error:
        raise NeurofaError(f"got {path} ({error}); expected a gzip file; {AGAIN}") from None
    ndim = data[3] if len(data) > 3 else 0
    if data[:3] != b"\x00\x00\x08" or not 1 <= ndim <= 3:
        raise NeurofaError(
            f"got {path} with magic number 0x{data[:4].hex()}; expected 0x00000801 to 0x00000803 (idx); {AGAIN}"
        )
    start = 4 + 4 * ndim
    shape = struct.unpack(f">{ndim}I", data[4:start]) if len(data) >= start else ()
    wanted = start + math.prod(shape)
    if len(data) != wanted or not shape or not gzip.eof:
        raise NeurofaError(
            f"got {path} with {len(data)} bytes unpacked; expected {wanted} (header says {list(shape)}) and the end of "
            f"the file; it is damaged: {AGAIN}"
        )
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)[start:].reshape(shape)
