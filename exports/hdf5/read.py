"""Files opened for reading, with one line for whatever is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from exports.files.optional import need
from exports.hdf5.layout import FORMAT, VERSION, lean, plain
from exports.programming.conductances import weights_of
from hwmodels.arrays.tiles import Tile, reassemble
from hwmodels.errors import NeurofaError

Source = Literal["float", "quantized", "conductance"]
"""Which copy of a matrix is read."""


class Stored:
    """An open file.

    Args:
        file: of h5py.
        path: its name, for messages.
    """

    def __init__(self, file: Any, path: Path) -> None:
        self.file, self.path = file, path

    @property
    def kind(self) -> str:
        """``network``, ``measured``, or ``plain`` for a file of a lab that follows no format."""
        return str(plain(self.file.attrs["kind"])) if "kind" in self.file.attrs else "plain"

    def attributes(self, path: str) -> dict[str, Any]:
        """Attributes of a group or dataset as JSON values; text that is JSON is read."""
        return {key: _read(value) for key, value in self.file[path].attrs.items()}

    def tensor(self, path: str) -> Tensor:
        """One dataset.

        Raises:
            NeurofaError: there is none of that name.
        """
        if path not in self.file:
            raise NeurofaError(f"got '{self.path}' without '{path}'; expected a whole file; make it anew")
        return torch.from_numpy(np.atleast_1d(self.file[path][()])).reshape(self.file[path].shape)

    def datasets(self) -> list[str]:
        """Paths of all datasets but those of the manifest, sorted."""
        found: list[str] = []

        def see(path: str, item: Any) -> None:
            if hasattr(item, "dtype") and not path.startswith("manifest"):
                found.append(path)

        self.file.visititems(see)
        return sorted(found)

    def matrices(self) -> list[str]:
        """Paths of all matrices, in the order of the datasets' names."""
        return [path for path in self.datasets() if "role" in self.file[path].attrs]

    def tiled(self) -> list[str]:
        """Paths of all matrices that have conductances."""
        found: list[str] = []

        def see(path: str, item: Any) -> None:
            if path.endswith("_tiles") and not hasattr(item, "dtype"):
                found.append(path.removesuffix("_tiles"))

        self.file.visititems(see)
        return sorted(found)

    def tiles(self, path: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Tensor]]]:
        """Name, attributes and planes (S, faults among them) of every tile of a matrix, column by column."""
        group = self.file[f"{path}_tiles"]

        def address(name: str) -> tuple[int, int]:
            own = group[name].attrs
            return int(own["first_output"]), int(own["first_input"])

        for name in sorted(group, key=address):
            where = f"{path}_tiles/{name}"
            yield name, self.attributes(where), {key: self.tensor(f"{where}/{key}") for key in group[name]}

    def matrix(self, path: str, source: Source = "float") -> Tensor:
        """The weights of one matrix from one of its copies, shaped as the layer has them.

        Raises:
            NeurofaError: the file has no such copy.
        """
        if source == "float":
            return self.tensor(path)
        if source == "quantized":
            return self._quantised(path)
        if f"{path}_tiles" not in self.file:
            self._lacks(path, "conductances", "export with --tile")
        about = self.attributes(f"{path}_tiles")
        pieces = [
            Tile(own["first_input"], own["first_output"], weights_of(own["map"], own["scale"], _planes(found)))
            for _, own, found in self.tiles(path)
        ]
        flat = reassemble(pieces, (about["inputs"], about["outputs"])).t()
        return flat.reshape(self.file[path].shape) if path in self.file else flat

    def _quantised(self, path: str) -> Tensor:
        below = f"{path}_quantized"
        if below not in self.file:
            self._lacks(path, "whole numbers", "export with --bits")
        codes, scale, zero = (self.tensor(f"{below}/{key}") for key in ("codes", "scale", "zero_point"))
        shape = (-1,) + (1,) * (codes.ndim - 1)
        return (codes.to(scale.dtype) - zero.view(shape).to(scale.dtype)) * scale.view(shape)

    def _lacks(self, path: str, what: str, remedy: str) -> None:
        raise NeurofaError(f"got '{self.path}' without {what} of '{path}'; expected some; {remedy}")

    def states(self) -> dict[str, str]:
        """Paths by the key of the state that they are."""
        found = {}
        for path in self.datasets():
            state = self.file[path].attrs.get("state")
            if state is not None:
                found[str(plain(state))] = path
        return found


def _planes(found: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: g for key, g in found.items() if key != "faults" and not key.startswith("target_")}


def _read(value: Any) -> Any:
    found = plain(value)
    if isinstance(found, str) and found.startswith(("{", "[", '"', "true", "false", "null")):
        try:
            return json.loads(found)
        except ValueError:
            return found
    return found


@contextmanager
def opened(path: Path, *, measured: bool = False) -> Iterator[Stored]:
    """Open a file of ours.

    Args:
        path: of the file.
        measured: also open plain HDF5 without a format, as a lab may write it.

    Raises:
        NeurofaError: no such file, no HDF5, truncated, of another format or version.
    """
    h5py = need("h5py")
    if not path.is_file():
        raise NeurofaError(f"got '{path}', which is no file; expected an exported HDF5 file; check the path")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise NeurofaError(
            f"got '{path}', which cannot be opened ({reason}); expected a whole HDF5 file; copy or make it anew"
        ) from None
    with file:
        try:
            lean(file)
            _know(file, path, measured=measured)
            yield Stored(file, path)
        except (OSError, KeyError, RuntimeError) as error:
            raise NeurofaError(
                f"got '{path}', of which a part cannot be read ({str(error).splitlines()[0]}); expected a whole file;"
                " copy or make it anew"
            ) from None


def _know(file: Any, path: Path, *, measured: bool) -> None:
    """Refuse files of another format or version."""
    found = {key: plain(file.attrs[key]) if key in file.attrs else "none" for key in ("format", "format_version")}
    if found["format"] == "none" and measured:
        return
    if found["format"] != FORMAT:
        raise NeurofaError(
            f"got '{path}' of format '{found['format']}'; expected {FORMAT}; only exported files are read"
        )
    if str(found["format_version"]).split(".")[0] != VERSION.split(".")[0]:
        raise NeurofaError(
            f"got '{path}' of format version {found['format_version']}; expected {VERSION}; use the version of"
            " neurofa that wrote it"
        )
