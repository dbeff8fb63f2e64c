"""Targets of a batch of sequences, and the taught ticks."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hwmodels.errors import NeurofaError
from neurofa.core.events import Events
from neurofa.core.network import Network
from neurofa.spiking.sequence import check_sequence


@dataclass(frozen=True)
class TargetSchedule:
    """Targets of a batch of sequences, and the taught ticks: those whose loss counts."""

    targets: Tensor
    """(B,), (B, o) or (T, B, o)."""
    begin: int
    """First taught tick."""
    end: int
    """Tick after the last taught one."""
    batch: int
    """B, number of samples."""

    def at(self, first: int, ticks: int) -> tuple[slice, Tensor] | None:
        """Return which of the K B rows of a chunk are taught, and the targets of all rows; None: no tick is taught.

        Args:
            first: first tick of the chunk.
            ticks: K, number of ticks.
        """
        low, high = max(self.begin - first, 0), min(self.end - first, ticks)
        if low >= high:
            return None
        # targets of a whole sequence hold at every tick
        per_tick = self.targets.dim() == 3
        rows = self.targets[first : first + ticks] if per_tick else self.targets.expand(ticks, *self.targets.shape)
        return slice(low * self.batch, high * self.batch), rows.flatten(0, 1)

    @property
    def share(self) -> float:
        """Weight of the loss of one tick: 1 / number of taught ticks."""
        return 1.0 / (self.end - self.begin)


def target_schedule(
    network: Network,
    xs: Tensor | Events,
    targets: Tensor,
    teach: tuple[int, int] | None,
    *,
    binary: bool = False,
    whole: bool = False,
) -> TargetSchedule:
    """Check one batch of sequences with its targets, and return the targets with the taught ticks.

    Args:
        network: the network that learns.
        xs: (T, B, *input_shape) or events.
        targets: (B,) labels, or (B, o) or (T, B, o) values.
        teach: first taught tick, and the one after the last; None: all.
        binary: refuse inputs other than 0 and 1.
        whole: refuse targets of single ticks, for a loss of the whole sequence.

    Raises:
        NeurofaError: shapes that do not match, taught ticks out of range.
    """
    check_sequence(network, xs, _samples(xs, targets), binary=binary)
    ticks, batch = xs.shape[:2]
    if whole and targets.dim() == 3:
        raise NeurofaError(
            f"got targets of {ticks} ticks for a loss of the whole sequence; expected one target a sample; use loss"
            " per_tick"
        )
    return TargetSchedule(targets, *taught_ticks(teach, ticks), batch)


def taught_ticks(teach: tuple[int, int] | None, ticks: int) -> tuple[int, int]:
    """Return the first taught tick, and the one after the last.

    Args:
        teach: as given; None: all.
        ticks: T.

    Raises:
        NeurofaError: no part of the ticks.
    """
    begin, end = (0, ticks) if teach is None else teach
    if not 0 <= begin < end <= ticks:
        raise NeurofaError(f"got teach=({begin}, {end}) for {ticks} ticks; expected a part of them; change teach")
    return begin, end


def _samples(xs: Tensor | Events, targets: Tensor) -> int:
    """Return B according to the targets."""
    ticks, shape = xs.shape[0], tuple(targets.shape)
    labels = len(shape) == 1 or targets.is_floating_point()
    if not 1 <= len(shape) <= 3 or not labels or (len(shape) == 3 and shape[0] != ticks):
        raise NeurofaError(
            f"got targets of shape {shape}, {targets.dtype}, for {ticks} ticks; expected one label a sample, (B,), or"
            f" values (B, o) or ({ticks}, B, o); give labels of single ticks as one-hot values with loss mse"
        )
    return shape[1] if len(shape) == 3 else shape[0]
