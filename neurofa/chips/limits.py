"""Checks of a chip's limits, one function for each: does the figure of the learner fit, and by how much does it not?"""

from __future__ import annotations

import math
from collections.abc import Callable

from hwmodels.arrays.periphery import Periphery
from hwmodels.description import DeviceDescription
from hwmodels.format import Format
from hwmodels.profile import Profile
from hwmodels.spec import parse
from neurofa.chips.requirements import Requirements
from neurofa.chips.verdicts import (
    Answer,
    Judge,
    broken,
    compare_choices,
    compare_counts,
    compare_widths,
    each_device,
    holds,
    other,
    worst_answer,
)

PATHS = ("none", "readout", "direct", "chained")


def weight_bits(profile: Profile, needs: Requirements) -> Answer:
    """Check whether the learner's stored weights fit the width of the chip's words, bit, and return the answer.

    Floats have the width of their dtype. Analog devices, which store no words, break the limit.
    """
    return worst_answer([_word(profile.weight_bits or 0, device, needs.dtype_bits) for device in needs.devices])


def _word(allowed: int, device: DeviceDescription, dtype_bits: int) -> Answer:
    if device.word_bits is not None:
        return compare_widths(device.word_bits, allowed, device.element)
    if device.floats:
        return compare_widths(dtype_bits, allowed, f"{device.element}, floats")
    return broken(device.element, "no words")


def weight_sign(profile: Profile, needs: Requirements) -> Answer:
    """Check whether the signs of the learner's weights fit the chip, and return the answer.

    Where all synapses of a source neuron share one sign, no source may have weights of both signs.
    """
    mixed, sources = needs.mixed_sources
    if profile.weight_sign == "synapse" or not mixed:
        return holds("one a synapse" if mixed else "one a source")
    return broken("one a synapse", f"{mixed} of {sources} sources have both")


@each_device
def memory(profile: Profile, device: DeviceDescription) -> Answer:
    """Check whether a device of the learner is the chip's memory element, by name, and return the answer."""
    return compare_choices(device.element, parse(profile.memory or "").name, "memory")


@each_device
def rounding(profile: Profile, device: DeviceDescription) -> Answer:
    """Check whether a device of the learner rounds updates as the chip does, and return the answer."""
    return compare_choices(device.rounding or "none", profile.rounding or "", "rounding")


@each_device
def accumulator_bits(profile: Profile, device: DeviceDescription) -> Answer:
    """Check whether word and update of a device fit the chip's accumulator, bit, and return the answer.

    The width is that of the word, and of the bits of an update below the last bit of the word.
    """
    if device.word_bits is None or device.fraction_bits is None:
        return broken("updates are not cut", f"finer than {profile.accumulator_bits} bit")
    width = device.word_bits + device.fraction_bits
    return compare_widths(width, profile.accumulator_bits or 0, "word and fraction")


@each_device
def largest_step(profile: Profile, device: DeviceDescription) -> Answer:
    """Check whether one update of a device moves a word by no more steps than on the chip, and return the answer."""
    if device.largest_step is None:
        return broken("any number", "no limit is kept")
    return compare_counts(device.largest_step, profile.largest_step or 0)


@each_device
def pulses(profile: Profile, device: DeviceDescription) -> Answer:
    """Check whether the pulse train of a device has no more slots than the chip's, and return the answer."""
    if device.train_slots is None:
        return broken("any number", "no train is played")
    return compare_counts(device.train_slots, profile.pulses or 0)


def learning_rates(profile: Profile, needs: Requirements) -> Answer:
    """Check whether every learning rate of the learner can be represented on the chip, and return the answer.

    The excess is that of the largest rate that cannot, over the next lower one that can.
    """
    used = sorted(set(needs.rates), reverse=True)
    needed = f"{used[0]:.6g}" if len(used) == 1 else f"{len(used)} rates up to {used[0]:.6g}"
    for rate in used:
        if rate > 0 and (below := profile.rate_below(rate)) != rate:
            return broken(needed, f"{rate:.6g} is {rate / below - 1:.2%} above {below:.6g}")
    return holds(needed)


def error_path(profile: Profile, needs: Requirements) -> Answer:
    """Check whether the learner sends the error no farther than the chip can (none, readout, direct, chained)."""
    allowed, needed = profile.error_path or "none", f"{needs.rule}: {needs.path}"
    if PATHS.index(needs.path) <= PATHS.index(allowed):
        return holds(needed)
    return broken(needed, "no error can enter" if allowed == "none" else "from layer to layer")


def error_bits(profile: Profile, needs: Requirements) -> Answer:
    """Check whether the error in the learner's feedback pathway fits the width of the chip's errors, bit.

    A rule without a number format of the error sends floats, whose width is not simulated.
    """
    if needs.path == "readout":
        return other(needs.rule, "not applicable")
    if needs.error is None:
        return float_width(profile, needs)
    return compare_widths(min(needs.error.bits, needs.dtype_bits), profile.error_bits or 0, needs.error.name)


def error_formats(profile: Profile, needs: Requirements) -> Answer:
    """Check whether the number format in which the learner's error enters the pathway is one of the chip's."""
    name = "floats" if needs.error is None else needs.error.name
    return holds(name) if name in profile.error_formats else broken(name, f"not {' or '.join(profile.error_formats)}")


def pathway(profile: Profile, needs: Requirements) -> Answer:
    """Check whether the learner's feedback pathway is that of the chip, by name, and return the answer."""
    return compare_choices(needs.pathway or "none", parse(profile.feedback or "").name, "pathway")


def feedback_weights(profile: Profile, needs: Requirements) -> Answer:
    """Check whether the weights that return the learner's error are those that the chip can use, and return the answer.

    A chip without memory for feedback weights uses those of the readout.
    """
    used, allowed = needs.feedback_weights, profile.feedback_weights
    return holds(used) if used in (allowed, "none") else broken(used, f"not those of the {allowed}")


def detector_bits(profile: Profile, needs: Requirements) -> Answer:
    """Check whether the detector of the learner's projection has no finer resolution than the chip's, bit."""
    if needs.resolution is None:
        return other(needs.pathway or "none", "not applicable")
    return compare_widths(needs.resolution, profile.detector_bits or 0, needs.pathway)


def derivative(profile: Profile, needs: Requirements) -> Answer:
    """Check whether the derivatives of the learner's activations fit the constant segments of the chip's table.

    The activation with most constant pieces counts; a smooth derivative breaks the limit.
    """
    name, pieces = max(needs.derivatives.items(), key=lambda item: item[1], default=("none", 0.0))
    if math.isinf(pieces):
        return broken(f"{name}, smooth", "not constant by pieces")
    answer = compare_counts(pieces, profile.surrogate_segments or 0)
    return answer._replace(needed=f"{name}: {answer.needed}")


def converter(limit: str, bits_of: Callable[[Periphery], int | None]) -> Judge:
    """Return a check that the converters around the learner's arrays are no wider than the chip's, bit.

    Layers without converters count with the width of their floats.

    Args:
        limit: name of the profile's field.
        bits_of: function from a periphery to the bits of its converter, or None.
    """

    def judge(profile: Profile, needs: Requirements) -> Answer:
        widths = [None if around is None else bits_of(around) for around in needs.peripheries]
        allowed = getattr(profile, limit)
        return worst_answer(
            [
                compare_widths(needs.dtype_bits, allowed, "floats")
                if bits is None
                else compare_widths(bits, allowed, "converter")
                for bits in widths
            ]
        )

    return judge


def arithmetic(profile: Profile, needs: Requirements) -> Answer:
    """Check whether the chip has arithmetic as wide as the learner's floats; narrower arithmetic is not simulated."""
    if max(profile.arithmetic_bits) >= needs.dtype_bits:
        return holds(f"floats: {needs.dtype_bits}")
    return float_width(profile, needs)


def float_width(profile: Profile, needs: Requirements) -> Answer:  # noqa: ARG001
    """Return the answer for a width, bit, that this package does not simulate: the learner computes in floats."""
    return other(f"floats: {needs.dtype_bits}", "not simulated")


def kept_by_neurons(limit: str, formats: Callable[[Requirements], tuple[Format, ...]]) -> Judge:
    """Return a check that numbers which neurons keep from tick to tick are no wider than the chip's, bit.

    Args:
        limit: name of the profile's field.
        formats: function from the learner's requirements to the number formats; empty: no layer has neurons.
    """

    def judge(profile: Profile, needs: Requirements) -> Answer:
        kept, allowed = formats(needs), getattr(profile, limit)
        if not kept:
            return other("no spiking layer", "not applicable")
        return worst_answer(
            [
                compare_widths(needs.dtype_bits, allowed, "floats")
                if math.isinf(kind.bits)
                else compare_widths(kind.bits, allowed, kind.name)
                for kind in kept
            ]
        )

    return judge
