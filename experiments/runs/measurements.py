"""What a run measures while it trains: at which steps, how it is stored in the rows, how it is read again."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.data import Dataset, Sequences, require_static
from experiments.runs.linear_probe import probe_scores
from experiments.runs.result import EpochRow
from experiments.runs.spec import LOGS
from hwmodels.errors import NeurofaError
from neurofa.diagnostics.jacobian import descent_share, feedback_alignment, to_record
from neurofa.diagnostics.measure import measure_alignment
from neurofa.training.learner import Learner

SAMPLES = 256
"""Training samples, the first in their stored order, on which alignment is measured."""
DESCENTS, DESCENT_BATCH = 20, 64
"""Number of batches, and samples in each, on which is measured whether a step lowers the loss."""


def measurement_steps() -> Iterator[int]:
    """Yield the steps at which a run measures, beside the end of every epoch: 0, then 2^(k/2) rounded.

    They are spaced evenly on a logarithmic axis, since the phases of alignment differ by decades in their length.

    >>> list(itertools.islice(measurement_steps(), 10))
    [0, 1, 2, 3, 4, 6, 8, 11, 16, 23]
    """
    yield 0
    last = 0
    for k in itertools.count():
        step = round(2 ** (k / 2))
        if step > last:
            yield step
            last = step


class RunMeter:
    """Measures a learner without changing the numbers of its run, and the time that this takes.

    Args:
        log: a word of :data:`experiments.runs.spec.LOGS`.
        learner: the learner that is measured.
        dataset: training samples for the alignment, others for the probes.
        seed: seed of the noise in measurements.

    Raises:
        NeurofaError: something is to be measured, and the data are sequences.
    """

    def __init__(self, log: str, learner: Learner, dataset: Dataset | Sequences, seed: int) -> None:
        self.log, self.learner, self.seed = LOGS[log], learner, seed
        self._data = require_static(dataset, f"log={log}") if self.log else None
        self.seconds = 0.0
        """Time spent on measurements since the last epoch ended, s."""
        self._inside: list[dict[str, Any]] = []
        self._steps = itertools.dropwhile(lambda step: step < learner.steps, measurement_steps())
        self._next = next(self._steps)

    @property
    def dataset(self) -> Dataset:
        """Return the data set without ticks on whose samples the network is measured."""
        if self._data is None:
            raise NeurofaError("got a measurement of a run without a log; expected log=all or a part of it; set log")
        return self._data

    def before_step(self) -> None:
        """Measure, if the next step is one of :func:`measurement_steps`, what the run logs.

        Jacobian and features are measured before the first step only.
        """
        if not self.log or self.learner.steps < self._next:
            return
        self._advance()
        names = [name for name in self.log if name == "alignment" or not self.learner.steps]
        if names:
            self._inside.append({"step": self.learner.steps, **self._measure(names)})

    def after_epoch(self) -> EpochRow:
        """Measure at the end of an epoch, and return the entries that the log adds to the row of the epoch.

        These are ``step`` (steps of training so far), one value by the name of each measured quantity, ``measurements``
        (a list of the rows measured within the epoch) and ``log_seconds`` (time that all of them took).
        """
        if not self.log:
            return {}
        row = {"step": self.learner.steps, **self._measure(self.log), "measurements": self._inside}
        row["log_seconds"] = round(self.seconds, 6)
        self._inside, self.seconds = [], 0.0
        self._advance()
        return row

    def _advance(self) -> None:
        while self._next <= self.learner.steps:
            self._next = next(self._steps)

    def _measure(self, names: Sequence[str]) -> dict[str, Any]:
        began = time.perf_counter()
        values: dict[str, Any] = {}
        if "alignment" in names:
            values["alignment"] = measure_alignment(self.learner, *next(self.dataset.batches("train", SAMPLES)))
        if "jacobian" in names:
            values["jacobian"] = self._jacobian()
        if "features" in names:
            # the inputs do not change: they are probed once
            at_start = not self.learner.steps
            values["features"] = probe_scores(self.learner.network, self.dataset, seed=self.seed, of_input=at_start)
        self.seconds += time.perf_counter() - began
        return values

    def _jacobian(self) -> dict[str, Any]:
        layers = to_record(feedback_alignment(self.learner, *next(self.dataset.batches("train", SAMPLES))))
        batches = itertools.islice(self.dataset.batches("train", DESCENT_BATCH), DESCENTS)
        share = descent_share(self.learner, batches)
        return {"layers": layers, "descent_share": share if math.isfinite(share) else None}


@dataclass(frozen=True)
class Measurement:
    """What was measured of a run at one step."""

    step: int
    """Learning steps done before it."""
    alignment: dict[str, Any] | None
    """Return value of :func:`neurofa.diagnostics.measure.measure_alignment`."""
    jacobian: dict[str, Any] | None
    """``layers``: by name the values of :func:`neurofa.diagnostics.jacobian.feedback_alignment`; ``descent_share``,
    None where no hidden layer learns."""
    features: dict[str, Any] | None
    """Return value of :func:`experiments.runs.linear_probe.probe_scores`."""


def read_measurements(rows: Sequence[EpochRow]) -> list[Measurement]:
    """Return all measurements of a run in order of their steps; none of a run that logged nothing.

    Args:
        rows: the rows of all epochs of the run.
    """
    entries: list[dict[str, Any]] = []
    for row in rows:
        if "step" in row:
            # earlier versions called the list "looks"
            entries += [*(row.get("measurements") or row.get("looks") or []), row]
    return [Measurement(e["step"], e.get("alignment"), e.get("jacobian"), e.get("features")) for e in entries]


def measurement_series(
    measurements: Sequence[Measurement], layer: str | None, name: str
) -> tuple[list[int], list[float | None]]:
    """Return one measure of alignment over the steps of a run.

    Args:
        measurements: from :func:`read_measurements`.
        layer: name of the layer; None: all hidden layers together.
        name: such as ``"delta_cosine"``; ``"alignment_matrix.isotropy"`` selects one number of several.

    Returns:
        Steps and values; None where a value is not defined.
    """
    steps, values = [], []
    for measurement in measurements:
        if measurement.alignment is not None:
            total, layers = measurement.alignment["total"], measurement.alignment["layers"]
            value: Any = total if layer is None else layers.get(layer, {})
            for key in name.split("."):
                value = None if value is None else value.get(key)
            steps.append(measurement.step)
            values.append(value)
    return steps, values
