r"""A cochlea model: sound becomes spikes of hair cells, one train for every place along the basilar membrane.

Stages, each a textbook one: the level of a recording is removed; the middle ear emphasises high frequencies,
y[n] = x[n] - a x[n-1]; gammatone filters of fourth order, their centres evenly spaced on the scale of equivalent
rectangular bandwidths; half-wave rectification; the mean over every millisecond, compressed to a power, is the drive d
of a leaky integrate-and-fire cell, v <- v exp(-dt / tau) + g d dt, which fires when v passes 1 and then loses 1.

Sources: B. Glasberg, B. Moore, Hearing Research 47 (1990) 103 (ERB = 24.7 (4.37 f / kHz + 1) Hz); M. Slaney, Apple
technical report 35 (1993) (gammatone filters, as ``scipy.signal.gammatone`` builds them). The constants are chosen so
that spike counts distinguish spoken digits; they are not measured on an ear.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from hwmodels.errors import NeurofaError

STEP = 1e-3
"""Time step of a hair cell, s, in which it fires at most once."""
_GAP = 0.02
"""Silence between recordings that are filtered together, s: long enough for the filters to decay."""
_BLOCK = 8
"""Channels that are computed together, which bounds the memory."""


@dataclass(frozen=True, kw_only=True)
class Cochlea:
    """A bank of filters with hair cells.

    Raises:
        NeurofaError: a constant out of range.
    """

    channels: int = 100
    rate: float = 8000.0
    """Samples of the sound in a second."""
    low: float = 100.0
    """Lowest centre frequency, Hz."""
    high: float = 3600.0
    """Highest centre frequency, Hz; below half the rate."""
    emphasis: float = 0.95
    """Coefficient a of the middle ear."""
    power: float = 0.4
    """Exponent of the compression."""
    gain: float = 2000.0
    """g: spikes in a second for a drive of 1, without leak."""
    tau: float = 0.002
    """Time constant of the leak of a hair cell, s."""
    seconds: float = 1.0
    """Duration, s; later sound is cut off."""

    def __post_init__(self) -> None:
        if self.channels < 2 or not 0 < self.low < self.high < self.rate / 2:
            raise NeurofaError(
                f"got a cochlea of {self.channels} channels from {self.low:g} to {self.high:g} Hz at {self.rate:g}"
                f" samples in a second; expected 2 or more, between 0 and {self.rate / 2:g} Hz; change them"
            )
        if not (self.power > 0 and self.gain > 0 and self.tau > 0 and self.seconds >= STEP):
            raise NeurofaError(
                f"got a cochlea of power={self.power}, gain={self.gain}, tau={self.tau}, seconds={self.seconds};"
                " expected all above 0; change them"
            )
        if self.rate * STEP != round(self.rate * STEP):
            raise NeurofaError(f"got {self.rate} samples in a second; expected whole kHz; resample the sound")

    def centres(self) -> Any:
        """(channels,) centre frequencies of the filters, Hz, rising, evenly spaced in equivalent bandwidths."""
        # the integral of 1/ERB over the frequency: how many equivalent bandwidths lie below f
        ends = 21.4 * np.log10(1 + 0.00437 * np.array([self.low, self.high]))
        return (10 ** (np.linspace(ends[0], ends[1], self.channels) / 21.4) - 1) / 0.00437

    def spikes(self, waves: Sequence[Any]) -> tuple[Any, Any, Any]:
        """Return the spikes of recordings.

        Args:
            waves: (n,) samples of every recording, of any scale, not silent.

        Returns:
            Times (E,) uint16 in steps of 1 ms, channels (E,) uint16, and offsets (N + 1,) int64: recording i owns the
            events ``offsets[i]`` to ``offsets[i + 1]``, in order of time, then channel.

        Raises:
            NeurofaError: an empty or silent recording.
        """
        per_step = round(self.rate * STEP)
        steps = round(self.seconds / STEP)
        sound, begins, lengths = self._joined(waves, per_step, steps)
        found = [
            (first, *self._block(sound, begins, lengths, range(first, min(first + _BLOCK, self.channels)), per_step))
            for first in range(0, self.channels, _BLOCK)
        ]
        which = np.concatenate([recording for _, recording, _, _ in found])
        at = np.concatenate([time for _, _, time, _ in found])
        unit = np.concatenate([first + channel for first, _, _, channel in found])
        # blocks of channels come one after the other
        order = np.lexsort((unit, at, which))
        offsets = np.concatenate([[0], np.bincount(which, minlength=len(waves)).cumsum()])
        return at[order].astype(np.uint16), unit[order].astype(np.uint16), offsets.astype(np.int64)

    def _joined(self, waves: Sequence[Any], per_step: int, steps: int) -> tuple[Any, Any, Any]:
        """Return all recordings in one row, levelled, with silence between them; their first steps; their lengths."""
        from scipy.signal import lfilter

        gap = round(_GAP / STEP) * per_step
        rows, begins, lengths, at = [], [], [], 0
        for i, wave in enumerate(waves):
            x = np.asarray(wave, np.float64)[: steps * per_step]
            level = np.sqrt(np.mean(x**2)) if len(x) else 0.0
            if not level > 0 or not np.isfinite(level):
                raise NeurofaError(f"got an empty, silent or non-finite recording {i}; expected sound; leave it out")
            long = -(-len(x) // per_step)
            row = np.zeros(long * per_step + gap)
            row[: len(x)] = lfilter([1.0, -self.emphasis], [1.0], x / level)
            rows.append(row)
            begins.append(at // per_step)
            lengths.append(long)
            at += len(row)
        return np.concatenate(rows), np.array(begins), np.array(lengths)

    def _block(self, sound: Any, begins: Any, lengths: Any, channels: range, per_step: int) -> tuple[Any, Any, Any]:
        """Return recordings, times and channels (from 0 in the block) of the spikes of neighbouring channels."""
        drives = np.stack([self._drive(sound, centre, per_step) for centre in self.centres()[list(channels)]])
        where = begins + np.arange(lengths.max())[:, None]
        heard = np.arange(lengths.max())[:, None] < lengths
        v = np.zeros((len(channels), len(begins)), np.float32)
        leak, gain = np.float32(np.exp(-STEP / self.tau)), np.float32(self.gain * STEP)
        events = []
        for t, (place, inside) in enumerate(zip(where, heard, strict=True)):
            # all recordings at once; one that has ended gets no drive
            v *= leak
            v += gain * drives[:, np.where(inside, place, 0)] * inside
            fired = v > 1
            v -= fired
            channel, recording = fired.nonzero()
            events.append((recording, np.full(len(channel), t), channel))
        recording, at, channel = (np.concatenate(column) for column in zip(*events, strict=True))
        return recording, at, channel

    def _drive(self, sound: Any, centre: float, per_step: int) -> Any:
        """Return the (steps,) compressed mean of the rectified output of one filter over every step."""
        from scipy.signal import gammatone, lfilter

        b, a = gammatone(centre, "iir", fs=self.rate)
        moved = np.maximum(lfilter(b, a, sound), 0).reshape(-1, per_step).mean(1)
        return (moved**self.power).astype(np.float32)


def by_recording(times: Any, units: Any, offsets: Any) -> Iterator[tuple[Any, Any]]:
    """Yield times in seconds (in the middle of their step) and channels, recording by recording."""
    for begin, end in pairwise(offsets):
        yield (times[begin:end] + 0.5) * STEP, units[begin:end]
