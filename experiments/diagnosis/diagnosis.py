"""The diagnosis of a run: which layers aligned, in which order, and the likely causes where they did not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.diagnosis.causes import CAUSE_THRESHOLDS, Cause, find_causes
from experiments.diagnosis.evidence import CHANCE, VANISHED, LayerEvidence
from neurofa.diagnostics.phases import FALL, FLOOR, SHARE, alignment_order

ALIGNED, NEVER = 0.3, 0.1
UNALIGNED = ("never aligned", "weakly aligned", "vanished")

THRESHOLDS = {
    "aligned": (
        ALIGNED,
        "gradient alignment of a layer that aligned. Ours: half of 0.6, read in figures of Refinetti et al. 2021",
    ),
    "never": (
        NEVER,
        "gradient alignment that never exceeds this is none. Ours: that of random directions of 100",
    ),
    "reached": (SHARE, "share of its peak at which the time of alignment is taken. Ours, as a habit of such plots"),
    "floor": (FLOOR, "peaks below this get no time. Ours"),
    "fall": (FALL, "share of the peak by which alignment must end below it to have fallen. Ours"),
    "vanished": (
        VANISHED,
        "share of the largest layer's gradient below which a cosine is void. Ours; the warning: arXiv 2606.21126",
    ),
    **CAUSE_THRESHOLDS,
    "chance": (CHANCE, "p of the sign test between a layer's probe and the control's. Ours, the usual one"),
}
"""Bounds that decide, with where they come from."""


@dataclass(frozen=True, kw_only=True)
class LayerDiagnosis:
    """Whether the gradient of one hidden layer aligned with that of backpropagation, and if not, the likely causes."""

    evidence: LayerEvidence
    """The measurements that decide."""
    state: str
    """``aligned``, ``weakly aligned``, ``never aligned``, ``vanished`` (backpropagation's own gradient is so small that
    no cosine with it counts), or ``no learning``."""
    causes: tuple[Cause, ...]
    """Why the layer did not align, or why its features became worse; empty for a layer without either."""

    @property
    def name(self) -> str:
        """Name of the layer."""
        return self.evidence.name


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """The diagnosis of a run: which hidden layers aligned, in which order, and why others did not."""

    layers: tuple[LayerDiagnosis, ...]
    """From input to readout."""
    gradient_order: tuple[list[str], float | None]
    """Layers in the order in which their gradients aligned, and Kendall's tau of depth and time: 1 is from the bottom
    to the top; None where it is not defined."""
    weight_order: tuple[list[str], float | None]
    """The same for the times at which weights aligned with the feedback."""


def diagnose(evidence: Sequence[LayerEvidence], outputs: int) -> Diagnosis:
    """Find out which hidden layers of a run aligned, in which order, and why the others did not.

    Causes are reported where a layer did not align, or where its features became worse than the control's.

    Args:
        evidence: measurements of all layers, from :func:`experiments.diagnosis.evidence.collect_evidence`.
        outputs: number of outputs of the network.
    """
    hidden = [e for e in evidence if e.hidden]
    layers = []
    for place, e in enumerate(hidden):
        state, causes = _state(e), list[Cause]()
        if state in UNALIGNED or (e.probe is not None and e.probe.verdict == "worse"):
            causes = find_causes(e, hidden[place:], evidence, outputs)
        layers.append(LayerDiagnosis(evidence=e, state=state, causes=tuple(causes)))
    gradients = {e.name: None if e.gradient_alignment is None else e.gradient_alignment.align for e in hidden}
    weights = {e.name: e.weight_alignment.align for e in evidence if e.weight_alignment is not None}
    return Diagnosis(
        layers=tuple(layers), gradient_order=alignment_order(gradients), weight_order=alignment_order(weights)
    )


def _state(e: LayerEvidence) -> str:
    if e.vanished_from_step is not None:
        return "vanished"
    if e.gradient_alignment is None:
        return "no learning"
    if e.gradient_alignment.peak >= ALIGNED:
        return "aligned"
    return "weakly aligned" if e.gradient_alignment.peak > NEVER else "never aligned"
