"""Checkpoints of a training: its state after an epoch, from which it is continued."""

from __future__ import annotations

from pathlib import Path

from hwmodels.errors import NeurofaError
from neurofa.training.checkpoint import load_checkpoint, save_checkpoint
from neurofa.training.learner import Learner
from neurofa.training.loop.callback import Callback, Course
from neurofa.training.loop.history import History, Row
from neurofa.training.loop.logs import refuse_existing


class Checkpoint(Callback):
    """Stores network, rule, optimizer, generators and rows after every epoch, or after the best one so far.

    Args:
        path: the file, written whole or not at all.
        best: column whose best epoch is stored; None: every epoch.
        overwrite: whether a file that is there is replaced by a new training; False: it is refused. A training that is
            continued always goes on in its file.

    Raises:
        NeurofaError: at the beginning, a file that is there, a column of validation without validation data, or updates
            that span two epochs (``accumulate``).
    """

    def __init__(self, path: Path | str, *, best: str | None = None, overwrite: bool = False) -> None:
        self.path, self.best, self.overwrite = Path(path), best, overwrite

    def begin(self, course: Course) -> None:
        refuse_existing(self.path, course, overwrite=self.overwrite)
        if self.best is not None and self.best.startswith("validation") and not course.validates:
            raise NeurofaError(
                f"got Checkpoint(best='{self.best}') without validation data; expected some; pass validation=..."
            )

        accumulate = course.learner.accumulate
        if accumulate > 1 and (course.steps is None or course.steps % accumulate):
            raise NeurofaError(
                f"got accumulate={accumulate} for {course.steps or 'an unknown number of'} batches an epoch with a"
                " checkpoint; expected a multiple, so that no update is half done between two epochs; drop some batches"
            )

    def end_epoch(self, course: Course, row: Row) -> None:
        if self.best is not None and course.history.best(self.best)["epoch"] != row["epoch"]:
            return
        assert isinstance(course.learner, Learner)
        extra = {"rows": course.history.rows, "rates": course.history.rates}
        save_checkpoint(self.path, course.learner, extra)

    @staticmethod
    def resume(path: Path | str, learner: Learner) -> History:
        """Give a learner the state that a training stored, and return its history, with which ``fit`` goes on.

        Batches of whole arrays come in the order in which they would have come; a DataLoader that shuffles has a
        generator of its own, whose state is not stored.

        Args:
            path: the file.
            learner: made as the one that was stored; changed in place.

        Raises:
            NeurofaError: a missing or damaged file, or the checkpoint of another learner or of a run.
        """
        extra = load_checkpoint(path, learner)
        if not isinstance(extra.get("rows"), list) or not isinstance(extra.get("rates"), list):
            raise NeurofaError(
                f"got '{path}', which fit did not write; expected a checkpoint of Checkpoint(...); use neurofa train"
                " --resume for a run"
            )
        return History(extra["rows"], extra["rates"])
