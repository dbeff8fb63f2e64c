"""Early stopping: training ends when it does not improve any more."""

from __future__ import annotations

from torch import Tensor

from hwmodels.errors import NeurofaError
from neurofa.training.loop.callback import Callback, Course
from neurofa.training.loop.history import Row, falls


class EarlyStop(Callback):
    """Stops when a column has not improved for some epochs, and gives the network the weights of the best one.

    Args:
        monitor: column that decides; a loss improves downwards, others upwards.
        patience: epochs without improvement after which training ends.
        least: smallest change that counts as an improvement.
        restore: whether the network ends with the weights, cells and statistics of the best epoch; state of the
            optimizer and of learning feedback stays that of the last one. Of a training that is continued, epochs
            before that are compared with, but cannot be restored.

    Raises:
        NeurofaError: an option out of range; at the beginning, a column of validation without validation data.
    """

    def __init__(
        self, monitor: str = "validation_loss", *, patience: int = 3, least: float = 0.0, restore: bool = True
    ) -> None:
        if patience < 1 or least < 0:
            raise NeurofaError(
                f"got patience={patience}, least={least}; expected 1 or more, and 0 or more; change them"
            )
        self.monitor, self.patience, self.least, self.restore = monitor, patience, least, restore
        self._state: dict[str, Tensor] = {}

    def begin(self, course: Course) -> None:
        if self.monitor.startswith("validation") and not course.validates:
            raise NeurofaError(
                f"got EarlyStop('{self.monitor}') without validation data; expected some; pass validation=..., or"
                " monitor 'train_loss'"
            )
        self._best: float | None = None
        self._state = {}
        self._epoch = 0
        for row in course.history.rows:  # of a training that is continued
            self._see(row)

    def end_epoch(self, course: Course, row: Row) -> None:
        if self._see(row) and self.restore:
            self._state = {key: value.clone() for key, value in course.learner.network.state_dict().items()}
        if row["epoch"] - self._epoch >= self.patience and row["epoch"] < course.epochs:
            course.stop(f"no better {self.monitor} than {self._best:.4g} of epoch {self._epoch}")

    def _see(self, row: Row) -> bool:
        value = row.get(self.monitor)
        if value is None:
            known = ", ".join(key for key, held in row.items() if isinstance(held, float))
            raise NeurofaError(
                f"got no '{self.monitor}' in epoch {row['epoch']}; expected {known}; monitor one of them"
            )
        sign = -1 if falls(self.monitor) else 1
        if self._best is not None and not sign * (value - self._best) > self.least:
            return False
        self._best, self._epoch = value, row["epoch"]
        return True

    def end(self, course: Course) -> None:
        if self._state:
            course.learner.network.load_state_dict(self._state)
