"""Files of a user's own: paths, folders of classes, named arrays, and one line for what is missing or damaged."""

from __future__ import annotations

import csv
import struct
import wave
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from experiments.data import _files
from exports.hdf5.apart import require_readable
from hwmodels.errors import NeurofaError
from hwmodels.files import file_digest

DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    csv.Error,
    struct.error,
    wave.Error,
    zipfile.BadZipFile,
    zlib.error,
)
"""What libraries raise over damaged files, or files of another kind."""
SPLITS = {"train": ("train",), "validation": ("validation", "valid", "val"), "test": ("test",)}
"""Names by which the parts of a data set are known."""


@contextmanager
def reading(path: Path | str, expected: str) -> Iterator[None]:
    """Turn what a library raises over a file into one line.

    Args:
        path: the file.
        expected: what it should be, such as "a whole image".

    Raises:
        NeurofaError: with the first line of the reason.
    """
    try:
        yield
    except NeurofaError:
        raise
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise NeurofaError(
            f"got '{path}', which cannot be read ({reason}); expected {expected}; make it anew, or leave it out"
        ) from None


def own_path(name: str, path: str, *, folder: bool = False) -> Path:
    """Return the path of a file or a folder that has to be there.

    Args:
        name: of the data set, for messages.
        path: as given.
        folder: whether it may be a folder, and not a file.

    Raises:
        NeurofaError: nothing is there, or something else.
    """
    found = Path(path).expanduser()
    if not path or not (found.is_dir() if folder else found.is_file()):
        what = "is empty" if not path else "does not exist" if not found.exists() else "is something else"
        raise NeurofaError(
            f"got {name}(path='{path}'), which {what}; expected a {'folder' if folder else 'file'}; check the path"
        )
    return found


def class_folders(
    name: str, root: Path, suffixes: Sequence[str]
) -> tuple[dict[str, list[tuple[int, Path]]], tuple[str, ...]]:
    """Return the files of a folder with one folder a class, or with such folders in ``train``, ``val`` and ``test``.

    Args:
        name: of the data set, for messages.
        root: the folder.
        suffixes: of the files that count, in lower case; hidden files do not.

    Returns:
        Label and path of every file, sorted by class and name, by split (``all`` where there are no splits); and the
        names of the classes, sorted, in the order of their labels.

    Raises:
        NeurofaError: files outside a class folder, of another kind, an empty class folder, fewer than two classes, or
            classes that training does not know.
    """
    inside = {path.name: path for path in _visible(root) if path.is_dir()}
    parts = {alias: where for where, aliases in SPLITS.items() for alias in aliases}
    if "train" in inside and set(inside) <= parts.keys():
        _refuse_strays(name, root, inside.values())
        homes = {parts[alias]: path for alias, path in inside.items()}
        if len(homes) < len(inside):
            raise NeurofaError(f"got {', '.join(inside)} in '{root}'; expected one folder for validation; remove one")
    else:
        homes = {"all": root}
    files: dict[str, list[tuple[int, Path]]] = {}
    classes = sorted(path.name for path in _visible(homes.get("train", root)) if path.is_dir())
    if len(classes) < 2:
        raise NeurofaError(
            f"got {len(classes)} class folders in '{homes.get('train', root)}'; expected two or more, one a class, with"
            " the files inside; sort the files into them"
        )
    for where, home in homes.items():
        folders = [path for path in _visible(home) if path.is_dir()]
        _refuse_strays(name, home, folders)
        strange = sorted({path.name for path in folders} - set(classes))
        if strange:
            raise NeurofaError(
                f"got class '{strange[0]}' in '{home}', which is not in train; expected {', '.join(classes)}; rename"
                " the folder, or remove it"
            )
        files[where] = [(classes.index(each.name), path) for each in folders for path in _of_class(each, suffixes)]
    return files, tuple(classes)


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _refuse_strays(name: str, home: Path, folders: Any) -> None:
    stray = next((path for path in _visible(home) if path not in set(folders)), None)
    if stray is not None:
        raise NeurofaError(
            f"got '{stray}' beside the folders of data '{name}'; expected nothing there but folders; move it into the"
            " folder of its class, or remove it"
        )


def _of_class(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    files = _visible(folder)
    strange = next((path for path in files if path.suffix.lower() not in suffixes or not path.is_file()), None)
    if strange is not None:
        raise NeurofaError(
            f"got '{strange}' in a class folder; expected files that end in {', '.join(suffixes)}; remove it"
        )
    if not files:
        raise NeurofaError(f"got the empty class folder '{folder}'; expected files in it; fill it, or remove it")
    return files


def digest_of(files: Sequence[Path], root: Path) -> str:
    """Return a checksum of files with their names relative to a folder."""
    told = "\n".join(f"{path.relative_to(root).as_posix()} {file_digest(path)}" for path in files)
    return f"sha256:{_files.sha256(told.encode())} of all names with their contents"


class NamedArrays:
    """The arrays of an ``.npz`` or HDF5 file, or of a folder of ``.npy`` files, read by name; nothing is unpickled.

    Args:
        name: of the data set, for messages.
        path: the file or folder.

    Raises:
        NeurofaError: no such file, another kind of file, or a damaged one.
    """

    def __init__(self, name: str, path: str) -> None:
        given = Path(path).expanduser()
        self.path = own_path(name, path, folder=given.is_dir())
        if self.path.is_dir():
            stems = {file.stem: file for file in _files.files_in(self.path, "*.npy")}
            self.names = sorted(stems)
            self._read: Callable[[str], Any] = lambda key: np.load(stems[key], allow_pickle=False)
            self._digest: Callable[[], str] = lambda: digest_of(sorted(stems.values()), self.path)
            return
        self._digest = lambda: f"sha256:{file_digest(self.path)}"
        match self.path.suffix.lower():
            case ".npz":
                with reading(self.path, "a whole .npz file"), self._opened() as file:
                    self.names = sorted(file.files)
                self._read = self._of_npz
            case ".h5" | ".hdf5":
                self.names, self._read = self._names_of_hdf5(), self._of_hdf5
            case ".npy":
                raise NeurofaError(
                    f"got {name}(path='{path}'), a single array; expected inputs and targets; name the folder that"
                    " holds both, as x.npy and y.npy"
                )
            case other:
                raise NeurofaError(
                    f"got {name}(path='{path}'), a file that ends in '{other}'; expected .npz, .h5, .hdf5, or a folder"
                    " of .npy files; convert it"
                )

    @property
    def digest(self) -> str:
        """Checksum of the file, or of the files of the folder."""
        return self._digest()

    def read(self, key: str) -> Any:
        """Return an array.

        Raises:
            NeurofaError: there is none of that name, or it cannot be read.
        """
        if key not in self.names:
            raise NeurofaError(
                f"got '{self.path}' with {', '.join(self.names[:12]) or 'no arrays'}; expected '{key}'; name the array"
                " that is meant"
            )
        with reading(self.path, f"a whole file with numbers as '{key}'"):
            return self._read(key)

    def _of_npz(self, key: str) -> Any:
        with self._opened() as file:
            return file[key]

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        # numpy leaves a file open that it opened itself and cannot read
        with self.path.open("rb") as blob, np.load(blob, allow_pickle=False) as file:
            yield file

    def _names_of_hdf5(self) -> list[str]:
        h5py = _h5py(self.path)
        require_readable(self.path)  # a damaged file may lead the library in circles
        found: list[str] = []
        with reading(self.path, "a whole HDF5 file"), h5py.File(self.path, "r") as file:
            file.visititems(lambda key, node: found.append(key) if isinstance(node, h5py.Dataset) else None)
        return sorted(found)

    def _of_hdf5(self, key: str) -> Any:
        with _h5py(self.path).File(self.path, "r") as file:
            return np.asarray(file[key][()])


def _h5py(path: Path) -> Any:
    try:
        import h5py
    except ImportError:
        raise NeurofaError(
            f"got no h5py to read {path}; expected it beside neurofa; run: pip install 'neurofa[datasets]'"
        ) from None
    return h5py
