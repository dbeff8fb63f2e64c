"""The binary version of CIFAR-10 and CIFAR-100: label bytes, then 3072 pixel bytes (C, H, W), record after record.

Source: A. Krizhevsky, Learning multiple layers of features from tiny images, 2009, and its data page.
"""

from __future__ import annotations

import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from experiments.data import _files
from experiments.data._images import image_dataset
from experiments.data.augment import Augment
from experiments.data.base import Dataset
from hwmodels.errors import NeurofaError

PIXELS = 3 * 32 * 32
SUMS = "SHA256SUMS"
"""Checksums of the files that came out of a verified archive, written beside them."""


@dataclass(frozen=True, kw_only=True)
class CifarSource:
    """Where one of the two sets comes from, and how its records are built."""

    name: str
    folder: str
    """Folder of the files, relative to the data folder and inside the archive."""
    train: tuple[str, ...]
    test: tuple[str, ...]
    address: str
    archive_hash: str
    """``"md5:..."`` of the official archive."""
    label_bytes: int
    """Bytes before the pixels; the last of them is the label that counts."""
    classes: int
    records: int | None
    """Records a file must hold; ``None``: any number, for subsets in the same format."""


def cifar_dataset(
    source: CifarSource, *, validation: int, subset: int | None, flip: bool, crop: int, classes: int | None, grey: bool
) -> Dataset:
    """Read the files, downloading the archive when they are missing, into a data set.

    Args:
        source: which set.
        validation: training images to hold out.
        subset: training images to keep; None: all.
        flip: mirror training images at random.
        crop: shift training images at random by up to that many pixels.
        classes: keep the images of the first so many classes; None: of all.
        grey: luminance instead of colours: inputs of shape (1, 32, 32).

    Raises:
        NeurofaError: a file is damaged or missing, the archive cannot be had, or an option is out of range.
    """
    kept = source.classes if classes is None else classes
    if not 2 <= kept <= source.classes:
        raise NeurofaError(
            f"got {source.name}(classes={classes}); expected 2 to {source.classes}; leave it out for all of them"
        )
    folder = _folder(source)
    sums = _sums(folder)
    provenance = {"official": "yes" if sums else "not known: the files were found in place and have no known checksum"}
    train, test = (
        [_load(source, folder / name, sums, provenance) for name in names] for names in (source.train, source.test)
    )
    return image_dataset(
        source.name,
        _chosen(train, kept, grey=grey),
        _chosen(test, kept, grey=grey),
        classes=kept,
        validation=validation,
        subset=subset,
        provenance=provenance,
        augment=Augment(flip=flip, crop=crop) if flip or crop else None,
    )


def _chosen(parts: list[tuple[Tensor, Tensor]], classes: int, *, grey: bool) -> tuple[Tensor, Tensor]:
    """All images of the first classes, in their order; grey ones by the luminance of ITU-R BT.601."""
    images, labels = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    wanted = labels < classes
    images, labels = images[wanted], labels[wanted]
    if grey:
        weights = torch.tensor([0.299, 0.587, 0.114])
        images = torch.einsum("nchw,c->nhw", images.float(), weights).round_().to(torch.uint8).unsqueeze(1)
    return images, labels


def _load(source: CifarSource, path: Path, sums: dict[str, str], provenance: dict[str, str]) -> tuple[Tensor, Tensor]:
    if not path.is_file():
        raise NeurofaError(f"got no {path.name} in {path.parent}; expected it beside the others; put it there")
    blob = _files.read(path)
    parts = read_records(blob, path, label_bytes=source.label_bytes, classes=source.classes, records=source.records)
    got = _files.sha256(blob)
    if sums.get(path.name, got) != got:
        raise NeurofaError(
            f"got sha256 {got} for {path}; expected {sums[path.name]}; delete the folder to download it again"
        )
    provenance[path.name] = f"sha256:{got}"
    return parts


def read_records(
    blob: bytes, path: Path, *, label_bytes: int, classes: int, records: int | None
) -> tuple[Tensor, Tensor]:
    """Split a file into images and labels.

    Args:
        blob: the file's content.
        path: its name, for messages.
        label_bytes: bytes before the pixels of a record.
        classes: labels must be below that number.
        records: how many the file must hold; ``None``: any whole number of them.

    Returns:
        (N, 3, 32, 32) uint8 images and (N,) uint8 labels.

    Raises:
        NeurofaError: truncated file, or a label out of range.
    """
    size = label_bytes + PIXELS
    if records is not None and len(blob) != records * size:
        raise NeurofaError(
            f"got {path} with {len(blob)} bytes; expected {records * size} ({records} records of {size}); "
            "it is damaged: delete its folder to download it again"
        )
    if not blob or len(blob) % size:
        raise NeurofaError(
            f"got {path} with {len(blob)} bytes; expected a multiple of {size} (one record); "
            "it is damaged: delete its folder to download it again"
        )
    table = torch.frombuffer(bytearray(blob), dtype=torch.uint8).reshape(-1, size)
    labels = table[:, label_bytes - 1]
    if int(labels.max()) >= classes:
        raise NeurofaError(
            f"got label {int(labels.max())} in {path}; expected 0 to {classes - 1}; "
            "it is damaged: delete its folder to download it again"
        )
    return table[:, label_bytes:].reshape(-1, 3, 32, 32), labels


def _folder(source: CifarSource) -> Path:
    """The first data folder that holds a file of the set, else the one that a download fills."""
    found = next(filter(None, (_files.find(f"{source.folder}/{name}") for name in source.test + source.train)), None)
    if found is not None:
        return found.parent
    cache = _files.cache_folder()
    archive = cache / source.address.rsplit("/", 1)[1]
    _files.download([source.address], source.archive_hash, archive)
    unpack(archive, source.folder, source.train + source.test, cache)
    archive.unlink(missing_ok=True)
    return cache / source.folder


def unpack(archive: Path, folder: str, names: tuple[str, ...], target: Path) -> None:
    """Take the named files, and nothing else, out of an archive into ``target / folder``, whole or not at all.

    A list of their checksums is left beside them, so that a later reading knows them.

    Raises:
        NeurofaError: a file is missing in the archive.
    """
    contents = {}
    with tarfile.open(archive) as tar:
        for name in names:
            try:
                stream = tar.extractfile(f"{folder}/{name}")
            except KeyError:
                stream = None
            if stream is None:
                raise NeurofaError(f"got {archive} without {folder}/{name}; expected the binary version; delete it")
            contents[name] = stream.read()
    lines = "".join(f"{_files.sha256(blob)}  {name}\n" for name, blob in contents.items())
    with tempfile.TemporaryDirectory(dir=target) as scratch:
        whole = Path(scratch) / folder
        whole.mkdir()
        for name, blob in [*contents.items(), (SUMS, lines.encode())]:
            (whole / name).write_bytes(blob)
        try:
            whole.rename(target / folder)
        except OSError:
            # another process may have been faster; its folder is as whole as this one
            if not (target / folder).is_dir():
                raise


def _sums(folder: Path) -> dict[str, str]:
    path = folder / SUMS
    if not path.is_file():
        return {}
    pairs = (line.split(maxsplit=1) for line in _files.read(path).decode(errors="replace").splitlines())
    return {pair[1].lstrip("*"): pair[0] for pair in pairs if len(pair) == 2}
