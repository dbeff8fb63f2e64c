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
        if console.is_terminal:
            with Progress(*columns, console=console) as progress:
                bar: _Counter = _Bar(progress)
                yield bar
        else:
            bar = _Lines()
            yield bar
        if bar.reused:
            console.print(f"{bar.reused} of {bar.all_runs} runs reused from the folder")
    except KeyboardInterrupt:
        console.print("stopped: the same command continues with the runs that are left")
        raise


class _Counter(SweepProgress):
    """Counts runs: of this part of the sweep that failed, and of all parts that were there already."""

    def __init__(self) -> None:
        self.failed, self.reused, self.all_runs = 0, 0, 0

    def begin(self, runs: int, title: str) -> None:
        self.failed = 0
        self.all_runs += runs

    def finish_run(self, *, failed: bool = False, reused: bool = False) -> None:
        self.failed += failed
        self.reused += reused

    @property
    def failures(self) -> str:
        """The failed runs as a part of a line."""
        return f", {self.failed} failed" if self.failed else ""


class _Lines(_Counter):
    """A line for every run, for logs and pipes."""

    def begin(self, runs: int, title: str) -> None:
        super().begin(runs, title)
        self.runs, self.title, self.done = runs, title, 0

    def finish_run(self, *, failed: bool = False, reused: bool = False) -> None:
        super().finish_run(failed=failed, reused=reused)
        self.done += 1
        again = " (reused from the folder)" if reused else ""
        sys.stderr.write(f"{self.title}: {self.done} of {self.runs} runs{self.failures}{again}\n")
        sys.stderr.flush()


class _Bar(_Counter):
    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self.progress = progress

    def begin(self, runs: int, title: str) -> None:
        super().begin(runs, title)
        self.task = self.progress.add_task(title, total=runs, failed="")

    def finish_run(self, *, failed: bool = False, reused: bool = False) -> None:
        super().finish_run(failed=failed, reused=reused)
        self.progress.update(self.task, advance=1, failed=self.failures)
