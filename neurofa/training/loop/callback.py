"""Callbacks: what is done between the steps and epochs of a training."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from neurofa.core.events import Events
from neurofa.core.loss import Loss
from neurofa.core.network import Network
from neurofa.core.rule import Rule
from neurofa.training.loop.history import History, Row
from neurofa.training.step_types import Graded, StepResult


class Trainable(Protocol):
    """What the loop needs of a learner: :class:`neurofa.training.learner.Learner`."""

    network: Network
    rule: Rule
    loss: Loss

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer."""

    @property
    def accumulate(self) -> int:
        """Batches whose directions are averaged into one update."""

    def step(self, x: Tensor, target: Tensor) -> StepResult:
        """Learn from a batch."""

    def stream(
        self,
        xs: Tensor | Events,
        targets: Tensor,
        *,
        chunk: int | None = None,
        update: str = "end",
        teach: tuple[int, int] | None = None,
    ) -> StepResult:
        """Learn from a batch of sequences."""

    def grade(
        self,
        x: Tensor | Events,
        target: Tensor,
        *,
        chunk: int | None = None,
        teach: tuple[int, int] | None = None,
        gen: torch.Generator | None = None,
    ) -> Graded:
        """Return loss and outputs without learning."""

    def check(self) -> None:
        """Refuse numbers that were not finite."""


class Course:
    """A training as its callbacks see it.

    Args:
        learner: that is trained.
        history: rows of the finished epochs.
        epochs: of the whole training.
        steps: of an epoch; None: not known beforehand.
        validates: whether there are validation data.
    """

    def __init__(
        self, learner: Trainable, history: History, *, epochs: int, steps: int | None, validates: bool
    ) -> None:
        self.learner, self.history, self.epochs, self.steps, self.validates = learner, history, epochs, steps, validates
        self.epoch = len(history)
        """Number of the present epoch, from 1."""

    def stop(self, reason: str) -> None:
        """End the training after the present epoch.

        Args:
            reason: one line, kept in the history.
        """
        self.history.stopped = reason


class Callback:
    """Is called between steps and epochs; this base class does nothing."""

    def begin(self, course: Course) -> None:
        """Prepare a training; wrong options are refused here, before the first step."""

    def begin_epoch(self, course: Course) -> None:
        """Prepare an epoch."""

    def before_step(self, course: Course, step: int) -> None:
        """Prepare a step.

        Args:
            course: the training.
            step: number of the step in its epoch, from 1.
        """

    def after_step(self, course: Course, step: int) -> None:
        """Follow a step.

        Args:
            course: the training.
            step: number of the step in its epoch, from 1.
        """

    def report(self, course: Course, step: int, row: Row) -> None:
        """Look at the epoch so far, every few steps.

        Args:
            course: the training.
            step: number of the step in its epoch, from 1.
            row: ``train_loss`` and ``train_accuracy`` so far.
        """

    def end_epoch(self, course: Course, row: Row) -> None:
        """Look at a finished epoch.

        Args:
            course: the training, whose history holds the row already.
            row: of the epoch.
        """

    def end(self, course: Course) -> None:
        """End a training, also one that an error or Ctrl-C ends."""
