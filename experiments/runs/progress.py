"""What a run shows while it trains: nothing, a bar on stderr, or a line an epoch where there is no terminal."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import ProgressColumn, Task, TextColumn
    from rich.text import Text

    from neurofa.training.loop.tally import Score


class Progress:
    """Receives the progress of a run; this base class shows nothing."""

    def begin(self, title: str, *, epochs: int, done: int, samples: int) -> None:
        """Begin a run.

        Args:
            title: what is trained.
            epochs: of the whole run.
            done: epochs that were finished before (a resumed run).
            samples: of one epoch.
        """

    def note(self, lines: Sequence[str]) -> None:
        """Add lines that are said when the next run begins; default: none is shown."""

    def step(self, samples: int, score: Score) -> None:
        """Report some steps.

        Args:
            samples: number of samples since the last call.
            score: training loss and accuracy of this epoch so far.
        """

    def notice(self, text: str) -> None:
        """Say what a user should know although the run goes on; default: as a warning."""
        warnings.warn(text, stacklevel=2)

    def end_epoch(self, epoch: int, score: Score, seconds: float) -> None:
        """Report a finished epoch.

        Args:
            epoch: its number.
            score: training loss and accuracy of the epoch.
            seconds: time of its training steps, s.
        """

    def close(self) -> None:
        """End the report; nothing follows."""

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Shown(Progress):
    """Says some lines on stderr when the first run begins: one that cannot begin leaves its error alone.

    Args:
        notes: the lines.
    """

    def __init__(self, notes: Sequence[str] = ()) -> None:
        self._notes = list(notes)

    def note(self, lines: Sequence[str]) -> None:
        self._notes += lines

    def begin(self, title: str, *, epochs: int, done: int, samples: int) -> None:
        while self._notes:
            self._say(self._notes.pop(0))

    def _say(self, line: str) -> None:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


class Lines(Shown):
    """A line on stderr for every epoch, for logs and pipes."""

    def begin(self, title: str, *, epochs: int, done: int, samples: int) -> None:
        super().begin(title, epochs=epochs, done=done, samples=samples)
        self._title, self._epochs = title, epochs

    def end_epoch(self, epoch: int, score: Score, seconds: float) -> None:
        accuracy = "" if score.accuracy is None else f", {score.accuracy:.1%}"
        self._say(f"{self._title}, epoch {epoch}/{self._epochs}: loss {score.loss:.4f}{accuracy}, {seconds:.1f} s")


def shown_progress(notes: Sequence[str] = ()) -> Progress:
    """Return a bar on a terminal, and lines elsewhere.

    Args:
        notes: lines that are said when the first run begins.
    """
    return Bar(notes) if sys.stderr.isatty() else Lines(notes)


class Bar(Shown):
    """A bar on stderr with loss, accuracy and samples a second."""

    def __init__(self, notes: Sequence[str] = ()) -> None:
        super().__init__(notes)
        from rich.console import Console
        from rich.progress import BarColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            _text("{task.description}"),
            BarColumn(bar_width=12),
            *map(_text, ("{task.fields[epoch]}", "loss {task.fields[loss]}", "{task.fields[accuracy]}")),
            _samples_a_second(),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
        )
        self._samples = self._epochs = 0

    def begin(self, title: str, *, epochs: int, done: int, samples: int) -> None:
        super().begin(title, epochs=epochs, done=done, samples=samples)
        self._samples, self._epochs = samples, epochs
        self._task = self._bar.add_task(
            title, total=epochs * samples, completed=done * samples, epoch=f"{done}/{epochs}", loss="-", accuracy=""
        )

    def step(self, samples: int, score: Score) -> None:
        if not self._bar.live.is_started:  # not before, so that a run that cannot begin leaves its error alone
            self._bar.start()
        accuracy = "" if score.accuracy is None else f"{score.accuracy:.1%}"
        self._bar.update(self._task, advance=samples, loss=f"{score.loss:.4f}", accuracy=accuracy)
        done = int(self._bar.tasks[-1].completed)
        self._bar.update(self._task, epoch=f"{-(-done // self._samples)}/{self._epochs}")

    def notice(self, text: str) -> None:
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        if self._bar.live.is_started:
            self._bar.stop()


def _text(template: str) -> TextColumn:
    from rich.progress import TextColumn
    from rich.table import Column

    return TextColumn(template, table_column=Column(no_wrap=True))


def _samples_a_second() -> ProgressColumn:
    from rich.progress import ProgressColumn
    from rich.table import Column
    from rich.text import Text

    class Rate(ProgressColumn):
        """Samples a second."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f}/s")

    return Rate(table_column=Column(no_wrap=True))
