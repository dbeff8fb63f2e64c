"""A chip simulated by a device model: elements programmed with write-verify and read with their noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.device import Cells, Device
from hwmodels.errors import NeurofaError

REACH = 0.6
"""Share of a pulsed device's mean range that is used: most devices get there, whatever their own bounds."""


@dataclass(frozen=True, kw_only=True)
class Programming:
    """How a chip is programmed and read.

    Args:
        rounds: largest number of write-verify rounds; devices within tolerance are left alone.
        reads: reads that are averaged, to verify and to measure: one noisy read would have good devices written anew.
        seed: of the devices and all their noise.
    """

    rounds: int = 20
    reads: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rounds < 0 or self.reads < 1:
            raise NeurofaError(
                f"got rounds={self.rounds}, reads={self.reads}; expected 0 or more, 1 or more; raise them"
            )


class Chip:
    """Elements that each hold one conductance, as a share f of the range in which they are programmed.

    Memories that are made of conductances (``pcm``, ``hermes``, ``reram_wan``, ...) hold f on one device of their pair,
    or on their single device; their range in uS is scaled to the file's. Pulsed devices start at the low end of 0.6
    times their mean range, and are pulsed from there.

    Args:
        device: the model.

    Raises:
        NeurofaError: the device is written by outer products only.
    """

    def __init__(self, device: Device) -> None:
        if device.factored:
            raise NeurofaError(
                f"got --device {device.name}, which is written by outer products only; expected a device whose"
                " elements are written one by one; use the device inside it"
            )
        self.device = device.with_unit_range()
        about = self.device.describe()
        self.pulsed = about.bounds is not None
        if about.bounds is not None:
            self.ends = (REACH * about.bounds[0], REACH * about.bounds[1])
        else:
            # the whole range of a single device holds weights of both signs
            self.ends = (-1.0, 1.0) if about.conductance is not None and not self.device.paired else (0.0, 1.0)

    def program(self, share: Tensor, tolerance: float, how: Programming, gen: torch.Generator) -> tuple[Cells, int]:
        """Write and verify until every element is within tolerance or the rounds are over.

        Args:
            share: wanted shares f, 0 to 1.
            tolerance: largest error of f that is accepted.
            how: rounds and reads.
            gen: source of the devices and of their noise.

        Returns:
            The cells, and the number of rounds.
        """
        low, high = self.ends
        target = low + share * (high - low)
        # pulses start from the low end; memories that are programmed get their targets at once
        start = torch.full_like(target, low) if self.pulsed else target
        cells, used = self.device.program(start, gen), 0
        for used in range(how.rounds + 1):
            missing = share - self.read(cells, how.reads, gen).mean(0)
            outside = missing.abs() > tolerance
            if used == how.rounds or not bool(outside.any()):
                break
            # a pair is programmed anew to its target; pulses start from what was read
            change = target - self.device.value(cells) if self.device.paired else missing * (high - low)
            cells = self.device.write(cells, torch.where(outside, change, torch.zeros_like(change)), gen)
        return cells, used

    def read(self, cells: Cells, reads: int, gen: torch.Generator) -> Tensor:
        """Read all elements several times, and return their conductances as shares f of the range, (reads, *shape).

        Args:
            cells: the present cells.
            reads: number of reads.
            gen: source of the read noise.
        """
        if self.device.paired:
            return torch.stack([self.device.element_share(cells, gen) for _ in range(reads)])
        low, high = self.ends
        return torch.stack([(self.device.read(cells, gen) - low) / (high - low) for _ in range(reads)])
