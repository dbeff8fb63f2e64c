"""Does an error of low dimension inside every block train a vision transformer?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from experiments.charts.figure import Axis
from experiments.protocols.curves import Curves, curve, gain, over_control, swept_curves
from experiments.sweeps.candidates import rate_grid
from experiments.sweeps.experiment import Checks, Experiment, Findings, at_most, cited
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import CONTROL, Fields
from experiments.sweeps.tuned_curves import CurvePoint
from experiments.tables import Record
from hwmodels.registry import build
from hwmodels.spec import Spec
from neurofa.costs.flops import step_flops
from neurofa.training.learner import Learner

NORMATIVE, LOCAL, RAF = "ldfa_normative", "ldfa_local", "raf"
BP, DFA = "bp", "dfa"
THEN = {64: 91.08, 32: 90.77, 16: 89.40}
BP_THEN = 91.34
"""Test accuracies of the source, percent."""
CODE = "table in the first author's public code: width 384, depth 8, 250 epochs, maximum over test epochs"
REFERENCES = cited({f"{NORMATIVE}, {r}": then for r, then in THEN.items()} | {BP: BP_THEN}, CODE, "read")


@dataclass(frozen=True, kw_only=True)
class LowDimensionalErrorViT(Experiment, name="ldfa_vit"):
    """Feedback of rank r (3r for the fused queries, keys and values) beside every affine map of a vision transformer.

    The default is small: patches of 8 x 8, width 128, three blocks, part of the images, few epochs; ``full`` is the
    source's network and recipe (but for AutoAugment and stochastic depth), and takes days without a GPU. The rate is
    chosen on validation data for every method; the last epoch counts. The products of a step are counted; the seconds
    are those of the runs, which share the machine (``neurofa experiment ldfa_flops`` times steps side by side).
    """

    source = "Hanut and Kadmon 2025, arXiv 2502.20580 v4, as in the first author's code"
    differs = (
        "without AutoAugment and stochastic depth, rates are tuned, the last epoch counts (source: the best test epoch)"
    )
    question = "At which rank of the error does a vision transformer learn as well as by bp, and does dfa train it?"
    parts = ("ranks",)

    data: Spec | str | None = None
    """Images; None: 15,000 of CIFAR-10 (full: all), mirrored and shifted."""
    ranks: tuple[int, ...] = (16, 32, 64)
    """Ranks of ldfa_normative."""
    local: tuple[int, ...] = (16,)
    """Ranks of ldfa_local and raf."""
    epochs: int | None = None
    """Epochs of the runs that count, instead of 8 (full: 250)."""
    tuning_epochs: int | None = None
    """Epochs of the runs that choose, instead of 2 (full: 20)."""

    def run(self, part: str, setup: Setup) -> Findings:
        full = setup.full
        network = "patch=4, width=384, depth=8, heads=8, dropout=0.1" if full else "patch=8, width=128, depth=3"
        images = f"cifar10({'' if full else 'subset=15000, '}flip=True, crop=4)"
        common = {"data": str(self.data or images), "network": f"vit({network})", "batch_size": 256 if full else 64}
        common |= {"epochs": self.epochs or (250 if full else 8), "schedule": f"cosine(warmup={10 if full else 0.5})"}
        tuning_epochs = self.tuning_epochs or (20 if full else 2)
        curves = Curves(points=self._points(), x=Axis("rank r of the error", scale="log"))
        found = swept_curves(curves, common, setup, part, tuning_epochs)
        columns = ["method", "test_accuracy", "margin_accuracy", "flop_over_bp", "seconds_over_bp", "optimizer", "n"]
        return replace(found, rows=_with_costs(found.rows, common), reference=REFERENCES, columns=columns)

    def _points(self) -> list[CurvePoint]:
        def grid(rule: str, *rates: float) -> list[Fields]:
            return rate_grid(rule, rates, "adamw(lr={lr}, weight_decay=0.05)")

        return [
            *curve(NORMATIVE, self.ranks, lambda r: grid(f"ldfa_normative(rank={r})", 0.0005, 0.001)),
            *curve(LOCAL, self.local, lambda r: grid(f"ldfa_local(rank={r})", 0.0005, 0.001)),
            *curve(RAF, self.local, lambda r: grid(f"raf(rank={r}, step=None, clamp=1.0)", 0.0005, 0.001)),
            CurvePoint(series=BP, candidates=grid(BP, 0.0005, 0.001)),
            CurvePoint(series=DFA, candidates=grid(DFA, 0.0001, 0.0003, 0.001)),
            CurvePoint(series="dfa, pooled", candidates=grid("dfa(feedback=pooled)", 0.0001, 0.0003, 0.001)),
            CurvePoint(series=CONTROL, candidates=grid(CONTROL, 0.001, 0.003)),
        ]

    def checks(self, part: str, rows: Sequence[Record]) -> Checks:
        for row in [row for row in rows if row["x"] is not None]:
            then = THEN.get(int(row["x"])) if row["series"] == NORMATIVE else None
            bound = 2.0 if then is None else round(BP_THEN - then, 6) + 1.0
            cost = gain(rows, (BP, None), (row["series"], row["x"]))
            yield at_most(f"ranks: what {row['method']} costs beside bp, points", cost, bound)
        for row in [row for row in rows if row["series"] == NORMATIVE]:
            yield at_most(f"ranks: FLOP of {row['method']} over those of bp", row["flop_over_bp"], 1.0)
        yield from over_control("ranks", rows)


def _with_costs(rows: Sequence[Record], common: Fields) -> list[Record]:
    """Return the rows with the FLOP of a step, counted, and the seconds of training, both in units of those of bp."""
    data = build("data", str(common["data"]))
    flop = {}
    for row in rows:
        network = build("network", str(common["network"]), input_shape=data.input_shape, outputs=data.classes)
        learner = Learner(network, str(row["rule"]), optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
        flop[row["method"]] = step_flops(learner, batch_size=int(str(common["batch_size"]))).total
    seconds = next(row["seconds"] for row in rows if row["method"] == BP)
    return [
        {**row, "flop_over_bp": flop[row["method"]] / flop[BP], "seconds_over_bp": row["seconds"] / seconds}
        | {"margin_accuracy": row["margin"], "margin_accuracy_std": row["margin_std"]}
        for row in rows
    ]
