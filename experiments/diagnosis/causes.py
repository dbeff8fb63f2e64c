"""The likely causes why a layer did not align."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.diagnosis.evidence import VANISHED, LayerEvidence

LITTLE, LEAP = 0.3, 1.0
ILL, ISOTROPIC = 10.0, 0.5

CAUSE_THRESHOLDS = {
    "little": (LITTLE, "weights that cannot have moved by this share of their norm cannot align. Ours"),
    "leap": (LEAP, "relative change by one step from which on the start is overwritten at once. Ours"),
    "ill": (
        ILL,
        "condition number of F. Ours: a wide Gaussian F of n = 2 o rows has (sqrt n + sqrt o)/(sqrt n - sqrt o) = 5.8",
    ),
    "isotropic": (ISOTROPIC, "isotropy of an alignment matrix; 1: weights aligned where F is orthogonal. Ours"),
}
"""Bounds by name, with where they come from."""


@dataclass(frozen=True)
class Cause:
    """Why a layer did not align."""

    name: str
    """``vanished``, ``gain too small``, ``gain too large``, ``conditioning``, ``convolution``, ``training``."""
    text: str
    """With the figures, one sentence without a full stop."""


def find_causes(
    e: LayerEvidence, above: Sequence[LayerEvidence], layers: Sequence[LayerEvidence], outputs: int
) -> list[Cause]:
    """Return the causes why one layer did not align; several may apply.

    A layer's gradient aligns only if the weights above it align, so that a badly conditioned F above counts too.

    Args:
        e: evidence on the layer.
        above: evidence on the hidden layers from this one up.
        layers: evidence on all layers.
        outputs: number of outputs of the network.
    """
    causes = [*_too_large(e), *_vanished(e), *_too_small(e)]
    ill = [f"{a.name} ({_conditioning(a, outputs)})" for a in above if _is_ill(a)]
    if ill:
        text = (
            f"feedback matrices from here on are badly conditioned: {', '.join(ill)}: draw them denser, or widen the"
            " layer"
        )
        causes.append(Cause("conditioning", text))
    if e.reachable_cosine is not None:
        text = (
            "shared, local kernels cannot turn towards the feedback: their cosine with F_l F_(l-1)^T is at most"
            f" k/sqrt(P_in P_out) = {e.reachable_cosine:.2g}"
        )
        causes.append(Cause("convolution", text))
    return causes or _others(e, layers)


def _too_large(e: LayerEvidence) -> list[Cause]:
    if e.largest_relative_step is None or e.largest_relative_step <= LEAP:
        return []
    start, end = e.slope
    slopes = "" if start is None or end is None else f" (mean slope of the activation {start:.2g}, then {end:.2g})"
    text = (
        f"one step moves its weights by up to {e.largest_relative_step:.3g} times their norm, so that units saturate or"
        f" die before weights align{slopes}: lower the feedback gain, or the learning rate"
    )
    return [Cause("gain too large", text)]


def _vanished(e: LayerEvidence) -> list[Cause]:
    if e.vanished_from_step is None:
        return []
    since = f"from step {e.vanished_from_step}" if e.vanished_from_step else "from the start"
    cure = "its units are dead" if e.vanished_from_step else "use fewer layers, another activation or a normalisation"
    text = (
        f"the true gradient here is below {VANISHED:g} of the largest layer's {since}, so that its cosine says"
        f" nothing: {cure}"
    )
    return [Cause("vanished", text)]


def _too_small(e: LayerEvidence) -> list[Cause]:
    if e.travel is None or e.travel >= LITTLE or e.vanished_from_step is not None:
        return []
    if e.travel_bp is not None and e.travel_bp > 3 * e.travel:
        text = (
            f"the rule can have moved its weights by {e.travel:.2g} of their norm at most, backpropagation by"
            f" {e.travel_bp:.2g}: raise the feedback gain"
        )
        return [Cause("gain too small", text)]
    text = (
        f"no rule can have moved its weights far (by {e.travel:.2g} of their norm): raise the learning rate, or train"
        " longer"
    )
    return [Cause("training", text)]


def _others(e: LayerEvidence, layers: Sequence[LayerEvidence]) -> list[Cause]:
    """Return causes to consider when nothing else explains a layer."""
    if e.rising:
        return [Cause("training", "its alignment was still rising at the end: train longer")]
    above = layers[[layer.name for layer in layers].index(e.name) + 1 :]
    skewed = [f"{a.name} ({a.isotropy:.2g})" for a in above if a.isotropy is not None and a.isotropy < ISOTROPIC]
    if not skewed:
        return []
    text = (
        "the weights above it did not align although their feedback is well conditioned; isotropy of their alignment"
        f" matrices: {', '.join(skewed)}; errors of unequal size or correlated outputs do that"
    )
    return [Cause("conditioning", text)]


def _is_ill(e: LayerEvidence) -> bool:
    if e.feedback is None:
        return False
    conditioning = e.feedback["conditioning"]
    return conditioning is None or conditioning > ILL


def _conditioning(e: LayerEvidence, outputs: int) -> str:
    if e.width < outputs:
        return f"{e.width} units for {outputs} outputs"
    value = None if e.feedback is None else e.feedback["conditioning"]
    return "not of full rank" if value is None else f"condition number {value:.3g}"
