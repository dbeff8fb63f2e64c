"""One judge for each kind of limit: what a learner asks for, by how much that is too much, and the verdict."""

from __future__ import annotations

import math

from hwmodels.device import Device
from hwmodels.profile import Profile
from hwmodels.spec import parse
from neurofa.chips.requirements import Footprint
from neurofa.chips.verdicts import Answer, Judge, broken, count, each_device, find, holds, same, width, worst

PATHS = ("none", "readout", "direct", "chained")


def weight_bits(profile: Profile, asked: Footprint) -> Answer:
    """Width of the stored word; floats have that of their dtype, analog states are no words."""
    return worst([_word(profile.weight_bits or 0, chain, asked.dtype_bits) for chain in asked.devices])


def _word(allowed: int, chain: tuple[Device, ...], dtype_bits: int) -> Answer:
    bits = find(chain, "bits")
    if bits is not None:
        return width(bits, allowed, chain[-1].name)
    if not chain[-1].bounded or chain[-1].exact:
        return width(dtype_bits, allowed, f"{chain[-1].name}, floats")
    return broken(chain[-1].name, "no words")


def weight_sign(profile: Profile, asked: Footprint) -> Answer:
    """Where all synapses of a source share a sign, sources with weights of both signs are too many."""
    mixed, sources = asked.mixed_sources
    if profile.weight_sign == "synapse" or not mixed:
        return holds("one a synapse" if mixed else "one a source")
    return broken("one a synapse", f"{mixed} of {sources} sources have both")


@each_device
def memory(profile: Profile, chain: tuple[Device, ...]) -> Answer:
    """The innermost device, by name."""
    return same(chain[-1].name, parse(profile.memory or "").name, "memory")


@each_device
def rounding(profile: Profile, chain: tuple[Device, ...]) -> Answer:
    """How the device rounds an update."""
    return same(find(chain, "rounding") or "none", profile.rounding or "", "rounding")


@each_device
def accumulator_bits(profile: Profile, chain: tuple[Device, ...]) -> Answer:
    """Bits of the word and of an update below its last bit."""
    bits, fraction = find(chain, "bits"), find(chain, "fraction")
    if bits is None or fraction is None:
        return broken("updates are not cut", f"finer than {profile.accumulator_bits} bit")
    return width(bits + fraction, profile.accumulator_bits or 0, "word and fraction")


@each_device
def largest_step(profile: Profile, chain: tuple[Device, ...]) -> Answer:
    """Steps that the engine lets through."""
    most = find(chain, "most")
    return broken("any number", "no limit is kept") if most is None else count(most, profile.largest_step or 0)


@each_device
def pulses(profile: Profile, chain: tuple[Device, ...]) -> Answer:
    """Slots of a pulse train."""
    slots = find(chain, "slots")
    return broken("any number", "no train is played") if slots is None else count(slots, profile.pulses or 0)


def rates(profile: Profile, asked: Footprint) -> Answer:
    """Every learning rate in use has the chip's form; the first that has not shows how far off it is."""
    used = sorted(set(asked.rates), reverse=True)
    shown = f"{used[0]:.6g}" if len(used) == 1 else f"{len(used)} rates up to {used[0]:.6g}"
    for rate in used:
        if rate > 0 and (below := profile.rate_below(rate)) != rate:
            return broken(shown, f"{rate:.6g} is {rate / below - 1:.2%} above {below:.6g}")
    return holds(shown)


def error_path(profile: Profile, asked: Footprint) -> Answer:
    """How far the rule sends the error, beside how far it gets on the chip."""
    allowed, shown = profile.error_path or "none", f"{asked.rule}: {asked.path}"
    if PATHS.index(asked.path) <= PATHS.index(allowed):
        return holds(shown)
    return broken(shown, "no error can enter" if allowed == "none" else "from layer to layer")


def error_bits(profile: Profile, asked: Footprint) -> Answer:
    """Width of the error's number format, or of the floats that it leaves it in."""
    if asked.path == "readout":
        return asked.rule, "", "not applicable"
    if asked.error is None:
        return floats(profile, asked)
    return width(min(asked.error.bits, asked.dtype_bits), profile.error_bits or 0, asked.error.name)


def error_formats(profile: Profile, asked: Footprint) -> Answer:
    """Number format in which the error enters the pathway."""
    name = "floats" if asked.error is None else asked.error.name
    return holds(name) if name in profile.error_formats else broken(name, f"not {' or '.join(profile.error_formats)}")


def feedback(profile: Profile, asked: Footprint) -> Answer:
    """The pathway, by name."""
    return same(asked.pathway or "none", parse(profile.feedback or "").name, "pathway")


def feedback_weights(profile: Profile, asked: Footprint) -> Answer:
    """Weights that send the error back; a chip without memory for them has those of the readout."""
    got, allowed = asked.feedback_weights, profile.feedback_weights
    return holds(got) if got in (allowed, "none") else broken(got, f"not those of the {allowed}")


def detector_bits(profile: Profile, asked: Footprint) -> Answer:
    """Effective resolution of the pathway's detector."""
    camera = getattr(asked.projection, "camera", None)
    bits = getattr(asked.projection, "bits", None) if camera is None else camera.bits or math.inf
    if bits is None:
        return asked.pathway or "none", "", "not applicable"
    return width(bits, profile.detector_bits or 0, asked.pathway)


def derivative(profile: Profile, asked: Footprint) -> Answer:
    """Constant pieces of what stands for f', of the worst activation."""
    name, pieces = max(asked.derivatives.items(), key=lambda item: item[1], default=("none", 0.0))
    if math.isinf(pieces):
        return broken(f"{name}, smooth", "not constant by pieces")
    shown, excess, verdict = count(pieces, profile.surrogate_segments or 0)
    return f"{name}: {shown}", excess, verdict


def converter(limit: str, key: str) -> Judge:
    """Resolution of the converters around the arrays; without converters, width of the floats."""

    def judge(profile: Profile, asked: Footprint) -> Answer:
        bits = [getattr(around, key, None) for around in asked.peripheries]
        answers = [
            width(asked.dtype_bits, getattr(profile, limit), "floats")
            if wide is None
            else width(wide, getattr(profile, limit), "converter")
            for wide in bits
        ]
        return worst(answers)

    return judge


def arithmetic(profile: Profile, asked: Footprint) -> Answer:
    """Whether the floats that are computed with fit the widest arithmetic; narrower ones are not simulated."""
    if max(profile.arithmetic_bits) >= asked.dtype_bits:
        return holds(f"floats: {asked.dtype_bits}")
    return floats(profile, asked)


def floats(profile: Profile, asked: Footprint) -> Answer:  # noqa: ARG001
    """A width that this package does not act on."""
    return f"floats: {asked.dtype_bits}", "", "not simulated"


def spiking(limit: str, formats: str) -> Judge:
    """Width of what neurons keep from tick to tick; a network without neurons keeps nothing."""

    def judge(profile: Profile, asked: Footprint) -> Answer:
        kept = getattr(asked, formats)
        if not kept:
            return "no spiking layer", "", "not applicable"
        allowed = getattr(profile, limit)
        answers = [
            width(asked.dtype_bits, allowed, "floats") if kind.name == "raw" else width(kind.bits, allowed, kind.name)
            for kind in kept
        ]
        return worst(answers)

    return judge
