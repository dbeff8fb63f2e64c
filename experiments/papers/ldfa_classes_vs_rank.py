"""Does the rank that an error needs grow with the number of classes?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from experiments.charts.figure import Axis
from experiments.charts.swept import curves_chart
from experiments.sweeps.experiment import Experiment, ExperimentCheck, Findings, Reference, at_most
from experiments.sweeps.setup import Setup
from experiments.sweeps.tuned_curves import CONTROL, CurvePoint, run_curves
from experiments.tables import Record
from hwmodels.spec import Spec, parse

BP = "bp"
ENOUGH = 0.98
"""Share of the accuracy of backpropagation that counts as having reached it."""
LEVELS = (ENOUGH, 0.9, 0.8, 0.7)
"""Shares at which the needed rank is told: short runs may not reach the highest at any rank."""
CLAIM = "the source, as its reviews at ICLR 2025 quote it"
PAPER_EPOCHS, DECAY = 100, 0.975
ADAM = "adam(lr=0.0006, weight_decay=0.0004, amsgrad=True)"
"""As in the first author's code, for all rules and ranks alike."""


class ClassesAgainstRank(Experiment, name="ldfa_classes_vs_rank"):
    """Rank of the error that a network of 3072-512-512-512-c needs, against the number of classes c.

    All return paths have rank r (that of the readout at most c). The needed rank is the one at which a curve, drawn
    straight between its points on a logarithmic axis, reaches 98 % (and 90, 80, 70 %) of what backpropagation reaches
    with as many classes; it is told for test accuracy and, less noisy, for accuracy on the training images. Settings
    are those of the source, without tuning; the last epoch counts. The learning rate falls over the run as over the 100
    epochs of the source.

    Args:
        images: spec of a data set with an option ``classes``.
        classes: numbers of classes, rising; the first so many are kept.
        ranks: r, rising.
        hidden: width of the three hidden layers.
        epochs: of all runs; default 20, full 100.
    """

    source = "Hanut and Kadmon 2025, arXiv 2502.20580 v1-v3, Fig. 3c, protocol as in the first author's code"
    question = "Does an error need as many dimensions as there are classes?"
    parts = ("classes",)

    def __init__(
        self, *, images: Spec | str = "cifar100(validation=0, flip=True)", classes: list[int] | None = None,
        ranks: list[int] | None = None, hidden: int = 512, epochs: int | None = None,
    ) -> None:  # fmt: skip
        self.images, self.hidden, self.epochs = str(images), hidden, epochs
        self.classes = [10, 25, 50, 100] if classes is None else sorted(classes)
        self.ranks = [2, 4, 8, 16, 32, 64] if ranks is None else sorted(ranks)

    def run(self, part: str, setup: Setup) -> Findings:
        epochs = self.epochs or (PAPER_EPOCHS if setup.full else 20)
        common = {
            "batch_size": 32, "epochs": epochs, "optimizer": ADAM,
            "schedule": f"exponential(factor={DECAY ** (PAPER_EPOCHS / epochs):.4g})",
            "network": f"mlp(hidden=[{self.hidden}, {self.hidden}, {self.hidden}], activation=relu, norm=batch)",
        }  # fmt: skip
        lines: list[Record] = []
        needed: list[Record] = []
        for c in self.classes:
            name = f"{c} classes"
            found = run_curves(self._points(name), {"data": self._data(c), **common}, epochs, setup, name=name)
            curve = [_relative(line, found.lines) for line in found.lines]
            lines += [
                {
                    **line,
                    "part": part,
                    "method": f"{name}: {line['method']}",
                    "classes": c,
                    "rank": line["x"] or line["series"],
                }
                for line in curve
            ]
            ranks = {
                f"needed_rank_{where}_{level:g}": needed_rank(curve, f"{where}_share", level)
                for where in ("test", "train")
                for level in LEVELS
            }
            needed.append({"part": "needed rank", "method": name, "classes": c, **ranks})
        curves_chart(
            setup.folder / "classes.png", [_drawn(line) for line in lines if line["x"] is not None],
            x=Axis("rank r of the error", scale="log"), y_label="share of bp's test accuracy (%)",
            title=f"{self.images}, {epochs} epochs, {setup.seeds} seeds; bands: standard deviation",
        )  # fmt: skip
        claim = Reference("needed rank, in units of the number of classes", 1.0, CLAIM, "second hand")
        return Findings(
            rows=[*lines, *needed], reference=[claim], checks=checks(needed), pictures=["classes.png"],
            columns=["classes", "rank", "test_accuracy", "train_accuracy", "test_share", "train_share", "n"],
        )  # fmt: skip

    def _data(self, classes: int) -> str:
        made = parse(self.images)
        return str(Spec(made.name, {**made.options, "classes": classes}))

    def _points(self, series: str) -> list[CurvePoint]:
        return [
            *[CurvePoint(series=series, x=r, candidates=[{"rule": f"raf(rank={r}, clamp=1.0)"}]) for r in self.ranks],
            CurvePoint(series=BP, candidates=[{"rule": BP}]),
            CurvePoint(series=CONTROL, candidates=[{"rule": CONTROL}]),
        ]


def _relative(line: Record, lines: Sequence[Record]) -> Record:
    """The line with its mean accuracies as shares of those of backpropagation."""
    bp = next(other for other in lines if other["series"] == BP)
    shares = {f"{where}_share": line[f"{where}_accuracy"] / bp[f"{where}_accuracy"] for where in ("test", "train")}
    scaled = [accuracy / bp["test_accuracy"] for accuracy in line["test_accuracies"]]
    return {**line, **shares, "test_shares": scaled, "test_share_std": (line["test_accuracy_std"] or 0.0) / bp[
        "test_accuracy"
    ]}  # fmt: skip


def _drawn(line: Record) -> Record:
    return {
        "series": line["series"], "x": line["x"], "test_accuracy": line["test_share"],
        "test_accuracy_std": line["test_share_std"], "test_accuracies": line["test_shares"],
    }  # fmt: skip


def needed_rank(curve: Sequence[Record], share: str, enough: float = ENOUGH) -> float | None:
    """Lowest rank from which on a curve stays at ``enough`` or more; None where its last point is below.

    Between two points the curve is straight on a logarithmic axis of ranks.

    Args:
        curve: lines with ``x`` (levels have none and are left out) and ``share``.
        share: name of the share of what backpropagation reaches.
        enough: the share that is asked for.
    """
    points = sorted((float(line["x"]), float(line[share])) for line in curve if line["x"] is not None)
    if not points or points[-1][1] < enough:
        return None
    found = points[0][0]
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if y0 < enough <= y1:
            found = x0 * (x1 / x0) ** ((enough - y0) / (y1 - y0))
    return round(found, 3)


def checks(needed: Sequence[Record]) -> list[ExperimentCheck]:
    """Whether the needed rank rises with the number of classes.

    Args:
        needed: lines with ``classes`` (rising) and ``needed_rank_<where>_<level>``.
    """
    made = []
    for where, level in itertools.product(("test", "train"), LEVELS):
        ranks = [line[f"needed_rank_{where}_{level:g}"] for line in needed]
        known = [math.inf if rank is None else rank for rank in ranks]
        steps = [later / before if before < math.inf else 1.0 for before, later in itertools.pairwise(known)]
        smallest = min(steps, default=None)
        reached = ", ".join("not reached" if rank is None else f"{rank:.3g}" for rank in ranks)
        name = f"classes: needed rank at {level:.0%} of bp's {where} accuracy ({reached}), smallest factor"
        finite = smallest if smallest is not None and smallest < math.inf else None
        made.append(ExperimentCheck(name, finite, "> 1", smallest is not None and smallest > 1))
    for line in needed:
        rank, c = line[f"needed_rank_test_{ENOUGH:g}"], line["classes"]
        share = None if rank is None else round(rank / c, 4)
        made.append(at_most(f"classes: needed rank over number of classes, {c} (test accuracy)", share, 1))
    return made
