"""The picture of a diagnosis: measurements of every layer over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.charts.figure import Axis, Panel, draw_figure
from experiments.charts.marks import Level
from experiments.charts.seeds import STEPS, mean_curve
from experiments.runs.linear_probe import INPUT
from experiments.runs.measurements import Measurement, measurement_series
from experiments.runs.result import Result

PANELS = (
    ("gradient alignment", Axis("cosine"), "delta_cosine"),
    ("weight alignment", Axis("cosine"), "weight_alignment"),
    ("gradient of backpropagation", Axis("norm", scale="log"), "gradient_norm"),
    ("update of the rule", Axis("norm / norm of the weights", scale="log"), "relative_update"),
    ("conditioning of the alignment matrix A", Axis("s_max / s_min", scale="log"), "alignment_matrix.conditioning"),
)
"""Title, axis and measure of the panels."""


def draw_diagnosis(path: Path, measurements: Sequence[Measurement], result: Result) -> None:
    """Draw alignment, norms, conditioning and probes of every layer over training.

    Args:
        path: of the PNG.
        measurements: all of the run.
        result: result of the run, for the title.
    """
    names = list(next(m.alignment for m in measurements if m.alignment is not None)["layers"])
    panels = []
    for title, y, measure in PANELS:
        curves = [(name, *measurement_series(measurements, name, measure)) for name in names]
        marks = [m for name, x, y_ in curves for m in mean_curve(name, x, [y_], positive=y.scale == "log")]
        if marks:
            panels.append(Panel(title=title, x=STEPS, y=y, marks=marks))
    probes = [(m.step, m.features["layers"]) for m in measurements if m.features is not None]
    if probes:
        panels.append(_probe_panel(probes, "R^2" if result.test_accuracy is None else "held-out accuracy"))
    draw_figure(path, panels, title=f"{result.spec.rule}, {result.spec.network}, {result.spec.data}")


def _probe_panel(probes: Sequence[tuple[int, Mapping[str, float | None]]], unit: str) -> Panel:
    steps = [step for step, _ in probes]
    panel = Panel(title="linear probes of the features", x=STEPS, y=Axis(unit))
    for name in probes[-1][1]:
        if name != INPUT:
            panel.marks.extend(mean_curve(name, steps, [[layers.get(name) for _, layers in probes]]))
    of_input = probes[0][1].get(INPUT)
    if of_input is not None:
        panel.marks.append(Level(label="the inputs", value=of_input, colour="0.5"))
    return panel
