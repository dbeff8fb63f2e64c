"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hwmodels.errors import NeurofaError


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file beside ``path`` to write into, which takes that name when the block ends well, and else is removed.

    Raises:
        NeurofaError: the place cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    except OSError as error:
        raise NeurofaError(
            f"got '{path}' ({error.strerror or error}); expected a place that can be written; choose another folder"
        ) from None
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole.

    Raises:
        NeurofaError: the place cannot be written.
    """
    with whole(path) as part:
        part.write_bytes(content)
