"""Plain data in which parts describe themselves to exports, costs and chip checks.

Descriptions hold numbers and words only, so that every package above can read them without knowing a part's class.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import nn

from hwmodels.figures import NO_FIGURES, Figure, Technology


@dataclass(frozen=True, kw_only=True)
class TensorDescription:
    """Meaning and unit of a tensor that a part stores."""

    meaning: str
    """One line for somebody who does not know the part."""
    unit: str = "1"
    """Such as ``uS`` or ``rad``; ``1``: a number without a unit."""
    axes: str = ""
    """What each axis counts, such as ``(n_errors, m)``."""


class DescribedBuffers(nn.Module, ABC):
    """A module that knows meaning and unit of its buffers."""

    @abstractmethod
    def describe_buffer(self, key: str) -> TensorDescription:
        """Return meaning and unit of one buffer of the module itself, by its name."""


@dataclass(frozen=True, kw_only=True)
class DeviceDescription:
    """What exports, costs and chip checks need of a device and of the devices inside it."""

    element: str
    """Name of the innermost device, which stores the weight."""
    floats: bool = False
    """Whether the element stores numbers of unlimited size or of the tensor's own dtype."""
    digital: bool = False
    """Whether the element is digital memory: words of ``word_bits``, or of the tensor's dtype where that is None."""
    word_bits: int | None = None
    """Width of the stored word, bit; None: no word of its own."""
    rounding: str | None = None
    """How an update is rounded to words: ``nearest`` or ``stochastic``; None: it is not."""
    fraction_bits: int | None = None
    """Bits of an update that are kept below one step of the word; None: it is not cut."""
    largest_step: int | None = None
    """Most steps by which one update moves a word; None: no limit."""
    train_slots: int | None = None
    """Slots of the pulse train of one sample; None: no trains."""
    conductance: tuple[float, float] | None = None
    """Smallest and largest conductance of an element, uS; None: the model has no conductances."""
    bounds: tuple[float, float] | None = None
    """Nominal bounds of a device that is moved by steps, in its own unit; None: it is not."""
    write: str = ""
    """What one counted write is: ``pulse`` or ``programming write``; empty: writes cannot be counted as those of
    elements."""
    elements_per_write: int = 1
    """Physical devices that one counted write of a weight programs."""
    technology: str = ""
    """Kind of memory whose published figures hold for the element; empty: none."""
    figures: Technology = NO_FIGURES
    """Published energies, times and endurance of the technology; without any by default."""
    read_time: Figure | None = None
    """Time over which a read averages, s, where the noise model states it."""
