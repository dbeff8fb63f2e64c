"""Does the rank that an error needs grow with the number of classes?"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from experiments.charts.figure import Axis
from experiments.charts.swept import curves_chart
from experiments.protocols.curves import curve
from experiments.sweeps.experiment import Checks, Experiment, Findings, Reference, above, at_most
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import CONTROL
from experiments.sweeps.tuned_curves import CurvePoint, run_curves
from experiments.tables import Record
from hwmodels.spec import Spec, parse

BP = "bp"
ENOUGH = 0.98
"""Share of the accuracy of backpropagation that counts as having reached it."""
LEVELS = (ENOUGH, 0.9, 0.8, 0.7)
"""Shares at which the needed rank is reported: short runs may not reach the highest at any rank."""
CLAIM = "the source, as its reviews at ICLR 2025 quote it"
REFERENCE = Reference("needed rank, in units of the number of classes", 1.0, CLAIM, "second hand")
PAPER_EPOCHS, DECAY = 100, 0.975
ADAM = "adam(lr=0.0006, weight_decay=0.0004, amsgrad=True)"
"""As in the first author's code, for all rules and ranks alike."""


@dataclass(frozen=True, kw_only=True)
class ClassesAgainstRank(Experiment, name="ldfa_classes_vs_rank"):
    """Rank of the error that a network of 3072-512-512-512-c needs, against the number of classes c.

    All return paths have rank r (that of the readout at most c). The needed rank is the one at which a curve, drawn
    straight between its points on a logarithmic axis, reaches 98 % (and 90, 80, 70 %) of what backpropagation reaches
    with as many classes; it is reported for test accuracy and, less noisy, for accuracy on the training images.
    Settings are those of the source, without tuning; the last epoch counts. The learning rate falls over the run as
    over the 100 epochs of the source.
    """

    source = "Hanut and Kadmon 2025, arXiv 2502.20580 v1-v3, Fig. 3c, protocol as in the first author's code"
    differs = (
        "images are not turned (source: by 5 degrees), other numbers of classes and ranks, the last epoch counts"
        " (source: the best test epoch)"
    )
    question = "Does an error need as many dimensions as there are classes?"
    parts = ("classes",)

    images: Spec | str = "cifar100(validation=0, flip=True)"
    """A data set with an option ``classes``."""
    classes: tuple[int, ...] = (10, 25, 50, 100)
    """Numbers of classes; the first so many are kept."""
    ranks: tuple[int, ...] = (2, 4, 8, 16, 32, 64)
    """Ranks r."""
    hidden: int = 512
    """Width of the three hidden layers."""
    epochs: int | None = None
    """Epochs of all runs, instead of 20 (full: 100)."""

    def run(self, part: str, setup: Setup) -> Findings:
        epochs = self.epochs or (PAPER_EPOCHS if setup.full else 20)
        schedule = f"exponential(factor={DECAY ** (PAPER_EPOCHS / epochs):.4g})"
        common = {"batch_size": 32, "epochs": epochs, "optimizer": ADAM, "schedule": schedule}
        common |= {"network": f"mlp(hidden={[self.hidden] * 3}, activation=relu, norm=batch)"}
        rows: list[Record] = []
        needed: list[Record] = []
        for c in sorted(self.classes):
            name = f"{c} classes"
            ranks = curve(name, sorted(self.ranks), lambda r: [{"rule": f"raf(rank={r}, step=None, clamp=1.0)"}])
            levels = [CurvePoint(series=rule, candidates=[{"rule": rule}]) for rule in (BP, CONTROL)]
            outcome = run_curves([*ranks, *levels], {"data": self._data(c), **common}, epochs, setup, name=name)
            lines = [_relative(line, outcome.lines) for line in outcome.lines]
            for line in lines:
                place = {"part": part, "method": f"{name}: {line['method']}", "classes": c}
                rows.append({**line, **place, "rank": line["x"] or line["series"]})
            needed.append({"part": "needed rank", "method": name, "classes": c, **_needed_ranks(lines)})
        title = f"{self.images}, {epochs} epochs, {setup.seeds} seeds; bands: standard deviation"
        drawn = [_shares(row) for row in rows if row["x"] is not None]
        x, y_label = Axis("rank r of the error", scale="log"), "share of bp's test accuracy (%)"
        curves_chart(setup.folder / "classes.png", drawn, title=title, x=x, y_label=y_label)
        columns = ["classes", "rank", "test_accuracy", "train_accuracy", "test_share", "train_share", "n"]
        return Findings(rows=[*rows, *needed], reference=[REFERENCE], pictures=["classes.png"], columns=columns)

    def _data(self, classes: int) -> str:
        spec = parse(str(self.images))
        return str(Spec(spec.name, {**spec.options, "classes": classes}))

    def checks(self, part: str, rows: Sequence[Record]) -> Checks:
        needed = [row for row in rows if row["part"] == "needed rank"]
        for where, level in itertools.product(("test", "train"), LEVELS):
            ranks = [row[f"needed_rank_{where}_{level:g}"] for row in needed]
            # a rank that was not reached says nothing of how the needed rank grows: neither factor beside it is known
            pairs = list(itertools.pairwise(ranks))
            factors = [later / before for before, later in pairs if before is not None and later is not None]
            smallest = min(factors) if factors and len(factors) == len(pairs) else None
            reached = ", ".join("not reached" if rank is None else f"{rank:.3g}" for rank in ranks)
            name = f"classes: needed rank at {level:.0%} of bp's {where} accuracy ({reached}), smallest factor"
            yield above(name, smallest, 1)
        for row in needed:
            rank, c = row[f"needed_rank_test_{ENOUGH:g}"], row["classes"]
            share = None if rank is None else round(rank / c, 4)
            yield at_most(f"classes: needed rank over number of classes, {c} (test accuracy)", share, 1)


def _relative(line: Record, lines: Sequence[Record]) -> Record:
    """Return the line with its accuracies as shares of the mean ones of backpropagation."""
    bp = next(other for other in lines if other["series"] == BP)
    shares = {f"{where}_share": line[f"{where}_accuracy"] / bp[f"{where}_accuracy"] for where in ("test", "train")}
    shares["test_shares"] = [accuracy / bp["test_accuracy"] for accuracy in line["test_accuracies"]]
    shares["test_share_std"] = (line["test_accuracy_std"] or 0.0) / bp["test_accuracy"]
    return line | shares


def _shares(row: Record) -> Record:
    """Return a row for the picture, with shares in the place of accuracies."""
    names = {"test_accuracy": "test_share", "test_accuracy_std": "test_share_std", "test_accuracies": "test_shares"}
    return row | {name: row[share] for name, share in names.items()}


def _needed_ranks(curve: Sequence[Record]) -> Record:
    where = itertools.product(("test", "train"), LEVELS)
    return {f"needed_rank_{split}_{level:g}": needed_rank(curve, f"{split}_share", level) for split, level in where}


def needed_rank(curve: Sequence[Record], share: str, enough: float = ENOUGH) -> float | None:
    """Return the lowest rank from which on a curve stays at ``enough`` or more; None where its last point is below.

    Between two points the curve is straight on a logarithmic axis of ranks.

    Args:
        curve: lines with ``x`` (levels have none and are left out) and ``share``.
        share: name of the share of what backpropagation reaches.
        enough: the share to reach.
    """
    points = sorted((float(line["x"]), float(line[share])) for line in curve if line["x"] is not None)
    if not points or points[-1][1] < enough:
        return None
    rank = points[0][0]
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        # the last crossing counts: behind it the curve stays above
        if y0 < enough <= y1:
            rank = x0 * (x1 / x0) ** ((enough - y0) / (y1 - y0))
    return round(rank, 3)
