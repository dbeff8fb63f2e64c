"""What a run measures while it trains: when it looks, what it writes into its rows, how it is read again."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.data import Dataset, Sequences, require_static
from experiments.runs.result import Row
from experiments.runs.spec import LOGS
from hwmodels.errors import NeurofaError
from neurofa.training.learner import Learner

SAMPLES = 256
"""Training samples, the first in their stored order, on which alignment is measured."""


DESCENTS, DESCENT_BATCH = 20, 64
"""Batches, and samples in each, that are looked at for whether a step descends."""


def look_steps() -> Iterator[int]:
    """Steps at which a run looks, beside the end of every epoch: 0, then 2^(k/2) rounded, since phases are decades.

    >>> list(itertools.islice(look_steps(), 10))
    [0, 1, 2, 3, 4, 6, 8, 11, 16, 23]
    """
    yield 0
    last = 0
    for k in itertools.count():
        step = round(2 ** (k / 2))
        if step > last:
            yield step
            last = step


class Observer:
    """Measures a learner without touching its run, and counts the time that this takes.

    Args:
        log: a word of :data:`experiments.runs.spec.LOGS`.
        learner: what is looked at.
        dataset: training samples for the alignment, others for the probes.
        seed: of noise in the measurement.
    """

    def __init__(self, log: str, learner: Learner, dataset: Dataset | Sequences, seed: int) -> None:
        self.wanted, self.learner, self.seed = LOGS[log], learner, seed
        self.data = require_static(dataset, f"log={log}") if self.wanted else None
        self.seconds = 0.0
        self._inside: list[dict[str, Any]] = []
        self._steps = itertools.dropwhile(lambda step: step < learner.steps, look_steps())
        self._next = next(self._steps)

    @property
    def dataset(self) -> Dataset:
        """The data without time that are looked at."""
        if self.data is None:
            raise NeurofaError("got a look at a run without a log; expected log=all or a part of it; set log")
        return self.data

    def before(self) -> None:
        """Look if a look is due before the next step; probes are fitted before the first step only."""
        if not self.wanted or self.learner.steps < self._next:
            return
        while self._next <= self.learner.steps:
            self._next = next(self._steps)
        wanted = [what for what in self.wanted if what == "alignment" or not self.learner.steps]
        if wanted:
            self._inside.append({"step": self.learner.steps, **self._look(wanted)})

    def close(self) -> Row:
        """Look at the end of an epoch: what belongs into its row."""
        if not self.wanted:
            return {}
        found = self._look(self.wanted)
        row = {"step": self.learner.steps, **found, "looks": self._inside, "log_seconds": round(self.seconds, 6)}
        self._inside, self.seconds = [], 0.0
        while self._next <= self.learner.steps:
            self._next = next(self._steps)
        return row

    def _look(self, wanted: Sequence[str]) -> dict[str, Any]:
        from experiments.runs.linear_probe import separability
        from neurofa.diagnostics.measure import measure_alignment

        began = time.perf_counter()
        found: dict[str, Any] = {}
        if "alignment" in wanted:
            found["alignment"] = measure_alignment(self.learner, *next(self.dataset.batches("train", SAMPLES)))
        if "jacobian" in wanted:
            found["jacobian"] = self._jacobian()
        if "features" in wanted:
            # inputs do not change: they are judged once
            start = not self.learner.steps
            found["features"] = separability(self.learner.network, self.dataset, seed=self.seed, of_input=start)
        self.seconds += time.perf_counter() - began
        return found

    def _jacobian(self) -> dict[str, Any]:
        from neurofa.diagnostics.jacobian import descent_share, feedback_alignment, to_record

        layers = to_record(feedback_alignment(self.learner, *next(self.dataset.batches("train", SAMPLES))))
        some = itertools.islice(self.dataset.batches("train", DESCENT_BATCH), DESCENTS)
        share = descent_share(self.learner, some)
        return {"layers": layers, "descent_share": share if math.isfinite(share) else None}


@dataclass(frozen=True)
class Look:
    """One measurement of a run."""

    step: int
    """Learning steps done before it."""
    alignment: dict[str, Any] | None
    """As :func:`neurofa.diagnostics.measure.measure` returns it."""
    jacobian: dict[str, Any] | None
    """``layers`` by name, as :func:`neurofa.diagnostics.jacobian.feedback_alignment` finds them, and ``descent_share``
    (None where no hidden layer learns)."""
    features: dict[str, Any] | None
    """As :func:`experiments.runs.linear_probe.separability` returns it."""


def looks(rows: Sequence[Row]) -> list[Look]:
    """All measurements of a run, in order of their steps; none of a run that logged nothing.

    Args:
        rows: of all its epochs.
    """
    every = [each for row in rows if "step" in row for each in [*row["looks"], row]]
    return [Look(each["step"], each.get("alignment"), each.get("jacobian"), each.get("features")) for each in every]


def course(found: Sequence[Look], layer: str | None, what: str) -> tuple[list[int], list[float | None]]:
    """How one measure of alignment went.

    Args:
        found: of :func:`looks`.
        layer: its name; None: all hidden layers together.
        what: such as ``"delta_cosine"``; ``"alignment_matrix.isotropy"`` reaches into a measure of several numbers.

    Returns:
        Steps and values; None where it is not defined.
    """
    steps, values = [], []
    for look in found:
        if look.alignment is not None:
            here: Any = look.alignment["total"] if layer is None else look.alignment["layers"].get(layer, {})
            for key in what.split("."):
                here = None if here is None else here.get(key)
            steps.append(look.step)
            values.append(here)
    return steps, values
