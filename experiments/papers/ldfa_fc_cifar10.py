"""How many dimensions must the error have that trains a fully connected network on photographs?"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from experiments.charts.figure import Axis
from experiments.charts.swept import Published
from experiments.sweeps.experiment import Experiment, ExperimentCheck, Findings, Reference, above, at_least, at_most
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import Fields
from experiments.sweeps.tuned_curves import (
    CONTROL,
    CurvePoint,
    accuracy_difference,
    draw_tuned_curves,
    percent_at,
    run_curves,
)
from experiments.tables import Record, column_numbers
from hwmodels.spec import Spec

LEARNT, Q_ONLY, FIXED, DIRECT = "P and Q learn (raf)", "Q learns", "P and Q fixed", "direct (draf)"
BP = "bp"
LEAST = 0.002
"""Smallest standard deviation over seeds that the source has, as a share."""
PAPER_EPOCHS, DECAY = 160, 0.975
"""Length of the source's runs, and the factor of their learning rate an epoch."""
ADAM = "adam(lr=0.0006, weight_decay=0.0004, amsgrad=True)"
"""As in the first author's code, for all rules and ranks alike."""

CODE = "figures in the first author's public code: 160 epochs, best test epoch, 10 seeds"
CERTAIN = "decoded from vector graphics, not measured here"
ALL_THEN = {10: 61.84, 16: 62.13, 32: 62.43, 64: 62.87}
DIRECT_THEN = {1: 35.9, 2: 49.2, 4: 57.3, 6: 59.8, 8: 61.4, 10: 62.1}
ONE_THEN = {
    "dense2": {1: 55.8, 4: 60.5, 10: 62.6},
    "dense3": {1: 53.9, 4: 59.5, 10: 62.4},
    "dense4": {1: 47.3, 4: 58.7, 10: 62.9},
}
BP_THEN, NARROW_THEN = 62.76, 58.10
"""Test accuracies of the source, percent."""


class LowDimensionalErrorFC(Experiment, name="ldfa_fc_cifar10"):
    """Error feedback of rank r in a network of 3072-512-512-512-10 with batch normalisation.

    Parts: ``all`` (every return path has rank r; what learning P and Q is worth; a network of narrow layers as the
    control: a low rank is no narrow network), ``one`` (one return path has rank r, the others have full rank),
    ``direct`` (the error of low rank is broadcast). Every method has the settings of the source; nothing is tuned, and
    the last epoch counts. The images are mirrored, where the source also turns them by up to 10 degrees. The learning
    rate falls over the run as it does over the 160 epochs of the source; batches have 64 images (``full``: 32).

    Args:
        data: of all parts.
        hidden: width of the three hidden layers.
        narrow: width of the hidden layers of the control.
        ranks: of the parts all and direct.
        epochs: of all runs; default 6, full 160.
    """

    source = "Hanut and Kadmon 2025, arXiv 2502.20580 v1-v3, Fig. 3a, b, d, protocol as in the first author's code"
    question = "Does an error of as many dimensions as there are classes train a network as well as backpropagation?"
    parts = ("all", "one", "direct")

    def __init__(
        self, *, data: Spec | str = "cifar10(flip=True)", hidden: int = 512, narrow: int = 64,
        ranks: list[int] | None = None, epochs: int | None = None,
    ) -> None:  # fmt: skip
        self.data, self.hidden, self.narrow, self.epochs = str(data), hidden, narrow, epochs
        self.ranks = [2, 4, 10, 32] if ranks is None else ranks

    def run(self, part: str, setup: Setup) -> Findings:
        epochs = self.epochs or (PAPER_EPOCHS if setup.full else 6)
        common = {
            "data": self.data, "batch_size": 32 if setup.full else 64, "epochs": epochs, "optimizer": ADAM,
            "schedule": f"exponential(factor={DECAY ** (PAPER_EPOCHS / epochs):.4g})",
        }  # fmt: skip
        points = {"all": self._all, "one": self._one, "direct": self._direct}[part]()
        found = run_curves(points, common, epochs, setup, name=part)
        words = "the source, 160 epochs (from its vector graphics)"
        published = [Published(x, y, words) for x, y in _marks(part).items()]
        ranks = Axis("rank r of the error", scale="log")
        picture = draw_tuned_curves(found, common, setup, name=part, x=ranks, published=published)
        return Findings(
            rows=found.lines, tuning=found.tuning, reference=references(part), checks=checks(part, found.lines),
            pictures=[picture],
        )  # fmt: skip

    def _network(self, width: int) -> str:
        return f"mlp(hidden=[{width}, {width}, {width}], activation=relu, norm=batch)"

    def _setting(self, rule: str, width: int | None = None) -> list[Fields]:
        return [{"rule": rule, "network": self._network(width or self.hidden)}]

    def _levels(self) -> list[CurvePoint]:
        return [
            CurvePoint(series=BP, candidates=self._setting(BP)),
            CurvePoint(series=CONTROL, candidates=self._setting(CONTROL)),
        ]

    def _all(self) -> list[CurvePoint]:
        made = [
            CurvePoint(series=LEARNT, x=r, candidates=self._setting(f"raf(rank={r}, clamp=1.0)")) for r in self.ranks
        ]
        made += [
            CurvePoint(series=Q_ONLY, x=r, candidates=self._setting(f"raf(rank={r}, clamp=1.0, p=fixed)"))
            for r in self.ranks
            if r in (4, 10)
        ]
        made += [
            CurvePoint(series=FIXED, x=r, candidates=self._setting(f"raf(rank={r}, clamp=1.0, p=fixed, q=fixed)"))
            for r in self.ranks
            if r == 10
        ]
        return [
            *made,
            *self._levels(),
            CurvePoint(series=f"{BP}, {self.narrow} units", candidates=self._setting(BP, self.narrow)),
        ]

    def _one(self) -> list[CurvePoint]:
        layers = (("dense2", "of W2"), ("dense3", "of W3"), ("dense4", "of the readout"))
        return [
            *[
                CurvePoint(
                    series=f"return path {what} alone", x=r,
                    candidates=self._setting(f"raf(rank={r}, clamp=1.0, only=[{layer}])"),
                )
                for layer, what in layers
                for r in (1, 4, 10)
            ],
            *self._levels(),
        ]  # fmt: skip

    def _direct(self) -> list[CurvePoint]:
        made = [CurvePoint(series=DIRECT, x=r, candidates=self._setting(f"draf(rank={r})")) for r in self.ranks]
        return [*made, *self._levels()]


def references(part: str) -> list[Reference]:
    """Figures of the source for one part."""
    figures = {f"{BP}: test accuracy, %": BP_THEN}
    if part == "all":
        figures |= {f"{LEARNT}, {r}: test accuracy, %": then for r, then in ALL_THEN.items()}
        figures["bp, 64 units: test accuracy, %"] = NARROW_THEN
    elif part == "one":
        figures |= {f"{layer} alone, {r}: test accuracy, %": v for layer, c in ONE_THEN.items() for r, v in c.items()}
    else:
        figures |= {f"{DIRECT}, {r}: test accuracy, %": then for r, then in DIRECT_THEN.items()}
    return [Reference(name, value, CODE, CERTAIN) for name, value in figures.items()]


def _marks(part: str) -> dict[int, float]:
    return {"all": ALL_THEN, "direct": DIRECT_THEN}.get(part, {})


def checks(part: str, lines: Sequence[Record]) -> list[ExperimentCheck]:
    """The statements of one part about its table.

    Args:
        part: one of the experiment's parts.
        lines: one a method, with ``series``, ``x`` and accuracies as shares.
    """
    bp = percent_at(lines, BP)
    if part == "one":
        return [
            at_most(f"one: what rank 10 costs, {line['series']}, points", _cost(bp, line), 1.0)
            for line in lines
            if line["x"] == 10
        ]
    series = LEARNT if part == "all" else DIRECT
    curve = sorted((line for line in lines if line["series"] == series), key=lambda line: line["x"])
    made = [_rises(f"{part}: largest fall from one rank to the next, in standard deviations", curve)]
    if part == "direct":
        at_ten = accuracy_difference(percent_at(lines, DIRECT, 10), percent_at(lines, CONTROL))
        return [*made, above(f"direct: rank 10 over {CONTROL}, points", at_ten, 0)]
    ten = percent_at(lines, LEARNT, 10)
    narrow = next((line for line in lines if line["series"].startswith(f"{BP}, ")), None)
    beside = None if narrow is None else percent_at(lines, narrow["series"])
    made += [
        at_most("all: what rank 10 costs beside bp, points", accuracy_difference(bp, ten), 1.5),
        at_least("all: rank 10 over a network of narrow layers, points", accuracy_difference(ten, beside), 3.0),
    ]
    for r in (4, 10):
        gained = accuracy_difference(percent_at(lines, LEARNT, r), percent_at(lines, Q_ONLY, r))
        made.append(at_least(f"all: what learning P is worth at rank {r}, points", gained, 4.0))
    made.append(above(f"all: rank 10 over {CONTROL}, points", accuracy_difference(ten, percent_at(lines, CONTROL)), 0))
    return made


def _cost(bp: float | None, line: Record) -> float | None:
    return accuracy_difference(bp, round(100 * float(line["test_accuracy"]), 6))


def _rises(name: str, curve: Sequence[Record]) -> ExperimentCheck:
    """Whether a curve rises within its spread: no fall is larger than two standard deviations of the difference.

    A standard deviation that one or two seeds put at less counts as LEAST.
    """
    falls = []
    for before, after in itertools.pairwise(curve):
        spread = (column_numbers([before], "test_accuracy_std") or [0.0])[0] ** 2
        spread += (column_numbers([after], "test_accuracy_std") or [0.0])[0] ** 2
        fall = float(before["test_accuracy"]) - float(after["test_accuracy"])
        falls.append(fall / max(spread, 2 * LEAST**2) ** 0.5)
    return at_most(name, max(falls, default=None), 2.0)
