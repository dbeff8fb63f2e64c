"""What a check says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hwmodels.errors import NeurofaError


@dataclass(frozen=True)
class FileCheck:
    """One check of one file."""

    name: str
    ok: bool
    detail: str


def guarded(name: str, check: Callable[[], FileCheck]) -> FileCheck:
    """A check whose own failure to read is what it says."""
    try:
        return check()
    except NeurofaError as error:
        return FileCheck(name, False, str(error))
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        return FileCheck(
            name, False, f"cannot be read: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        )


def told(name: str, faults: list[str], fine: str, most: int = 3) -> FileCheck:
    """The check that found these faults; the first few are told."""
    if not faults:
        return FileCheck(name, True, fine)
    more = f"; and {len(faults) - most} more" if len(faults) > most else ""
    return FileCheck(name, False, "; ".join(faults[:most]) + more)
