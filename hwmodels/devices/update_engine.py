"""The learning engine of a digital chip: the resolution and the largest size of an update to a word."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from hwmodels.description import DeviceDescription
from hwmodels.device import Cells, Device
from hwmodels.device_models.nested import Nested
from hwmodels.errors import Condition, NeurofaError, check_options, one_of


@dataclass(frozen=True, kw_only=True)
class UpdateEngine(Nested, name="update_engine"):
    """Digital words whose updates have a resolution and a largest size, both counted in steps s of the word.

    A requested change is first cut to whole multiples of g = s 2^-fraction, the last bit of an accumulator that is
    ``fraction`` bits longer than the word, then limited to +-most s; the word then rounds it to whole steps. With
    ``most=1`` and stochastic rounding a word moves by one step with probability min(1, |change| / s): a probabilistic
    update. The accumulator saturates where the word does: the word's largest code fills it.

    Cells: those of the word.

    Args:
        device: the words, ``fixed`` with its options.
        fraction: bits of a change below one step, 0 to 24; None keeps every change as requested.
        most: steps that one update can move a word by, 1 or more; None sets no limit.
        cut: ``floor`` drops the bits as an arithmetic shift does, to the lower multiple (every change that is no
            multiple then loses g / 2 in the mean); ``zero`` drops them from the magnitude.
    """

    source = (
        "lava-nc/lava, learning_rule_applier.py and connection models (accumulator, shift); ChFrenkel/ReckOn, srnn.v,"
        " module stoch_update (one step, by chance)"
    )
    prefixed = False

    device: Device | str = "fixed"
    fraction: int | None = 7
    most: int | None = None
    cut: Literal["floor", "zero"] = "floor"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.inner.name != "fixed":
            raise NeurofaError(
                f"got update_engine(device={self.inner.name}); expected digital words; use fixed(bits=...) and wrap"
                " other devices around the engine"
            )
        bits = Condition(lambda v: v is None or 0 <= v <= 24, "0 to 24 or None")
        check_options(self, bits, "fraction", remedy="7 is usual")
        steps = Condition(lambda v: v is None or v >= 1, "1 or more, or None")
        check_options(self, steps, "most", remedy="change most")
        check_options(self, one_of("floor", "zero"), "cut", remedy="choose one")

    def describe(self) -> DeviceDescription:
        return replace(super().describe(), fraction_bits=self.fraction, largest_step=self.most)

    def write(self, cells: Cells, change: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Cut and limit the change in the engine, then let the words round it."""
        step = cells["scale"]
        if self.fraction is not None:
            grain = step * 2.0**-self.fraction  # the last bit of the accumulator
            change = change / grain
            change = (change.floor_() if self.cut == "floor" else change.trunc_()).mul_(grain)
        if self.most is not None:
            most = step * self.most
            change = change.clamp(-most, most)
        return self.inner.write(cells, change, gen)
