"""Chip profiles: the limits of a learning chip, and the parts that simulate it.

A profile *validates*: its fields are limits, and :attr:`Profile.limits` lists those that its chip has, in the order in
which a check shows them. A limit that no source gave is None and is shown as not known. A profile also *simulates*:
:meth:`Profile.device`, :meth:`Profile.periphery`, :meth:`Profile.error` and ``feedback`` are specs of parts that obey
the limits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar

from hwmodels.errors import NeurofaError
from hwmodels.figures import Figure
from hwmodels.provenance import Provenance
from hwmodels.registry import Registered

WORDS = ("weight_bits", "weight_sign")
UPDATES = ("batch", "synapse_state")
ERRORS = ("error_path", "error_bits", "feedback_weights")
SIZES = ("neurons", "synapses", "fan_in")
SPIKES = ("trace_bits", "membrane_bits", "surrogate_segments")
PROJECTION = ("feedback", "error_formats", "projection_inputs", "projection_outputs", "detector_bits")

_CHOICES = {
    "weight_sign": ("synapse", "source"),
    "rounding": ("nearest", "stochastic"),
    "error_path": ("none", "direct", "chained"),
    "feedback_weights": ("own", "readout"),
}
_LEAST = {"weight_bits": 2, "synapse_state": 0}


@dataclass(frozen=True, kw_only=True)
class Profile(Registered, Provenance, kind="profile"):
    """Limits of one chip; a frozen set of constants, any of which a spec may change: ``loihi1(weight_bits=4)``."""

    limits: ClassVar[tuple[str, ...]] = ()
    """Names of the fields below that are limits of this chip, in the order in which a check shows them."""
    marks: ClassVar[Mapping[str, str]] = {}
    """How sure a field is where that is not ``verified``: ``second-hand``, ``remembered``, or ``inferred`` from what
    was read."""

    operation_energy: ClassVar[Figure | None] = None
    """Energy of one synaptic operation: one spike that meets one weight."""

    weight_bits: int | None = None
    """Width of one weight with its sign, bit; its largest code is 2^(weight_bits - 1) - 1 steps."""
    weight_sign: str | None = None
    """Whether each ``synapse`` has a sign of its own, or all synapses of one ``source`` neuron share theirs."""
    memory: str | None = None
    """Spec of the memory device that stores a weight; None: weights are digital words."""
    rounding: str | None = None
    """How an updated weight becomes a word again: ``nearest`` or ``stochastic``."""
    accumulator_bits: int | None = None
    """Width of the saturating sum of weight and update, with its sign, bit; the weight fills its upper bits."""
    largest_step: int | None = None
    """Largest change of a weight by one update, in steps of its last bit."""
    pulses: int | None = None
    """Largest change of a weight by one sample, in pulses of the memory device."""
    rate_bits: int | None = None
    """Width of m, bit, where a learning rate has to be m 2^-k."""
    batch: int | None = None
    """Samples that one update can take together."""
    synapse_state: int | None = None
    """Numbers of learning state beside every weight (momentum needs 1, Adam 2)."""
    error_path: str | None = None
    """Reach of an error: ``none`` enters, ``direct`` to every layer at once, or ``chained`` from layer to layer."""
    error_bits: int | None = None
    """Width of the error with its sign, bit."""
    error_formats: tuple[str, ...] = ()
    """Number formats that an error may have, by name."""
    feedback: str | None = None
    """Spec of the feedback pathway that the chip implements."""
    feedback_weights: str | None = None
    """Weights of the pathway: its ``own``, or those of the ``readout``."""
    inputs: int | None = None
    """Input neurons."""
    hidden_layers: int | None = None
    """Layers between input and readout."""
    layer_width: int | None = None
    """Neurons of one hidden layer."""
    outputs: int | None = None
    """Readout neurons."""
    neurons: int | None = None
    """All neurons with incoming weights."""
    synapses: int | None = None
    """All connections; shared weights count once for each connection."""
    fan_in: int | None = None
    """Connections into one neuron."""
    arithmetic_bits: tuple[int, ...] = ()
    """Widths of the numbers that the processors work on, bit."""
    input_bits: int | None = None
    """Width of an activation that enters a weight, bit."""
    output_bits: int | None = None
    """Width of a weighted sum, bit."""
    trace_bits: int | None = None
    """Width of a synaptic or eligibility trace, bit."""
    membrane_bits: int | None = None
    """Width of a membrane potential, bit."""
    surrogate_segments: int | None = None
    """Constant pieces of the surrogate derivative that replaces f'."""
    projection_inputs: int | None = None
    """Rows of the largest feedback matrix: numbers in one error vector."""
    projection_outputs: int | None = None
    """Columns of the largest feedback matrix: numbers in one projected vector."""
    projection_claimed: int | None = None
    """Rows and columns of the largest feedback matrix that is claimed for a demonstration, each."""

    def __post_init__(self) -> None:
        for field in fields(Profile):
            key, value = field.name, getattr(self, field.name)
            if isinstance(value, list):  # a spec gives a list
                value = tuple(value)
                object.__setattr__(self, key, value)
            known = _CHOICES.get(key)
            if known is not None and value is not None and value not in known:
                self._refuse(key, f"{' or '.join(known)}, or None")
            least = _LEAST.get(key, 1)
            numbers = [n for n in (value if isinstance(value, tuple) else (value,)) if isinstance(n, int)]
            if any(n < least for n in numbers):
                self._refuse(key, f"{least} or more, or None where it is not known")
        if self.weight_bits and self.accumulator_bits and self.accumulator_bits < self.weight_bits:
            self._refuse("accumulator_bits", f"at least weight_bits={self.weight_bits}")

    def _refuse(self, key: str, expected: str) -> None:
        raise NeurofaError(f"got {self.name}({key}={getattr(self, key)}); expected {expected}; change {key}")

    @property
    def detector_bits(self) -> float | None:
        """Effective resolution of the projected signal, bit; None: not known."""
        return None

    @property
    def fraction_bits(self) -> int | None:
        """Bits of an update below one step of the weight: the accumulator is longer than the weight by them."""
        return None if not (self.accumulator_bits and self.weight_bits) else self.accumulator_bits - self.weight_bits

    def device(self) -> str | None:
        """Return the spec of the device that stores a weight as this chip does; None: the sources do not say."""
        if self.memory is not None or self.weight_bits is None:
            return self.memory
        if self.weight_bits > 24:
            return "digital"
        words = f"fixed(bits={self.weight_bits}, rounding={self.rounding or 'stochastic'})"
        if self.fraction_bits is None and self.largest_step is None:
            return words
        return f"update_engine(device={words}, fraction={self.fraction_bits}, most={self.largest_step})"

    def error(self) -> str | None:
        """Return the spec of the finest number format that the chip allows an error.

        None: no limit is known, or the error is encoded by the feedback pathway itself.
        """
        if self.feedback is not None or self.error_bits is None:
            return None
        # a float32 holds codes of 24 bits
        return f"uniform(bits={min(self.error_bits, 24)})"

    def periphery(self) -> str | None:
        """Return the spec of the converters before the weights; sums stay exact, since no source gives their range."""
        if self.input_bits is None:
            return None
        return f"periphery(in_bits={self.input_bits}, out_bits=None, out_bound=1e999, out_noise=0.0)"

    def rate_below(self, rate: float) -> float:
        """Return the largest learning rate of the chip's form, m 2^-k, that does not exceed a given one.

        With m of b bits, 2^(b-1) <= m < 2^b for the best k, so that less than one part in 2^(b-1) is lost. Scaling by a
        power of two keeps the form; here it is taken in the unit of the optimizer's rate.

        Args:
            rate: wanted learning rate, > 0.

        Returns:
            ``rate`` itself where no limit is known.

        Raises:
            NeurofaError: not a positive number.
        """
        if not 0 < rate < math.inf:
            raise NeurofaError(f"got a learning rate of {rate}; expected a positive number; change it")
        if self.rate_bits is None:
            return rate
        fraction, exponent = math.frexp(rate)  # rate = fraction 2^exponent, 1/2 <= fraction < 1
        return math.ldexp(math.floor(math.ldexp(fraction, self.rate_bits)), exponent - self.rate_bits)
