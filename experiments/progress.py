"""What a run tells while it goes on: nothing, or a bar on stderr."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import ProgressColumn, Task
    from rich.text import Text


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

    def step(self, samples: int, loss: float, accuracy: float | None) -> None:
        """Some steps were made.

        Args:
            samples: seen since the last call.
            loss: mean training loss of this epoch so far.
            accuracy: mean training accuracy of this epoch so far, from 0 to 1; None for regression.
        """

    def end(self) -> None:
        """The run has ended, in whatever way."""

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


class Bar(Progress):
    """A bar on stderr with loss, accuracy and samples a second."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns: list[ProgressColumn] = [
            TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("epoch {task.fields[epoch]}"),
            TextColumn("loss {task.fields[loss]}"), TextColumn("{task.fields[accuracy]}"), _rate(),
            TimeRemainingColumn(compact=True),
        ]  # fmt: skip
        self._bar = RichProgress(*columns, console=Console(stderr=True))
        self._samples = self._epochs = 0

    def begin(self, title: str, *, epochs: int, done: int, samples: int) -> None:
        self._samples, self._epochs = samples, epochs
        self._bar.start()
        self._task = self._bar.add_task(
            title, total=epochs * samples, completed=done * samples, epoch=f"{done}/{epochs}", loss="-", accuracy=""
        )

    def step(self, samples: int, loss: float, accuracy: float | None) -> None:
        self._bar.update(
            self._task, advance=samples, loss=f"{loss:.4f}", accuracy="" if accuracy is None else f"{accuracy:.1%}"
        )
        done = int(self._bar.tasks[-1].completed)
        self._bar.update(self._task, epoch=f"{-(-done // self._samples)}/{self._epochs}")

    def end(self) -> None:
        self._bar.stop()


def _rate() -> ProgressColumn:
    from rich.progress import ProgressColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        """Samples a second."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f} samples/s")

    return Rate()
