"""Files that are written whole or not at all, and what to say when they cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hwmodels.errors import NeurofaError
from hwmodels.files import remove_abandoned, scratch_path, write_atomic, write_errors


def make_folder(path: Path) -> Path:
    """Create a folder with its parents where it is missing, and prove that files can be made in it.

    What killed processes have left half written in it is removed.

    Raises:
        StorageError: it cannot be created or written.
    """
    with write_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        remove_abandoned(path)
        with scratch_path(path / "probe") as probe:
            probe.write_bytes(b"")
    return path


def write_text(path: Path, content: str) -> None:
    """Write a text file whole, as UTF-8."""
    write_atomic(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file whole; numbers that are not finite are a programming error."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write a file of one JSON object a line, whole."""
    write_text(path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        NeurofaError: no such file, or no JSON object in it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NeurofaError(f"got '{path}' ({error.strerror}); expected a JSON file; check the path") from None
    except (ValueError, RecursionError):
        raise NeurofaError(f"got '{path}', which is no JSON; expected a whole file; make it anew") from None
    if not isinstance(content, dict):
        raise NeurofaError(f"got '{path}' without a JSON object; expected one; make it anew")
    return content
