"""In which order do the layers of a network align, from the bottom to the top or otherwise?"""

from __future__ import annotations

from collections.abc import Sequence

from experiments.charts.figure import Axis, Panel, draw_figure
from experiments.charts.seeds import STEPS
from experiments.diagnosis.alignments import (
    GRADIENTS,
    WEIGHTS,
    alignment_marks,
    layers_with,
    logged_measurements,
    mean_std,
    phases_of,
)  # fmt: skip
from experiments.runs.measurements import Measurement
from experiments.sweeps.experiment import Experiment, ExperimentCheck, Findings, above
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import Fields, Study, run_study
from experiments.tables import Record, mean, standard_deviation
from hwmodels.errors import NeurofaError
from hwmodels.spec import Spec
from neurofa.diagnostics.phases import alignment_order

TITLES = {GRADIENTS: "gradient", WEIGHTS: "weight"}
RATES = {"tanh": (0.03, 0.1), "relu": (0.003, 0.01), "linear": (0.003, 0.01)}
ALL = "all layers"


class AlignSequential(Experiment, name="align_sequential"):
    """Time at which each layer aligns under direct feedback alignment, and whether the order is that of depth.

    A layer has aligned at the first step at which it reaches half of its largest alignment
    (:mod:`neurofa.diagnostics.phases`); the order of all layers is summed up by Kendall's tau-b of depth and time,
    seed by seed:
    1 from the bottom to the top. The source says that layers align from the bottom to the top. Weight alignment of a
    layer needs the layers below it; gradient alignment of a layer needs the weights of all layers above it.

    Parts: activations ``tanh``, ``relu`` and ``linear`` (none). The rate is chosen on validation data. By default 10000
    training images and 10 epochs; ``full``: all images, 30 epochs.

    Args:
        data: of all parts; None: as said above.
        hidden: widths of the hidden layers.
        epochs: of the runs that count, instead of 10 or 30.
        tuning_epochs: of the runs that choose.
    """

    source = "Refinetti et al. 2021, arXiv 2011.12428, abstract"
    question = (
        "Do the layers of a deep network align with their feedback one after the other, from the bottom to the top, as"
        " the source says?"
    )
    parts = ("tanh", "relu", "linear")

    def __init__(
        self, *, data: Spec | str | None = None, hidden: list[int] | None = None, epochs: int | None = None,
        tuning_epochs: int = 2,
    ) -> None:  # fmt: skip
        self.data = None if data is None else str(data)
        self.hidden, self.epochs, self.tuning_epochs = hidden or [100, 100, 100, 100], epochs, tuning_epochs
        if len(self.hidden) < 2:
            raise NeurofaError(f"got hidden={self.hidden}; expected two layers or more to order; add one")

    def run(self, part: str, setup: Setup) -> Findings:
        activation = "identity" if part == "linear" else part
        common: Fields = {
            "data": self.data or ("mnist" if setup.full else "mnist(subset=10000)"),
            "network": f"mlp(hidden={self.hidden}, activation={activation})",
            "epochs": self.epochs or (30 if setup.full else 10), "log": "alignment",
        }  # fmt: skip
        candidates = [{"rule": "dfa", "optimizer": f"sgd(lr={lr})"} for lr in RATES[part]]
        study = Study(common=common, methods={"dfa": candidates}, tuning_epochs=self.tuning_epochs)
        outcome = run_study(study, setup, name=part)
        found = logged_measurements(outcome.runs["dfa"])
        line = outcome.lines[0]
        settings = {key: line[key] for key in ("optimizer", "epochs", "test_accuracy", "test_accuracy_std", "n")}
        rows = [{**row, **settings} for row in lines(part, found)]
        picture = f"{part}.png"
        panels = [
            Panel(
                title=f"{title} alignment; triangles: half of the peak", x=STEPS, y=Axis("cosine"),
                marks=[
                    mark for layer in layers_with(found, what)
                    for mark in alignment_marks(found, layer, what, layer, pointer=True)
                ],
            )
            for what, title in TITLES.items()
        ]  # fmt: skip
        caption = f"{part}: {common['data']}, {setup.seeds} seeds (bands: least to largest)"
        draw_figure(setup.folder / picture, panels, title=caption)
        columns = ["alignment", "layer", "align_step", "peak", "peak_step", "end", "tau"]
        return Findings(
            rows=rows, tuning=outcome.tuning, checks=checks(part, rows), pictures=[picture], columns=columns
        )


def lines(part: str, found: Sequence[Sequence[Measurement]]) -> list[Record]:
    """One line a kind of alignment and layer, and one for the order of all layers.

    Args:
        part: name of the part.
        found: what every seed logged.
    """
    rows: list[Record] = []
    for what, title in TITLES.items():
        times: list[dict[str, float | None]] = [{} for _ in found]
        for layer in layers_with(found, what):
            each = phases_of(found, layer, what)
            for seed, phase in zip(times, each, strict=True):
                seed[layer] = None if phase is None else phase.align
            known = [phase for phase in each if phase is not None]
            rows.append({
                "part": part, "alignment": title, "layer": layer,
                "align_steps": [seed[layer] for seed in times],
                **mean_std("align_step", [seed[layer] for seed in times]), **mean_std("peak", [p.peak for p in known]),
                **mean_std("peak_step", [p.peak_time for p in known]), **mean_std("end", [p.end for p in known]),
            })  # fmt: skip
        ranks = [alignment_order(seed) for seed in times]
        rows.append({
            "part": part, "alignment": title, "layer": ALL, "orders": [names for names, _ in ranks],
            "taus": [tau for _, tau in ranks], **mean_std("tau", [tau for _, tau in ranks]),
        })  # fmt: skip
    return rows


def checks(part: str, rows: Sequence[Record]) -> list[ExperimentCheck]:
    """Whether the order is that of depth: Kendall's tau less its spread over seeds lies above 0.

    Args:
        part: one of the experiment's parts.
        rows: of :func:`lines`.
    """
    made = []
    for row in rows:
        if row["layer"] == ALL:
            taus = [tau for tau in row["taus"] if tau is not None]
            centre, apart = mean(taus), standard_deviation(taus)
            value = None if centre is None else centre - (apart or 0.0)
            what = f"{part}: {row['alignment']} alignment from bottom to top: tau less its spread over seeds"
            made.append(above(what, value, 0))
    return made
