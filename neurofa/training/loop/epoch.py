"""The training steps of one epoch: the loop that :func:`~neurofa.training.loop.fit.fit` and the runs share."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor

from neurofa.core.events import Events
from neurofa.training.loop.batches import Batch
from neurofa.training.loop.tally import Score, Tally
from neurofa.training.step_types import StepResult

REPORT_EVERY = 20
"""Steps between two reports of the loss: reading it waits for the compute device."""


class StepHooks:
    """What happens around the steps of an epoch; this base class does nothing."""

    def before_step(self, step: int) -> None:
        """Prepare a step.

        Args:
            step: its number in the epoch, from 1.
        """

    def after_step(self, step: int, result: StepResult) -> None:
        """Look at a step.

        Args:
            step: its number in the epoch, from 1.
            result: loss and outputs before the update.
        """

    def report(self, x: Tensor | Events, result: StepResult, score: Score) -> None:
        """Look at the epoch so far, every :data:`REPORT_EVERY` steps and after the last one.

        Args:
            x: inputs of the last step.
            result: of the last step.
            score: of the epoch so far.
        """


def train_epoch(
    learn: Callable[[Tensor | Events, Tensor], StepResult], batches: Iterable[Batch], tally: Tally, hooks: StepHooks
) -> Score:
    """Make one step for every batch, and return the loss and accuracy of the epoch.

    Args:
        learn: makes a step.
        batches: of the epoch.
        tally: new, of the epoch.
        hooks: what happens around the steps.
    """
    step, last = 0, None
    for step, (x, target) in enumerate(batches, start=1):
        hooks.before_step(step)
        result = learn(x, target)
        tally.add(result.loss, result.y, target)
        hooks.after_step(step, result)
        last = x, result
        if step % REPORT_EVERY == 0:
            hooks.report(x, result, tally.score())
    if last is not None and step % REPORT_EVERY:
        hooks.report(*last, tally.score())
    return tally.score()
