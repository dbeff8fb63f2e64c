"""How much of a transformer's training step does feedback of low rank save, in FLOP and in time?"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.charts.figure import draw_figure
from experiments.charts.flop import phases_panel, ratio_panel, time_chart
from experiments.speed.timing import CLOCKS, sample_times, torch_threads
from experiments.sweeps.experiment import Checks, Experiment, Findings, Reference, above, cited
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

BY_HAND = {
    "total": {10: 0.70, 16: 0.72, 32: 0.75, 36: 0.76, 48: 0.79, 64: 0.82},
    "backward of linear maps": {10: 0.53, 16: 0.55, 32: 0.60, 36: 0.62, 48: 0.66, 64: 0.71},
    "input gradients": {10: 0.065, 16: 0.10, 32: 0.21, 36: 0.23, 48: 0.31, 64: 0.42},
}
"""Ratios to bp by rank, from 6 N o i and 4 N o i + 2 N r (o + i) a map, qkv at rank 3 r, attention included."""
INFERRED = ("hand count of the same net", "inferred, not in the paper")
ABSTRACT = "Hanut and Kadmon, arXiv 2502.20580 v4, abstract"
UNSURE = "read there; net and rank of the figure not read, nor whether attention and decompositions count"
REMARK = ("remark in the first author's code", "read there; with a class token, of which 52 are what a profiler misses")
RATIOS = {f"{what}, rank {rank}": ratio for what, by_rank in BY_HAND.items() for rank, ratio in by_rank.items()}
REFERENCES = [
    *cited(RATIOS, *INFERRED, quantity="FLOP over those of bp"),
    Reference("saving of training compute, % (more than)", CLAIM, ABSTRACT, UNSURE),
    Reference("bp, GFLOP a batch of 256 on CIFAR-10", 995.0, *REMARK),
]
COUNTED = ["rule", "rank", "GFLOP", "total/bp", "by hand", "backward/bp", "input/bp", "learning, %", "saved, %"]
TIMED = ["rule", "rank", "size", "batch", "wall ms", "wall/bp", "cpu/bp", "flop/bp", "time saved, %"]


@dataclass(frozen=True, kw_only=True)
class LDFAFlops(Experiment, name="ldfa_flops"):
    """FLOP and time of a step by rules of low rank, beside backpropagation, on the paper's vision transformer.

    Parts: ``count`` (FLOP by rank and phase, at the paper's size whatever ``--full`` says) and ``time`` (wall and
    processor time, interleaved, at a reduced width; with ``--full`` at the paper's width too, with small batches).
    Times leave out the decompositions of ldfa_normative, which the count spreads over 98 steps (their QR and SVD are
    not counted). Learning rates are so small that nothing grows; the arithmetic is the same.

    Raises:
        NeurofaError: a number that is not positive.
    """

    source = "Hanut and Kadmon 2025, arXiv 2502.20580"
    differs = "FLOP are counted product by product (source: torch's profiler); times are ours, and of this machine"
    question = "Does low-rank feedback save over 20 % of a transformer's FLOP, at which ranks, and how much time?"
    parts = ("count", "time")

    ranks: tuple[int, ...] = RANKS
    """Ranks that are counted."""
    timed: tuple[int, ...] = (16, 48)
    """Ranks that are timed."""
    seconds: float = 5.0
    """Duration of the timing of each method and clock, s."""
    network: str = REDUCED
    """Network that is timed without ``--full``."""
    batch: int = 32
    """Samples of a timed step."""

    def __post_init__(self) -> None:
        if min(*self.ranks, *self.timed, self.batch) < 1 or not self.seconds > 0:
            got = f"ranks={self.ranks}, timed={self.timed}, seconds={self.seconds}, batch={self.batch}"
            raise NeurofaError(f"got ldfa_flops({got}); expected positive numbers; change them")

    def run(self, part: str, setup: Setup) -> Findings:
        with torch_threads(setup.threads):
            return self._count(setup) if part == "count" else self._time(setup)

    def _count(self, setup: Setup) -> Findings:
        learner, attention = _learner("bp", PAPER), _attention(PAPER, BATCH)
        bp = step_flops(learner, batch_size=BATCH)
        rows = [_row("bp", None, learner, bp, attention)]
        for rule, rank in itertools.product(RULES, self.ranks):
            rows.append(_row(rule, rank, _learner(_spec(rule, rank), PAPER), bp, attention))
        # what is left where no error passes a linear map: no rank can save more; attention returns errors all the same
        floor = 1 - (bp.by_phase()["delivery"] - attention) / bp.total
        levels = {"claim: more than 20 % saved": 1 - CLAIM / 100, "no input gradients in linear maps": floor}
        curves = {rule: [(row["rank"], row["total/bp"]) for row in rows if row["rule"] == rule] for rule in RULES}
        by_hand = sorted((rank, ratio) for rank, ratio in BY_HAND["total"].items() if rank in self.ranks)
        ratios = ratio_panel(curves, size="rank r (qkv: 3 r)", levels=levels, published=("hand count, ldfa", by_hand))
        middle = sorted(self.ranks)[len(self.ranks) // 2]
        shown = {row["method"]: row["phases"] for row in rows if row["rank"] in (None, middle)}
        phases = phases_panel({name: {k: v / bp.total for k, v in phases.items()} for name, phases in shown.items()})
        title = f"{PAPER}, CIFAR-10, batch {BATCH}: matrix products of a step"
        draw_figure(setup.folder / "count.png", [ratios, phases], title=title, size=(4.8, 3.6))
        return Findings(rows=rows, reference=REFERENCES, pictures=["count.png"], columns=COUNTED)

    def _time(self, setup: Setup) -> Findings:
        sizes = [(self.network, self.batch)] + ([(PAPER, max(1, self.batch // 4))] if setup.full else [])
        rows = [row for network, batch in sizes for row in self._timed_rows(network, batch)]
        title = f"a step of a vision transformer, torch threads: {setup.threads}"
        time_chart(setup.folder / "time.png", [row for row in rows if row["rank"]], title=title)
        return Findings(rows=rows, pictures=["time.png"], columns=TIMED)

    def _timed_rows(self, network: str, batch: int) -> list[Record]:
        methods = {"bp": ("bp", None)} | {f"{rule}, r={r}": (rule, r) for rule in RULES for r in self.timed}
        specs = {name: "bp" if rank is None else _spec(rule, rank, 0) for name, (rule, rank) in methods.items()}
        steps = {name: _step(spec, network, batch) for name, spec in specs.items()}
        medians: dict[str, dict[str, float]] = {}
        for clock in CLOCKS:
            times, _ = sample_times(steps, seconds=self.seconds, device=torch.device("cpu"), clock=clock)
            medians[clock] = {name: statistics.median(durations) for name, durations in times.items()}
        flop = {name: step_flops(_learner(spec, network), batch_size=batch).total for name, spec in specs.items()}
        options = parse(network).options
        size = ", ".join(f"{key} {options[key]}" for key in ("width", "depth") if key in options) or network
        rows: list[Record] = []
        for name, (rule, rank) in methods.items():
            wall, cpu = (medians[clock][name] / medians[clock]["bp"] for clock in ("wall", "cpu"))
            row: Record = {"part": "time", "method": name, "rule": rule, "rank": rank, "network": network, "size": size}
            row |= {"batch": batch, "wall ms": 1e3 * medians["wall"][name], "wall/bp": wall, "cpu/bp": cpu}
            rows.append(row | {"flop/bp": flop[name] / flop["bp"], "time saved, %": 100 * (1 - wall)})
        return rows

    def checks(self, part: str, rows: Sequence[Record]) -> Checks:
        for row in [row for row in rows if row["rank"]]:
            if part == "count":
                yield above(f"{row['method']}: FLOP saved, %", row["saved, %"], CLAIM)
            else:
                yield above(f"{row['method']}, {row['size']}: wall time saved, %", row["time saved, %"], 0)


def _spec(rule: str, rank: int, every: int = HALF_EPOCH) -> str:
    return f"{rule}(rank={rank}, every={every})" if rule == "ldfa_normative" else f"{rule}(rank={rank})"


def _learner(rule: str, network: str) -> Learner:
    student: Network = build("network", network, input_shape=IMAGE, outputs=CLASSES)
    return Learner(student, rule, optimizer=torch.optim.AdamW(student.parameters(), lr=1e-6))


def _step(rule: str, network: str, batch: int) -> Callable[[], object]:
    learner, gen = _learner(rule, network), generator(0, "batch")
    x: Tensor = torch.randn(batch, *IMAGE, generator=gen)
    labels = torch.randint(CLASSES, (batch,), generator=gen)
    return lambda: learner.step(x, labels)


def _attention(spec: str, batch: int) -> int:
    """Return the FLOP of errors on their way through all attentions of a step."""
    network: Network = build("network", spec, input_shape=IMAGE, outputs=CLASSES)
    shapes = zip(network.items(), [IMAGE, *network.shapes.values()], strict=False)
    sent = (products(layer, (batch, *shape), sends=True).attention for (_, layer), shape in shapes)
    return RETURNING_ATTENTION * sum(sent)


def _row(rule: str, rank: int | None, learner: Learner, bp: StepFlops, attention: int) -> Record:
    """Return a row of the count: all products, those of errors and directions in linear maps, those of errors alone.

    The feedback's learning is in the total and in its own column, as in the hand count.

    Args:
        rule: name of the learning rule.
        rank: of its feedback; None: full.
        learner: with this rule.
        bp: FLOP of a step of backpropagation.
        attention: FLOP of errors on their way through all attentions.
    """
    ours = step_flops(learner, batch_size=BATCH)
    mine, theirs = ours.by_phase(), bp.by_phase()
    share = ours.total / bp.total
    sent, sent_bp = mine["delivery"] - attention, theirs["delivery"] - attention
    by_hand = BY_HAND["total"].get(rank) if rank is not None and rule.startswith("ldfa") else None
    method = rule if rank is None else f"{rule}, r={rank}"
    row: Record = {"part": "count", "method": method, "rule": rule, "rank": rank}
    row |= {"GFLOP": ours.total / 1e9, "total/bp": share, "by hand": by_hand, "input/bp": sent / sent_bp}
    row |= {"backward/bp": (sent + mine["update"]) / (sent_bp + theirs["update"]), "saved, %": 100 * (1 - share)}
    row |= {"learning, %": 100 * mine["adaptation"] / ours.total, "phases": mine}
    return row | {"bytes": step_memory(learner, BATCH)}
