"""Where the pulses of rows and columns coincide, slot after slot, as bits of one word per device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hwmodels.device import Cells

if TYPE_CHECKING:
    from hwmodels.device_models.pulses import PulseDriven

SLOTS = 64
"""Slots that one word holds."""


def replay(device: PulseDriven, cells: Cells, rows: Tensor, columns: Tensor, gen: torch.Generator | None) -> None:
    """Step every device once for each slot in which its row and its column pulse, in the order of the slots.

    The steps of one device follow each other; those of different devices do not meet. So the devices take their first
    step together, then those that have a second one, and so on: as many rounds as the busiest device has steps, and
    the same steps, in the same order for each device, as slot after slot.

    Args:
        device: its :meth:`~hwmodels.device_models.pulses.PulseDriven.advance` is called with counts of 1.
        cells: of n_out n_in devices in the order of an (n_out, n_in) matrix, each cell (n_out n_in,) or 0-dim;
            overwritten.
        rows: (T, n_out), T up to 64: 1 or -1 where a row sends a pulse of that sign, else 0.
        columns: (T, n_in), the same of the columns. Where both pulse the device goes up if the signs are equal.
        gen: source of the device's noise.
    """
    fires_r, fires_c = words(rows != 0), words(columns != 0)
    r, c = fires_r.nonzero().squeeze(1), fires_c.nonzero().squeeze(1)  # a silent line costs nothing
    both = fires_r[r, None] & fires_c[c]
    down = words(rows < 0)[r, None] ^ words(columns < 0)[c]
    here = both.view(-1).nonzero().squeeze(1)
    if not len(here):
        return
    # the busiest first, so that those of a round are always a first part
    count, order = ones(both.view(-1).index_select(0, here)).sort(descending=True, stable=True)
    here = here.index_select(0, order)
    left, down = (word.view(-1).index_select(0, here) for word in (both, down))
    line = torch.div(here, len(c), rounding_mode="floor")
    at = r.index_select(0, line) * columns.shape[1] + c.index_select(0, here - line * len(c))
    own = {key: cell.index_select(0, at) if cell.dim() else cell for key, cell in cells.items()}
    changed = set()
    for m in (len(at) - torch.bincount(count).cumsum(0))[:-1].tolist():
        some = {key: cell[:m] if cell.dim() else cell for key, cell in own.items()}
        todo = left[:m]
        bit = todo & -todo  # the lowest bit: the first slot that is left
        rise = (down[:m] & bit == 0).to(rows.dtype)
        after = device.advance(some, torch.ones_like(rise), rise, gen)
        for key, cell in some.items():
            if cell.dim() and after[key] is not cell:
                changed.add(key)
                cell.copy_(after[key])
        todo ^= bit
    for key in changed:
        cells[key].index_copy_(0, at, own[key])


def words(bits: Tensor) -> Tensor:
    """Pack the bits of every line, (T, n) with T up to 64, into (n,) int64: bit t is slot t."""
    place = torch.arange(len(bits), device=bits.device).view(-1, 1)
    return (bits.to(torch.int64) << place).sum(0)


def ones(x: Tensor) -> Tensor:
    """How many bits of each 64-bit word are 1: sums of neighbours, then of pairs, of fours and of bytes."""
    x = x - ((x >> 1) & 0x5555555555555555)
    x = (x & 0x3333333333333333) + ((x >> 2) & 0x3333333333333333)
    x = (x + (x >> 4)) & 0x0F0F0F0F0F0F0F0F
    return (x * 0x0101010101010101) >> 56
