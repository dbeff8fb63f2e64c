"""Ctrl-C that takes effect at the end of a step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """Ctrl-C stopped a run after a complete step."""


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], None]]:
    """Remember the first Ctrl-C instead of raising at once; a second one raises at once.

    Outside the main thread, and where interrupts are ignored (workers of a sweep), nothing is changed.

    Yields:
        A function to call between two steps: it raises :class:`Interrupted` when Ctrl-C was pressed.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before in (signal.SIG_IGN, None):
        yield lambda: None
        return
    pressed = False

    def remember(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    def check_interrupt() -> None:
        if pressed:
            raise Interrupted

    signal.signal(signal.SIGINT, remember)
    try:
        yield check_interrupt
    finally:
        signal.signal(signal.SIGINT, before)
