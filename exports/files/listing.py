"""The list of the files of one export, with their digests: whoever verifies one of them compares it with the list."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hwmodels.files import file_digest, write_atomic

NAME, FORMAT = "export.json", "1"


def begin_listing(folder: Path, names: Iterable[str]) -> None:
    """Take files off the list of a folder, since they are about to be written again.

    Args:
        folder: of the export.
        names: of files or of folders in it.
    """
    listed, again = _listed(folder), tuple(names)
    kept = {name: digest for name, digest in listed.items() if name.partition("/")[0] not in again}
    if kept != listed:
        _write(folder, kept)


def list_files(folder: Path, paths: Iterable[Path]) -> None:
    """Add files to the list of a folder.

    Args:
        folder: of the export.
        paths: of files in it, or of folders in it with all that they hold.
    """
    files = [file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    new = {file.relative_to(folder).as_posix(): file_digest(file) for file in files if file.is_file()}
    _write(folder, _listed(folder) | new)


def is_as_listed(path: Path) -> bool | None:
    """Return whether a file is the one that the list of its folder names; None where no list names it."""
    wanted = _listed(path.parent).get(path.name)
    return None if wanted is None else wanted == file_digest(path)


def _write(folder: Path, files: dict[str, str]) -> None:
    content = {"format": FORMAT, "files": dict(sorted(files.items()))}
    write_atomic(folder / NAME, (json.dumps(content, indent=2) + "\n").encode())


def _listed(folder: Path) -> dict[str, str]:
    """Return the digests of a list; none where there is no list, or a damaged one."""
    try:
        content: Any = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    files = content.get("files") if isinstance(content, dict) else None
    return {str(k): str(v) for k, v in files.items()} if isinstance(files, dict) else {}
