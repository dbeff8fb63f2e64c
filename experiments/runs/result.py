"""The result of a run: its figures and its rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from experiments.runs.spec import RunSpec
from neurofa.core.recipes import takes_tokens

EpochRow = dict[str, Any]
"""One epoch: its number, train and validation loss and accuracy, lr, seconds, and what was logged."""

UNTRAINED: EpochRow = dict.fromkeys(
    ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "lr")
) | {"epoch": 0, "seconds": 0.0}
"""What a run of no epochs has in the place of a row."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """The figures of a finished run; accuracies are shares from 0 to 1, and None for regression."""

    spec: RunSpec
    test_accuracy: float | None
    """Test accuracy of the network of the reported epoch."""
    test_loss: float | None
    """Test loss of the same network."""
    epoch: int
    """The reported epoch: the last one, or the best by validation; 0: nothing was trained."""
    rows: tuple[EpochRow, ...]
    """All epochs."""
    samples: int
    """Training samples of one epoch."""
    control: Result | None = None
    """The readout-only control (:func:`experiments.runs.run.control_of`), where it was trained."""

    @property
    def row(self) -> EpochRow:
        """The reported epoch's row; of a run without training one that holds nothing."""
        return self.rows[self.epoch - 1] if self.rows else UNTRAINED

    @property
    def seconds(self) -> float:
        """Time of the training steps, s, without loading, evaluation and measurements."""
        return float(sum(row["seconds"] for row in self.rows))

    @property
    def margin(self) -> float | None:
        """Test accuracy minus that of the readout-only control; None where one of the two is missing."""
        if self.control is None or self.test_accuracy is None or self.control.test_accuracy is None:
            return None
        return self.test_accuracy - self.control.test_accuracy

    @property
    def perplexity(self) -> float | None:
        """exp of the mean test loss of a token, where the network predicts tokens; else None."""
        if self.test_loss is None or not takes_tokens(self.spec.network):
            return None
        return math.exp(min(self.test_loss, 700.0))  # beyond, the largest float

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``result.json``."""
        row, seconds = self.row, self.seconds
        content: dict[str, Any] = {
            "test_accuracy": self.test_accuracy,
            "validation_accuracy": row["validation_accuracy"],
            "train_accuracy": row["train_accuracy"],
            "loss": row["train_loss"],
            "validation_loss": row["validation_loss"],
            "test_loss": self.test_loss,
            **({} if self.perplexity is None else {"test_perplexity": self.perplexity}),
            "epochs": len(self.rows),
            "epoch": self.epoch,
            "samples": self.samples,
            "seconds": round(seconds, 4),
            "samples_per_second": round(self.samples * len(self.rows) / seconds, 1) if seconds else None,
        }
        if self.control is not None:
            content["control_test_accuracy"] = self.control.test_accuracy
        return content | {"key": self.spec.key, "spec": self.spec.to_json()}
