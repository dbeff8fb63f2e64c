"""Tiki-Taka: a fast array takes the gradient, and its filtered content goes to a slow array column by column."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from hwmodels.device import Cells, Device
from hwmodels.device_models.nested import build_inner, with_prefix, without_prefix
from hwmodels.device_models.pulsed import Pulsed
from hwmodels.device_models.pulses import PulseDriven
from hwmodels.errors import NOT_NEGATIVE, POSITIVE, PROBABILITY, Condition, NeurofaError, check_options, minimum
from hwmodels.numerics.random import normal, uniform


@dataclass(frozen=True, kw_only=True)
class TikiTaka(Device, name="tiki_taka"):
    """Two arrays, w = gamma A + C: changes go to A, and C <- C + transfer_lr A_j for some columns j after each write.

    A device whose steps up and down differ drifts, under random pulses, to its symmetry point, where they are equal. A
    represents zero there (zero-shifting: A is read against a reference programmed to each device's symmetry point).
    Noise therefore makes A forget, and only a gradient that persists reaches C. After every write ``columns`` columns
    of A are read, in turn, and C gets the pulses of the product transfer_lr A_j.

    Cells: those of the two devices with ``fast_`` and ``slow_`` before their names; ``zero``, the reference of A, in
    the unit of the weights, shaped as they are; 0-dim ``writes``, the number of writes so far.

    Args:
        fast: A, a pulsed step model or its spec.
        slow: C, a pulse-driven device or its spec.
        columns: columns that are transferred after a write (a mini-batch), at least 1.
        transfer_lr: size of a transfer, > 0.
        gamma: share of A in the weights, 0 or more.
        reference_std: standard deviation with which A's reference misses each device's symmetry point, in A's device
            units, 0 or more; 0: it is exact.
    """

    source = "Gokmen and Haensch 2020, Front. Neurosci. 14:103; zero-shifting: Kim et al. 2019, arXiv 1907.10228"

    fast: Device | str = "reram_sb"
    slow: Device | str = "reram_sb"
    columns: int = 16
    transfer_lr: float = 0.1
    gamma: float = 0.0
    reference_std: float = 0.0

    def __post_init__(self) -> None:
        slow, fast = build_inner(self, "slow"), build_inner(self, "fast")
        if not isinstance(slow, PulseDriven) or not isinstance(fast, Pulsed):
            raise NeurofaError(
                f"got {self.name}(fast={fast.name}, slow={slow.name}); expected a pulsed step model and a device"
                " that is driven by pulses; use soft_bounds, or mixed_precision for other devices"
            )
        for declared, value in (("noisy", slow.noisy or fast.noisy), ("bounded", slow.bounded)):
            object.__setattr__(self, declared, value)
        check_options(self, minimum(1), "columns", remedy="16 is the default")
        check_options(self, POSITIVE, "transfer_lr", remedy="change it")
        check_options(self, NOT_NEGATIVE, "gamma", "reference_std", remedy="0 is the default")

    @property
    def reading(self) -> Device:
        return self.c

    @property
    def a(self) -> Pulsed:
        """The device of the fast array."""
        return cast("Pulsed", self.fast)  # the constructor has checked it

    @property
    def c(self) -> PulseDriven:
        """The device of the slow array."""
        return cast("PulseDriven", self.slow)  # the constructor has checked it

    def program(self, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Program A to its symmetry point and C to the target."""
        drawn = self.a.program(torch.zeros_like(target), gen)
        zero = self.a.shown_state(symmetry_point(self.a, drawn), drawn) * drawn["scale"]
        fast = self.a.reprogram(drawn, zero, gen)
        if self.reference_std:
            zero = normal(zero, gen).mul_(self.reference_std).mul_(drawn["scale"]).add_(zero)
        slow = self.c.program(target, gen)
        return {**with_prefix("fast", fast), **with_prefix("slow", slow), "zero": zero, "writes": target.new_zeros(())}

    def reprogram(self, cells: Cells, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Program both arrays anew."""
        fast = self.a.reprogram(without_prefix("fast", cells), cells["zero"], gen)
        slow = self.c.reprogram(without_prefix("slow", cells), target, gen)
        return {**cells, **with_prefix("fast", fast), **with_prefix("slow", slow)}

    def value(self, cells: Cells) -> Tensor:
        """Return the weights gamma A + C."""
        slow = self.c.value(without_prefix("slow", cells))
        if not self.gamma:
            return slow
        return slow + self.gamma * (self.a.value(without_prefix("fast", cells)) - cells["zero"])

    def read(self, cells: Cells, gen: torch.Generator | None = None) -> Tensor:
        """Return a read of both arrays."""
        slow = self.c.read(without_prefix("slow", cells), gen)
        if not self.gamma:
            return slow
        return slow + self.gamma * (self.a.read(without_prefix("fast", cells), gen) - cells["zero"])

    def write(self, cells: Cells, change: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Write to A, then transfer columns to C."""
        fast = self.a.write(without_prefix("fast", cells), change, gen)
        return self._transferred({**cells, **with_prefix("fast", fast)}, gen)

    def _transferred(self, cells: Cells, gen: torch.Generator | None) -> Cells:
        at = self.next_columns(cells)
        column = columns_of(without_prefix("fast", cells), at)
        # zero-shifting: A is read against its reference
        content = self.a.read(column, gen) - columns_of({"zero": cells["zero"]}, at)["zero"]
        slow = columns_of(without_prefix("slow", cells), at)
        moved = self.c.write(slow, content.mul_(self.transfer_lr), gen)
        return {**with_columns(cells, with_prefix("slow", moved), at), "writes": cells["writes"] + 1}

    def next_columns(self, cells: Cells) -> Tensor:
        """Return the indices of the columns that the next transfer reads, (columns,); all take their turn."""
        total = math.prod(cells["zero"].shape[1:])
        count = min(self.columns, total)
        first = cells["writes"].long() * count
        return (torch.arange(count, device=first.device) + first) % total


@dataclass(frozen=True, kw_only=True)
class TikiTakaV2(TikiTaka, name="tiki_taka_v2"):
    """Tiki-Taka with a digital buffer: H_j <- H_j + transfer_lr A_j, and C gets n = trunc(H / epsilon) pulses.

    The buffer averages the noise of A's reads and passes on what has grown to a whole step epsilon of C; then H <- H -
    (1 - momentum) n epsilon. With ``chop`` > 0 every column has a sign that flips with that probability when it is
    transferred: A gets sign * change and H sign * A, so that an offset of A's reference (``reference_std``) averages
    out. With an exact reference there is nothing to average, and flips only delay what A holds.

    Further cells: ``buffer`` (H), shaped as the weights; ``sign`` with ``chop``, 1 or -1, shaped as the weights, equal
    within a column.

    Args:
        fast: A, a pulsed step model or its spec.
        slow: C, a pulse-driven device or its spec.
        columns: columns that are transferred after a write (a mini-batch), at least 1.
        transfer_lr: size of a transfer, > 0.
        gamma: share of A in the weights, 0 or more.
        reference_std: standard deviation of A's reference about each device's symmetry point, as of ``tiki_taka``.
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
        below = Condition(lambda v: 0 <= v < 1, "0 to below 1")
        check_options(self, below, "momentum", remedy="change it")
        check_options(self, PROBABILITY, "chop", remedy="change it")

    def program(self, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        cells = {**super().program(target, gen), "buffer": torch.zeros_like(target)}
        return {**cells, "sign": torch.ones_like(target)} if self.chop else cells

    def reprogram(self, cells: Cells, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        return {**super().reprogram(cells, target, gen), "buffer": torch.zeros_like(target)}

    def write(self, cells: Cells, change: Tensor, gen: torch.Generator | None = None) -> Cells:
        return super().write(cells, change * cells["sign"] if self.chop else change, gen)

    def _transferred(self, cells: Cells, gen: torch.Generator | None) -> Cells:
        at = self.next_columns(cells)
        own = columns_of({key: cells[key] for key in ("zero", "buffer", "sign") if key in cells}, at)
        content = self.a.read(columns_of(without_prefix("fast", cells), at), gen).sub_(own["zero"])
        if self.chop:
            content.mul_(own["sign"])
        slow = columns_of(without_prefix("slow", cells), at)
        epsilon = self.c.granularity(slow)
        buffer = own["buffer"].add(content, alpha=self.transfer_lr)
        n = (buffer / epsilon).trunc_()
        moved = self.c.settle(self.c.pulse(slow, n, gen), gen)
        new = {**with_prefix("slow", moved), "buffer": buffer.sub_(n * epsilon, alpha=1 - self.momentum)}
        if self.chop:
            kept = uniform(own["sign"][:1], gen).sub_(self.chop).sign_()  # -1 with the probability of a flip
            new["sign"] = own["sign"] * kept
        return {**with_columns(cells, new, at), "writes": cells["writes"] + 1}


def columns_of(cells: Cells, at: Tensor) -> Cells:
    """Return the columns ``at`` of every matrix of cells; 0-dim cells stay."""
    return {k: cell.reshape(len(cell), -1).index_select(1, at) if cell.dim() else cell for k, cell in cells.items()}


def with_columns(cells: Cells, new: Cells, at: Tensor) -> Cells:
    """Return all cells, with the columns ``at`` replaced by those in ``new``.

    Args:
        cells: matrices (n_out, ...) and 0-dim cells.
        new: columns (n_out, columns) of some of them.
        at: the indices of these columns, (columns,).
    """
    after = dict(cells)
    for key, part in new.items():
        if part.dim():
            matrix = cells[key]
            after[key] = matrix.reshape(len(matrix), -1).index_copy(1, at, part).view(matrix.shape)
    return after


def symmetry_point(device: Pulsed, cells: Cells) -> Tensor:
    """Return the state at which a step up and a step down are equal in the mean; 0 where there is none.

    Args:
        device: a pulsed step model.
        cells: the cells of its elements.

    Returns:
        Device units, by bisection between the bounds, shaped as the weights.
    """
    low, high = cells["bottom"].clone(), cells["top"].clone()
    one = torch.ones_like(low)

    def net(v: Tensor) -> Tensor:
        up = device.pulse_moments(v, one, cells["up"], one, cells)[0]
        down = device.pulse_moments(v, one, -cells["down"], torch.zeros_like(one), cells)[0]
        return up + down

    # bisection with the same number of steps for all devices; where net() keeps its sign there is no such point
    crosses = (net(low) * net(high)).neg_().sign_().clamp_(min=0)
    rising = net(high).sign()
    for _ in range(40):
        middle = (low + high) / 2
        above = (net(middle) * rising).sign_().clamp_(min=0)  # 1: the point lies below the middle
        low, high = torch.lerp(middle, low, above), torch.lerp(high, middle, above)
    return (low + high).mul_(0.5).mul_(crosses)
