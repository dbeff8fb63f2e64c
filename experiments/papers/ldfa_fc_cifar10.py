"""How many dimensions must the error have that trains a fully connected network on photographs?"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from experiments.charts.figure import Axis
from experiments.charts.swept import Published
from experiments.protocols.curves import Curves, curve, gain, swept_curves
from experiments.sweeps.experiment import Checks, Experiment, ExperimentCheck, Findings, above, at_least, at_most, cited
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import CONTROL, Fields
from experiments.sweeps.tuned_curves import CurvePoint
from experiments.tables import Record, column_numbers
from hwmodels.spec import Spec

LEARNT, Q_ONLY, FIXED, DIRECT = "P and Q learn (raf)", "Q learns", "P and Q fixed", "direct (draf)"
BP = "bp"
PATHS = {"dense2": "of W2", "dense3": "of W3", "dense4": "of the readout"}
"""Return paths that have a low rank alone, by layer."""
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
FIGURES = {
    "all": {f"{LEARNT}, {r}": then for r, then in ALL_THEN.items()} | {"bp, 64 units": NARROW_THEN},
    "one": {f"{layer} alone, {r}": then for layer, ranks in ONE_THEN.items() for r, then in ranks.items()},
    "direct": {f"{DIRECT}, {r}": then for r, then in DIRECT_THEN.items()},
}
GRAPHICS = "the source, 160 epochs (from its vector graphics)"
MARKS = {"all": ALL_THEN, "one": {}, "direct": DIRECT_THEN}
"""Test accuracies of the source by rank, percent, that the pictures show."""


@dataclass(frozen=True, kw_only=True)
class LowDimensionalErrorFC(Experiment, name="ldfa_fc_cifar10"):
    """Error feedback of rank r in a network of 3072-512-512-512-10 with batch normalisation.

    Parts: ``all`` (every return path has rank r; what learning P and Q is worth; a network of narrow layers as the
    control: a low rank is no narrow network), ``one`` (one return path has rank r, the others have full rank),
    ``direct`` (the error of low rank is broadcast). Every method has the settings of the source; nothing is tuned, and
    the last epoch counts. The images are mirrored, where the source also turns them by up to 10 degrees. The learning
    rate falls over the run as it does over the 160 epochs of the source; batches have 64 images (``full``: 32).
    """

    source = "Hanut and Kadmon 2025, arXiv 2502.20580 v1-v3, Fig. 3a, b, d, protocol as in the first author's code"
    differs = (
        "images are not turned (source: by 10 degrees), one rate for all, the last epoch counts (source: the best"
        " test epoch)"
    )
    question = "Does an error of as many dimensions as there are classes train a network as well as backpropagation?"
    parts = ("all", "one", "direct")

    data: Spec | str = "cifar10(flip=True)"
    """Data of all parts."""
    hidden: int = 512
    """Width of the three hidden layers."""
    narrow: int = 64
    """Width of the hidden layers of the control."""
    ranks: tuple[int, ...] = (2, 4, 10, 32)
    """Ranks of the parts all and direct."""
    epochs: int | None = None
    """Epochs of all runs, instead of 6 (full: 160)."""

    def run(self, part: str, setup: Setup) -> Findings:
        epochs = self.epochs or (PAPER_EPOCHS if setup.full else 6)
        common = {"data": str(self.data), "batch_size": 32 if setup.full else 64, "epochs": epochs, "optimizer": ADAM}
        common |= {"schedule": f"exponential(factor={DECAY ** (PAPER_EPOCHS / epochs):.4g})"}
        levels = [CurvePoint(series=rule, candidates=self._setting(rule)) for rule in (BP, CONTROL)]
        if part == "all":
            levels.append(CurvePoint(series=f"{BP}, {self.narrow} units", candidates=self._setting(BP, self.narrow)))
        marks = [Published(r, then, GRAPHICS) for r, then in MARKS[part].items()]
        x = Axis("rank r of the error", scale="log")
        curves = Curves(points=[*self._points(part), *levels], x=x, published=marks)
        found = swept_curves(curves, common, setup, part, epochs)
        return replace(found, reference=cited({BP: BP_THEN} | FIGURES[part], CODE, CERTAIN))

    def _setting(self, rule: str, width: int | None = None) -> list[Fields]:
        layers = [width or self.hidden] * 3
        return [{"rule": rule, "network": f"mlp(hidden={layers}, activation=relu, norm=batch)"}]

    def _points(self, part: str) -> list[CurvePoint]:
        if part == "direct":
            return curve(DIRECT, self.ranks, lambda r: self._setting(f"draf(rank={r})"))

        def raf(series: str, ranks: Sequence[int], options: str = "") -> list[CurvePoint]:
            return curve(series, ranks, lambda r: self._setting(f"raf(rank={r}, step=None, clamp=1.0{options})"))

        if part == "one":
            paths = [raf(f"return path {what} alone", (1, 4, 10), f", only=[{layer}]") for layer, what in PATHS.items()]
            return [point for path in paths for point in path]
        q_only = raf(Q_ONLY, [r for r in self.ranks if r in (4, 10)], ", p=fixed")
        fixed = raf(FIXED, [r for r in self.ranks if r == 10], ", p=fixed, q=fixed")
        return [*raf(LEARNT, self.ranks), *q_only, *fixed]

    def checks(self, part: str, rows: Sequence[Record]) -> Checks:
        bp, control = (BP, None), (CONTROL, None)
        if part == "one":
            for series in [row["series"] for row in rows if row["x"] == 10]:
                yield at_most(f"one: what rank 10 costs, {series}, points", gain(rows, bp, (series, 10)), 1.0)
            return
        series = LEARNT if part == "all" else DIRECT
        ten = (series, 10)
        yield _rises(f"{part}: largest fall from one rank to the next, in standard deviations", rows, series)
        if part == "all":
            narrow = next((row["series"] for row in rows if row["series"].startswith(f"{BP}, ")), "")
            yield at_most("all: what rank 10 costs beside bp, points", gain(rows, bp, ten), 1.5)
            over = gain(rows, ten, (narrow, None))
            yield at_least("all: rank 10 over a network of narrow layers, points", over, 3.0)
            for r in (4, 10):
                gained = gain(rows, (LEARNT, r), (Q_ONLY, r))
                yield at_least(f"all: what learning P is worth at rank {r}, points", gained, 4.0)
        yield above(f"{part}: rank 10 over {CONTROL}, points", gain(rows, ten, control), 0)


def _rises(name: str, rows: Sequence[Record], series: str) -> ExperimentCheck:
    """Return whether a curve rises within its spread: no fall is larger than two standard deviations of the difference.

    A standard deviation that one or two seeds put at less counts as LEAST.
    """
    curve = sorted((row for row in rows if row["series"] == series), key=lambda row: row["x"])
    falls = []
    for before, after in itertools.pairwise(curve):
        variance = sum(deviation**2 for deviation in column_numbers([before, after], "test_accuracy_std"))
        fall = float(before["test_accuracy"]) - float(after["test_accuracy"])
        falls.append(fall / max(variance, 2 * LEAST**2) ** 0.5)
    return at_most(name, max(falls, default=None), 2.0)
