"""Data sets: three splits, and the device on which their batches are delivered.

Inputs are standardised once, to float32, and the whole set is moved to the compute device when it fits there: a batch
is then cut on the device. A set that does not fit stays in (pinned) host memory and is moved batch by batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from experiments.data.augment import Augment
from experiments.data.split import Split, batches
from hwmodels.errors import NeurofaError
from hwmodels.registry import build

_SHARE_OF_FREE_MEMORY = 0.5
"""Largest share of a GPU's free memory for a set; the rest is for the network and its activations."""


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
    """Origin of the data: file names with their sha256, seeds, source."""
    augment: Augment | None = None
    """Random changes of training batches; None: none."""
    compute: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Device of the batches."""

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

    @classmethod
    def of(
        cls, name: str, splits: tuple[Split, Split, Split], *, classes: int, provenance: Mapping[str, str]
    ) -> Dataset:
        """Return the data set of splits for training, validation and test, whose inputs have one shape.

        Args:
            name: of the data set.
            splits: the splits for training, validation and test, in this order.
            classes: number of classes, or of regression targets.
            provenance: origin of the data.
        """
        train, validation, test = splits
        return cls(
            name=name,
            train=train,
            validation=validation,
            test=test,
            classes=classes,
            input_shape=tuple(train.x.shape[1:]),
            provenance=provenance,
        )

    @property
    def tokens(self) -> bool:
        """Whether the inputs are ids of tokens rather than numbers."""
        return not self.train.x.is_floating_point()

    @property
    def regression(self) -> bool:
        """Whether the targets are vectors of numbers rather than labels."""
        return self.train.y.is_floating_point()

    def splits(self) -> dict[str, Split]:
        """Return the three splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def to(self, device: torch.device | str) -> Dataset:
        """Return the same data with batches delivered on ``device``, and stored there when they fit.

        Args:
            device: such as ``"cuda"``; a set that would take more than half of a GPU's free memory is pinned on the
                host instead.
        """
        device = torch.device(device)
        home = home_of(device, sum(split.nbytes for split in self.splits().values()))
        pin = home != device
        moved = {name: _moved(split, home, pin=pin) for name, split in self.splits().items()}
        return replace(self, train=moved["train"], validation=moved["validation"], test=moved["test"], compute=device)

    def batches(
        self, where: str, batch_size: int, gen: torch.Generator | None = None, *, flatten: bool = False
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Cut one split into batches, see :func:`batches`; shuffled training batches are augmented.

        Args:
            where: name of the split.
            batch_size: samples in a batch.
            gen: a CPU generator that draws the order and the augmentation; None: the stored order.
            flatten: whether inputs are delivered as (B, n_in).

        Raises:
            NeurofaError: no such split, or a batch size below 1.
        """
        if where not in self.splits():
            raise NeurofaError(f"got split '{where}'; expected {', '.join(self.splits())}; name one of them")
        augment = self.augment if where == "train" and gen is not None else None
        split = self.splits()[where]
        return batches(split, batch_size, gen, augment=augment, flatten=flatten, device=self.compute)


def build_static(data: object) -> Dataset:
    """Build a data set that must be static, for recipes that change its inputs or labels.

    Args:
        data: a spec, or a data set.

    Raises:
        NeurofaError: the data are sequences.
    """
    dataset = build("data", data)
    if not isinstance(dataset, Dataset):
        raise NeurofaError(f"got data '{data}', which are sequences; expected a static data set; use digits or mnist")
    return dataset


def synthetic(seed: int) -> dict[str, str]:
    """Return the provenance of data that are drawn with a seed."""
    return {"origin": "synthetic", "seed": str(seed)}


def home_of(device: torch.device, nbytes: int) -> torch.device:
    """Return where a data set is stored: on the device of its batches if it fits beside a network, else on the host.

    Args:
        device: of the batches.
        nbytes: memory of the whole set, bytes.
    """
    if device.type != "cuda":
        return device
    free, _ = torch.cuda.mem_get_info(device)
    return device if nbytes <= _SHARE_OF_FREE_MEMORY * free else torch.device("cpu")


def _moved(split: Split, home: torch.device, *, pin: bool) -> Split:
    x, y = split.x.to(home), split.y.to(home)
    return Split(x.pin_memory(), y.pin_memory()) if pin else Split(x, y)
