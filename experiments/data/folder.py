"""Images of one's own in folders, one folder a class."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.data._own_data import own_dataset
from experiments.data._own_files import class_folders, digest_of, own_path, reading
from experiments.data.base import Dataset
from hwmodels.errors import NeurofaError
from hwmodels.registry import recipe

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
_MODES = {"1": 1, "L": 1, "RGB": 3}
"""Channels of images by their kind; others are converted where the user says to how many."""
_DEEP = ("I", "F")
"""Beginnings of the kinds of images with more than 8 bits a channel."""


@recipe("data", "folder", source="files of the user's own")
def folder(
    *,
    path: str,
    size: Sequence[int] | int | None = None,
    channels: int | None = None,
    standardise: bool = True,
    validation: float = 0.1,
    test: float = 0.1,
) -> Dataset:
    """Images in one folder a class, ``cat/1.png``; or such folders in ``train``, ``val`` and ``test``.

    Classes are numbered in the order of their names. Splits that are missing are cut from the training images by a
    fixed seed, every class in its share.

    Args:
        path: the folder.
        size: height and width, or the side of a square, pixels, to which all images are scaled (bilinear, without
            keeping their proportions); None: all have the same size already.
        channels: 1 or 3, to which all images are converted; None: all are grey, or all are coloured.
        standardise: whether each channel is scaled to mean 0 and deviation 1 of the training images.
        validation: share of the images for validation, where there is no such folder.
        test: share of the images for the test, where there is no such folder.

    Returns:
        Inputs of shape (C, H, W).

    Raises:
        NeurofaError: no such folder, an empty class folder, a damaged image (the file is named), or images of several
            sizes or kinds.
    """
    if channels not in (None, 1, 3):
        raise NeurofaError(f"got folder(channels={channels}); expected 1 (grey) or 3 (colours); change channels")
    target = _sides(size)
    root = own_path("folder", path, folder=True)
    files, classes = class_folders("folder", root, SUFFIXES)
    flat = [image for each in files.values() for _, image in each]
    first = flat[0]
    wanted: tuple[int, ...] | None = None
    parts = {}
    for where, each in files.items():
        images = []
        for _, image in each:
            pixels = _pixels(image, target, channels)
            if wanted is None:
                wanted = pixels.shape
            _require_alike(image, pixels.shape, first, wanted)
            images.append(pixels)
        if not images:
            raise NeurofaError(f"got no images for {where} in '{root}'; expected some; fill the folder or remove it")
        parts[where] = (np.stack(images), np.array([label for label, _ in each]))
    scaled = {} if target is None else {"size": f"{target[0]} x {target[1]} pixels, bilinear"}
    return own_dataset(
        "folder",
        parts,
        regression=False,
        standardise=standardise,
        validation=validation,
        test=test,
        provenance={root.name: digest_of(flat, root), "classes": ", ".join(classes), **scaled},
    )


def _sides(size: Sequence[int] | int | None) -> tuple[int, int] | None:
    """Return height and width to which images are scaled."""
    if size is None:
        return None
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or not all(1 <= side <= 10_000 for side in sides):
        raise NeurofaError(f"got folder(size={size}); expected a side or [height, width] in pixels; change size")
    return sides


def _pixels(path: Path, target: tuple[int, int] | None, channels: int | None) -> Any:
    """Return the pixels of one image, (C, H, W) uint8."""
    from PIL import Image

    with reading(path, "a whole image"), warnings.catch_warnings():
        warnings.simplefilter("error")  # images that unpack to a danger, and files that end too early
        with Image.open(path) as image:
            image.verify()
        with Image.open(path) as image:
            frames = getattr(image, "n_frames", 1)
            if frames > 1:
                raise NeurofaError(f"got '{path}' of {frames} frames; expected one image; store one")
            image.load()
            return _converted(path, image, target, channels)


def _converted(path: Path, image: Image, target: tuple[int, int] | None, channels: int | None) -> Any:
    from PIL import Image as Images

    if image.mode.startswith(_DEEP):
        raise NeurofaError(
            f"got '{path}' with more than 8 bits a channel ({image.mode}); expected 8; store it so, or use data arrays"
        )
    if channels is None and image.mode not in _MODES:
        raise NeurofaError(
            f"got '{path}' of kind {image.mode}; expected grey or RGB; convert it, or say channels=1 or channels=3"
        )
    plain = image.convert("L" if (channels or _MODES[image.mode]) == 1 else "RGB")
    if target is not None and plain.size != target[::-1]:
        plain = plain.resize(target[::-1], Images.Resampling.BILINEAR)
    pixels = np.asarray(plain, np.uint8)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(np.moveaxis(pixels, 2, 0))


def _require_alike(path: Path, shape: tuple[int, ...], first: Path, wanted: tuple[int, ...]) -> None:
    if shape[1:] != wanted[1:]:
        raise NeurofaError(
            f"got '{path}' of {shape[1]} x {shape[2]} pixels beside '{first}' of {wanted[1]} x {wanted[2]}; expected"
            f" one size; say size=[{wanted[1]}, {wanted[2]}] to have them scaled"
        )
    if shape[0] != wanted[0]:
        raise NeurofaError(
            f"got '{path}' of {shape[0]} channels beside '{first}' of {wanted[0]}; expected one kind; say channels=1 or"
            " channels=3"
        )
