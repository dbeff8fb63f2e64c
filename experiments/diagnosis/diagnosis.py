"""Which layers aligned, and for those that did not, what is the likely cause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.diagnosis.evidence import CHANCE, VANISHED, Evidence
from neurofa.diagnostics.phases import FALL, FLOOR, SHARE, alignment_order

ALIGNED, NEVER = 0.3, 0.1
LITTLE, LEAP = 0.3, 1.0
ILL, ISOTROPIC = 10.0, 0.5

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
    "little": (LITTLE, "weights that cannot have moved by this share of their norm cannot align. Ours"),
    "leap": (LEAP, "relative change by one step from which on the start is overwritten at once. Ours"),
    "ill": (
        ILL,
        "condition number of F. Ours: a wide Gaussian F of n = 2 o rows has (sqrt n + sqrt o)/(sqrt n - sqrt o) = 5.8",
    ),
    "isotropic": (ISOTROPIC, "isotropy of an alignment matrix; 1: weights aligned where F is orthogonal. Ours"),
    "chance": (CHANCE, "p of the sign test between a layer's probe and the control's. Ours, the usual one"),
}
"""Bounds that decide, with where they come from."""


@dataclass(frozen=True)
class Cause:
    """Why a layer did not align."""

    name: str
    """``vanished``, ``gain too small``, ``gain too large``, ``conditioning``, ``convolution``, ``training``."""
    text: str
    """With the figures, one sentence without a full stop."""


@dataclass(frozen=True, kw_only=True)
class LayerDiagnosis:
    """One hidden layer."""

    evidence: Evidence
    state: str
    """``aligned``, ``weakly aligned``, ``never aligned``, ``vanished`` (no cosine counts), or ``no learning``."""
    causes: tuple[Cause, ...]

    @property
    def name(self) -> str:
        """The layer's."""
        return self.evidence.name


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """All hidden layers of a run, from input to readout."""

    layers: tuple[LayerDiagnosis, ...]
    gradient_order: tuple[list[str], float | None]
    """Layers in the order in which their gradients align, and tau (:func:`neurofa.diagnostics.phases.order`)."""
    weight_order: tuple[list[str], float | None]


def diagnose(evidence: Sequence[Evidence], outputs: int) -> Diagnosis:
    """Judge every hidden layer.

    Causes are looked for where a layer did not align, or where its features became worse than the control's; several
    may apply. What a layer's gradient needs is that the weights above it align, so that a badly conditioned F above
    counts for all layers below.

    Args:
        evidence: of :func:`experiments.diagnosis.evidence.collect_evidence`.
        outputs: of the network.
    """
    hidden = [e for e in evidence if e.hidden]
    judged = []
    for place, e in enumerate(hidden):
        state = _state(e)
        harmed = e.probe is not None and e.probe.verdict == "worse"
        wanted = state in ("never aligned", "weakly aligned", "vanished") or harmed
        judged.append(
            LayerDiagnosis(
                evidence=e, state=state, causes=tuple(_causes(e, hidden[place:], evidence, outputs)) if wanted else ()
            )
        )
    return Diagnosis(
        layers=tuple(judged),
        gradient_order=alignment_order({e.name: None if e.gradient is None else e.gradient.align for e in hidden}),
        weight_order=alignment_order({e.name: e.weight.align for e in evidence if e.weight is not None}),
    )


def _state(e: Evidence) -> str:
    if e.vanished is not None:
        return "vanished"
    if e.gradient is None:
        return "no learning"
    if e.gradient.peak >= ALIGNED:
        return "aligned"
    return "weakly aligned" if e.gradient.peak > NEVER else "never aligned"


def _causes(e: Evidence, above: Sequence[Evidence], every: Sequence[Evidence], outputs: int) -> list[Cause]:
    found = [*_too_large(e), *_vanished(e), *_too_small(e)]
    ill = [f"{a.name} ({_conditioned(a, outputs)})" for a in above if _ill(a)]
    if ill:
        text = (
            f"feedback matrices from here on are badly conditioned: {', '.join(ill)}: draw them denser, or widen the"
            " layer"
        )
        found.append(Cause("conditioning", text))
    if e.reachable is not None:
        text = (
            "shared, local kernels cannot turn towards the feedback: their cosine with F_l F_(l-1)^T is at most"
            f" k/sqrt(P_in P_out) = {e.reachable:.2g}"
        )
        found.append(Cause("convolution", text))
    return found or _others(e, every)


def _too_large(e: Evidence) -> list[Cause]:
    if e.stride is None or e.stride <= LEAP:
        return []
    start, end = e.slope
    slopes = "" if start is None or end is None else f" (mean slope of the activation {start:.2g}, then {end:.2g})"
    text = (
        f"one step moves its weights by up to {e.stride:.3g} times their norm, so that units saturate or die before"
        f" weights align{slopes}: lower the feedback gain, or the learning rate"
    )
    return [Cause("gain too large", text)]


def _vanished(e: Evidence) -> list[Cause]:
    if e.vanished is None:
        return []
    since = f"from step {e.vanished}" if e.vanished else "from the start"
    cure = "its units are dead" if e.vanished else "use fewer layers, another activation or a normalisation"
    text = (
        f"the true gradient here is below {VANISHED:g} of the largest layer's {since}, so that its cosine says"
        f" nothing: {cure}"
    )
    return [Cause("vanished", text)]


def _too_small(e: Evidence) -> list[Cause]:
    if e.travel is None or e.travel >= LITTLE or e.vanished is not None:
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


def _others(e: Evidence, every: Sequence[Evidence]) -> list[Cause]:
    """What is left when nothing else explains a layer."""
    if e.rising:
        return [Cause("training", "its alignment was still rising at the end: train longer")]
    place = [each.name for each in every].index(e.name)
    skewed = [
        f"{a.name} ({a.isotropy:.2g})" for a in every[place + 1 :] if a.isotropy is not None and a.isotropy < ISOTROPIC
    ]
    if not skewed:
        return []
    text = (
        "the weights above it did not align although their feedback is well conditioned; isotropy of their alignment"
        f" matrices: {', '.join(skewed)}; errors of unequal size or correlated outputs do that"
    )
    return [Cause("conditioning", text)]


def _ill(e: Evidence) -> bool:
    if e.feedback is None:
        return False
    conditioning = e.feedback["conditioning"]
    return conditioning is None or conditioning > ILL


def _conditioned(e: Evidence, outputs: int) -> str:
    if e.width < outputs:
        return f"{e.width} units for {outputs} outputs"
    value = None if e.feedback is None else e.feedback["conditioning"]
    return "not of full rank" if value is None else f"condition number {value:.3g}"
