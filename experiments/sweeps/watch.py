"""A progress bar over many runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress


class Watch(Protocol):
    """Who wants to know how many runs get on."""

    def expect(self, runs: int, what: str) -> None:
        """That many more runs follow."""

    def see(self, *, failed: bool = False) -> None:
        """One of them has ended."""


class Unwatched:
    """Nobody looks."""

    def expect(self, runs: int, what: str) -> None:
        """Nothing to do."""

    def see(self, *, failed: bool = False) -> None:
        """Nothing to do."""


@contextmanager
def run_bar() -> Iterator[Watch]:
    """A bar on standard error: runs done, runs failed, time left."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("runs{task.fields[failed]}"),
        TimeElapsedColumn(), TimeRemainingColumn(elapsed_when_finished=True),
    )  # fmt: skip
    console = Console(stderr=True)
    try:
        with Progress(*columns, console=console) as progress:
            yield _Bar(progress)
    except KeyboardInterrupt:
        console.print("stopped: the same command goes on with the runs that are left")
        raise


class _Bar:
    def __init__(self, progress: Progress) -> None:
        self.progress, self.failed = progress, 0

    def expect(self, runs: int, what: str) -> None:
        self.failed = 0
        self.task = self.progress.add_task(what, total=runs, failed="")

    def see(self, *, failed: bool = False) -> None:
        self.failed += failed
        self.progress.update(self.task, advance=1, failed=f", {self.failed} failed" if self.failed else "")
