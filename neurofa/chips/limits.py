"""One judge for each kind of limit of a chip."""

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
    """Judge the width of the stored word; floats have that of their dtype, analog states are no words."""
    return worst_answer([_word(profile.weight_bits or 0, device, needs.dtype_bits) for device in needs.devices])


def _word(allowed: int, device: DeviceDescription, dtype_bits: int) -> Answer:
    if device.word_bits is not None:
        return compare_widths(device.word_bits, allowed, device.element)
    if device.floats:
        return compare_widths(dtype_bits, allowed, f"{device.element}, floats")
    return broken(device.element, "no words")


def weight_sign(profile: Profile, needs: Requirements) -> Answer:
    """Judge the signs: where all synapses of a source share one, no source may have weights of both."""
    mixed, sources = needs.mixed_sources
    if profile.weight_sign == "synapse" or not mixed:
        return holds("one a synapse" if mixed else "one a source")
    return broken("one a synapse", f"{mixed} of {sources} sources have both")


@each_device
def memory(profile: Profile, device: DeviceDescription) -> Answer:
    """Judge the memory element, by name."""
    return compare_choices(device.element, parse(profile.memory or "").name, "memory")


@each_device
def rounding(profile: Profile, device: DeviceDescription) -> Answer:
    """Judge how the device rounds an update."""
    return compare_choices(device.rounding or "none", profile.rounding or "", "rounding")


@each_device
def accumulator_bits(profile: Profile, device: DeviceDescription) -> Answer:
    """Judge the bits of the word and of an update below its last bit."""
    if device.word_bits is None or device.fraction_bits is None:
        return broken("updates are not cut", f"finer than {profile.accumulator_bits} bit")
    width = device.word_bits + device.fraction_bits
    return compare_widths(width, profile.accumulator_bits or 0, "word and fraction")


@each_device
def largest_step(profile: Profile, device: DeviceDescription) -> Answer:
    """Judge the most steps by which one update moves a word."""
    if device.largest_step is None:
        return broken("any number", "no limit is kept")
    return compare_counts(device.largest_step, profile.largest_step or 0)


@each_device
def pulses(profile: Profile, device: DeviceDescription) -> Answer:
    """Judge the slots of a pulse train."""
    if device.train_slots is None:
        return broken("any number", "no train is played")
    return compare_counts(device.train_slots, profile.pulses or 0)


def learning_rates(profile: Profile, needs: Requirements) -> Answer:
    """Judge whether every learning rate has the chip's form; the largest that has not shows how far off it is."""
    used = sorted(set(needs.rates), reverse=True)
    needed = f"{used[0]:.6g}" if len(used) == 1 else f"{len(used)} rates up to {used[0]:.6g}"
    for rate in used:
        if rate > 0 and (below := profile.rate_below(rate)) != rate:
            return broken(needed, f"{rate:.6g} is {rate / below - 1:.2%} above {below:.6g}")
    return holds(needed)


def error_path(profile: Profile, needs: Requirements) -> Answer:
    """Judge how far the rule sends the error."""
    allowed, needed = profile.error_path or "none", f"{needs.rule}: {needs.path}"
    if PATHS.index(needs.path) <= PATHS.index(allowed):
        return holds(needed)
    return broken(needed, "no error can enter" if allowed == "none" else "from layer to layer")


def error_bits(profile: Profile, needs: Requirements) -> Answer:
    """Judge the width of the error's number format, or of the floats without one."""
    if needs.path == "readout":
        return other(needs.rule, "not applicable")
    if needs.error is None:
        return float_width(profile, needs)
    return compare_widths(min(needs.error.bits, needs.dtype_bits), profile.error_bits or 0, needs.error.name)


def error_formats(profile: Profile, needs: Requirements) -> Answer:
    """Judge the number format in which the error enters the pathway."""
    name = "floats" if needs.error is None else needs.error.name
    return holds(name) if name in profile.error_formats else broken(name, f"not {' or '.join(profile.error_formats)}")


def pathway(profile: Profile, needs: Requirements) -> Answer:
    """Judge the feedback pathway, by name."""
    return compare_choices(needs.pathway or "none", parse(profile.feedback or "").name, "pathway")


def feedback_weights(profile: Profile, needs: Requirements) -> Answer:
    """Judge the weights that send the error back; a chip without memory for them uses those of the readout."""
    used, allowed = needs.feedback_weights, profile.feedback_weights
    return holds(used) if used in (allowed, "none") else broken(used, f"not those of the {allowed}")


def detector_bits(profile: Profile, needs: Requirements) -> Answer:
    """Judge the effective resolution of the pathway's detector."""
    if needs.resolution is None:
        return other(needs.pathway or "none", "not applicable")
    return compare_widths(needs.resolution, profile.detector_bits or 0, needs.pathway)


def derivative(profile: Profile, needs: Requirements) -> Answer:
    """Judge the constant pieces of the function that stands for f', of the activation with most."""
    name, pieces = max(needs.derivatives.items(), key=lambda item: item[1], default=("none", 0.0))
    if math.isinf(pieces):
        return broken(f"{name}, smooth", "not constant by pieces")
    answer = compare_counts(pieces, profile.surrogate_segments or 0)
    return answer._replace(needed=f"{name}: {answer.needed}")


def converter(limit: str, bits_of: Callable[[Periphery], int | None]) -> Judge:
    """Return the judge of the converters around the arrays; without converters, of the width of the floats."""

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
    """Judge whether the floats fit the widest arithmetic; narrower arithmetic is not simulated."""
    if max(profile.arithmetic_bits) >= needs.dtype_bits:
        return holds(f"floats: {needs.dtype_bits}")
    return float_width(profile, needs)


def float_width(profile: Profile, needs: Requirements) -> Answer:  # noqa: ARG001
    """Return a width that this package does not act on."""
    return other(f"floats: {needs.dtype_bits}", "not simulated")


def kept_by_neurons(limit: str, formats: Callable[[Requirements], tuple[Format, ...]]) -> Judge:
    """Return the judge of what neurons keep from tick to tick; a network without neurons keeps nothing."""

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
