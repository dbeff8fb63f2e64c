"""How much of a transformer's training step does feedback of low rank save, in FLOP and in time?"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from experiments.charts.figure import draw_figure
from experiments.charts.flop import phases_panel, ratio_panel, time_chart
from experiments.speed.timing import CLOCKS, sample_times, torch_threads
from experiments.sweeps.experiment import Experiment, Findings, Reference, above
from experiments.sweeps.setup import Setup
from experiments.tables import Record
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from hwmodels.spec import parse
from neurofa.core.network import Network
from neurofa.core.products import RETURNING_ATTENTION
from neurofa.core.randomness import generator
from neurofa.costs.flops import StepFlops, step_flops
from neurofa.costs.memory import step_memory
from neurofa.maps.trace import products
from neurofa.training.learner import Learner

IMAGE, CLASSES = (3, 32, 32), 10
PAPER = "vit(width=384, depth=8, heads=8, ratio=2, patch=4)"
"""The paper's net for CIFAR-10, but for its class token: here the readout takes the mean of 64 tokens."""
REDUCED = "vit(width=96, depth=4, heads=4, ratio=2, patch=4)"
BATCH = 256
RANKS = (10, 16, 32, 36, 48, 64)
RULES = ("ldfa_normative", "ldfa_local", "raf")
CLAIM = 20.0
"""Saving that the paper claims, percent of the FLOP."""
HALF_EPOCH = 98
"""Steps between two decompositions in the authors' code: half an epoch of 196 batches."""

BY_HAND: Mapping[str, Mapping[int, float]] = {
    "total": {10: 0.70, 16: 0.72, 32: 0.75, 36: 0.76, 48: 0.79, 64: 0.82},
    "backward of linear maps": {10: 0.53, 16: 0.55, 32: 0.60, 36: 0.62, 48: 0.66, 64: 0.71},
    "input gradients": {10: 0.065, 16: 0.10, 32: 0.21, 36: 0.23, 48: 0.31, 64: 0.42},
}
"""Ratios to bp by rank, from 6 N o i and 4 N o i + 2 N r (o + i) a map, qkv at rank 3 r, attention included."""

REFERENCES = [
    *[
        Reference(f"{what} over bp at rank {rank}", value, "hand count of the same net", "inferred, not in the paper")
        for what, by_rank in BY_HAND.items()
        for rank, value in by_rank.items()
    ],
    Reference(
        "saving of training compute, % (more than)", CLAIM, "Hanut and Kadmon, arXiv 2502.20580 v4, abstract",
        "read there; net and rank of the figure not read, nor whether attention and decompositions count",
    ),
    Reference(
        "bp, GFLOP a batch of 256 on CIFAR-10", 995.0, "remark in the first author's code",
        "read there; with a class token, of which 52 are what a profiler misses",
    ),
]  # fmt: skip


class LDFAFlops(Experiment, name="ldfa_flops"):
    """FLOP and time of a step by rules of low rank, beside backpropagation, on the paper's vision transformer.

    Parts: ``count`` (FLOP by rank and phase, at the paper's size whatever ``--full`` says) and ``time`` (wall and
    processor time, interleaved, at a reduced width; with ``--full`` at the paper's width too, with small batches).
    Times leave out the decompositions of ldfa_normative, which the count spreads over 98 steps (their QR and SVD are
    not counted). Learning rates are so small that nothing grows; the arithmetic is the same.

    Args:
        ranks: ranks that are counted.
        timed: ranks that are timed.
        seconds: of timing for each method and clock, s.
        network: that is timed without ``--full``.
        batch: of timed steps, samples.
    """

    source = "Hanut and Kadmon 2025, arXiv 2502.20580"
    question = (
        "Does feedback of low rank save more than 20 % of the FLOP of training a vision transformer, at which ranks,"
        " and how much of the time of a step?"
    )
    parts = ("count", "time")

    def __init__(
        self, *, ranks: list[int] | None = None, timed: list[int] | None = None, seconds: float = 5.0,
        network: str = REDUCED, batch: int = 32,
    ) -> None:  # fmt: skip
        self.ranks, self.timed = tuple(ranks or RANKS), tuple(timed or (16, 48))
        if min(*self.ranks, *self.timed, batch, 1) < 1 or not seconds > 0:
            raise NeurofaError(
                f"got ranks={list(self.ranks)}, timed={list(self.timed)}, seconds={seconds}, batch={batch}; expected"
                " positive numbers; change them"
            )
        self.seconds, self.network, self.batch = seconds, network, batch

    def run(self, part: str, setup: Setup) -> Findings:
        with torch_threads(setup.threads):
            return self._count(setup) if part == "count" else self._time(setup)

    def _count(self, setup: Setup) -> Findings:
        counted, attention = _counted("bp", PAPER, BATCH), _attention(PAPER, BATCH)
        bp = counted[0]
        rows = [_row("bp", None, counted, bp, attention)]
        for rule in RULES:
            rows += [_row(rule, rank, _counted(_spec(rule, rank), PAPER, BATCH), bp, attention) for rank in self.ranks]
        found = Findings(rows=rows, reference=REFERENCES, pictures=["count.png"])
        found.columns = [
            "rule", "rank", "GFLOP", "total/bp", "by hand", "backward/bp", "input/bp", "learning, %", "saved, %",
        ]  # fmt: skip
        found.checks = [
            above(f"{row['method']}: FLOP saved, %", float(str(row["saved, %"])), CLAIM) for row in rows if row["rank"]
        ]
        middle = sorted(self.ranks)[len(self.ranks) // 2]
        ratios = ratio_panel(
            {rule: [(r["rank"], r["total/bp"]) for r in rows if r["rule"] == rule] for rule in RULES},
            size="rank r (qkv: 3 r)",
            levels={
                "claim: more than 20 % saved": 1 - CLAIM / 100,
                "no input gradients in linear maps": _floor(bp, attention),
            },
            published=("hand count, ldfa", sorted((r, v) for r, v in BY_HAND["total"].items() if r in self.ranks)),
        )
        phases = phases_panel(
            {
                str(row["method"]): {k: v / bp.total for k, v in row["phases"].items()}
                for row in rows
                if row["rank"] in (None, middle)
            }
        )
        title = f"{PAPER}, CIFAR-10, batch {BATCH}: matrix products of a step"
        draw_figure(setup.folder / "count.png", [ratios, phases], title=title, size=(4.8, 3.6))
        return found

    def _time(self, setup: Setup) -> Findings:
        sizes = [(self.network, self.batch)] + ([(PAPER, max(1, self.batch // 4))] if setup.full else [])
        rows = [row for network, batch in sizes for row in self._timed(network, batch)]
        found = Findings(rows=rows, pictures=["time.png"])
        found.columns = ["rule", "rank", "size", "batch", "wall ms", "wall/bp", "cpu/bp", "flop/bp", "time saved, %"]
        found.checks = [
            above(f"{row['method']}, {row['size']}: wall time saved, %", float(str(row["time saved, %"])), 0)
            for row in rows
            if row["rank"]
        ]
        time_chart(
            setup.folder / "time.png", [row for row in rows if row["rank"]],
            title=f"a step of a vision transformer, torch threads: {setup.threads}",
        )  # fmt: skip
        return found

    def _timed(self, network: str, batch: int) -> list[Record]:
        methods = {"bp": ("bp", None)} | {f"{rule}, r={r}": (rule, r) for rule in RULES for r in self.timed}
        specs = {name: "bp" if rank is None else _spec(rule, rank, 0) for name, (rule, rank) in methods.items()}
        medians: dict[str, dict[str, float]] = {}
        steps = {name: _step(spec, network, batch) for name, spec in specs.items()}
        for clock in CLOCKS:
            times, _ = sample_times(steps, seconds=self.seconds, device=torch.device("cpu"), clock=clock)
            medians[clock] = {name: statistics.median(found) for name, found in times.items()}
        flop = {name: _counted(spec, network, batch)[0].total for name, spec in specs.items()}
        options, rows = parse(network).options, list[Record]()
        size = ", ".join(f"{key} {options[key]}" for key in ("width", "depth") if key in options) or network
        for name, (rule, rank) in methods.items():
            ratio = {clock: found[name] / found["bp"] for clock, found in medians.items()}
            rows.append(
                {
                    "part": "time", "method": name, "rule": rule, "rank": rank, "network": network, "size": size,
                    "batch": batch,
                    "wall ms": 1e3 * medians["wall"][name], "wall/bp": ratio["wall"], "cpu/bp": ratio["cpu"],
                    "flop/bp": flop[name] / flop["bp"], "time saved, %": 100 * (1 - ratio["wall"]),
                }
            )  # fmt: skip
        return rows


def _spec(rule: str, rank: int, every: int = HALF_EPOCH) -> str:
    return f"{rule}(rank={rank}, every={every})" if rule == "ldfa_normative" else f"{rule}(rank={rank})"


def _learner(rule: str, network: str) -> Learner:
    made: Network = build("network", network, input_shape=IMAGE, outputs=CLASSES)
    return Learner(made, rule, optimizer=torch.optim.AdamW(made.parameters(), lr=1e-6))


def _step(rule: str, network: str, batch: int) -> Callable[[], object]:
    learner, gen = _learner(rule, network), generator(0, "batch")
    x: Tensor = torch.randn(batch, *IMAGE, generator=gen)
    labels = torch.randint(CLASSES, (batch,), generator=gen)
    return lambda: learner.step(x, labels)


def _counted(rule: str, network: str, batch: int) -> tuple[StepFlops, dict[str, int]]:
    """Return FLOP and bytes of a step."""
    learner = _learner(rule, network)
    return step_flops(learner, batch_size=batch), step_memory(learner, batch)


def _attention(network: str, batch: int) -> int:
    """FLOP of errors on their way through all attentions of a step."""
    made: Network = build("network", network, input_shape=IMAGE, outputs=CLASSES)
    shapes = [IMAGE, *made.shapes.values()]
    return RETURNING_ATTENTION * sum(
        products(layer, (batch, *shape), sends=True).attention
        for (_, layer), shape in zip(made.items(), shapes, strict=False)
    )


def _row(
    rule: str, rank: int | None, counted: tuple[StepFlops, dict[str, int]], bp: StepFlops, attention: int
) -> Record:
    """One line of the count: all products, those of errors and directions in linear maps, those of errors alone.

    The feedback's learning is in the total and in its own column, as in the hand count.
    """
    ours, held = counted
    mine, theirs = ours.by_phase(), bp.by_phase()
    sent, sent_bp = mine["delivery"] - attention, theirs["delivery"] - attention
    by_hand = BY_HAND["total"].get(rank) if rank is not None and rule.startswith("ldfa") else None
    return {
        "part": "count", "method": rule if rank is None else f"{rule}, r={rank}", "rule": rule, "rank": rank,
        "GFLOP": ours.total / 1e9, "total/bp": ours.total / bp.total,
        "backward/bp": (sent + mine["update"]) / (sent_bp + theirs["update"]),
        "input/bp": sent / sent_bp, "learning, %": 100 * mine["adaptation"] / ours.total,
        "saved, %": 100 * (1 - ours.total / bp.total), "by hand": by_hand, "phases": mine, "bytes": held,
    }  # fmt: skip


def _floor(bp: StepFlops, attention: int) -> float:
    """Share of bp's FLOP that is left when no linear map returns an error."""
    return 1 - (bp.by_phase()["delivery"] - attention) / bp.total
