"""What a sweep shows while its runs are done: nothing, or a bar on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn


class SweepProgress:
    """Receives the progress of many runs; this base class shows nothing."""

    def begin(self, runs: int, title: str) -> None:
        """Announce that so many runs follow.

        Args:
            runs: their number.
            title: name of this part of the sweep.
        """

    def finish_run(self, *, failed: bool = False, reused: bool = False) -> None:
        """Count a run that has ended.

        Args:
            failed: it has no result.
            reused: it was in the folder already.
        """


@contextmanager
def sweep_bar() -> Iterator[SweepProgress]:
    """Show a bar on stderr: runs done, runs failed, time left; without a terminal a line for every run."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns: list[str | ProgressColumn] = ["{task.description}", BarColumn(), MofNCompleteColumn()]
    columns += ["runs{task.fields[failed]}", TimeElapsedColumn(), TimeRemainingColumn(elapsed_when_finished=True)]
    console = Console(stderr=True)
    try:
        if not console.is_terminal:
            yield _Lines()
            return
        with Progress(*columns, console=console) as progress:
            bar = _Bar(progress)
            yield bar
        if bar.reused:
            console.print(f"{bar.reused} of {bar.runs} runs reused from the folder")
    except KeyboardInterrupt:
        console.print("stopped: the same command continues with the runs that are left")
        raise


class _Lines(SweepProgress):
    """A line for every run, for logs and pipes."""

    def begin(self, runs: int, title: str) -> None:
        self.runs, self.title, self.done, self.failed = runs, title, 0, 0

    def finish_run(self, *, failed: bool = False, reused: bool = False) -> None:
        self.done, self.failed = self.done + 1, self.failed + failed
        failures = f", {self.failed} failed" if self.failed else ""
        failures += " (reused from the folder)" if reused else ""
        sys.stderr.write(f"{self.title}: {self.done} of {self.runs} runs{failures}\n")
        sys.stderr.flush()


class _Bar(SweepProgress):
    def __init__(self, progress: Progress) -> None:
        self.progress, self.failed, self.reused, self.runs = progress, 0, 0, 0

    def begin(self, runs: int, title: str) -> None:
        self.failed = 0
        self.runs += runs
        self.task = self.progress.add_task(title, total=runs, failed="")

    def finish_run(self, *, failed: bool = False, reused: bool = False) -> None:
        self.failed += failed
        self.reused += reused
        self.progress.update(self.task, advance=1, failed=f", {self.failed} failed" if self.failed else "")
