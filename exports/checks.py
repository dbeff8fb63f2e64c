"""Results of the checks of a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hwmodels.errors import NeurofaError


@dataclass(frozen=True)
class FileCheck:
    """Result of one check of one file."""

    name: str
    """Such as ``checksums``."""
    ok: bool
    """Whether the file passes the check."""
    detail: str
    """One line: what was checked, or what is wrong."""


def error_text(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class."""
    return str(error).partition("\n")[0] or type(error).__name__


def guarded(name: str, check: Callable[[], FileCheck]) -> FileCheck:
    """Run a check; if it raises, return a failed check with the reason.

    Args:
        name: of the check.
        check: computes the result.
    """
    try:
        return check()
    except NeurofaError as error:
        return FileCheck(name, False, str(error))
    except Exception as error:  # h5py, protobuf, nir and onnxruntime raise many classes for a damaged file
        return FileCheck(name, False, f"cannot be read: {error_text(error)}")


def from_faults(name: str, faults: list[str], detail: str, most: int = 3) -> FileCheck:
    """Return the check that failed with these faults, or passed if there are none.

    Args:
        name: of the check.
        faults: one line for each fault.
        detail: text of a check that passed.
        most: faults that the text names.
    """
    if not faults:
        return FileCheck(name, True, detail)
    more = f"; and {len(faults) - most} more" if len(faults) > most else ""
    return FileCheck(name, False, "; ".join(faults[:most]) + more)


def seal_check(sealed: bool | None) -> FileCheck:
    """Return the check of the digest in front of a file (:mod:`exports.files.seal`).

    Args:
        sealed: whether the bytes are those that were written; None: the file does not say.
    """
    if sealed is None:
        return FileCheck("seal", True, "none in front of the file: another process has read all of it first")
    return FileCheck("seal", sealed, "SHA-256 of all bytes" if sealed else "bytes differ from what was written")
