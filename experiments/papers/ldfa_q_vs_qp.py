"""What is learning both factors of a low-rank feedback worth in convolutions?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from experiments.charts.figure import Axis
from experiments.charts.swept import Published
from experiments.protocols.curves import Curves, curve, gain, over_control, swept_curves
from experiments.sweeps.experiment import Checks, Experiment, Findings, above, cited
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import CONTROL
from experiments.sweeps.tuned_curves import CurvePoint
from experiments.tables import Record
from hwmodels.spec import Spec

LEARNT, Q_ONLY, BP = "P and Q learn (raf)", "Q learns", "bp"
LEARNT_THEN = {1: 71.6, 4: 76.7, 8: 81.0, 16: 83.3, 32: 84.1}
Q_ONLY_THEN = {1: 67.7, 4: 75.2, 8: 78.2, 16: 80.0, 32: 82.1}
BP_THEN = 84.3
"""Test accuracies of the source, percent; its network has 32 channels, so that rank 32 is full."""
CODE = "figure in the first author's public code: 32 channels, 250 epochs, 5 seeds"
CERTAIN = "decoded from vector graphics; that network and rates belong to it is inferred"
FIGURES = {LEARNT: LEARNT_THEN, Q_ONLY: Q_ONLY_THEN}
RANKS_THEN = {f"{series}, {r}": then for series, ranks in FIGURES.items() for r, then in ranks.items()}
REFERENCES = cited({**RANKS_THEN, BP: BP_THEN}, CODE, CERTAIN)


@dataclass(frozen=True, kw_only=True)
class QAgainstQP(Experiment, name="ldfa_q_vs_qp"):
    """Feedback of rank r, in channels, beside every convolution of a net of large kernels on grey photographs.

    P of the low-rank feedback B = P Q learns (by Oja's rule) or stays as it was drawn; Q learns in both. The default
    is a small copy: 8 channels, images of 16 x 16, part of the data; ``full`` has the source's net and epochs. All
    methods have the same settings, those of the source but for a larger rate in the short runs; nothing is tuned.
    """

    source = "Hanut and Kadmon 2025, arXiv 2502.20580 v1-v3, as in the first author's code (Q_vs_QP)"
    differs = (
        "images are not turned (source: by 10 degrees), the last epoch counts; the source's pairing of network and"
        " rate is inferred"
    )
    question = "Must the feedback's subspace be learnt, or is it enough to learn what is read out of a random one?"
    parts = ("ranks",)

    data: Spec | str | None = None
    """Grey images; None: 10,000 of CIFAR-10, mirrored (full: all)."""
    ranks: tuple[int, ...] = ()
    """Ranks r, of which at most the number of channels counts; none: 1 to 8 (full: 1 to 32)."""
    epochs: int | None = None
    """Epochs of all runs, instead of 8 (full: 250)."""

    def run(self, part: str, setup: Setup) -> Findings:
        full = setup.full
        size = "channels=32, bottleneck=32, depth=3, hidden=1024, dropout=0.5" if full else "depth=3, pool=2, kernel=7"
        images = f"cifar10(grey=True, flip=True{'' if full else ', subset=10000'})"
        epochs = self.epochs or (250 if full else 8)
        common = {"data": str(self.data or images), "network": f"retina({size})", "epochs": epochs, "batch_size": 64}
        common |= {"optimizer": f"adam(lr={0.0005 if full else 0.001}, weight_decay=0.00005)"}
        common |= {"schedule": f"exponential(factor={0.98 ** (250 / epochs):.4g})"}
        ranks = self.ranks or ((1, 4, 8, 16, 32) if full else (1, 2, 4, 8))
        points = [
            *curve(LEARNT, ranks, lambda r: [{"rule": f"raf(rank={r}, step=None, clamp=1.0)"}]),
            *curve(Q_ONLY, ranks, lambda r: [{"rule": f"raf(rank={r}, step=None, clamp=1.0, p=fixed)"}]),
            *[CurvePoint(series=rule, candidates=[{"rule": rule}]) for rule in (BP, CONTROL)],
        ]
        marks = [Published(r, then, "P and Q learn, the source") for r, then in LEARNT_THEN.items() if full]
        curves = Curves(points=points, x=Axis("rank r of the error (channels)", scale="log"), published=marks)
        return replace(swept_curves(curves, common, setup, part, epochs), reference=REFERENCES)

    def checks(self, part: str, rows: Sequence[Record]) -> Checks:
        for x in sorted({row["x"] for row in rows if row["x"] is not None}):
            gained = gain(rows, (LEARNT, x), (Q_ONLY, x))
            yield above(f"ranks: what learning P is worth at rank {x}, points", gained, 0)
        yield from over_control("ranks", rows)
