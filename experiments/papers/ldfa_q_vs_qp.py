"""What is learning both factors of a low-rank feedback worth in convolutions?"""

from __future__ import annotations

from collections.abc import Sequence

from experiments.charts.figure import Axis
from experiments.charts.swept import Published
from experiments.sweeps.experiment import Experiment, ExperimentCheck, Findings, Reference, above
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
from hwmodels.spec import Spec

LEARNT, Q_ONLY, BP = "P and Q learn (raf)", "Q learns", "bp"
LEARNT_THEN = {1: 71.6, 4: 76.7, 8: 81.0, 16: 83.3, 32: 84.1}
Q_ONLY_THEN = {1: 67.7, 4: 75.2, 8: 78.2, 16: 80.0, 32: 82.1}
BP_THEN = 84.3
"""Test accuracies of the source, percent; its network has 32 channels, so that rank 32 is full."""
CODE = "figure in the first author's public code: 32 channels, 250 epochs, 5 seeds"
CERTAIN = "decoded from vector graphics; that network and rates belong to it is inferred"


class QAgainstQP(Experiment, name="ldfa_q_vs_qp"):
    """Feedback of rank r, in channels, beside every convolution of a net of large kernels on grey photographs.

    P of the low-rank feedback B = P Q learns (by Oja's rule) or stays as it was drawn; Q learns in both. The default
    is a small copy: 8 channels, images of 16 x 16, part of the data; ``full`` is the source's net and protocol. All
    methods have the same settings, those of the source but for a larger rate in the short runs; nothing is tuned.

    Args:
        data: grey images.
        ranks: r; at most the number of channels counts.
        epochs: of all runs, instead of 8 (full: 250).
    """

    source = "Hanut and Kadmon 2025, arXiv 2502.20580 v1-v3, as in the first author's code (Q_vs_QP)"
    question = "Must the feedback's subspace be learnt, or is it enough to learn what is read out of a random one?"
    parts = ("ranks",)

    def __init__(
        self, *, data: Spec | str | None = None, ranks: list[int] | None = None, epochs: int | None = None
    ) -> None:
        self.data, self.ranks, self.epochs = data, ranks, epochs

    def run(self, part: str, setup: Setup) -> Findings:
        full = setup.full
        size = "channels=32, bottleneck=32, depth=3, hidden=1024, dropout=0.5" if full else "depth=3, pool=2, kernel=7"
        epochs = self.epochs or (250 if full else 8)
        images = "cifar10(grey=True, flip=True)" if full else "cifar10(grey=True, flip=True, subset=10000)"
        common = {
            "data": str(self.data or images), "network": f"retina({size})", "epochs": epochs, "batch_size": 64,
            "optimizer": f"adam(lr={0.0005 if full else 0.001}, weight_decay=0.00005)",
            "schedule": f"exponential(factor={0.98 ** (250 / epochs):.4g})",
        }  # fmt: skip
        found = run_curves(self._points([1, 4, 8, 16, 32] if full else [1, 2, 4, 8]), common, epochs, setup, name=part)
        published = [Published(x, y, "P and Q learn, the source") for x, y in LEARNT_THEN.items()] if full else []
        ranks = Axis("rank r of the error (channels)", scale="log")
        picture = draw_tuned_curves(found, common, setup, name=part, x=ranks, published=published)
        return Findings(
            rows=found.lines, reference=REFERENCES, checks=checks(found.lines), pictures=[picture], tuning=found.tuning
        )

    def _points(self, default: Sequence[int]) -> list[CurvePoint]:
        def setting(rule: str) -> list[Fields]:
            return [{"rule": rule}]

        ranks = self.ranks or default
        return [
            *[CurvePoint(series=LEARNT, x=r, candidates=setting(f"raf(rank={r}, clamp=1.0)")) for r in ranks],
            *[CurvePoint(series=Q_ONLY, x=r, candidates=setting(f"raf(rank={r}, clamp=1.0, p=fixed)")) for r in ranks],
            CurvePoint(series=BP, candidates=setting(BP)),
            CurvePoint(series=CONTROL, candidates=setting(CONTROL)),
        ]


REFERENCES = [
    *[Reference(f"{LEARNT}, {r}: test accuracy, %", v, CODE, CERTAIN) for r, v in LEARNT_THEN.items()],
    *[Reference(f"{Q_ONLY}, {r}: test accuracy, %", v, CODE, CERTAIN) for r, v in Q_ONLY_THEN.items()],
    Reference(f"{BP}: test accuracy, %", BP_THEN, CODE, CERTAIN),
]


def checks(lines: Sequence[Record]) -> list[ExperimentCheck]:
    """Whether learning P is worth something at every rank, and whether both beat the control.

    Args:
        lines: one a method, with ``series``, ``x`` and accuracies as shares.
    """
    made = []
    for x in sorted({line["x"] for line in lines if line["x"] is not None}):
        gained = accuracy_difference(percent_at(lines, LEARNT, x), percent_at(lines, Q_ONLY, x))
        made.append(above(f"ranks: what learning P is worth at rank {x}, points", gained, 0))
    floor = percent_at(lines, CONTROL)
    for line in lines:
        if line["series"] != CONTROL:
            gained = accuracy_difference(percent_at(lines, line["series"], line["x"]), floor)
            made.append(above(f"ranks: {line['method']} over {CONTROL}, points", gained, 0))
    return made
