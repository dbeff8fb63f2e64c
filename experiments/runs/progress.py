"""What a run tells while it goes on: nothing, or a bar on stderr."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import ProgressColumn, Task
    from rich.table import Column
    from rich.text import Text

    from experiments.runs.evaluate import Score


class Progress:
    """Listens to a run; this one is silent."""

    def begin(self, title: str, *, epochs: int, done: int, samples: int) -> None:
        """A run begins.

        Args:
            title: what is trained.
            epochs: of the whole run.
            done: epochs that were finished before (a resumed run).
            samples: of one epoch.
        """

    def step(self, samples: int, score: Score) -> None:
        """Some steps were made.

        Args:
            samples: seen since the last call.
            score: training loss and accuracy of this epoch so far.
        """

    def close(self) -> None:
        """Nothing more will be told."""

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Bar(Progress):
    """A bar on stderr with loss, accuracy and samples a second."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns: list[ProgressColumn] = [
            TextColumn("{task.description}", table_column=_line()), BarColumn(bar_width=12),
            TextColumn("{task.fields[epoch]}", table_column=_line()),
            TextColumn("loss {task.fields[loss]}", table_column=_line()),
            TextColumn("{task.fields[accuracy]}", table_column=_line()), _rate(), TimeRemainingColumn(compact=True),
        ]  # fmt: skip
        self._bar = RichProgress(*columns, console=Console(stderr=True))
        self._samples = self._epochs = 0

    def begin(self, title: str, *, epochs: int, done: int, samples: int) -> None:
        self._samples, self._epochs = samples, epochs
        self._task = self._bar.add_task(
            title, total=epochs * samples, completed=done * samples, epoch=f"{done}/{epochs}", loss="-", accuracy=""
        )

    def step(self, samples: int, score: Score) -> None:
        if not self._bar.live.is_started:  # not before, so that a run that cannot begin leaves one line alone
            self._bar.start()
        accuracy = "" if score.accuracy is None else f"{score.accuracy:.1%}"
        self._bar.update(self._task, advance=samples, loss=f"{score.loss:.4f}", accuracy=accuracy)
        done = int(self._bar.tasks[-1].completed)
        self._bar.update(self._task, epoch=f"{-(-done // self._samples)}/{self._epochs}")

    def close(self) -> None:
        if self._bar.live.is_started:
            self._bar.stop()


def _line() -> Column:
    from rich.table import Column

    return Column(no_wrap=True)


def _rate() -> ProgressColumn:
    from rich.progress import ProgressColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        """Samples a second."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f}/s")

    return Rate(table_column=_line())
