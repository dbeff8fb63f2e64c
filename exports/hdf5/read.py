"""Exported files opened for reading; every fault of a file becomes one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from exports.checks import error_text
from exports.files.optional import require_library
from exports.files.seal import seal_holds
from exports.hdf5.apart import require_readable
from exports.hdf5.layout import FORMAT, VERSION, json_value, limit_metadata_cache, paths_by_kind, require_plausible
from exports.programming.conductances import conductances_to_weights
from exports.programming.integers import BLOCK, per_row
from hwmodels.arrays.tiles import Tile, reassemble
from hwmodels.errors import NeurofaError
from neurofa.core.synapses import present_cell

Source = Literal["float", "quantized", "conductance"]
"""The copy of a matrix that is read."""

REAL = "fiub"
"""Kinds of numpy's types that are real numbers."""
REFUSED = {"group": "a group", "c": "complex numbers", "O": "text", "S": "text", "U": "text", "V": "records"}
"""What else may stand where numbers are expected, by numpy's kind."""


class StoredTile(NamedTuple):
    """The conductances of one tile of a matrix, as a file holds them."""

    name: str
    """Name of its group: first input and first output, such as ``0_256``."""
    attributes: dict[str, Any]
    """``first_input``, ``first_output``, ``map``, ``scale`` and the other attributes of the group."""
    planes: dict[str, Tensor]
    """Conductances by plane, S, and ``faults``; (rows, columns), rows being inputs."""

    @property
    def conductances(self) -> dict[str, Tensor]:
        """The planes of present conductances alone, without faults and targets."""
        return {key: g for key, g in self.planes.items() if key != "faults" and not key.startswith("target_")}

    @property
    def weights(self) -> Tensor:
        """Weights (rows, columns) that the conductances stand for."""
        return conductances_to_weights(self.attributes["map"], self.attributes["scale"], self.conductances)


class HardwareFile:
    """An exported or measured HDF5 file, open for reading.

    Args:
        h5: open file of h5py.
        path: path of the file, for messages.
        sealed: whether its bytes are those that were written; None: it does not say.
    """

    def __init__(self, h5: Any, path: Path, *, sealed: bool | None = None) -> None:
        self.h5, self.path, self.sealed = h5, path, sealed

    def __getitem__(self, path: str) -> Any:
        return self.h5[path]

    def __contains__(self, path: str) -> bool:
        return path in self.h5

    @property
    def kind(self) -> str:
        """What the file is: an exported ``network``, a ``measured`` file, or ``plain`` HDF5 that follows no format."""
        return str(json_value(self.h5.attrs["kind"])) if "kind" in self.h5.attrs else "plain"

    def names(self, path: str) -> list[str]:
        """Return the names of all members of a group, sorted; none where there is no such group."""
        return sorted(self.h5[path]) if path in self.h5 else []

    def shape(self, path: str) -> tuple[int, ...]:
        """Return the shape of a dataset."""
        return tuple(self.h5[path].shape)

    def attributes(self, path: str) -> dict[str, Any]:
        """Return the attributes of a group or dataset as JSON values; text that is JSON is parsed."""
        return {key: _parse(value) for key, value in self.h5[path].attrs.items()}

    def tensor(self, path: str) -> Tensor:
        """Read one dataset as a tensor.

        Raises:
            NeurofaError: there is none of that name, or it holds no real numbers.
        """
        return torch.from_numpy(np.atleast_1d(self._numbers(path, ()))).reshape(self.shape(path))

    def rows(self, path: str, rows: slice) -> Tensor:
        """Return some rows of one dataset; raises as :meth:`tensor`."""
        return torch.from_numpy(self._numbers(path, rows))

    def _numbers(self, path: str, place: Any) -> np.ndarray[Any, Any]:
        """Return a part of a dataset in the byte order of this machine."""
        if path not in self:
            raise NeurofaError(f"got '{self.path}' without '{path}'; expected a whole file; make it anew")
        item = self[path]
        kind = item.dtype.kind if hasattr(item, "dtype") else "group"
        if kind not in REAL:
            what = REFUSED.get(kind, "other values")
            raise NeurofaError(
                f"got {what} at '{path}' in '{self.path}'; expected real numbers in a dataset; write it as float32"
            )
        values: np.ndarray[Any, Any] = np.asarray(item[place])
        wide = np.dtype(np.float64) if values.dtype.kind == "f" and values.dtype.itemsize > 8 else values.dtype
        return values.astype(wide.newbyteorder("="), copy=False)

    def blocks(self, path: str) -> Iterator[tuple[int, np.ndarray[Any, Any]]]:
        """Yield a dataset in blocks of rows: index of the first row, and the rows; a single number is one row."""
        shape = self.shape(path)
        if not shape or not all(shape):
            yield 0, np.atleast_1d(self._numbers(path, ()))
            return
        step = max(1, BLOCK // max(1, int(np.prod(shape[1:], dtype=np.int64))))
        for start in range(0, shape[0], step):
            yield start, self._numbers(path, slice(start, start + step))

    def datasets(self) -> list[str]:
        """Return the paths of all datasets but those of the manifest, sorted."""
        return [path for path in paths_by_kind(self.h5)[1] if not path.startswith("manifest")]

    def matrices(self) -> list[str]:
        """Return the paths of all matrices, sorted."""
        return [path for path in self.datasets() if "role" in self[path].attrs]

    def tiled(self) -> list[str]:
        """Return the paths of all matrices that have conductances, sorted."""
        return [path.removesuffix("_tiles") for path in paths_by_kind(self.h5)[0] if path.endswith("_tiles")]

    def tiles(self, path: str) -> Iterator[StoredTile]:
        """Yield the tiles of a matrix, column of tiles by column of tiles."""
        group = self[f"{path}_tiles"]

        def address(name: str) -> tuple[int, int]:
            attributes = group[name].attrs
            return int(attributes["first_output"]), int(attributes["first_input"])

        for name in sorted(group, key=address):
            tile = f"{path}_tiles/{name}"
            yield StoredTile(name, self.attributes(tile), {key: self.tensor(f"{tile}/{key}") for key in group[name]})

    def matrix(self, path: str, source: Source = "float") -> Tensor:
        """Return the weights of one matrix from one of its copies, shaped as the layer has them.

        Args:
            path: where the matrix lies in the file.
            source: ``float``: the weights as exported; ``quantized``: scale (code - zero point) from its integers;
                ``conductance``: the weights that the tiles' conductances stand for.

        Raises:
            NeurofaError: the file has no such copy.
        """
        if source == "float":
            return self.tensor(path)
        if source == "quantized":
            return self._from_integers(path)
        self._require_copy(f"{path}_tiles", f"conductances of '{path}'", "export with --tile")
        matrix = self.attributes(f"{path}_tiles")
        tiles = [
            Tile(tile.attributes["first_input"], tile.attributes["first_output"], tile.weights)
            for tile in self.tiles(path)
        ]
        flat = reassemble(tiles, (matrix["inputs"], matrix["outputs"])).t()
        return flat.reshape(self.shape(path)) if path in self else flat

    def _from_integers(self, path: str) -> Tensor:
        group = f"{path}_quantized"
        self._require_copy(group, f"whole numbers of '{path}'", "export with --bits")
        codes, scale, zero = (self.tensor(f"{group}/{key}") for key in ("codes", "scale", "zero_point"))
        zero = per_row(zero, codes.ndim).to(scale.dtype)
        return (codes.to(scale.dtype) - zero) * per_row(scale, codes.ndim)

    def _require_copy(self, group: str, what: str, remedy: str) -> None:
        if group not in self:
            raise NeurofaError(f"got '{self.path}' without {what}; expected some; {remedy}")

    def states(self) -> dict[str, str]:
        """Return the paths of the datasets that hold the learner's state, by key of its state dict.

        Keys of earlier versions are translated to those of today.
        """
        keys = ((self[path].attrs.get("state"), path) for path in self.datasets())
        return {present_cell(str(json_value(key))): path for key, path in keys if key is not None}


def _parse(value: Any) -> Any:
    plain = json_value(value)
    if isinstance(plain, str) and plain.startswith(("{", "[", '"', "true", "false", "null")):
        try:
            return json.loads(plain)
        except ValueError:
            return plain
    return plain


@contextmanager
def open_hardware_file(path: Path, *, measured: bool = False) -> Iterator[HardwareFile]:
    """Open an exported or measured HDF5 file for reading; it is closed when the block ends.

    Args:
        path: of the file.
        measured: accept plain HDF5 without a format too, as a lab may write it.

    Raises:
        NeurofaError: the file is missing, no HDF5, damaged, or of another format or version.
    """
    h5py = require_library("h5py")
    if not path.is_file():
        raise NeurofaError(f"got '{path}', which is no file; expected an exported HDF5 file; check the path")
    sealed = seal_holds(path)
    if not sealed:
        require_readable(path)
    try:
        h5 = h5py.File(path, "r")
    except OSError as error:
        raise NeurofaError(
            f"got '{path}', which cannot be opened ({error_text(error)}); expected a whole HDF5 file; copy or make it"
            " anew"
        ) from None
    with h5:
        try:
            limit_metadata_cache(h5)
            require_plausible(h5)
            _check_format(h5, path, measured=measured)
            yield HardwareFile(h5, path, sealed=sealed)
        except (NeurofaError, GeneratorExit):
            raise
        except Exception as error:  # h5py and numpy raise many classes for a damaged file
            raise NeurofaError(
                f"got '{path}', of which a part cannot be read ({error_text(error)}); expected a whole file; copy or"
                " make it anew"
            ) from error


def _check_format(h5: Any, path: Path, *, measured: bool) -> None:
    """Refuse files of another format or version."""
    written, version = (json_value(h5.attrs.get(key, "none")) for key in ("format", "format_version"))
    if written == "none" and measured:
        return
    if written != FORMAT:
        raise NeurofaError(f"got '{path}' of format '{written}'; expected {FORMAT}; only exported files are read")
    if str(version).split(".")[0] != VERSION.split(".")[0]:
        raise NeurofaError(
            f"got '{path}' of format version {version}; expected {VERSION}; use the version of neurofa that wrote it"
        )
