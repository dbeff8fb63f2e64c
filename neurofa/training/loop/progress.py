"""Progress of a training as one line that is written over, in a terminal and in a notebook."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from neurofa.training.loop.callback import Callback, Course
from neurofa.training.loop.history import Row

_WIDTH = 20
_EVERY = 0.1
"""Least time between two lines, s."""


class EpochBar(Callback):
    """One line an epoch with loss and accuracy; within an epoch a bar, where the line can be written over.

    Args:
        stream: that is written to; None: stderr in a terminal, stdout in a notebook, where stderr is shown as an error.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream, self._given = stream, stream is not None

    def begin(self, course: Course) -> None:
        if not self._given:
            self._stream = sys.stdout if in_notebook() else sys.stderr
        assert self._stream is not None
        self._over = in_notebook() or self._stream.isatty()
        self._length, self._open = 0, False
        self._began = self._last = time.perf_counter()

    def begin_epoch(self, course: Course) -> None:
        self._began = time.perf_counter()

    def report(self, course: Course, step: int, row: Row) -> None:
        now = time.perf_counter()
        if self._over and now - self._last >= _EVERY:
            self._last = now
            self._write(f"{_head(course)} {_bar(step, course.steps)} {_numbers(row)}", end="")

    def end_epoch(self, course: Course, row: Row) -> None:
        self._write(f"{_head(course)} {_numbers(row)}, {row['seconds']:.1f} s", end="\n")

    def end(self, course: Course) -> None:
        if self._open:
            self._write("", end="\n")

    def _write(self, line: str, end: str) -> None:
        assert self._stream is not None
        again = "\r" if self._over else ""
        self._stream.write(f"{again}{line.ljust(self._length) if self._over else line}{end}")
        self._stream.flush()
        self._length, self._open = (0, False) if end else (len(line), True)


def shown() -> bool:
    """Return whether somebody looks: in a terminal or a notebook."""
    return in_notebook() or sys.stderr.isatty()


def in_notebook() -> bool:
    """Return whether the code runs in the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


def _head(course: Course) -> str:
    return f"epoch {course.epoch}/{course.epochs}"


def _bar(step: int, steps: int | None) -> str:
    if not steps:
        return f"step {step}"
    done = min(_WIDTH, _WIDTH * step // steps)
    return f"[{'#' * done}{'.' * (_WIDTH - done)}]"


def _numbers(row: Row) -> str:
    parts = []
    for where, name in (("train", ""), ("validation", "validation ")):
        loss, accuracy = row.get(f"{where}_loss"), row.get(f"{where}_accuracy")
        parts += [] if loss is None else [f"{name}loss {loss:.4f}"]
        parts += [] if accuracy is None else [f"{accuracy:.1%}"]
    return ", ".join(parts)
