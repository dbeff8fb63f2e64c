"""A full disk under HDF5, whose library may crash the process when a write fails."""

from __future__ import annotations

import io
import os
from pathlib import Path
from types import TracebackType
from typing import Any


class SpillingFile(io.RawIOBase):
    """A new file that takes whatever is written: after the first error, in memory, and the error is remembered.

    The library can so close its file in order, whatever it still has to write or to read again; then
    :meth:`require_whole` tells of the error. Who writes much asks in between.

    Args:
        path: of the file.
        front: bytes before the place that counts as the first one (:mod:`exports.files.seal`).
    """

    def __init__(self, path: Path, *, front: int = 0) -> None:
        super().__init__()
        self.front = front
        self.error: OSError | None = None
        self._file = path.open("w+b", buffering=0)
        self._at, self._end = 0, 0
        self._spilt: list[tuple[int, bytes]] = []

    def require_whole(self) -> None:
        """Raise the error of the first write that failed.

        Raises:
            OSError: the disk is full, or another reason of the system.
        """
        if self.error is not None:
            raise OSError(self.error.errno, self.error.strerror)

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._end}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._end - self._at))
        wanted = view[:count]
        self._file.seek(self.front + self._at)
        done = self._file.readinto(wanted) or 0
        wanted[done:] = bytes(count - done)
        for start, content in self._spilt:
            first, last = max(start, self._at), min(start + len(content), self._at + count)
            if first < last:
                wanted[first - self._at : last - self._at] = content[first - start : last - start]
        self._at += count
        return count

    def write(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        if self.error is None:
            try:
                self._file.seek(self.front + self._at)
                done = 0
                while done < len(view):
                    done += self._file.write(view[done:])
            except OSError as error:
                self.error = error
        if self.error is not None:
            self._spilt.append((self._at, bytes(view)))
        self._at += len(view)
        self._end = max(self._end, self._at)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        self._end = self._at if size is None else size
        if self.error is None:
            try:
                self._file.truncate(self.front + self._end)
            except OSError as error:
                self.error = error
        return self._end

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

    def __enter__(self) -> SpillingFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
