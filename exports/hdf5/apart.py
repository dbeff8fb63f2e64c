"""HDF5 files of others, read by a process of its own: a damaged one can neither stop nor crash this process.

The C library of HDF5 trusts the addresses and lengths in a file; one flipped bit may lead it in circles, inside a call
that nothing in the same process can end. Files that this project writes carry a seal instead
(:mod:`exports.files.seal`).
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from exports.files.optional import require_library
from exports.hdf5.layout import LARGEST_ATTRIBUTE, PACKED
from hwmodels.errors import NeurofaError

SECONDS = 60.0
"""Time in which the reading process has to send one block of some thousand rows."""
_SCRIPT = Path(__file__).with_name("child.py")
_START = "import runpy, sys; sys.path[:] = sys.argv[2:]; runpy.run_path(sys.argv[1], run_name='__main__')"

_READABLE: set[tuple[str, int, int, int, int]] = set()
"""Files that were read to their end in this process."""

Column = np.ndarray[Any, Any] | list[np.ndarray[Any, Any]]
"""A dataset: one array, or one array a row where rows have unequal lengths."""


class UnreadableError(NeurofaError):
    """An HDF5 file that its own library cannot read."""


class LayoutError(NeurofaError):
    """An HDF5 file that can be read, but holds something else than was asked for."""


def read_columns(path: Path, names: Sequence[str], *, seconds: float = SECONDS) -> dict[str, Column]:
    """Return datasets of an HDF5 file by name.

    Args:
        path: of the file.
        names: of datasets of numbers, or of rows of numbers.
        seconds: after which a process that sends nothing is ended.

    Raises:
        UnreadableError: the file is damaged.
        LayoutError: there is no dataset of that name, or it holds other values.
    """
    parts: dict[str, list[Any]] = {name: [] for name in names}
    ragged = dict.fromkeys(names, False)
    for head, content in _run(path, list(names), seconds):
        values = np.frombuffer(content, np.dtype(head["dtype"]))
        if head["lengths"] is None:
            parts[head["name"]].append(values.reshape(head["shape"]))
        else:
            ragged[head["name"]] = True
            parts[head["name"]] += np.split(values, np.cumsum(head["lengths"])[:-1])
    return {name: parts[name] if ragged[name] else np.concatenate(parts[name]) for name in names}


def require_readable(path: Path, *, seconds: float = SECONDS) -> None:
    """Refuse a file whose structures lead HDF5's library astray: another process reads all of it once.

    A file that was read before and has not changed since is not read again.

    Args:
        path: of the file.
        seconds: after which a process that reads on and on in one place is ended.

    Raises:
        UnreadableError: it is damaged.
    """
    state = path.stat()
    version = (str(path.resolve()), state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
    if version in _READABLE:
        return
    for _ in _run(path, None, seconds):
        pass
    _READABLE.add(version)


def _run(path: Path, names: list[str] | None, seconds: float) -> Iterator[tuple[dict[str, Any], bytearray]]:
    """Yield the blocks that the reading process sends.

    Args:
        path: of the file.
        names: of datasets; None: nothing is sent, but everything read.
        seconds: longest time without a block.
    """
    require_library("h5py")
    job = {"path": str(path), "names": names, "largest": path.stat().st_size * PACKED + LARGEST_ATTRIBUTE}
    process = subprocess.Popen(  # noqa: S603 (this Python, and a script of this package)
        [sys.executable, "-c", _START, str(_SCRIPT), *sys.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    received: queue.Queue[tuple[dict[str, Any], bytearray] | None] = queue.Queue(maxsize=4)
    ended = threading.Event()
    pipes = process.stdin, process.stdout
    threading.Thread(target=_receive, args=(*pipes, job, received, ended), daemon=True).start()
    try:
        while True:
            try:
                block = received.get(timeout=seconds)
            except queue.Empty:
                raise UnreadableError(
                    f"got '{path}', whose HDF5 structures cannot be read in {seconds:g} s; expected a whole file; it is"
                    " damaged: copy or fetch it again"
                ) from None
            if block is None:
                process.kill()
                raise UnreadableError(
                    f"got '{path}', at which HDF5's library ended with code {process.wait()}; expected a whole file; it"
                    " is damaged: copy or fetch it again"
                )
            if "error" in block[0]:
                kind = LayoutError if block[0]["whole"] else UnreadableError
                reason = " ".join(block[0]["error"].split())
                raise kind(
                    f"got '{path}', which cannot be opened ({reason}); expected a whole HDF5 file; copy or fetch it"
                    " again"
                )
            if "end" in block[0]:
                return
            yield block
    finally:
        ended.set()
        process.kill()
        process.wait()


def _receive(
    stdin: Any,
    stdout: Any,
    job: dict[str, Any],
    received: queue.Queue[tuple[dict[str, Any], bytearray] | None],
    ended: threading.Event,
) -> None:
    """Pass on what the process sends, until it ends; None stands for a process that ended by itself.

    Args:
        stdin: of the process that reads.
        stdout: of it.
        job: for it.
        received: takes the blocks.
        ended: set when nobody takes them any more.
    """

    def put(block: tuple[dict[str, Any], bytearray] | None) -> None:
        done = False
        while not done and not ended.is_set():
            with suppress(queue.Full):
                received.put(block, timeout=0.1)
                done = True

    with stdin, stdout:
        try:
            stdin.write(json.dumps(job).encode() + b"\n")
            stdin.flush()
            while line := stdout.readline():
                head = json.loads(line)
                content = bytearray(head["bytes"])
                view, at = memoryview(content), 0
                while at < len(view) and (count := stdout.readinto(view[at:])):
                    at += count
                put((head, content))
        except (OSError, ValueError):  # it was ended in the middle of a block
            pass
    put(None)
