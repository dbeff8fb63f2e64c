"""Tiki-Taka: a fast array takes the gradient, and what it filters goes to a slow array column by column."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.device import Cells, Device
from hwmodels.device_models.nested import inner_device, pack, unpack
from hwmodels.device_models.pulsed import Pulsed
from hwmodels.device_models.pulses import PulseDriven
from hwmodels.errors import NeurofaError
from hwmodels.numerics.random import uniform


@dataclass(frozen=True, kw_only=True)
class TikiTaka(Device, name="tiki_taka"):
    """Two arrays, w = gamma A + C: changes go to A, and C <- C + transfer_lr A_j for some columns j after each write.

    A device whose steps up and down differ drifts, under random pulses, to its symmetry point, where they are equal. A
    stands for zero there (zero-shifting: A is read against a reference programmed to each device's symmetry point), so
    that noise makes A forget and only a gradient that persists is passed on to C. After every write ``columns`` columns
    of A are read, in turn, and C gets the pulses that the product transfer_lr A_j asks for.

    Cells: those of the two devices with ``fast_`` and ``slow_`` before their names; ``zero``, the reference of A, in
    the unit of the weights, shaped as they are; 0-dim ``writes``, the number of writes so far.

    Args:
        fast: A, a pulsed step model, a spec or a device.
        slow: C, driven by pulses, a spec or a device.
        columns: columns that are transferred after a write (a mini-batch), at least 1.
        transfer_lr: size of a transfer, > 0.
        gamma: share of A in the weights, 0 or more.
    """

    source = "Gokmen and Haensch 2020, Front. Neurosci. 14:103; zero-shifting: Kim et al. 2019, arXiv 1907.10228"

    fast: Device | str = "reram_sb"
    slow: Device | str = "reram_sb"
    columns: int = 16
    transfer_lr: float = 0.1
    gamma: float = 0.0

    def __post_init__(self) -> None:
        slow, fast = inner_device(self, "slow"), inner_device(self, "fast")
        if not isinstance(slow, PulseDriven) or not isinstance(fast, Pulsed):
            raise NeurofaError(
                f"got {self.name}(fast={fast.name}, slow={slow.name}); expected a pulsed step model and a device"
                " that is driven by pulses; use soft_bounds, or mixed_precision for other devices"
            )
        for declared, value in (("noisy", slow.noisy or fast.noisy), ("bounded", slow.bounded)):
            object.__setattr__(self, declared, value)
        if self.columns < 1:
            raise NeurofaError(f"got {self.name}(columns={self.columns}); expected at least 1; 16 is the default")
        if not 0 < self.transfer_lr < math.inf:
            raise NeurofaError(
                f"got {self.name}(transfer_lr={self.transfer_lr}); expected a positive number; change it"
            )
        if not 0 <= self.gamma < math.inf:
            raise NeurofaError(f"got {self.name}(gamma={self.gamma}); expected 0 or more; 0 is the default")

    @property
    def reading(self) -> Device:
        return self.c

    @property
    def a(self) -> Pulsed:
        """The fast array's device."""
        assert isinstance(self.fast, Pulsed)  # noqa: S101 (narrows the type that the constructor checked)
        return self.fast

    @property
    def c(self) -> PulseDriven:
        """The slow array's device."""
        assert isinstance(self.slow, PulseDriven)  # noqa: S101 (narrows the type that the constructor checked)
        return self.slow

    def program(self, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Program C to the target and A to its symmetry point."""
        drawn = self.a.program(torch.zeros_like(target), gen)
        zero = self.a.shown(symmetry_point(self.a, drawn), drawn) * drawn["scale"]
        fast = self.a.reprogram(drawn, zero, gen)
        slow = self.c.program(target, gen)
        return {**pack("fast", fast), **pack("slow", slow), "zero": zero, "writes": target.new_zeros(())}

    def reprogram(self, cells: Cells, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Program both arrays anew."""
        fast = self.a.reprogram(unpack("fast", cells), cells["zero"], gen)
        slow = self.c.reprogram(unpack("slow", cells), target, gen)
        return {**cells, **pack("fast", fast), **pack("slow", slow)}

    def value(self, cells: Cells) -> Tensor:
        """The weights gamma A + C."""
        slow = self.c.value(unpack("slow", cells))
        return slow if not self.gamma else slow + self.gamma * (self.a.value(unpack("fast", cells)) - cells["zero"])

    def read(self, cells: Cells, gen: torch.Generator | None = None) -> Tensor:
        """A read of both arrays."""
        slow = self.c.read(unpack("slow", cells), gen)
        if not self.gamma:
            return slow
        return slow + self.gamma * (self.a.read(unpack("fast", cells), gen) - cells["zero"])

    def write(self, cells: Cells, change: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Write to A, then transfer."""
        fast = self.a.write(unpack("fast", cells), change, gen)
        return self._transferred({**cells, **pack("fast", fast)}, gen)

    def write_outer(
        self, cells: Cells, x: Tensor, d: Tensor, *, lr: float, gen: torch.Generator | None = None
    ) -> Cells:
        """Write the factors to A, then transfer."""
        fast = self.a.write_outer(unpack("fast", cells), x, d, lr=lr, gen=gen)
        return self._transferred({**cells, **pack("fast", fast)}, gen)

    def _transferred(self, cells: Cells, gen: torch.Generator | None) -> Cells:
        at = self.turn(cells)
        column = columns_of(unpack("fast", cells), at)
        seen = self.a.read(column, gen) - columns_of({"zero": cells["zero"]}, at)["zero"]
        slow = columns_of(unpack("slow", cells), at)
        moved = self.c.write(slow, seen.mul_(self.transfer_lr), gen)
        return {**with_columns(cells, pack("slow", moved), at), "writes": cells["writes"] + 1}

    def turn(self, cells: Cells) -> Tensor:
        """The columns whose turn it is, whole numbers, (columns,)."""
        total = math.prod(cells["zero"].shape[1:])
        count = min(self.columns, total)
        first = cells["writes"].long() * count
        return (torch.arange(count, device=first.device) + first) % total


@dataclass(frozen=True, kw_only=True)
class TikiTakaV2(TikiTaka, name="tiki_taka_v2"):
    """Tiki-Taka with a digital buffer: H_j <- H_j + transfer_lr A_j, and C gets n = trunc(H / epsilon) pulses.

    The buffer averages the noise of A's reads and passes on what has grown to a whole step epsilon of C; then
    H <- H - (1 - momentum) n epsilon. With ``chop`` > 0 every column has a sign that flips with that probability when
    it is transferred: A gets sign * change and H sign * A, so that an offset of A's reference averages out.

    Further cells: ``buffer`` (H), shaped as the weights; ``sign`` with ``chop``, 1 or -1, shaped as the weights, equal
    within a column.

    Args:
        fast: A, a pulsed step model, a spec or a device.
        slow: C, driven by pulses, a spec or a device.
        columns: columns that are transferred after a write (a mini-batch), at least 1.
        transfer_lr: size of a transfer, > 0.
        gamma: share of A in the weights, 0 or more.
        momentum: share of what has been passed on that stays in the buffer, at least 0 and below 1.
        chop: probability that a column's sign flips at its transfer, 0 to 1.
    """

    source = (
        "Gokmen 2021, Front. Artif. Intell. 4:699148; chopper: Rasch et al. 2024, Nat. Commun. 15:7133 (remembered)"
    )

    digital_state = 1

    momentum: float = 0.1
    chop: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.momentum < 1:
            raise NeurofaError(f"got {self.name}(momentum={self.momentum}); expected 0 to below 1; change it")
        if not 0 <= self.chop <= 1:
            raise NeurofaError(f"got {self.name}(chop={self.chop}); expected a probability; change it")
        if self.chop and self.factored:
            raise NeurofaError(
                f"got {self.name}(chop={self.chop}) on a device that plays pulse trains; expected one of them; drop one"
            )

    def program(self, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        cells = {**super().program(target, gen), "buffer": torch.zeros_like(target)}
        return {**cells, "sign": torch.ones_like(target)} if self.chop else cells

    def reprogram(self, cells: Cells, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        return {**super().reprogram(cells, target, gen), "buffer": torch.zeros_like(target)}

    def write(self, cells: Cells, change: Tensor, gen: torch.Generator | None = None) -> Cells:
        return super().write(cells, change * cells["sign"] if self.chop else change, gen)

    def _transferred(self, cells: Cells, gen: torch.Generator | None) -> Cells:
        at = self.turn(cells)
        own = columns_of({key: cells[key] for key in ("zero", "buffer", "sign") if key in cells}, at)
        seen = self.a.read(columns_of(unpack("fast", cells), at), gen).sub_(own["zero"])
        if self.chop:
            seen.mul_(own["sign"])
        slow = columns_of(unpack("slow", cells), at)
        epsilon = self.c.granularity(slow)
        buffer = own["buffer"].add(seen, alpha=self.transfer_lr)
        n = (buffer / epsilon).trunc_()
        moved = self.c.settle(self.c.pulse(slow, n, gen), gen)
        new = {**pack("slow", moved), "buffer": buffer.sub_(n * epsilon, alpha=1 - self.momentum)}
        if self.chop:
            kept = uniform(own["sign"][:1], gen).sub_(self.chop).sign_()  # -1 with the probability of a flip
            new["sign"] = own["sign"] * kept
        return {**with_columns(cells, new, at), "writes": cells["writes"] + 1}


def columns_of(cells: Cells, at: Tensor) -> Cells:
    """Some columns of every matrix of cells; 0-dim cells stay."""
    return {k: cell.reshape(len(cell), -1).index_select(1, at) if cell.dim() else cell for k, cell in cells.items()}


def with_columns(cells: Cells, new: Cells, at: Tensor) -> Cells:
    """All cells, with columns ``at`` of those in ``new`` put in."""
    after = dict(cells)
    for key, part in new.items():
        if part.dim():
            whole = cells[key]
            after[key] = whole.reshape(len(whole), -1).index_copy(1, at, part).view(whole.shape)
    return after


def symmetry_point(device: Pulsed, cells: Cells) -> Tensor:
    """The state at which a step up and a step down are equal in the mean, device units; 0 where there is none.

    Args:
        device: a pulsed step model.
        cells: its devices.

    Returns:
        By bisection between the bounds, shaped as the weights.
    """
    low, high = cells["bottom"].clone(), cells["top"].clone()
    one = torch.ones_like(low)

    def net(v: Tensor) -> Tensor:
        up = device.run(v, one, cells["up"], one, cells)[0]
        down = device.run(v, one, -cells["down"], torch.zeros_like(one), cells)[0]
        return up + down

    crosses = (net(low) * net(high)).neg_().sign_().clamp_(min=0)
    rising = net(high).sign()
    for _ in range(40):
        middle = (low + high) / 2
        above = (net(middle) * rising).sign_().clamp_(min=0)  # 1: the point lies below the middle
        low, high = torch.lerp(middle, low, above), torch.lerp(high, middle, above)
    return (low + high).mul_(0.5).mul_(crosses)
