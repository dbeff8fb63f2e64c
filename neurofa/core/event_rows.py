"""Products with rows of events: spikes of a chunk as a matrix (N, I) in compressed rows, N = ticks times samples.

The values of such a matrix are all one (:meth:`neurofa.core.events.Events.to_csr`), so that a product gathers and adds
rows of the other factor and multiplies nothing.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from neurofa.core.events import Events

SEARCH_FROM = 2**16
"""Numbers in a chunk from which dense input is searched for spikes."""
SPARSE_SHARE = 0.1
"""Largest share of non-zero inputs at which dense spikes are converted to events."""
SAMPLED_ROWS = 64
"""Rows in which the non-zero inputs are counted first."""


def event_rows(x: Tensor) -> Tensor:
    """Convert a dense matrix of spikes to rows of events where these are faster than dense products.

    The spikes in a sample of the rows decide; ``neurofa speed spikes`` shows the gain, the conversion included.

    Args:
        x: (N, I), dense, or rows of events already.

    Returns:
        The matrix in the layout of :meth:`Events.to_csr`. ``x`` itself if it holds other numbers than 0 and 1, too many
        spikes or too few numbers, or lies on an accelerator, for which the search would wait.
    """
    if x.layout != torch.strided or x.numel() < SEARCH_FROM or x.device.type != "cpu":
        return x
    sample = x[:: max(1, len(x) // SAMPLED_ROWS)]
    active = int(sample.count_nonzero())
    if active > SPARSE_SHARE * sample.numel() or int((sample == 1).sum()) < active:
        return x
    # numpy finds the true entries of a mask several times faster than non-zero numbers
    places = torch.from_numpy(np.flatnonzero((x != 0).numpy()))
    if not bool((x.reshape(-1).index_select(0, places) == 1).all()):
        return x
    count, channels = x.shape
    rows = torch.searchsorted(places, torch.arange(0, (count + 1) * channels, channels))
    return Events(rows, places.remainder_(channels), count, 1, channels).to_csr(x.dtype)


def dense_rows(x: Tensor) -> Tensor:
    """Return rows of events as a dense matrix, (N, I); a dense matrix is returned unchanged."""
    if x.layout != torch.sparse_csr:
        return x
    counts = torch.zeros(x.shape, dtype=x.dtype, device=x.device)
    row = torch.repeat_interleave(x.crow_indices().diff())
    return counts.index_put_((row, x.col_indices()), counts.new_ones(()), accumulate=True)


def event_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return W x + b; for rows of events as the sum of the columns of W whose channels spike.

    Args:
        x: (N, I), dense or rows of events.
        weight: (n_out, I).
        bias: (n_out,) or None.

    Returns:
        (N, n_out).
    """
    if x.layout != torch.sparse_csr:
        return nn.functional.linear(x, weight, bias)
    sums = nn.functional.embedding_bag(x.col_indices(), weight.t().contiguous(), x.crow_indices()[:-1], mode="sum")
    return sums if bias is None else sums.add_(bias)


def event_correlation(left: Tensor, x: Tensor) -> Tensor:
    """Return left^T x for rows of events: (N, n_out) and (N, I) to (n_out, I)."""
    units = x.col_indices()
    row = torch.repeat_interleave(x.crow_indices().diff())
    # sorted by channel, the column of each channel is one sum over consecutive rows of ``left``
    if units.device.type == "cpu" and x.shape[1] <= np.iinfo(np.uint16).max:
        # numpy sorts 16-bit numbers by radix, in linear time
        order = torch.from_numpy(units.numpy().astype(np.uint16).argsort(kind="stable"))
    else:
        order = torch.sort(units, stable=True).indices
    counts = torch.bincount(units, minlength=x.shape[1])
    begins = counts.cumsum(0) - counts
    return nn.functional.embedding_bag(row[order], left.contiguous(), begins, mode="sum").t()


def weighted_tick_sums(x: Tensor, weights: Tensor, batch: int) -> Tensor:
    """Return weighted sums of the spikes of a chunk over its K ticks: sum_t w[k, t] x[t] for each of d rows k of w.

    Args:
        x: (K B, I), rows of events.
        weights: w, (d, K).
        batch: B.

    Returns:
        (d, B, I).
    """
    row = torch.repeat_interleave(x.crow_indices().diff())
    # one bin for each channel of each sample, so that a single weighted count adds up the ticks
    place = (row % batch) * x.shape[1] + x.col_indices()
    size = batch * x.shape[1]
    sums = [torch.bincount(place, weights=w[row // batch], minlength=size) for w in weights]
    return torch.stack(sums).to(weights.dtype).view(len(weights), batch, x.shape[1])
