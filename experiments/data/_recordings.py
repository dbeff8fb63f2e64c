"""Recorded events in ragged form: tick and channel of each event, two small numbers, sample by sample."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.data._coverage import Coverage, check_padding
from experiments.data.sequences import SequenceSplit
from hwmodels.errors import NeurofaError
from neurofa.core.events import Events


@dataclass(frozen=True, kw_only=True, eq=False)
class EventSplit(SequenceSplit):
    """Events of N recordings, which :class:`Recordings` sorts and checks.

    Args:
        starts: (N + 1,) int64; sample i owns the events ``starts[i]`` to ``starts[i + 1]``.
        at: (E,) int16 or int32 ticks, not falling within a sample.
        units: (E,) int16 or int32 channels.
        y: (N,) int64 labels.
        ticks: T.
        input_shape: shape of one sample in one tick; channels count through it in C order.
    """

    starts: Tensor
    at: Tensor
    units: Tensor
    y: Tensor
    ticks: int
    input_shape: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.y)

    @property
    def labels(self) -> Tensor:
        return self.y

    @property
    def nbytes(self) -> int:
        return sum(values.nbytes for values in (self.starts, self.at, self.units, self.y))

    def cut(self, index: Tensor, gen: torch.Generator | None = None) -> tuple[Events, Tensor]:
        """Return the events (T, B, channels) and labels (B,) of a batch; nothing is drawn.

        Events are sorted by tick in every sample, so that their places among all rows t B + b are counted, not sorted.
        """
        index = index.to(self.starts.device)
        sample, position, source = self._places(index)
        batch = len(index)
        tick = self.at[source].long()
        row = tick * batch + sample
        # events are to be sorted by row: where a row begins follows from the numbers of events in the rows before
        counts = torch.bincount(row, minlength=self.ticks * batch)
        rows = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        # they come sorted by sample, then tick: the place of an event in its row is how far it stands behind the first
        # event of its sample and tick
        of_sample = counts.view(self.ticks, batch).t().flatten()
        first = of_sample.cumsum(0) - of_sample
        units = torch.empty_like(row)
        units[rows[row] + position - first[sample * self.ticks + tick]] = self.units[source].long()
        return Events(rows, units, self.ticks, batch, int(np.prod(self.input_shape))), self.y[index]

    def _places(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return, for each event of the chosen recordings, its recording in ``index``, its number, its place here."""
        begin = self.starts[index]
        lengths = self.starts[index + 1] - begin
        sample = torch.repeat_interleave(lengths)
        position = torch.arange(len(sample), device=sample.device)
        return sample, position, position + (begin - (lengths.cumsum(0) - lengths))[sample]

    def to(self, device: torch.device) -> EventSplit:
        moved = {key: getattr(self, key).to(device) for key in ("starts", "at", "units", "y")}
        return replace(self, **moved)

    def chosen(self, index: Tensor) -> EventSplit:
        """Return a split of some recordings, in the order of their indices (n,) int64."""
        _, _, source = self._places(index)
        ends = (self.starts[index + 1] - self.starts[index]).cumsum(0)
        starts = torch.cat([ends.new_zeros(1), ends])
        return replace(self, starts=starts, at=self.at[source], units=self.units[source], y=self.y[index])


class Recordings:
    """Collects recordings in real time into an :class:`EventSplit`.

    Args:
        name: of the data set, for messages.
        ticks: T; later events are cut off.
        tick: length of a tick, s.
        input_shape: shape of one sample in one tick.
        binary: whether a channel that fires more than once in a tick counts once.

    Raises:
        NeurofaError: no ticks or no time.
    """

    kept: str = ""
    """How many events lie inside the ticks, one line for the provenance; set by :meth:`split`."""

    @property
    def inside(self) -> int:
        """Number of events so far that lie inside the ticks."""
        return self._coverage.kept

    @property
    def outside(self) -> int:
        """Number of events so far that lie behind the last tick, and are cut off."""
        return self._coverage.events - self._coverage.kept

    def __init__(self, name: str, *, ticks: int, tick: float, input_shape: tuple[int, ...], binary: bool) -> None:
        if not 1 <= ticks <= 2**31 or not 0 < tick < float("inf"):
            raise NeurofaError(f"got {name}(ticks={ticks}, tick={tick}); expected both above 0; tick is in seconds")
        self.ticks, self.tick, self.input_shape, self.binary = ticks, tick, input_shape, binary
        self.channels = int(np.prod(input_shape))
        self._coverage = Coverage(name, ticks, tick)
        self._at_kind = np.int16 if ticks <= 2**15 else np.int32
        self._unit_kind = np.int16 if self.channels <= 2**15 else np.int32
        self._at: list[Any] = []
        self._units: list[Any] = []
        self._labels: list[int] = []

    def add(self, seconds: Any, units: Any, label: int, source: str) -> None:
        """Add one recording.

        Args:
            seconds: (n,) times from its beginning, s, in any order.
            units: (n,) channels.
            label: class of the recording.
            source: the file, for messages.

        Raises:
            NeurofaError: a time or a channel out of range, or a recording that is filled up with zeros.
        """
        when = np.asarray(seconds).astype(np.float64)  # float16 times would lose ticks in the division
        which = np.asarray(units).astype(np.int64)
        if when.shape != which.shape or when.ndim != 1:
            raise NeurofaError(
                f"got {when.shape} times with {which.shape} channels in {source}; expected one channel a time;"
                " it is damaged: fetch it again"
            )
        if len(when):
            if not (np.isfinite(when).all() and when.min() >= 0):
                raise NeurofaError(
                    f"got a negative or non-finite time in {source}; expected seconds from 0; it is damaged: fetch it"
                    " again"
                )
            if which.min() < 0 or which.max() >= self.channels:
                raise NeurofaError(
                    f"got channels from {which.min()} to {which.max()} in {source}; expected 0 to {self.channels - 1};"
                    " it is damaged: fetch it again"
                )
            check_padding(when, which, source)
        # a time on the border of two ticks belongs to the later one, however it was rounded
        at = np.floor(when / self.tick + 1e-9)
        kept = at < self.ticks
        self._coverage.add(when, int(kept.sum()))
        key = at[kept].astype(np.int64) * self.channels + which[kept]
        key = np.unique(key) if self.binary else np.sort(key, kind="stable")
        self._at.append((key // self.channels).astype(self._at_kind))
        self._units.append((key % self.channels).astype(self._unit_kind))
        self._labels.append(label)

    def split(self) -> EventSplit:
        """Return all recordings so far, where their events lie inside the ticks (see :class:`Coverage`).

        Raises:
            NeurofaError: hardly any event lies inside the ticks.
        """
        self.kept = self._coverage.check()
        lengths = [len(each) for each in self._at]
        starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
        at = np.concatenate(self._at) if self._at else np.zeros(0, self._at_kind)
        units = np.concatenate(self._units) if self._units else np.zeros(0, self._unit_kind)
        events = {"starts": torch.from_numpy(starts), "at": torch.from_numpy(at), "units": torch.from_numpy(units)}
        y = torch.tensor(self._labels, dtype=torch.int64)
        return EventSplit(**events, y=y, ticks=self.ticks, input_shape=self.input_shape)
