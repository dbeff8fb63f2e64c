"""What a data set is, and how batches are cut from it.

Inputs are standardised once, to float32, and the whole set is moved to the compute device when it fits there: a batch
is then one ``index_select`` on the device. A set that does not fit stays in (pinned) host memory and is moved by batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from experiments.data.augment import Augment
from hwmodels.errors import NeurofaError
from hwmodels.registry import kind_of_parts

kind_of_parts("data", "experiments.data")

_SHARE_OF_FREE_MEMORY = 0.5
"""A set may take that share of a GPU's free memory; the rest is for the network and its activations."""


@dataclass(frozen=True, eq=False)
class Split:
    """Inputs with their targets.

    Args:
        x: (N, ...) float32 inputs, standardised.
        y: (N,) int64 class labels, or (N, o) float32 regression targets.

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
        for what, values in (("inputs", self.x), ("targets", self.y)):
            # a NaN or an infinity shows in the extremes, without a mask as large as the data
            if values.is_floating_point() and values.numel() and not torch.stack(values.aminmax()).isfinite().all():
                raise NeurofaError(f"got NaN or infinite {what}; expected finite values; clean the data")

    def __len__(self) -> int:
        return len(self.x)

    @property
    def nbytes(self) -> int:
        """Memory of inputs and targets, bytes."""
        return self.x.nbytes + self.y.nbytes


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """A data set cut into train, validation and test.

    Raises:
        NeurofaError: an input's shape differs from ``input_shape``, or a label is out of range.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: int
    """Number of classes, or of regression targets ``o``."""
    input_shape: tuple[int, ...]
    """Shape of one input, such as (1, 28, 28)."""
    provenance: Mapping[str, str]
    """Where the data came from: file names with their sha256, seeds, source."""
    augment: Augment | None = None
    """What training batches go through; ``None``: nothing."""
    compute: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Where batches are delivered."""

    def __post_init__(self) -> None:
        for where, split in self.splits().items():
            if tuple(split.x.shape[1:]) != self.input_shape:
                raise NeurofaError(
                    f"got {where} inputs of shape {tuple(split.x.shape[1:])} in data '{self.name}'; "
                    f"expected {self.input_shape}; reshape them"
                )
            if split.y.is_floating_point():
                if split.y.ndim != 2 or split.y.shape[1] != self.classes:
                    raise NeurofaError(
                        f"got {where} targets of shape {tuple(split.y.shape)} in data '{self.name}'; "
                        f"expected (N, {self.classes}); reshape them"
                    )
            elif len(split) and (int(split.y.min()) < 0 or int(split.y.max()) >= self.classes):
                raise NeurofaError(
                    f"got {where} labels from {int(split.y.min())} to {int(split.y.max())} in data '{self.name}'; "
                    f"expected 0 to {self.classes - 1}; check the label file"
                )

    @property
    def regression(self) -> bool:
        """Whether the targets are vectors of numbers rather than labels."""
        return self.train.y.is_floating_point()

    def splits(self) -> dict[str, Split]:
        """The three splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def to(self, device: torch.device | str) -> Dataset:
        """The same data with batches delivered on ``device``, and the whole set held there when it fits.

        Args:
            device: such as ``"cuda"``; a set that would take more than half of a GPU's free memory is pinned on the
                host instead.
        """
        device = torch.device(device)
        home = device
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            if sum(split.nbytes for split in self.splits().values()) > _SHARE_OF_FREE_MEMORY * free:
                home = torch.device("cpu")
        pin = home != device
        moved = {name: _moved(split, home, pin=pin) for name, split in self.splits().items()}
        return replace(self, train=moved["train"], validation=moved["validation"], test=moved["test"], compute=device)

    def batches(
        self, where: str, batch_size: int, gen: torch.Generator | None = None, *, flatten: bool = False
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of one split by name, see :func:`batches`; shuffled training batches are augmented."""
        if where not in self.splits():
            raise NeurofaError(f"got split '{where}'; expected {', '.join(self.splits())}; name one of them")
        augment = self.augment if where == "train" and gen is not None else None
        split = self.splits()[where]
        return batches(split, batch_size, gen, augment=augment, flatten=flatten, device=self.compute)


def _moved(split: Split, home: torch.device, *, pin: bool) -> Split:
    x, y = split.x.to(home), split.y.to(home)
    return Split(x.pin_memory(), y.pin_memory()) if pin else Split(x, y)


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
        gen: a CPU generator that draws the order (the same on every device) and the augmentation; ``None``: the stored
            order, without copying.
        augment: applied to each batch of images; it needs ``gen``.
        flatten: deliver inputs as (B, n_in).
        drop_last: leave out a smaller last batch.
        device: where batches are delivered; default: where the split lies.

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
    return _cut(split, batch_size, gen, augment, flatten, drop_last, device or split.x.device)


def _cut(
    split: Split,
    batch_size: int,
    gen: torch.Generator | None,
    augment: Augment | None,
    flatten: bool,
    drop_last: bool,
    device: torch.device,
) -> Iterator[tuple[Tensor, Tensor]]:
    n = len(split)
    order = None if gen is None else torch.randperm(n, generator=gen).to(split.x.device)
    for start in range(0, n - batch_size + 1 if drop_last else n, batch_size):
        if order is None:
            x, y = split.x[start : start + batch_size], split.y[start : start + batch_size]
        else:
            index = order[start : start + batch_size]
            x, y = split.x.index_select(0, index), split.y.index_select(0, index)
        x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
        if augment is not None and gen is not None:
            x = augment(x, gen)
        yield (x.flatten(1) if flatten else x), y
