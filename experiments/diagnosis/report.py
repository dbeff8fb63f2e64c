"""A diagnosis in words and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from experiments.diagnosis.diagnosis import THRESHOLDS, Diagnosis, LayerDiagnosis
from experiments.runs.result import Result


def diagnosis_sentences(diagnosis: Diagnosis, result: Result) -> list[str]:
    """Return the meaning of the measurements in sentences, the most important first.

    Args:
        diagnosis: of the run.
        result: of the run, with its control where there is one.
    """
    layers = diagnosis.layers
    if not layers:
        return ["There are no hidden layers: nothing can align."]
    if all(layer.state == "no learning" for layer in layers):
        return [f"Rule {result.spec.rule} leaves all hidden layers as they are: nothing can align."]
    sentences = [_alignment(layers)]
    for layer in layers:
        sentences += [f"{layer.name}: {cause.name}: {cause.text}." for cause in layer.causes]
        if layer.state in ("weakly aligned", "never aligned") and not layer.causes:
            text = "no cause found; alignment is not needed for all learning: look at its probe"
            sentences.append(f"{layer.name}: {text}.")
    sentences += [*_usefulness(layers, result), *_margin(result)]
    for title, (names, tau) in (("gradients", diagnosis.gradient_order), ("weights", diagnosis.weight_order)):
        if tau is not None:
            way = "from bottom to top" if tau > 0 else "from top to bottom" if tau < 0 else "in no order"
            sentences.append(f"The {title} aligned {way}: {', '.join(names)} (Kendall's tau {tau:+.2f}).")
    phases = {layer.name: layer.evidence.gradient_alignment for layer in layers}
    fallen = [name for name, phase in phases.items() if phase is not None and phase.memorise is not None]
    if fallen:
        sentences.append(f"Alignment has fallen behind its peak (memorising): {', '.join(fallen)}.")
    return sentences


def _alignment(layers: Sequence[LayerDiagnosis]) -> str:
    if all(layer.state == "aligned" for layer in layers):
        return "All hidden layers aligned."
    groups: dict[str, list[str]] = {}
    for layer in layers:
        groups.setdefault(layer.state, []).append(layer.name)
    order = ("vanished", "never aligned", "weakly aligned", "no learning", "aligned")
    words = {"vanished": "without a true gradient"}
    return "; ".join(f"{words.get(s, s)}: {', '.join(groups[s])}" for s in order if s in groups).capitalize() + "."


def _usefulness(layers: Sequence[LayerDiagnosis], result: Result) -> list[str]:
    """Say whether linear probes of the features are better than those of the control."""
    probes = {layer.name: layer.evidence.probe for layer in layers if layer.evidence.probe is not None}
    if not probes:
        return []
    place = max(probes, key=lambda name: probes[name].end)
    best, floor = probes[place].end, max(probe.control for probe in probes.values())
    better, worse = ([name for name, p in probes.items() if p.verdict == verdict] for verdict in ("better", "worse"))
    learnt = "No hidden layer learnt features that a linear readout separates better than random ones"
    if better:
        learnt = f"Hidden layers learnt something useful: {', '.join(better)}"
    regression = result.test_accuracy is None
    figures = (
        f"best probe {_share(best, regression)} at {place}; random features of the control at most"
        f" {_share(floor, regression)}"
    )
    harmed = [f"Features became worse than random ones: {', '.join(worse)}."] if worse else []
    return [f"{learnt} ({figures}).", *harmed]


def _margin(result: Result) -> list[str]:
    if result.margin is None or result.control is None:
        return []
    own, control = (_share(run.test_accuracy, False) for run in (result, result.control))
    return [f"Test accuracy {own}, readout-only control {control}: {100 * result.margin:+.2f} points."]


def _share(value: float | None, regression: bool) -> str:
    return "-" if value is None else f"R^2 {value:.3f}" if regression else f"{value:.1%}"


def diagnosis_to_json(diagnosis: Diagnosis, result: Result, picture: Path) -> dict[str, Any]:
    """Return the diagnosis as JSON values.

    Args:
        diagnosis: of the run.
        result: of the run.
        picture: path of its picture.
    """
    orders = {"gradient": diagnosis.gradient_order, "weight": diagnosis.weight_order}
    return {
        "rule": result.spec.rule,
        "network": result.spec.network,
        "data": result.spec.data,
        "summary": diagnosis_sentences(diagnosis, result),
        "layers": [_layer(layer) for layer in diagnosis.layers],
        "order": {name: {"layers": names, "tau": tau} for name, (names, tau) in orders.items()},
        "test_accuracy": result.test_accuracy,
        "margin": result.margin,
        "thresholds": {name: {"value": value, "source": source} for name, (value, source) in THRESHOLDS.items()},
        "picture": str(picture),
        "spec": result.spec.to_json(),
    }


def _layer(layer: LayerDiagnosis) -> dict[str, Any]:
    content = asdict(layer)
    probe = layer.evidence.probe
    if probe is not None:
        content["evidence"]["probe"]["verdict"] = probe.verdict
    return {**content.pop("evidence"), **content}
