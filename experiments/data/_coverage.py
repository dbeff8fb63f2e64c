"""Whether recorded events lie in the time that is cut into ticks: a wrong unit, an offset, padding."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from hwmodels.errors import NeurofaError

LEAST, FEW = 0.01, 0.5
"""Shares of events inside the ticks: below the first a data set is refused, below the second it is warned of."""
LATE = 0.1
"""Share of the ticks before the first event of any recording above which an offset in time is warned of."""
UNITS = {"ms": 1e-3, "us": 1e-6, "ns": 1e-9}
"""Units that times may be in instead of seconds, s."""


def check_padding(seconds: Any, channels: Any, source: str) -> None:
    """Refuse a recording that ends in several events of channel 0 at time 0 behind later ones: rows filled with 0.

    Args:
        seconds: (n,) times as stored, s.
        channels: (n,) channels.
        source: the file, for the message.

    Raises:
        NeurofaError: the number of such events.
    """
    filled = (seconds == 0) & (channels == 0)
    count = len(filled) if filled.all() else int(np.argmin(filled[::-1]))
    if 1 < count < len(seconds):
        raise NeurofaError(
            f"got {count} of {len(seconds)} events at time 0 in channel 0 at the end of {source}; expected recordings"
            " of their own lengths, and these rows are filled up with zeros; cut them off"
        )


class Coverage:
    """Counts the events of a data set inside and outside the ticks.

    Args:
        name: of the data set, for messages.
        ticks: T.
        tick: length of a tick, s.
    """

    def __init__(self, name: str, ticks: int, tick: float) -> None:
        self.name, self.ticks, self.tick, self.length = name, ticks, tick, ticks * tick
        self.events = self.kept = self.recordings = 0
        self.first = self.last = float("nan")
        self._within = dict.fromkeys(UNITS, 0)

    def add(self, seconds: Any, kept: int) -> None:
        """Count one recording.

        Args:
            seconds: (n,) times, s.
            kept: number of its events inside the ticks.
        """
        if not len(seconds):
            return
        self.recordings += 1
        self.events += len(seconds)
        self.kept += kept
        self.first, self.last = float(np.fmin(self.first, seconds.min())), float(np.fmax(self.last, seconds.max()))
        for unit, size in UNITS.items():
            self._within[unit] += int((seconds * size < self.length).sum())

    def check(self) -> str:
        """Judge the whole data set.

        Returns:
            One line for its provenance: how many events were kept.

        Raises:
            NeurofaError: hardly any event lies inside the ticks.
        """
        if not self.events:
            return "no events"
        share = self.kept / self.events
        said = f"{self.kept:,} of {self.events:,} events ({share:.1%}) within {self.ticks} ticks of {self.tick:g} s"
        span = f"times run from {self.first:g} to {self.last:g}"
        if share < LEAST:
            raise NeurofaError(
                f"got {said} in {self.name}, whose {span}; expected seconds from the beginning of each recording;"
                f" {self._remedy()}"
            )
        if share < FEW:
            warnings.warn(f"{self.name} keeps {said}; {span} s: {self._remedy()}", stacklevel=3)
        elif self.recordings > 1 and self.first > LATE * self.length:
            warnings.warn(
                f"{self.name} has no event before {self.first:g} s in any of {self.recordings} recordings, so that"
                f" {int(self.first / self.tick):,} of {self.ticks:,} ticks are empty: subtract the offset",
                stacklevel=3,
            )
        return said

    def _remedy(self) -> str:
        if self.first > self.length and self.last - self.first < 10 * self.length:
            return f"subtract where each recording begins (none begins before {self.first:g})"
        for unit, size in UNITS.items():
            # the coarsest unit that puts nearly all events into the ticks, and not all of them into the first tick
            if self._within[unit] > 0.9 * self.events and self.last * size > self.tick:
                fits = f"as {unit} {self._within[unit] / self.events:.1%} would fit"
                return f"{fits}, so divide the times by {1 / size:,.0f}"
        return f"raise ticks or tick (all would fit into {int(np.ceil(self.last / self.tick)) + 1:,} ticks)"
