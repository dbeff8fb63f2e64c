"""How the learning engine of a digital chip limits what one update can do to a word."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from hwmodels.description import DeviceDescription
from hwmodels.device import Cells, Device
from hwmodels.device_models.nested import inner_device
from hwmodels.errors import NeurofaError


@dataclass(frozen=True, kw_only=True)
class UpdateEngine(Device, name="update_engine"):
    """Digital words whose updates have a resolution and a largest size, both counted in steps s of the word.

    A requested change is first cut to whole multiples of g = s 2^-fraction, the last bit of an accumulator that is
    ``fraction`` bits longer than the word, then limited to +-most s; the word then rounds it to whole steps. With
    ``most=1`` and stochastic rounding a word moves by one step with probability min(1, |change| / s): a probabilistic
    update. Saturation of the accumulator is that of the word, whose largest code fills it.

    Cells: those of the word.

    Args:
        device: the words, ``fixed`` with its options.
        fraction: bits of a change below one step, 0 to 24; None keeps every change as it was asked for.
        most: steps that one update can move a word by, 1 or more; None sets no limit.
        cut: ``floor`` drops the bits as an arithmetic shift does, to the lower multiple (every change that is no
            multiple then loses g / 2 in the mean); ``zero`` drops them from the magnitude.
    """

    source = (
        "lava-nc/lava, learning_rule_applier.py and connection models (accumulator, shift); ChFrenkel/ReckOn, srnn.v,"
        " module stoch_update (one step, by chance)"
    )

    device: Device | str = "fixed"
    fraction: int | None = 7
    most: int | None = None
    cut: Literal["floor", "zero"] = "floor"

    def __post_init__(self) -> None:
        inner = inner_device(self, "device")
        if inner.name != "fixed":
            raise NeurofaError(
                f"got update_engine(device={inner.name}); expected digital words; use fixed(bits=...) and wrap other"
                " devices around the engine"
            )
        if self.fraction is not None and not 0 <= self.fraction <= 24:
            raise NeurofaError(f"got update_engine(fraction={self.fraction}); expected 0 to 24 or None; 7 is usual")
        if self.most is not None and self.most < 1:
            raise NeurofaError(f"got update_engine(most={self.most}); expected 1 or more, or None; change most")
        if self.cut not in ("floor", "zero"):
            raise NeurofaError(f"got update_engine(cut={self.cut}); expected floor or zero; choose one")

    def describe(self) -> DeviceDescription:
        return replace(super().describe(), fraction_bits=self.fraction, largest_step=self.most)

    @property
    def inner(self) -> Device:
        """The digital words that store the weights."""
        assert isinstance(self.device, Device)  # noqa: S101 (narrows the type that the constructor built)
        return self.device

    def program(self, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Program the words, past the engine."""
        return self.inner.program(target, gen)

    def value(self, cells: Cells) -> Tensor:
        """The weights of the words."""
        return self.inner.value(cells)

    def write(self, cells: Cells, change: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Let the engine cut and limit the change, and the words round what is left."""
        step = cells["scale"]
        if self.fraction is not None:
            grain = step * 2.0**-self.fraction
            change = change / grain
            change = (change.floor_() if self.cut == "floor" else change.trunc_()).mul_(grain)
        if self.most is not None:
            most = step * self.most
            change = change.clamp(-most, most)
        return self.inner.write(cells, change, gen)
