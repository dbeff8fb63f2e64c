"""Rows of a training for other tools: CSV files, TensorBoard, Weights & Biases."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from hwmodels.errors import NeurofaError
from hwmodels.files import write_atomic
from neurofa.training.loop.callback import Callback, Course
from neurofa.training.loop.history import Row


class CSVLog(Callback):
    """Writes all rows into a CSV file after every epoch, whole or not at all.

    Args:
        path: the file.
        overwrite: whether a file that is there is replaced by a new training; False: it is refused. A training that is
            continued always goes on in its file.

    Raises:
        NeurofaError: at the beginning, a file that is there.
    """

    def __init__(self, path: Path | str, *, overwrite: bool = False) -> None:
        self.path, self.overwrite = Path(path), overwrite

    def begin(self, course: Course) -> None:
        refuse_existing(self.path, course, overwrite=self.overwrite)

    def end_epoch(self, course: Course, row: Row) -> None:
        rows = course.history.rows
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, list(dict.fromkeys(key for each in rows for key in each)), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        write_atomic(self.path, text.getvalue().encode())


class TensorBoardLog(Callback):
    """Writes the numbers of every epoch as scalars for TensorBoard.

    Args:
        folder: of the event files.

    Raises:
        NeurofaError: at the beginning, TensorBoard is not installed.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._writer: Any = None

    def begin(self, course: Course) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise missing("tensorboard", "TensorBoardLog") from None
        self._writer = SummaryWriter(str(self.folder))

    def end_epoch(self, course: Course, row: Row) -> None:
        for name, value in _numbers(row).items():
            self._writer.add_scalar(name, value, row["epoch"])
        self._writer.flush()

    def end(self, course: Course) -> None:
        if self._writer is not None:
            self._writer.close()


class WandbLog(Callback):
    """Sends the numbers of every epoch to Weights & Biases.

    Args:
        run: that ``wandb.init`` returned, which stays open; None: a new one, which ends with the training.
        options: of ``wandb.init`` for a new one, such as ``project`` and ``mode="offline"``.

    Raises:
        NeurofaError: options beside a run; at the beginning, wandb is not installed.
    """

    def __init__(self, run: Any = None, **options: Any) -> None:
        if run is not None and options:
            raise NeurofaError(f"got a run and {', '.join(options)}; expected one of them; leave the options out")
        self._run, self._options, self._own = run, options, run is None

    def begin(self, course: Course) -> None:
        if not self._own:
            return
        try:
            import wandb
        except ImportError:
            raise missing("wandb", "WandbLog") from None
        self._run = wandb.init(**self._options)

    def end_epoch(self, course: Course, row: Row) -> None:
        self._run.log(_numbers(row), step=row["epoch"])

    def end(self, course: Course) -> None:
        if self._own and self._run is not None:
            self._run.finish()
            self._run = None


def missing(package: str, what: str) -> NeurofaError:
    """Return the error of an optional library that is not installed."""
    return NeurofaError(f"got no {package} for {what}; expected it beside neurofa; run: pip install {package}")


def refuse_existing(path: Path, course: Course, *, overwrite: bool) -> None:
    """Refuse a file of another training.

    Args:
        path: the file.
        course: the training.
        overwrite: whether it may be replaced.

    Raises:
        NeurofaError: there is one, and this training is new.
    """
    if path.exists() and not overwrite and not course.history.rows:
        raise NeurofaError(
            f"got '{path}', which holds another training; expected a new file; pass overwrite=True, or another path"
        )


def _numbers(row: Row) -> dict[str, float]:
    return {key: value for key, value in row.items() if isinstance(value, int | float) and key != "epoch"}
