"""Encoders of values from 0 to 1, still or moving, as spikes over T ticks.

An encoder takes values time first, (T, B, ...); a still image is the same value in every tick (an expanded view).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.registry import Registered


@dataclass(frozen=True, kw_only=True)
class Encoder(Registered, kind="encoder"):
    """Maps values to spikes or currents."""

    random: ClassVar[bool] = False
    """Whether it draws from its generator."""
    takes: ClassVar[frozenset[str]] = frozenset({"still", "moving"})
    """Values that it can encode: those that stay, those that change from tick to tick."""

    @abstractmethod
    def encode(self, xs: Tensor, gen: torch.Generator) -> Tensor:
        """Encode values as spikes or currents, one number for each value and tick.

        Args:
            xs: (T, B, ...) float values.
            gen: source of randomness, on the device of ``xs``.

        Returns:
            (T, B, ...) of the same dtype.

        Raises:
            NeurofaError: values outside 0 to 1 (checked on the CPU only: elsewhere it would wait for the device).
        """


@dataclass(frozen=True, kw_only=True)
class Rate(Encoder, name="rate"):
    """Bernoulli spikes in every tick with probability p = gain x + offset, as ``snntorch.spikegen.rate``."""

    random = True
    source = "snntorch 1.0.0, spikegen.rate"

    gain: float = 1.0
    offset: float = 0.0
    clip: bool = False
    """Whether p is clipped to 0 to 1 (as snntorch always does) where gain and offset lead outside; else they are
    refused."""
    first: int = 0
    """Ticks of silence at the beginning."""

    def __post_init__(self) -> None:
        ends = (self.offset, self.offset + self.gain)
        if not self.clip and not all(0 <= end <= 1 for end in ends):
            raise NeurofaError(
                f"got rate(gain={self.gain}, offset={self.offset}), probabilities from {min(ends):g} to {max(ends):g};"
                " expected them within 0 to 1; lower the gain or set clip=True"
            )
        if self.first < 0:
            raise NeurofaError(f"got rate(first={self.first}); expected 0 ticks or more; raise it")

    def encode(self, xs: Tensor, gen: torch.Generator) -> Tensor:
        _check("rate", xs)
        _check_first("rate", self.first, len(xs))
        # a moderate gain may round a hair past 1
        spikes = torch.bernoulli((xs * self.gain + self.offset).clamp(0, 1), generator=gen)
        spikes[: self.first] = 0
        return spikes


@dataclass(frozen=True, kw_only=True)
class Latency(Encoder, name="latency"):
    r"""One spike, the earlier the larger the value: the first passage of a charging circuit.

    t = first + tau (1 - max(x, threshold)) in ticks, rounded; or, with ``linear=False``, that of an RC circuit,
    t = first + tau ln(x / (x - threshold)), which puts nearly all values into the first few ticks. Values below the
    threshold count as the smallest value above it. Spikes after the last tick are left out. Equal to
    ``snntorch.spikegen.latency`` with the same options (there ``linear``, ``normalize`` and ``clip`` are off by
    default, and ``bypass`` allows late spikes), but ``normalize`` uses the latest time that any value can have, where
    snntorch takes the latest of its batch, so that a sample does not depend on others.
    """

    takes = frozenset({"still"})
    source = "snntorch 1.0.0, spikegen.latency"

    tau: float = 5.0
    """Ticks."""
    threshold: float = 0.01
    linear: bool = True
    normalize: bool = True
    """Whether times are stretched so that the latest spike is in the last tick; tau then has no effect."""
    clip: bool = True
    """Whether values below the threshold stay silent."""
    first: int = 0
    """Tick of the earliest spike."""

    def __post_init__(self) -> None:
        if not self.tau > 0 or not 0 < self.threshold < 1:
            raise NeurofaError(
                f"got latency(tau={self.tau}, threshold={self.threshold}); expected a tau above 0 and a threshold"
                " between 0 and 1; change them"
            )
        if self.first < 0:
            raise NeurofaError(f"got latency(first={self.first}); expected 0 ticks or more; raise it")

    def encode(self, xs: Tensor, gen: torch.Generator) -> Tensor:
        _check("latency", xs)
        ticks, x = len(xs), xs[0]
        _check_first("latency", self.first, ticks)
        span = ticks - 1 - self.first
        if self.linear:
            tau = span if self.normalize else self.tau
            times = (-tau * (x - 1)).clamp_max(-tau * (self.threshold - 1)) + self.first
        else:
            times = self._log(x)
            if self.normalize:
                times = times * span / self._log(torch.zeros_like(x[:1])).max()
            times = times + self.first
        at = times.round()
        # spikes after the last tick are written into it as 0, since every index has to exist
        spikes = torch.zeros(xs.shape, dtype=xs.dtype, device=xs.device)
        heard = at <= ticks - 1
        if self.clip:
            heard = heard & (x >= self.threshold)
        return spikes.scatter_(0, at.clamp_max(ticks - 1).long()[None], heard.to(xs.dtype)[None])

    def _log(self, x: Tensor) -> Tensor:
        bounded = x.clamp_min(self.threshold + _EPSILON)
        return self.tau * torch.log(bounded / (bounded - self.threshold))


@dataclass(frozen=True, kw_only=True)
class Delta(Encoder, name="delta"):
    """A spike where a moving value has risen by at least the threshold since the tick before.

    As ``snntorch.spikegen.delta``: before the first tick the value is 0, or with ``padding`` what it is in the first.
    """

    takes = frozenset({"moving"})
    source = "snntorch 1.0.0, spikegen.delta"

    threshold: float = 0.1
    padding: bool = False
    off: bool = False
    """Whether there is a -1 where the value has fallen by the threshold."""

    def __post_init__(self) -> None:
        if not self.threshold > 0:
            raise NeurofaError(f"got delta(threshold={self.threshold}); expected above 0; raise it")

    def encode(self, xs: Tensor, gen: torch.Generator) -> Tensor:
        _check("delta", xs)
        before = torch.cat([xs[:1] if self.padding else torch.zeros_like(xs[:1]), xs[:-1]])
        change = xs - before
        spikes = (change >= self.threshold).to(xs.dtype)
        return spikes - (change <= -self.threshold).to(xs.dtype) if self.off else spikes


@dataclass(frozen=True, kw_only=True)
class Current(Encoder, name="current"):
    """The value itself in every tick as a direct current, gain x; the first layer of neurons spikes."""

    gain: float = 1.0

    def encode(self, xs: Tensor, gen: torch.Generator) -> Tensor:
        _check("current", xs)
        return xs * self.gain


_EPSILON = 1e-7
"""Distance of the smallest value that latency distinguishes from the threshold (snntorch's default)."""


def _check(name: str, xs: Tensor) -> None:
    if xs.device.type == "cpu" and xs.numel():
        low, high = xs.aminmax()
        if not (low >= 0 and high <= 1):  # NaN is refused too
            raise NeurofaError(
                f"got values from {float(low):g} to {float(high):g} for encoder '{name}'; expected 0 to 1; rescale them"
            )


def _check_first(name: str, first: int, ticks: int) -> None:
    if first > ticks - 1:
        raise NeurofaError(f"got {name}(first={first}) with {ticks} ticks; expected at most {ticks - 1}; lower it")
