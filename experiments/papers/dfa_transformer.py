"""Does direct feedback train a transformer of text, and does it matter how finely its blocks are cut?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.charts.accuracies import strips_panel
from experiments.charts.figure import draw_figure
from experiments.charts.marks import GREY, Level, Text
from experiments.protocols.tables import title_of
from experiments.sweeps.candidates import rate_grid
from experiments.sweeps.experiment import Checks, Experiment, Findings, at_most, cited
from experiments.sweeps.rows import SweepRow
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import CONTROL, Fields, Study, run_study
from experiments.tables import Record, column_numbers, mean, standard_deviation
from hwmodels.spec import Spec

BP, SHALLOW = "bp", "bp, one block"
MACRO, MICRO = "dfa, macro", "dfa, micro"
RATES = (0.001, 0.003, 0.01, 0.03, 0.1)
"""Learning rates of Adam."""
THEN = {BP: 30.0, MICRO: 52.0, MACRO: 93.0}
"""Test perplexities of the source."""
RATIOS = {f"{method} over bp": round(then / THEN[BP], 2) for method, then in THEN.items() if method != BP}
FULL = "Launay et al. 2020: WikiText-103, a transformer of the usual size"
REMEMBERED = "remembered, not verified"
REFERENCES = [
    *cited(THEN, FULL, REMEMBERED, quantity="test perplexity"),
    *cited(RATIOS, FULL, REMEMBERED, quantity="ratio of test perplexities"),
]
SMALL = {
    "rhyme": "text(context=32)",
    "characters": "shakespeare(context=64, subset=150000, validation=0.02, test=0.02)",
    "words": "wikitext2(context=32, vocabulary=1000, subset=600000, held=100000)",
}
WHOLE = SMALL | {"characters": "shakespeare(context=128)", "words": "wikitext2(context=128)"}
"""Data by part, small and whole."""


@dataclass(frozen=True, kw_only=True)
class DFATransformer(Experiment, name="dfa_transformer"):
    """A causal transformer that predicts the next token of a text: perplexity of rules beside backpropagation.

    Macro sends the error of a token to the outputs of the blocks, inside which credit is exact; micro also to the
    output of attention and to the hidden units of the MLP, so that no error crosses a matrix that learns, but for
    those of queries, keys and values, which share a layer. Parts: ``rhyme`` (the rhyme in the package, for a try of
    less than a minute), ``characters`` (tiny Shakespeare), ``words`` (WikiText-2, the most frequent ones). Every
    method chooses its rate on validation loss from the same rates. A network of one block by bp shows what the others
    are worth; ``readout_only`` is a readout of untrained blocks. The default keeps parts of the texts and a small
    network; ``full`` takes whole texts, a larger network and all words, for a GPU.
    """

    source = "Launay, Poli, Boniface and Krzakala 2020, arXiv 2006.12878, section 3.4"
    differs = "WikiText-2 and characters instead of WikiText-103, a smaller network, rates tuned for every method alike"
    question = "Which rules without backpropagation train a transformer of text, and at which perplexity beside bp?"
    parts = ("rhyme", "characters", "words")

    text: Spec | str | None = None
    """Data of all parts, instead of each part's own."""
    width: int | None = None
    """Width of a token, instead of 32 (full: 256)."""
    depth: int | None = None
    """Blocks, instead of 3 (full: 6)."""
    rank: int = 16
    """Rank of raf."""
    rates: tuple[float, ...] = RATES
    """Learning rates of Adam from which every method chooses, the controls included."""
    epochs: int | None = None
    """Epochs of the runs that count, instead of 4 (the rhyme: 30, full: 10)."""
    tuning_epochs: int | None = None
    """Epochs of the runs that choose, instead of 1 (the rhyme: 10, full: 2)."""

    def run(self, part: str, setup: Setup) -> Findings:
        common = {"data": self._data(part, setup.full), "batch_size": 64 if setup.full else 8, "schedule": "cosine"}
        short = part == "rhyme"
        common |= {"epochs": self.epochs or (30 if short else 10 if setup.full else 4)}
        tuning_epochs = self.tuning_epochs or (10 if short else 2 if setup.full else 1)
        methods = self._methods(setup.full)
        study = Study(common=common, methods=methods, tuning_epochs=tuning_epochs, by_loss=True)
        outcome = run_study(study, setup, name=part)
        perplexities = {method: _perplexities(runs) for method, runs in outcome.runs.items()}
        best = math.fsum(perplexities[BP]) / len(perplexities[BP])
        rows = [{**line, **_line(perplexities[line["method"]], best)} for line in outcome.lines]
        rows.sort(key=lambda row: float(row["test_perplexity"]))
        _draw(setup.folder / f"{part}.png", rows, perplexities, title_of(part, common, setup))
        columns = ["method", "test_perplexity", "over_bp", "test_accuracy", "optimizer", "rate_edge", "n"]
        reference = [] if short else REFERENCES
        return Findings(
            rows=rows, tuning=outcome.tuning, reference=reference, pictures=[f"{part}.png"], columns=columns
        )

    def _data(self, part: str, full: bool) -> str:
        return str(self.text or (WHOLE if full else SMALL)[part])

    def _methods(self, full: bool) -> dict[str, list[Fields]]:
        width, depth = self.width or (256 if full else 32), self.depth or (6 if full else 3)

        def grid(rule: str, *, blocks: int = depth, units: str = "block") -> list[Fields]:
            cut = "" if units == "block" else f", units={units}"
            return rate_grid(rule, self.rates, "adam(lr={lr})", network=f"gpt(width={width}, depth={blocks}{cut})")

        return {
            BP: grid(BP),
            SHALLOW: grid(BP, blocks=1),
            MACRO: grid("dfa"),
            MICRO: grid("dfa", units="finest"),
            "raf": grid(f"raf(rank={self.rank}, clamp=1.0)"),
            "grape2026": grid("grape2026"),
            CONTROL: grid(CONTROL),
        }

    def checks(self, part: str, rows: Sequence[Record]) -> Checks:
        at = {row["method"]: row["test_perplexity"] for row in rows}

        def ratio(ours: str, theirs: str) -> float | None:
            return at[ours] / at[theirs] if ours in at and theirs in at else None

        for method in at:
            if method != CONTROL:
                yield at_most(f"{part}: perplexity of {method} over that of {CONTROL}", ratio(method, CONTROL), 1.0)
        yield at_most(f"{part}: perplexity of {BP} over that of one block", ratio(BP, SHALLOW), 1.0)
        yield at_most(f"{part}: perplexity of {MICRO} over that of macro", ratio(MICRO, MACRO), 1.0)
        for method in (MICRO, MACRO):
            yield at_most(f"{part}: perplexity of {method} over that of bp", ratio(method, BP), THEN[method] / THEN[BP])


def _perplexities(runs: Sequence[SweepRow]) -> list[float]:
    return column_numbers([row.flat() for row in runs], "test_perplexity")


def _line(values: Sequence[float], best: float) -> Record:
    ratios = [value / best for value in values]
    return {
        "test_perplexity": mean(values),
        "test_perplexity_std": standard_deviation(values),
        "test_perplexities": list(values),
        "over_bp": mean(ratios),
        "over_bp_std": standard_deviation(ratios),
    }


def _draw(path: Path, rows: Sequence[Record], perplexities: dict[str, list[float]], title: str) -> None:
    """Draw the perplexities of all methods, one a row, with a line at the control's and one at bp's."""
    groups = {row["method"]: {"a seed; bar: mean": perplexities[row["method"]]} for row in rows}
    panel = strips_panel(groups, x_label="test perplexity")
    for place, row in enumerate(rows):
        spread = row["test_perplexity_std"]
        beside = "" if spread is None else f" ± {spread:.2g}"
        panel.marks.append(Text(y=-place, text=f"{row['test_perplexity']:.4g}{beside}"))
        if row["method"] in (BP, CONTROL):
            colour = GREY if row["method"] == CONTROL else ""
            panel.marks.append(Level(label=row["method"], value=row["test_perplexity"], axis="x", colour=colour))
    draw_figure(path, [panel], title=title, size=(6.7, 0.6 + 0.36 * len(rows)))
