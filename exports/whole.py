"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from hwmodels.errors import NeurofaError


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its name, then rename it.

    Raises:
        NeurofaError: the place cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        raise NeurofaError(
            f"got '{path}' ({error.strerror or error}); expected a place that can be written; choose another folder"
        ) from None
    finally:
        part.unlink(missing_ok=True)
