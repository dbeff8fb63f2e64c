"""Coincidences of row and column pulses, slot after slot, as the bits of one word per device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hwmodels.device import Cells

SLOTS = 64
"""Slots that one word holds."""

Advance = Callable[[Cells, Tensor, Tensor, torch.Generator | None], Cells]
"""Send pulses: cells, counts, direction (1 up, 0 down) and generator give the cells afterwards."""


def step_at_coincidences(
    advance: Advance, cells: Cells, rows: Tensor, columns: Tensor, gen: torch.Generator | None
) -> None:
    """Step every device once for each slot in which its row and its column pulse, in the order of the slots.

    The steps of one device follow each other, those of different devices are independent. So all devices that have a
    step take their first one together, then all that have a second one, and so on: as many rounds as the device with
    most steps needs, with the same steps, in the same order for each device, as slot after slot.

    Args:
        advance: :meth:`~hwmodels.device_models.pulses.PulseDriven.advance` of the device; called with counts of 1.
        cells: of n_out n_in devices in the order of an (n_out, n_in) matrix, each cell (n_out n_in,) or 0-dim;
            overwritten.
        rows: (T, n_out), T up to 64: 1 or -1 where a row sends a pulse of that sign, else 0.
        columns: (T, n_in), the same for the columns. Where both pulse the device goes up if the signs are equal.
        gen: source of the noise of the device.
    """
    row_bits, column_bits = pack_bits(rows != 0), pack_bits(columns != 0)
    r, c = row_bits.nonzero().squeeze(1), column_bits.nonzero().squeeze(1)  # silent lines are left out
    both = row_bits[r, None] & column_bits[c]
    down = pack_bits(rows < 0)[r, None] ^ pack_bits(columns < 0)[c]
    active = both.view(-1).nonzero().squeeze(1)
    if not len(active):
        return
    # devices with most steps first, so that those of a round are always the first m
    count, order = count_ones(both.view(-1).index_select(0, active)).sort(descending=True, stable=True)
    active = active.index_select(0, order)
    left, down = (word.view(-1).index_select(0, active) for word in (both, down))
    line = torch.div(active, len(c), rounding_mode="floor")
    at = r.index_select(0, line) * columns.shape[1] + c.index_select(0, active - line * len(c))
    stepped = {key: cell.index_select(0, at) if cell.dim() else cell for key, cell in cells.items()}
    changed = set()
    # len(at) - cumsum of the counts: how many devices have at least 1, 2, ... steps
    for m in (len(at) - torch.bincount(count).cumsum(0))[:-1].tolist():
        present = {key: cell[:m] if cell.dim() else cell for key, cell in stepped.items()}
        todo = left[:m]
        bit = todo & -todo  # the lowest bit is the first slot that is left
        rise = (down[:m] & bit == 0).to(rows.dtype)
        after = advance(present, torch.ones_like(rise), rise, gen)
        for key, cell in present.items():
            if cell.dim() and after[key] is not cell:
                changed.add(key)
                cell.copy_(after[key])
        todo ^= bit
    for key in changed:
        cells[key].index_copy_(0, at, stepped[key])


def pack_bits(bits: Tensor) -> Tensor:
    """Pack the bits of every line, (T, n) with T up to 64, into (n,) int64: bit t is slot t."""
    place = torch.arange(len(bits), device=bits.device).view(-1, 1)
    return (bits.to(torch.int64) << place).sum(0)


def count_ones(x: Tensor) -> Tensor:
    """Count the 1 bits of each 64-bit word: sums of neighbours, then of pairs, of fours and of bytes."""
    x = x - ((x >> 1) & 0x5555555555555555)
    x = (x & 0x3333333333333333) + ((x >> 2) & 0x3333333333333333)
    x = (x + (x >> 4)) & 0x0F0F0F0F0F0F0F0F
    return (x * 0x0101010101010101) >> 56
