"""Schedules of the learning rate: functions of the time, and schedulers of torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from hwmodels.errors import NeurofaError
from neurofa.training.loop.callback import Callback, Course
from neurofa.training.loop.history import Row


class RateSchedule(Callback):
    """Sets the learning rate by a function of the time, or by a scheduler of torch.

    Args:
        schedule: function (t, epochs) from the time in epochs to the multiplier of the learning rate, or a torch
            scheduler of the learner's optimizer, which keeps its own state.
        each: when it acts: ``step`` or ``epoch``. A function is asked for the middle of the step or epoch.
        monitor: column that ``ReduceLROnPlateau`` watches.

    Raises:
        NeurofaError: another word than these; at the beginning, a scheduler of another optimizer, or a function of the
            step for data whose length is not known.
    """

    def __init__(
        self,
        schedule: Callable[[float, int], float] | LRScheduler | ReduceLROnPlateau,
        *,
        each: str = "epoch",
        monitor: str = "validation_loss",
    ) -> None:
        if each not in ("step", "epoch"):
            raise NeurofaError(f"got each='{each}'; expected step or epoch; change it")
        self.schedule, self.each, self.monitor = schedule, each, monitor

    def begin(self, course: Course) -> None:
        own = getattr(self.schedule, "optimizer", None)
        if own is not None and own is not course.learner.optimizer:
            raise NeurofaError("got a scheduler of another optimizer; expected that of the learner; make it anew")
        if own is None and self.each == "step" and course.steps is None:
            raise NeurofaError(
                "got each='step' for data without a length; expected to know the steps of an epoch; use each='epoch'"
            )

    def begin_epoch(self, course: Course) -> None:
        if self.each == "epoch":
            self._set(course, course.epoch - 0.5)

    def before_step(self, course: Course, step: int) -> None:
        if self.each == "step" and course.steps is not None:
            self._set(course, course.epoch - 1 + (step - 0.5) / course.steps)

    def after_step(self, course: Course, step: int) -> None:
        if self.each == "step":
            self._advance()

    def end_epoch(self, course: Course, row: Row) -> None:
        if self.each == "epoch":
            self._advance(row)

    def end(self, course: Course) -> None:
        if not hasattr(self.schedule, "optimizer") and course.history.rates is not None:
            for group, rate in zip(course.learner.optimizer.param_groups, course.history.rates, strict=True):
                group["lr"] = rate

    def _set(self, course: Course, t: float) -> None:
        schedule: Any = self.schedule
        if hasattr(schedule, "optimizer"):
            return
        assert course.history.rates is not None
        multiplier = schedule(t, course.epochs)
        for group, rate in zip(course.learner.optimizer.param_groups, course.history.rates, strict=True):
            group["lr"] = rate * multiplier

    def _advance(self, row: Row | None = None) -> None:
        schedule: Any = self.schedule
        if isinstance(schedule, ReduceLROnPlateau):
            if row is None or row.get(self.monitor) is None:
                raise NeurofaError(
                    f"got ReduceLROnPlateau without '{self.monitor}'; expected the column after every epoch; pass"
                    " validation=..., each='epoch', or monitor='train_loss'"
                )
            schedule.step(row[self.monitor])
        elif hasattr(schedule, "optimizer"):
            schedule.step()
