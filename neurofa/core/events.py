"""Event-sparse input: the active channels of every tick, instead of a dense array of mostly zeros."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hwmodels.errors import NeurofaError

WORTHWHILE = 2**16
"""Numbers in a chunk from which it is looked through for spikes."""
SPARSE = 0.1
"""Share of inputs that fire up to which dense spikes are taken as events."""
SAMPLE = 64
"""Rows that are counted before that."""


@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """Spikes of T ticks and B samples on I channels, in compressed rows: row t B + b holds what fires in tick t.

    A channel that stands twice in a row counts twice.

    Args:
        rows: (T B + 1,) int64, not falling; row r owns ``units[rows[r]:rows[r + 1]]``.
        units: (number of spikes,) int64 channels from 0 to I - 1, rows one after the other.
        ticks: T.
        batch: B.
        channels: I.

    Raises:
        NeurofaError: rows or channels that do not fit.
    """

    rows: Tensor
    units: Tensor
    ticks: int
    batch: int
    channels: int

    def __post_init__(self) -> None:
        wanted = self.ticks * self.batch + 1
        if self.rows.shape != (wanted,) or self.rows.dtype != torch.int64 or self.units.dtype != torch.int64:
            raise NeurofaError(
                f"got event rows of shape {tuple(self.rows.shape)}, {self.rows.dtype}; expected int64 of"
                f" ({wanted},) for {self.ticks} ticks of {self.batch} samples; see Events.of_dense and Events.of_times"
            )
        if self.rows.device.type != "cpu":
            return  # looking would wait for the device
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
        """The counts as a dense array: (T, B, I)."""
        found = torch.zeros(self.ticks * self.batch, self.channels, dtype=dtype, device=self.units.device)
        row = torch.repeat_interleave(self.rows.diff())
        found.index_put_((row, self.units), torch.ones((), dtype=dtype, device=row.device), accumulate=True)
        return found.view(self.shape)

    def rows_of_ones(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The counts as a matrix in torch's compressed-row layout, (T B, I), whose values are all one.

        A channel may stand twice in a row; :func:`linear` and :func:`correlation` count it twice.
        """
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            ones = torch.ones(1, dtype=dtype, device=self.units.device).expand(len(self.units))
            size = (self.ticks * self.batch, self.channels)
            return torch.sparse_csr_tensor(self.rows, self.units, ones, size, check_invariants=False)

    def part(self, begin: int, end: int) -> Events:
        """Ticks ``begin`` to ``end`` (exclusive)."""
        rows = self.rows[begin * self.batch : end * self.batch + 1]
        first, last = int(rows[0]), int(rows[-1])
        return Events(rows - first, self.units[first:last], end - begin, self.batch, self.channels)

    def to(self, device: torch.device | str) -> Events:
        """The same events on another device."""
        return Events(self.rows.to(device), self.units.to(device), self.ticks, self.batch, self.channels)

    @classmethod
    def of_dense(cls, spikes: Tensor) -> Events:
        """Events of a dense array of counts, (T, B, I), or of whatever shape behind (T, B), flattened.

        Raises:
            NeurofaError: entries that are no whole numbers, or negative.
        """
        counts = spikes.flatten(2)
        t, b, i = counts.shape
        whole = counts.to(torch.int64)
        if bool((whole != counts).any()) or bool((whole < 0).any()):
            raise NeurofaError(
                "got spikes that are no counts; expected whole numbers of at least 0; encode the values as spikes first"
            )
        row, unit = whole.view(t * b, i).nonzero(as_tuple=True)
        times = whole.view(t * b, i)[row, unit]
        sums = whole.view(t * b, i).sum(1)
        rows = torch.cat([sums.new_zeros(1), sums.cumsum(0)])
        return cls(rows, unit.repeat_interleave(times), t, b, i)

    @classmethod
    def of_times(
        cls, times: Sequence[Tensor], units: Sequence[Tensor], *, ticks: int, tick: float, channels: int
    ) -> Events:
        """Events of recordings in real time; what comes after the last tick is cut off.

        Args:
            times: for every sample, (n,) times in seconds.
            units: for every sample, (n,) channels.
            ticks: T.
            tick: length of a tick, s.
            channels: I.

        Raises:
            NeurofaError: a negative or non-finite time, or as many times as channels are not there.
        """
        batch = len(times)
        found_rows, found_units = [], []
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
            # a time that stands on the border of two ticks begins the later one, however it was rounded
            at = (seconds / tick + 1e-9).floor().to(torch.int64)
            kept = at < ticks
            found_rows.append(at[kept] * batch + sample)
            found_units.append(which.to(torch.int64)[kept])
        row = torch.cat(found_rows) if found_rows else torch.zeros(0, dtype=torch.int64)
        unit = torch.cat(found_units) if found_units else torch.zeros(0, dtype=torch.int64)
        order = torch.argsort(row, stable=True)
        counts = torch.bincount(row, minlength=ticks * batch)
        rows = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        return cls(rows, unit[order], ticks, batch, channels)


def spike_rows(x: Tensor) -> Tensor:
    """The rows of events of a dense matrix of spikes, where so few fire that events are faster than dense products.

    A thin sample of the rows decides; ``neurofa speed spikes`` shows what it saves, the search for events included.

    Args:
        x: (N, I), dense, or rows of events already.

    Returns:
        As :meth:`Events.rows_of_ones` gives them; or ``x`` itself: numbers other than 0 and 1, too many spikes, too few
        numbers to be worth it, an accelerator (looking would wait for it).
    """
    if x.layout != torch.strided or x.numel() < WORTHWHILE or x.device.type != "cpu":
        return x
    sample = x[:: max(1, len(x) // SAMPLE)]
    active = int(sample.count_nonzero())
    if active > SPARSE * sample.numel() or int((sample == 1).sum()) < active:
        return x
    # numpy finds what is true several times faster than it finds what is not zero
    at = torch.from_numpy(np.flatnonzero((x != 0).numpy()))
    if not bool((x.reshape(-1).index_select(0, at) == 1).all()):
        return x
    count, channels = x.shape
    rows = torch.searchsorted(at, torch.arange(0, (count + 1) * channels, channels))
    return Events(rows, at.remainder_(channels), count, 1, channels).rows_of_ones(x.dtype)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """W x + b, by the channels that fire where ``x`` comes from :meth:`Events.rows_of_ones`.

    Args:
        x: (N, I), dense or rows of events.
        weight: (n_out, I).
        bias: (n_out,) or None.

    Returns:
        (N, n_out).
    """
    if x.layout != torch.sparse_csr:
        return nn.functional.linear(x, weight, bias)
    sums = nn.functional.embedding_bag(x.col_indices(), weight.t().contiguous(), x.crow_indices()[:-1], mode="sum")
    return sums if bias is None else sums.add_(bias)


def correlation(left: Tensor, x: Tensor) -> Tensor:
    """Left^T x for rows of events: (N, n_out) and (N, I) to (n_out, I).

    The events are sorted by channel, so that each channel's column is one sum of rows of ``left``.
    """
    units = x.col_indices()
    row = torch.repeat_interleave(x.crow_indices().diff())
    if units.device.type == "cpu" and x.shape[1] <= np.iinfo(np.uint16).max:
        # numpy sorts narrow numbers by their digits, in linear time
        order = torch.from_numpy(units.numpy().astype(np.uint16).argsort(kind="stable"))
    else:
        order = torch.sort(units, stable=True).indices
    counts = torch.bincount(units, minlength=x.shape[1])
    begins = counts.cumsum(0) - counts
    return nn.functional.embedding_bag(row[order], left.contiguous(), begins, mode="sum").t()


def as_ticks(rows: Tensor, batch: int) -> Tensor:
    """Rows that lie tick by tick, (K B, ...), as (K, B, ...)."""
    found: Tensor = torch.unflatten(rows, 0, (-1, batch))
    return found


def dense_rows(x: Tensor) -> Tensor:
    """Rows of events as a dense matrix, (N, I)."""
    found = torch.zeros(x.shape, dtype=x.dtype, device=x.device)
    row = torch.repeat_interleave(x.crow_indices().diff())
    return found.index_put_((row, x.col_indices()), found.new_ones(()), accumulate=True)


def weighed(x: Tensor, weights: Tensor, batch: int) -> Tensor:
    """Sums over ticks of events, each tick with a weight: (K B, I) and (d, K) to (d, B, I)."""
    row = torch.repeat_interleave(x.crow_indices().diff())
    place = (row % batch) * x.shape[1] + x.col_indices()
    size = batch * x.shape[1]
    sums = [torch.bincount(place, weights=w[row // batch], minlength=size) for w in weights]
    return torch.stack(sums).to(weights.dtype).view(len(weights), batch, x.shape[1])
