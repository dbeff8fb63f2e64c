"""Comparison of a learner with a chip: every limit of a profile beside the requirements of the learner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hwmodels.profile import Profile
from neurofa.chips import limits
from neurofa.chips.limits import converter, kept_by_neurons
from neurofa.chips.requirements import Requirements
from neurofa.chips.verdicts import Judge, Verdict, count_limit, shown


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One limit of a chip, compared with the requirement of a learner."""

    limit: str
    """Name of the profile's field."""
    title: str
    """The limited quantity, with its unit."""
    chip: str
    """The chip's figure."""
    needed: str
    """The learner's figure."""
    excess: str
    """By how much the limit is broken; empty where it holds."""
    verdict: Verdict
    """``broken`` counts against the learner; ``not simulated``: the chip has the limit, this package does not act on
    it."""
    mark: str
    """How sure the chip's figure is: ``read``, ``second-hand``, ``remembered`` or ``inferred``; empty when unknown."""


def check_limits(profile: Profile, needs: Requirements) -> list[Finding]:
    """Compare the requirements of a learner with every limit of a chip.

    Args:
        profile: the chip.
        needs: of the learner, from :func:`neurofa.chips.requirements.requirements_of`.

    Returns:
        One finding for each limit that the profile names, in its order; those that no source gave are ``not known``.
        The readout receives the error itself in this package, so that a limited error has a second finding there.
    """
    findings = []
    for limit in profile.limits:
        title, judge = _LIMITS[limit]
        findings.append(_finding(profile, needs, limit, title, judge))
        if limit == "error_bits" and profile.error_bits is not None:
            title = "width of the error at the readout, bit"
            findings.append(_finding(profile, needs, limit, title, limits.float_width))
    return findings


def _finding(profile: Profile, needs: Requirements, limit: str, title: str, judge: Judge) -> Finding:
    allowed = getattr(profile, limit)
    if allowed is None or allowed == ():
        nothing = dict.fromkeys(("needed", "excess", "mark"), "")
        return Finding(limit=limit, title=title, chip="not known", verdict="not known", **nothing)
    chip = _CHIP.get(limit, shown)(allowed)
    mark = profile.marks.get(limit, profile.verified)
    return Finding(limit=limit, title=title, chip=chip, mark=mark, **judge(profile, needs)._asdict())


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
    "rate_bits": ("learning rate", limits.learning_rates),
    "batch": ("samples in an update", count_limit("batch", lambda a: a.batch)),
    "synapse_state": ("learning state beside a weight, numbers", count_limit("synapse_state", lambda a: a.state)),
    "error_path": ("path of the error", limits.error_path),
    "error_bits": ("width of the error in the pathway, bit", limits.error_bits),
    "error_formats": ("number format of the error", limits.error_formats),
    "feedback": ("feedback pathway", limits.pathway),
    "feedback_weights": ("feedback weights", limits.feedback_weights),
    "inputs": ("input neurons", count_limit("inputs", lambda a: a.inputs)),
    "hidden_layers": ("hidden layers", count_limit("hidden_layers", lambda a: len(a.hidden))),
    "layer_width": ("neurons of a hidden layer", count_limit("layer_width", lambda a: max(a.hidden, default=0))),
    "outputs": ("readout neurons", count_limit("outputs", lambda a: a.widths[-1])),
    "neurons": ("neurons", count_limit("neurons", lambda a: sum(a.widths))),
    "synapses": ("synapses", count_limit("synapses", lambda a: a.synapses)),
    "fan_in": ("connections into a neuron", count_limit("fan_in", lambda a: a.fan_in)),
    "arithmetic_bits": ("width of the arithmetic, bit", limits.arithmetic),
    "input_bits": ("width of an activation, bit", converter("input_bits", lambda periphery: periphery.in_bits)),
    "output_bits": ("width of a weighted sum, bit", converter("output_bits", lambda periphery: periphery.out_bits)),
    "trace_bits": ("width of a trace, bit", kept_by_neurons("trace_bits", lambda a: a.traces)),
    "membrane_bits": ("width of a membrane potential, bit", kept_by_neurons("membrane_bits", lambda a: a.membranes)),
    "surrogate_segments": ("constant pieces of the derivative", limits.derivative),
    "projection_inputs": ("inputs of the feedback matrix", count_limit("projection_inputs", lambda a: a.matrix[0])),
    "projection_outputs": ("outputs of the feedback matrix", count_limit("projection_outputs", lambda a: a.matrix[1])),
    "projection_claimed": ("feedback matrix, claimed size", count_limit("projection_claimed", lambda a: max(a.matrix))),
    "detector_bits": ("resolution of the projection, bit", limits.detector_bits),
}
