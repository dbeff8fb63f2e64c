"""A diagnosis in words, as JSON, and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from experiments.charts.layers import Course, Panel, courses_chart
from experiments.diagnosis.diagnosis import THRESHOLDS, Diagnosis, LayerDiagnosis
from experiments.runs.linear_probe import INPUT
from experiments.runs.measurements import Measurement, measurement_series
from experiments.runs.result import Result
from neurofa.diagnostics.phases import Phases

PANELS = (
    ("gradient alignment", "cosine", "delta_cosine", False),
    ("weight alignment", "cosine", "weight_alignment", False),
    ("gradient of backpropagation", "norm", "gradient_norm", True),
    ("update of the rule", "norm / norm of the weights", "relative_update", True),
    ("conditioning of the alignment matrix A", "s_max / s_min", "alignment_matrix.conditioning", True),
)
"""Title, unit, measure, and whether it is on a logarithmic axis."""


def sentences(diagnosis: Diagnosis, result: Result) -> list[str]:
    """What the measurements mean, the most important first.

    Args:
        diagnosis: of the run.
        result: of the run, with its control where there is one.
    """
    layers = diagnosis.layers
    if not layers:
        return ["There are no hidden layers: nothing can align."]
    if all(layer.state == "no learning" for layer in layers):
        return [f"Rule {result.spec.rule} leaves all hidden layers as they are: nothing can align."]
    said = [_aligned(layers)]
    for layer in layers:
        said += [f"{layer.name}: {cause.name}: {cause.text}." for cause in layer.causes]
        if layer.state in ("weakly aligned", "never aligned") and not layer.causes:
            said.append(f"{layer.name}: no cause found; alignment is not needed for all learning: look at its probe.")
    said += _useful(layers, result)
    for title, found in (("gradients", diagnosis.gradient_order), ("weights", diagnosis.weight_order)):
        names, tau = found
        if tau is not None:
            way = "from bottom to top" if tau > 0 else "from top to bottom" if tau < 0 else "in no order"
            said.append(f"The {title} aligned {way}: {', '.join(names)} (Kendall's tau {tau:+.2f}).")
    fallen = [d.name for d in layers if d.evidence.gradient is not None and d.evidence.gradient.memorise is not None]
    if fallen:
        said.append(f"Alignment has fallen behind its peak (memorising): {', '.join(fallen)}.")
    return said


def _aligned(layers: Sequence[LayerDiagnosis]) -> str:
    if all(layer.state == "aligned" for layer in layers):
        return "All hidden layers aligned."
    groups: dict[str, list[str]] = {}
    for layer in layers:
        groups.setdefault(layer.state, []).append(layer.name)
    order = ("vanished", "never aligned", "weakly aligned", "no learning", "aligned")
    words = {"vanished": "without a true gradient"}
    return "; ".join(f"{words.get(s, s)}: {', '.join(groups[s])}" for s in order if s in groups).capitalize() + "."


def _useful(layers: Sequence[LayerDiagnosis], result: Result) -> list[str]:
    probes = {layer.name: layer.evidence.probe for layer in layers if layer.evidence.probe is not None}
    said = []
    if probes:
        place = max(probes, key=lambda name: probes[name].end)
        best, floor = probes[place].end, max(probe.control for probe in probes.values())
        better = [name for name, probe in probes.items() if probe.verdict == "better"]
        worse = [name for name, probe in probes.items() if probe.verdict == "worse"]
        learnt = (
            f"Hidden layers learnt something useful: {', '.join(better)}"
            if better
            else "No hidden layer learnt features that a linear readout separates better than random ones"
        )
        regression = result.test_accuracy is None
        said.append(
            f"{learnt} (best probe {_share(best, regression)} at {place}; random features of the control at most"
            f" {_share(floor, regression)})."
        )
        if worse:
            said.append(f"Features became worse than random ones: {', '.join(worse)}.")
    if result.margin is not None and result.control is not None:
        said.append(
            f"Test accuracy {_share(result.test_accuracy, False)}, readout-only control"
            f" {_share(result.control.test_accuracy, False)}: {100 * result.margin:+.2f} points."
        )
    return said


def _share(value: float | None, regression: bool) -> str:
    return "-" if value is None else f"R^2 {value:.3f}" if regression else f"{value:.1%}"


def to_json(diagnosis: Diagnosis, result: Result, picture: Path) -> dict[str, Any]:
    """All of it as JSON values."""
    orders = {"gradient": diagnosis.gradient_order, "weight": diagnosis.weight_order}
    return {
        "rule": result.spec.rule, "network": result.spec.network, "data": result.spec.data,
        "summary": sentences(diagnosis, result),
        "layers": [_layer(layer) for layer in diagnosis.layers],
        "order": {name: {"layers": names, "tau": tau} for name, (names, tau) in orders.items()},
        "test_accuracy": result.test_accuracy, "margin": result.margin,
        "thresholds": {name: {"value": value, "source": source} for name, (value, source) in THRESHOLDS.items()},
        "picture": str(picture), "spec": result.spec.to_json(),
    }  # fmt: skip


def _layer(layer: LayerDiagnosis) -> dict[str, Any]:
    e = layer.evidence
    return {
        "name": e.name, "kind": e.kind, "state": layer.state, "causes": [asdict(cause) for cause in layer.causes],
        "gradient_alignment": _phases(e.gradient), "weight_alignment": _phases(e.weight),
        "probe": None if e.probe is None else {**asdict(e.probe), "verdict": e.probe.verdict},
        "gradient_share": e.gradient_share, "vanished_from_step": e.vanished, "travel": e.travel,
        "travel_bp": e.travel_bp, "largest_relative_step": e.stride, "feedback": e.feedback, "isotropy": e.isotropy,
        "reachable_cosine": e.reachable,
    }  # fmt: skip


def _phases(found: Phases | None) -> dict[str, float | None] | None:
    return None if found is None else asdict(found)


def draw(path: Path, found: Sequence[Measurement], result: Result) -> None:
    """Draw alignment, norms, conditioning and probes of every layer over training.

    Args:
        path: of the PNG.
        found: all measurements of the run.
        result: for the title.
    """
    names = list(next(look.alignment for look in found if look.alignment is not None)["layers"])
    panels = []
    for title, unit, what, log in PANELS:
        drawn = []
        for name in names:
            steps, values = measurement_series(found, name, what)
            if any(v is not None for v in values):
                drawn.append(Course(label=name, steps=steps, values=[values]))
        panels.append(Panel(title=title, y_label=unit, courses=drawn, log=log))
    probed = [look for look in found if look.features is not None]
    if probed:
        features = [(look.step, look.features["layers"]) for look in probed if look.features is not None]
        levels = {"the inputs": start} if (start := features[0][1].get(INPUT)) is not None else {}
        courses = [
            Course(label=name, steps=[step for step, _ in features], values=[[f.get(name) for _, f in features]])
            for name in features[-1][1]
            if name != INPUT
        ]
        unit = "R^2" if result.test_accuracy is None else "held-out accuracy"
        panels.append(Panel(title="linear probes of the features", y_label=unit, courses=courses, levels=levels))
    title = f"{result.spec.rule}, {result.spec.network}, {result.spec.data}"
    courses_chart(path, panels, title=title)
