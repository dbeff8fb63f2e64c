"""Event-sparse input: the active channels of every tick, instead of a dense array of mostly zeros."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError


@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """Spikes of T ticks and B samples on I channels, in compressed rows: row t B + b lists the spikes of tick t.

    A channel that is listed twice in a row counts twice.

    Args:
        rows: (T B + 1,) int64, not falling; row r owns ``units[rows[r]:rows[r + 1]]``.
        units: (number of spikes,) int64 channels from 0 to I - 1, rows one after the other.
        ticks: T.
        batch: B.
        channels: I.

    Raises:
        NeurofaError: ``rows`` of a wrong shape, dtype or order, or channels out of range.
    """

    rows: Tensor
    units: Tensor
    ticks: int
    batch: int
    channels: int

    def __post_init__(self) -> None:
        length = self.ticks * self.batch + 1
        if self.rows.shape != (length,) or self.rows.dtype != torch.int64 or self.units.dtype != torch.int64:
            raise NeurofaError(
                f"got event rows of shape {tuple(self.rows.shape)}, {self.rows.dtype}; expected int64 of"
                f" ({length},) for {self.ticks} ticks of {self.batch} samples; see Events.from_dense and from_times"
            )
        if self.rows.device.type != "cpu":
            return  # the checks below would wait for the device
        if int(self.rows[0]) or int(self.rows[-1]) != len(self.units) or bool((self.rows.diff() < 0).any()):
            raise NeurofaError(
                f"got event rows from {int(self.rows[0])} to {int(self.rows[-1])}; expected them to rise from 0 to"
                f" {len(self.units)} events; sort the events by tick and sample"
            )
        if len(self.units):
            low, high = map(int, self.units.aminmax())
            if low < 0 or high >= self.channels:
                raise NeurofaError(
                    f"got event channels from {low} to {high}; expected 0 to {self.channels - 1}; check the reader"
                )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(T, B, I) of the dense array."""
        return (self.ticks, self.batch, self.channels)

    def dense(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return the spike counts as a dense array, (T, B, I)."""
        counts = torch.zeros(self.ticks * self.batch, self.channels, dtype=dtype, device=self.units.device)
        row = torch.repeat_interleave(self.rows.diff())
        counts.index_put_((row, self.units), torch.ones((), dtype=dtype, device=row.device), accumulate=True)
        return counts.view(self.shape)

    def to_csr(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return the spikes as a matrix (T B, I) in torch's compressed-row layout, whose stored values are all one.

        A channel may be stored twice in a row; the products of :mod:`neurofa.core.event_rows` count it twice.
        """
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            # one number, expanded: the values take no memory
            ones = torch.ones(1, dtype=dtype, device=self.units.device).expand(len(self.units))
            size = (self.ticks * self.batch, self.channels)
            return torch.sparse_csr_tensor(self.rows, self.units, ones, size, check_invariants=False)

    def slice_ticks(self, begin: int, end: int) -> Events:
        """Return the events of ticks ``begin`` to ``end`` (exclusive)."""
        rows = self.rows[begin * self.batch : end * self.batch + 1]
        first, last = int(rows[0]), int(rows[-1])
        return Events(rows - first, self.units[first:last], end - begin, self.batch, self.channels)

    def to(self, device: torch.device | str) -> Events:
        """Return the same events on another device."""
        return Events(self.rows.to(device), self.units.to(device), self.ticks, self.batch, self.channels)

    @classmethod
    def from_dense(cls, spikes: Tensor) -> Events:
        """Return the events of a dense array of spike counts.

        Args:
            spikes: (T, B, ...); the axes behind (T, B) are flattened to I channels.

        Raises:
            NeurofaError: entries that are negative or no whole numbers.
        """
        counts = spikes.flatten(2)
        t, b, i = counts.shape
        whole = counts.to(torch.int64)
        if bool((whole != counts).any()) or bool((whole < 0).any()):
            raise NeurofaError(
                "got spikes that are no counts; expected whole numbers of at least 0; encode the values as spikes first"
            )
        whole = whole.view(t * b, i)
        row, unit = whole.nonzero(as_tuple=True)
        return cls(_offsets(whole.sum(1)), unit.repeat_interleave(whole[row, unit]), t, b, i)

    @classmethod
    def from_times(
        cls, times: Sequence[Tensor], units: Sequence[Tensor], *, ticks: int, tick: float, channels: int
    ) -> Events:
        """Return the events of recordings in real time; spikes after the last tick are dropped.

        Args:
            times: for every sample, (n,) times in seconds.
            units: for every sample, (n,) channels.
            ticks: T.
            tick: length of a tick, s.
            channels: I.

        Raises:
            NeurofaError: a negative or non-finite time, or a sample with unequal numbers of times and channels.
        """
        row_parts, unit_parts = [], []
        for sample, (when, which) in enumerate(zip(times, units, strict=True)):
            if when.shape != which.shape:
                raise NeurofaError(
                    f"got {len(when)} times and {len(which)} channels in sample {sample}; expected one channel a time;"
                    " check the file"
                )
            seconds = when.to(torch.float64)
            if len(seconds) and not bool((seconds.isfinite() & (seconds >= 0)).all()):
                raise NeurofaError(
                    f"got a negative or non-finite time in sample {sample}; expected seconds from 0; check the file"
                )
            # a time on the border of two ticks belongs to the later one, whichever way it was rounded
            index = (seconds / tick + 1e-9).floor().to(torch.int64)
            kept = index < ticks
            row_parts.append(index[kept] * len(times) + sample)
            unit_parts.append(which.to(torch.int64)[kept])
        row = torch.cat(row_parts) if row_parts else torch.zeros(0, dtype=torch.int64)
        unit = torch.cat(unit_parts) if unit_parts else torch.zeros(0, dtype=torch.int64)
        order = torch.argsort(row, stable=True)
        rows = _offsets(torch.bincount(row, minlength=ticks * len(times)))
        return cls(rows, unit[order], ticks, len(times), channels)


def _offsets(counts: Tensor) -> Tensor:
    """Return the boundaries of rows with these numbers of events: (rows + 1,), from 0 to their sum."""
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
