"""Divergence: a training loss far above the first one ends a run early, and what then is worth changing is said."""

from __future__ import annotations

from hwmodels.errors import NeurofaError

LIMIT = 100.0
"""Largest mean loss of a few steps, in units of the loss of the first step."""
MARK = "the run has diverged"
"""Words by which rows of sweeps are recognised."""


class DivergedError(NeurofaError):
    """A run whose loss rose beyond :data:`LIMIT` times the first, or is no number any more."""


class LossWatch:
    """Compares the losses of a run with the first one.

    Args:
        first: loss of the first step, of a run that is continued; None: the next loss is the first.
    """

    def __init__(self, first: float | None = None) -> None:
        self.first = first
        self._total, self._samples = 0.0, 0

    def begin_epoch(self) -> None:
        """Forget the sums of the epoch before."""
        self._total, self._samples = 0.0, 0

    def see(self, mean: float, samples: int, epoch: int) -> None:
        """Look at the mean loss of an epoch so far, and at that of the samples since the last call.

        Args:
            mean: mean loss of the epoch so far.
            samples: in it.
            epoch: number of the epoch.

        Raises:
            DivergedError: the samples since the last call have a loss far above the first.
        """
        total = mean * samples
        recent = (total - self._total) / (samples - self._samples)
        self._total, self._samples = total, samples
        if self.first is None:
            self.first = mean
        if not recent <= LIMIT * max(self.first, 1e-6):
            raise DivergedError(
                f"got a training loss of {recent:.3g} in epoch {epoch}, {recent / max(self.first, 1e-6):.2g} times the"
                f" first ({self.first:.3g}): {MARK}; expected a loss that falls; lower the learning rate (lr of"
                " --optimizer) or the gain of the feedback, or bound the updates with --clip"
            )


def diverged(error: NeurofaError) -> DivergedError:
    """Return the error of a run that ends because a number is not finite."""
    return DivergedError(f"{error} ({MARK})")
