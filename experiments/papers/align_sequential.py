"""In which order do the layers of a network align, from the bottom to the top or otherwise?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.charts.figure import Axis, Panel, draw_figure
from experiments.charts.seeds import STEPS
from experiments.diagnosis import alignments
from experiments.diagnosis.alignments import GRADIENTS, WEIGHTS, layers_with, mean_std
from experiments.runs.measurements import Measurement
from experiments.sweeps.candidates import rate_grid
from experiments.sweeps.experiment import Checks, Experiment, Findings, above
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import Study, run_study
from experiments.tables import Record, mean, standard_deviation
from hwmodels.errors import NeurofaError
from hwmodels.spec import Spec
from neurofa.diagnostics.phases import alignment_order

TITLES = {GRADIENTS: "gradient", WEIGHTS: "weight"}
RATES = {"tanh": (0.03, 0.1), "relu": (0.003, 0.01), "linear": (0.003, 0.01)}
ALL = "all layers"
KEPT = ("optimizer", "epochs", "test_accuracy", "test_accuracy_std", "n")
"""Columns of the study that every row of the table has too."""


@dataclass(frozen=True, kw_only=True)
class AlignSequential(Experiment, name="align_sequential"):
    """Time at which each layer aligns under direct feedback alignment, and whether the order is that of depth.

    A layer has aligned at the first step at which it reaches half of its largest alignment
    (:mod:`neurofa.diagnostics.phases`); the order of all layers is summed up by Kendall's tau-b of depth and time,
    seed by seed: 1 from the bottom to the top. The source says that layers align from the bottom to the top. Weight
    alignment of a layer needs the layers below it; gradient alignment of a layer needs the weights of all layers above.

    Parts: activations ``tanh``, ``relu`` and ``linear`` (none). The rate is chosen on validation data.

    Raises:
        NeurofaError: fewer than two hidden layers.
    """

    source = "Refinetti et al. 2021, arXiv 2011.12428, abstract"
    differs = "networks, data, the 30 epochs and the measure of order are ours; the source's settings were not read"
    question = "Do the layers of a deep network align with their feedback one after the other, from bottom to top?"
    parts = ("tanh", "relu", "linear")

    data: Spec | str | None = None
    """Data of all parts; None: 10000 images of MNIST (full: all)."""
    hidden: tuple[int, ...] = (100, 100, 100, 100)
    """Widths of the hidden layers."""
    epochs: int | None = None
    """Epochs of the runs that count, instead of 10 (full: 30)."""
    tuning_epochs: int = 2
    """Epochs of the runs that choose."""

    def __post_init__(self) -> None:
        if len(self.hidden) < 2:
            raise NeurofaError(f"got hidden={list(self.hidden)}; expected two layers or more to order; add one")

    def run(self, part: str, setup: Setup) -> Findings:
        activation = "identity" if part == "linear" else part
        common = {"data": str(self.data or ("mnist" if setup.full else "mnist(subset=10000)")), "log": "alignment"}
        common |= {"network": f"mlp(hidden={list(self.hidden)}, activation={activation})"}
        epochs = self.epochs or (30 if setup.full else 10)
        methods = {"dfa": rate_grid("dfa", RATES[part])}
        study = Study(common={**common, "epochs": epochs}, methods=methods, tuning_epochs=self.tuning_epochs)
        outcome = run_study(study, setup, name=part)
        seeds = alignments.logged_measurements(outcome.runs["dfa"])
        kept = {key: outcome.lines[0][key] for key in KEPT}
        panels = []
        for measure, name in TITLES.items():
            panel = Panel(title=f"{name} alignment; triangles: half of the peak", x=STEPS, y=Axis("cosine"))
            for layer in layers_with(seeds, measure):
                panel.marks.extend(alignments.alignment_marks(seeds, layer, measure, layer, pointer=True))
            panels.append(panel)
        caption = f"{part}: {common['data']}, {setup.seeds} seeds (bands: least to largest)"
        draw_figure(setup.folder / f"{part}.png", panels, title=caption)
        rows = [{**row, **kept} for row in order_rows(part, seeds)]
        columns = ["alignment", "layer", "align_step", "peak", "peak_step", "end", "tau"]
        return Findings(rows=rows, tuning=outcome.tuning, pictures=[f"{part}.png"], columns=columns)

    def checks(self, part: str, rows: Sequence[Record]) -> Checks:
        for row in [row for row in rows if row["layer"] == ALL]:
            taus = [tau for tau in row["taus"] if tau is not None]
            centre, spread = mean(taus), standard_deviation(taus)
            what = f"{part}: {row['alignment']} alignment from bottom to top: tau less its spread over seeds"
            yield above(what, None if centre is None else centre - (spread or 0.0), 0)


def order_rows(part: str, seeds: Sequence[Sequence[Measurement]]) -> list[Record]:
    """Return a row for each kind of alignment and layer, and one for the order of all layers.

    Args:
        part: name of the part.
        seeds: what the run of each seed logged.
    """
    rows: list[Record] = []
    for measure, title in TITLES.items():
        times: list[dict[str, float | None]] = [{} for _ in seeds]
        for layer in layers_with(seeds, measure):
            phases = alignments.phases_of(seeds, layer, measure)
            steps = [None if phase is None else phase.align for phase in phases]
            for seed, step in zip(times, steps, strict=True):
                seed[layer] = step
            known = [phase for phase in phases if phase is not None]
            row = {"part": part, "alignment": title, "layer": layer, "align_steps": steps}
            row |= mean_std("align_step", steps) | mean_std("peak", [phase.peak for phase in known])
            row |= mean_std("peak_step", [phase.peak_time for phase in known])
            rows.append(row | mean_std("end", [phase.end for phase in known]))
        orders, taus = zip(*[alignment_order(seed) for seed in times], strict=True)
        row = {"part": part, "alignment": title, "layer": ALL, "orders": list(orders), "taus": list(taus)}
        rows.append(row | mean_std("tau", taus))
    return rows
