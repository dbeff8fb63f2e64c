"""The binary version of CIFAR-10 and CIFAR-100: label bytes, then 3072 pixel bytes (C, H, W), record after record.

Source: A. Krizhevsky, Learning multiple layers of features from tiny images, 2009, and its data page.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from experiments.data import _files
from experiments.data._archives import Archive, unpacked
from experiments.data._images import image_dataset
from experiments.data.augment import Augment
from experiments.data.base import Dataset
from hwmodels.errors import NeurofaError

PIXELS = 3 * 32 * 32
SUMS = "SHA256SUMS"
"""Name of the list of checksums of the files of a verified archive, which is written beside them."""
DAMAGED = "it is damaged: delete its folder to download it again"


@dataclass(frozen=True, kw_only=True)
class CifarSource:
    """Origin of the files of CIFAR-10 or of CIFAR-100, and the layout of their records."""

    name: str
    """``cifar10`` or ``cifar100``."""
    archive: Archive
    """The archive in which the files are published."""
    train: tuple[str, ...]
    """Names of the files with training images."""
    test: tuple[str, ...]
    """Names of the files with test images."""
    label_bytes: int
    """Number of label bytes before the 3072 pixel bytes of a record; the last of them is the label that is used."""
    classes: int
    """Number of classes, 10 or 100."""
    records: int | None
    """Number of records that each file must have; None: any number, so that subsets in the same format can be read."""


@dataclass(frozen=True, kw_only=True)
class CifarOptions:
    """Options of CIFAR-10 and CIFAR-100: which images are kept, and how training images are changed at random."""

    validation: int
    """Training images to hold out."""
    subset: int | None
    """Training images to keep; None: all."""
    flip: bool
    """Whether training images are mirrored at random."""
    crop: int
    """Pixels by which training images are shifted at random, at most."""
    classes: int | None
    """Number of classes to keep, the first ones; None: all."""
    grey: bool
    """Whether inputs are luminances of shape (1, 32, 32) instead of colours."""


def cifar_dataset(source: CifarSource, options: CifarOptions) -> Dataset:
    """Return CIFAR-10 or CIFAR-100 from its files; where they are missing, the archive is downloaded.

    Args:
        source: origin and layout of the files.
        options: which images are kept, and how they are changed.

    Raises:
        NeurofaError: a file is damaged or missing, the archive cannot be downloaded, or an option is out of range.
    """
    kept = source.classes if options.classes is None else options.classes
    if not 2 <= kept <= source.classes:
        raise NeurofaError(
            f"got {source.name}(classes={options.classes}); expected 2 to {source.classes}; leave it out for all of"
            " them"
        )
    names = source.train + source.test
    folder = unpacked("", source.archive, lambda folder: _write_sums(folder, names, source.archive.name))
    sums = _read_sums(folder)
    provenance = {"official": "yes" if sums else "not known: the files were found in place and have no known checksum"}
    train, test = (
        [_load(source, folder / name, sums, provenance) for name in names] for names in (source.train, source.test)
    )
    return image_dataset(
        source.name,
        _of_classes(train, kept, grey=options.grey),
        _of_classes(test, kept, grey=options.grey),
        classes=kept,
        validation=options.validation,
        subset=options.subset,
        provenance=provenance,
        augment=Augment(flip=options.flip, crop=options.crop) if options.flip or options.crop else None,
    )


def _of_classes(parts: list[tuple[Tensor, Tensor]], classes: int, *, grey: bool) -> tuple[Tensor, Tensor]:
    """Return the images of the first classes, in their order; grey ones by the luminance of ITU-R BT.601."""
    images, labels = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    wanted = labels < classes
    images, labels = images[wanted], labels[wanted]
    if grey:
        # on whole grey levels again, so that mean and deviation come from exact counts as those of colours do
        luminance = torch.tensor([0.299, 0.587, 0.114])
        images = torch.einsum("nchw,c->nhw", images.float(), luminance).round_().to(torch.uint8).unsqueeze(1)
    return images, labels


def _load(source: CifarSource, path: Path, sums: dict[str, str], provenance: dict[str, str]) -> tuple[Tensor, Tensor]:
    """Return images and labels of one file, and add its checksum to ``provenance``."""
    if not path.is_file():
        raise NeurofaError(f"got no {path.name} in {path.parent}; expected it beside the others; put it there")
    blob = _files.read_file(path)
    records = read_records(blob, path, source)
    got = _files.sha256(blob)
    if sums.get(path.name, got) != got:
        raise NeurofaError(
            f"got sha256 {got} for {path}; expected {sums[path.name]}; delete the folder to download it again"
        )
    provenance[path.name] = f"sha256:{got}"
    return records


def read_records(blob: bytes, path: Path, source: CifarSource) -> tuple[Tensor, Tensor]:
    """Split a file into images and labels.

    Args:
        blob: content of the file.
        path: path of the file, for messages.
        source: layout of its records.

    Returns:
        (N, 3, 32, 32) uint8 images and (N,) uint8 labels.

    Raises:
        NeurofaError: truncated file, or a label out of range.
    """
    size = source.label_bytes + PIXELS
    got = f"got {path} with {len(blob)} bytes"
    if source.records is not None and len(blob) != source.records * size:
        wanted = f"{source.records * size} ({source.records} records of {size})"
        raise NeurofaError(f"{got}; expected {wanted}; {DAMAGED}")
    if not blob or len(blob) % size:
        raise NeurofaError(f"{got}; expected a multiple of {size} (one record); {DAMAGED}")
    table = torch.frombuffer(bytearray(blob), dtype=torch.uint8).reshape(-1, size)
    labels = table[:, source.label_bytes - 1]
    if int(labels.max()) >= source.classes:
        raise NeurofaError(f"got label {int(labels.max())} in {path}; expected 0 to {source.classes - 1}; {DAMAGED}")
    return table[:, source.label_bytes :].reshape(-1, 3, 32, 32), labels


def _write_sums(folder: Path, names: tuple[str, ...], archive: str) -> None:
    """Leave the named files of an unpacked archive, with a list of their checksums, and nothing else."""
    for name in names:
        if not (folder / name).is_file():
            raise NeurofaError(f"got {archive} without {folder.name}/{name}; expected the binary version; delete it")
    for path in folder.iterdir():
        if path.name not in names:
            path.unlink()
    lines = [f"{_files.sha256(_files.read_file(folder / name))}  {name}\n" for name in names]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def _read_sums(folder: Path) -> dict[str, str]:
    """Return the checksums by file name; nothing where there is no list."""
    path = folder / SUMS
    if not path.is_file():
        return {}
    pairs = (line.split(maxsplit=1) for line in _files.read_file(path).decode(errors="replace").splitlines())
    return {pair[1].lstrip("*"): pair[0] for pair in pairs if len(pair) == 2}
