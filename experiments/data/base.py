"""What a data set is: three splits, and the device to which their batches go.

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
"""A set may take that share of a GPU's free memory; the rest is for the network and its activations."""


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
        home = home_of(device, sum(split.nbytes for split in self.splits().values()))
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


def static(data: object) -> Dataset:
    """Build a data set that must be static, for recipes that change its inputs or labels.

    Args:
        data: a spec, or a data set that is built already.

    Raises:
        NeurofaError: the data are sequences.
    """
    found = build("data", data)
    if not isinstance(found, Dataset):
        raise NeurofaError(f"got data '{data}', which are sequences; expected a static data set; use digits or mnist")
    return found


def home_of(device: torch.device, nbytes: int) -> torch.device:
    """Where a data set lies whose batches go to ``device``: there, where it fits beside a network, else on the host.

    Args:
        device: of the batches.
        nbytes: memory of the whole set.
    """
    if device.type != "cuda":
        return device
    free, _ = torch.cuda.mem_get_info(device)
    return device if nbytes <= _SHARE_OF_FREE_MEMORY * free else torch.device("cpu")


def _moved(split: Split, home: torch.device, *, pin: bool) -> Split:
    x, y = split.x.to(home), split.y.to(home)
    return Split(x.pin_memory(), y.pin_memory()) if pin else Split(x, y)
