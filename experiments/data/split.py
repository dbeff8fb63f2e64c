"""Inputs with their targets, and batches that are cut from them.

A split is stored on one device; when that is the compute device, a batch is one ``index_select`` there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.data.augment import Augment
from hwmodels.errors import NeurofaError


@dataclass(frozen=True, eq=False)
class Split:
    """Inputs with their targets.

    Args:
        x: (N, ...) float32 inputs, standardised, or (N, S) int64 ids of tokens.
        y: (N,) int64 class labels, (N, S) int64 targets of every token, or (N, o) float32 regression targets.

    Raises:
        NeurofaError: lengths differ, a dtype is wrong or a value is not finite.
    """

    x: Tensor
    y: Tensor

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y):
            raise NeurofaError(
                f"got {len(self.x)} inputs with {len(self.y)} targets; expected one target an input; check both files"
            )
        if self.y.dtype != torch.int64 and not self.y.is_floating_point():
            raise NeurofaError(
                f"got targets of {self.y.dtype}; expected int64 labels or float targets; convert them with .long()"
            )
        tokens = not self.x.is_floating_point() and self.y.shape == self.x.shape
        if self.y.dtype == torch.int64 and self.y.ndim != 1 and not tokens:
            raise NeurofaError(
                f"got labels of shape {tuple(self.y.shape)}; expected (N,), one a sample; flatten them with .view(-1)"
            )
        for what, values in (("inputs", self.x), ("targets", self.y)):
            # the extremes reveal a NaN or an infinity without a mask as large as the data
            if values.is_floating_point() and values.numel() and not torch.stack(values.aminmax()).isfinite().all():
                raise NeurofaError(f"got NaN or infinite {what}; expected finite values; clean the data")

    def __len__(self) -> int:
        return len(self.x)

    @property
    def nbytes(self) -> int:
        """Memory of inputs and targets, bytes."""
        return self.x.nbytes + self.y.nbytes


def batches(
    split: Split,
    batch_size: int,
    gen: torch.Generator | None = None,
    *,
    augment: Augment | None = None,
    flatten: bool = False,
    drop_last: bool = False,
    device: torch.device | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut a split into batches, each sample once.

    Args:
        split: the samples.
        batch_size: samples in a batch; the last one may be smaller.
        gen: a CPU generator that draws the order (the same on every device) and the augmentation; None: the stored
            order, without copying.
        augment: applied to each batch of images; it needs ``gen``.
        flatten: whether inputs are delivered as (B, n_in).
        drop_last: whether a smaller last batch is left out.
        device: device of the batches; None: that of the split.

    Returns:
        An iterator over ``(x, y)``: (B, ...) inputs and (B,) labels or (B, o) targets.

    Raises:
        NeurofaError: a batch size below 1, augmentation without a generator, or no full batch with ``drop_last``.
    """
    if batch_size < 1:
        raise NeurofaError(f"got batch size {batch_size}; expected 1 or more; raise it")
    if augment is not None and gen is None:
        raise NeurofaError("got augmentation without a generator; expected a torch.Generator; pass gen")
    if drop_last and batch_size > len(split):
        raise NeurofaError(
            f"got batch size {batch_size} with drop_last for {len(split)} samples; expected a full batch; lower it"
        )

    def cut() -> Iterator[tuple[Tensor, Tensor]]:
        n, home = len(split), device or split.x.device
        order = None if gen is None else torch.randperm(n, generator=gen).to(split.x.device)
        for start in range(0, n - batch_size + 1 if drop_last else n, batch_size):
            if order is None:
                x, y = split.x[start : start + batch_size], split.y[start : start + batch_size]
            else:
                index = order[start : start + batch_size]
                x, y = split.x.index_select(0, index), split.y.index_select(0, index)
            x, y = x.to(home, non_blocking=True), y.to(home, non_blocking=True)
            if augment is not None and gen is not None:
                x = augment(x, gen)
            yield (x.flatten(1) if flatten else x), y

    return cut()  # the checks above are made at once, not with the first batch
