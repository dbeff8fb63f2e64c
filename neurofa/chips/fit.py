"""Whether a learner fits a chip: every limit of a profile beside what the learner asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hwmodels.profile import Profile
from neurofa.chips import limits
from neurofa.chips.limits import converter
from neurofa.chips.requirements import Footprint
from neurofa.chips.verdicts import Judge, Verdict, at_most, text


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One limit of a chip, and what a learner makes of it."""

    limit: str
    """Name of the profile's field."""
    title: str
    """What is limited, with its unit."""
    chip: str
    """What the chip has."""
    asked: str
    """What the learner asks for."""
    excess: str
    """By how much the limit is broken; empty where it holds."""
    verdict: Verdict
    """``broken`` counts against the learner; ``not simulated``: the chip has the limit, this package does not act on
    it."""
    mark: str
    """How sure the chip's figure is: ``read``, ``second-hand``, ``remembered`` or ``inferred``; empty when unknown."""


def check(profile: Profile, asked: Footprint) -> list[Finding]:
    """Compare a learner with every limit of a chip.

    Args:
        profile: the chip.
        asked: what the learner needs, from :func:`neurofa.chips.requirements.footprint`.

    Returns:
        One finding for each limit that the profile names, in its order; those that no source gave are ``not known``.
        The readout receives the error itself in this package, so that a limited error has a second finding there.
    """
    found = []
    for limit in profile.limits:
        title, judge = _LIMITS[limit]
        found.append(_finding(profile, asked, limit, title, judge))
        if limit == "error_bits" and profile.error_bits is not None:
            found.append(_finding(profile, asked, limit, "width of the error at the readout, bit", limits.floats))
    return found


def _finding(profile: Profile, asked: Footprint, limit: str, title: str, judge: Judge) -> Finding:
    allowed = getattr(profile, limit)
    if allowed is None or allowed == ():
        return Finding(
            limit=limit, title=title, chip="not known", asked="", excess="", verdict="not known", mark=""
        )  # fmt: skip
    wanted, excess, verdict = judge(profile, asked)
    chip = _CHIP.get(limit, text)(allowed)
    mark = profile.marks.get(limit, profile.verified)
    return Finding(limit=limit, title=title, chip=chip, asked=wanted, excess=excess, verdict=verdict, mark=mark)


_CHIP: dict[str, Callable[[Any], str]] = {
    "weight_sign": lambda owner: f"one a {owner}",
    "rate_bits": lambda bits: "2^-k" if bits == 1 else f"m 2^-k, m of {bits} bit",
    "error_path": {"none": "no error enters", "direct": "direct to every layer", "chained": "any"}.__getitem__,
}

_LIMITS: dict[str, tuple[str, Judge]] = {
    "weight_bits": ("width of a weight, bit", limits.weight_bits),
    "weight_sign": ("sign of a weight", limits.weight_sign),
    "memory": ("memory of a weight", limits.memory),
    "rounding": ("rounding of an update", limits.rounding),
    "accumulator_bits": ("accumulator of an update, bit", limits.accumulator_bits),
    "largest_step": ("largest update, steps of a weight", limits.largest_step),
    "pulses": ("largest update of a sample, pulses", limits.pulses),
    "rate_bits": ("learning rate", limits.rates),
    "batch": ("samples in an update", at_most("batch", lambda a: a.batch)),
    "synapse_state": ("learning state beside a weight, numbers", at_most("synapse_state", lambda a: a.state)),
    "error_path": ("path of the error", limits.error_path),
    "error_bits": ("width of the error in the pathway, bit", limits.error_bits),
    "error_formats": ("number format of the error", limits.error_formats),
    "feedback": ("feedback pathway", limits.feedback),
    "feedback_weights": ("feedback weights", limits.feedback_weights),
    "inputs": ("input neurons", at_most("inputs", lambda a: a.inputs)),
    "hidden_layers": ("hidden layers", at_most("hidden_layers", lambda a: len(a.hidden))),
    "layer_width": ("neurons of a hidden layer", at_most("layer_width", lambda a: max(a.hidden, default=0))),
    "outputs": ("readout neurons", at_most("outputs", lambda a: a.widths[-1])),
    "neurons": ("neurons", at_most("neurons", lambda a: sum(a.widths))),
    "synapses": ("synapses", at_most("synapses", lambda a: a.synapses)),
    "fan_in": ("connections into a neuron", at_most("fan_in", lambda a: a.fan_in)),
    "arithmetic_bits": ("width of the arithmetic, bit", limits.arithmetic),
    "input_bits": ("width of an activation, bit", converter("input_bits", "in_bits")),
    "output_bits": ("width of a weighted sum, bit", converter("output_bits", "out_bits")),
    "trace_bits": ("width of a trace, bit", limits.spiking("trace_bits", "traces")),
    "membrane_bits": ("width of a membrane potential, bit", limits.spiking("membrane_bits", "membranes")),
    "surrogate_segments": ("constant pieces of the derivative", limits.derivative),
    "projection_inputs": ("inputs of the feedback matrix", at_most("projection_inputs", lambda a: a.matrix[0])),
    "projection_outputs": ("outputs of the feedback matrix", at_most("projection_outputs", lambda a: a.matrix[1])),
    "projection_claimed": ("feedback matrix, claimed size", at_most("projection_claimed", lambda a: max(a.matrix))),
    "detector_bits": ("resolution of the projection, bit", limits.detector_bits),
}
