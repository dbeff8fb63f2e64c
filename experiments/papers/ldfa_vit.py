"""Does an error of low dimension inside every block train a vision transformer?"""

from __future__ import annotations

from collections.abc import Sequence

from experiments.charts.figure import Axis
from experiments.sweeps.experiment import Experiment, ExperimentCheck, Findings, Reference, above, at_most
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
from experiments.tables import Record
from hwmodels.registry import build
from hwmodels.spec import Spec

NORMATIVE, LOCAL, RAF = "ldfa_normative", "ldfa_local", "raf"
BP, DFA = "bp", "dfa"
THEN = {64: 91.08, 32: 90.77, 16: 89.40}
BP_THEN = 91.34
"""Test accuracies of the source, percent."""
CODE = "table in the first author's public code: width 384, depth 8, 250 epochs, maximum over test epochs"


class LowDimensionalErrorViT(Experiment, name="ldfa_vit"):
    """Feedback of rank r (3r for the fused queries, keys and values) beside every affine map of a vision transformer.

    The default is small: patches of 8 x 8, width 128, three blocks, part of the images, few epochs; ``full`` is the
    source's network and recipe (but for AutoAugment and stochastic depth), and takes days without a GPU. The rate is
    chosen on validation data for every method; the last epoch counts. The products of a step are counted; the seconds
    are those of the runs, which share the machine (``neurofa experiment ldfa_flops`` times steps side by side).

    Args:
        data: images; default: 15,000 of CIFAR-10, mirrored and shifted.
        ranks: r of ldfa_normative.
        local: ranks of ldfa_local and raf.
        epochs: of the runs that count, instead of 8 (full: 250).
        tuning_epochs: of the runs that choose, instead of 2 (full: 20).
    """

    source = "Hanut and Kadmon 2025, arXiv 2502.20580 v4, as in the first author's code"
    question = (
        "At which rank of the error does a vision transformer learn as with backpropagation, and does dfa train it?"
    )
    parts = ("ranks",)

    def __init__(
        self, *, data: Spec | str | None = None, ranks: list[int] | None = None, local: list[int] | None = None,
        epochs: int | None = None, tuning_epochs: int | None = None,
    ) -> None:  # fmt: skip
        self.data, self.epochs, self.tuning_epochs = data, epochs, tuning_epochs
        self.ranks = [16, 32, 64] if ranks is None else ranks
        self.local = [16] if local is None else local

    def run(self, part: str, setup: Setup) -> Findings:
        full = setup.full
        network = "patch=4, width=384, depth=8, heads=8, dropout=0.1" if full else "patch=8, width=128, depth=3"
        images = "cifar10(flip=True, crop=4)" if full else "cifar10(subset=15000, flip=True, crop=4)"
        common = {
            "data": str(self.data or images), "network": f"vit({network})", "batch_size": 256 if full else 64,
            "epochs": self.epochs or (250 if full else 8), "schedule": f"cosine(warmup={10 if full else 0.5})",
        }  # fmt: skip
        found = run_curves(self._points(), common, self.tuning_epochs or (20 if full else 2), setup, name=part)
        picture = draw_tuned_curves(found, common, setup, name=part, x=Axis("rank r of the error", scale="log"))
        reference = [Reference(f"{NORMATIVE}, {r}: test accuracy, %", v, CODE, "read") for r, v in THEN.items()]
        reference.append(Reference(f"{BP}: test accuracy, %", BP_THEN, CODE, "read"))
        lines = _with_work(found.lines, common)
        return Findings(
            rows=lines, tuning=found.tuning, reference=reference, checks=checks(lines), pictures=[picture],
            columns=["method", "test_accuracy", "margin_accuracy", "flop_over_bp", "seconds_over_bp", "optimizer", "n"],
        )  # fmt: skip

    def _points(self) -> list[CurvePoint]:
        def settings(rule: str, *rates: float) -> list[Fields]:
            return [{"rule": rule, "optimizer": f"adamw(lr={lr}, weight_decay=0.05)"} for lr in rates]

        slow = (0.0005, 0.001)
        return [
            *[
                CurvePoint(series=NORMATIVE, x=r, candidates=settings(f"ldfa_normative(rank={r})", *slow))
                for r in self.ranks
            ],
            *[CurvePoint(series=LOCAL, x=r, candidates=settings(f"ldfa_local(rank={r})", *slow)) for r in self.local],
            *[CurvePoint(series=RAF, x=r, candidates=settings(f"raf(rank={r}, clamp=1.0)", *slow)) for r in self.local],
            CurvePoint(series=BP, candidates=settings(BP, *slow)),
            CurvePoint(series=DFA, candidates=settings(DFA, 0.0001, 0.0003, 0.001)),
            CurvePoint(
                series="dfa, pooled",
                candidates=settings("dfa(feedback=pooled)", 0.0001, 0.0003, 0.001),
            ),
            CurvePoint(series=CONTROL, candidates=settings(CONTROL, 0.001, 0.003)),
        ]


def _with_work(lines: Sequence[Record], common: Fields) -> list[Record]:
    """The lines with the FLOP of a step, counted, and the seconds of training, both in units of those of bp."""
    import torch

    from neurofa.costs.flops import step_flops
    from neurofa.training.learner import Learner

    data = build("data", str(common["data"]))
    flop = {}
    for line in lines:
        made = build("network", str(common["network"]), input_shape=data.input_shape, outputs=data.classes)
        learner = Learner(made, str(line["rule"]), optimizer=torch.optim.SGD(made.parameters(), lr=0.1))
        flop[line["method"]] = step_flops(learner, batch_size=int(str(common["batch_size"]))).total
    bp = next(line for line in lines if line["series"] == BP)
    return [
        {
            **line, "flop_over_bp": flop[line["method"]] / flop[bp["method"]],
            "seconds_over_bp": line["seconds"] / bp["seconds"], "margin_accuracy": line["margin"],
            "margin_accuracy_std": line["margin_std"],
        }
        for line in lines
    ]  # fmt: skip


def checks(lines: Sequence[Record]) -> list[ExperimentCheck]:
    """The statements of the experiment about its table.

    Args:
        lines: one a method, with ``series``, ``x`` and accuracies as shares.
    """
    bp, floor = percent_at(lines, BP), percent_at(lines, CONTROL)
    made = []
    for line in lines:
        if line["x"] is not None:
            cost = accuracy_difference(bp, percent_at(lines, line["series"], line["x"]))
            then = THEN.get(int(line["x"])) if line["series"] == NORMATIVE else None
            bound = 2.0 if then is None else round(BP_THEN - then, 6) + 1.0
            made.append(at_most(f"ranks: what {line['method']} costs beside bp, points", cost, bound))
    for line in lines:
        if line["series"] == NORMATIVE and "flop_over_bp" in line:
            made.append(at_most(f"ranks: FLOP of {line['method']} over those of bp", line["flop_over_bp"], 1.0))
        if line["series"] != CONTROL:
            gained = accuracy_difference(percent_at(lines, line["series"], line["x"]), floor)
            made.append(above(f"ranks: {line['method']} over {CONTROL}, points", gained, 0))
    return made
