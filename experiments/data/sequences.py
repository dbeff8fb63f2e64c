"""Data sets of sequences: three splits of samples that last T ticks, delivered time first.

A batch is ``(xs, targets)``: ``xs`` is (T, B, ...) float32, or :class:`neurofa.core.events.Events` of (T, B,
channels) where the data are events; ``targets`` are (B,) labels, or (T, B, o) numbers that hold for every tick.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from experiments.data.base import Dataset, home_of
from hwmodels.errors import NeurofaError
from neurofa.core.events import Events
from neurofa.core.randomness import fork_seed, generator


class SequenceSplit(ABC):
    """Samples of T ticks with their targets, stored compactly and expanded batch by batch."""

    ticks: int
    """T."""
    input_shape: tuple[int, ...]
    """Shape of one sample in one tick."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of samples."""

    @property
    @abstractmethod
    def labels(self) -> Tensor | None:
        """(N,) int64 classes of the samples; None: the targets are numbers, or labels are drawn with their samples."""

    @property
    def regression(self) -> bool:
        """Whether the targets are numbers for every tick rather than labels."""
        return False

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Memory of the stored samples, bytes."""

    @abstractmethod
    def cut(self, index: Tensor, gen: torch.Generator | None) -> tuple[Tensor | Events, Tensor]:
        """Return inputs and targets of a batch, on the device of the split.

        Args:
            index: (B,) int64 numbers of the samples, on the CPU.
            gen: a CPU generator for new draws; None: the same draws every time, sample by sample, so that they do not
                depend on how batches are cut.
        """

    @abstractmethod
    def to(self, device: torch.device) -> SequenceSplit:
        """Return the same samples stored on another device."""


class DrawnSplit(SequenceSplit):
    """Samples that are drawn when they are cut; fixed draws have a generator for each sample.

    Training draws come from a generator on the device of the split, seeded by the given one: they are the same in every
    run on that kind of device. Fixed draws are made on the CPU: they are the same on every device.
    """

    seed: int
    """Seed of the fixed draws."""
    where: str
    """Name of the split, by which its fixed draws differ from those of the others."""

    @property
    def random(self) -> bool:
        """Whether drawing needs randomness at all."""
        return True

    @property
    @abstractmethod
    def home(self) -> torch.device:
        """Device of the split."""

    @abstractmethod
    def draw(self, index: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return inputs and targets of a batch, drawn on the generator's device."""

    def cut(self, index: Tensor, gen: torch.Generator | None) -> tuple[Tensor, Tensor]:
        if not self.random:
            return self.draw(index, torch.Generator(self.home))
        if gen is None:
            parts = [self.draw(one, generator(self.seed, self.where, str(int(one)))) for one in torch.split(index, 1)]
            xs, targets = zip(*parts, strict=True)
            # the samples are the second dimension of per-tick targets, the first of labels
            return torch.cat(xs, 1).to(self.home), torch.cat(targets, int(targets[0].ndim > 1)).to(self.home)
        own = gen if self.home.type == "cpu" else torch.Generator(self.home).manual_seed(fork_seed(gen))
        return self.draw(index, own)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sequences:
    """A data set of sequences cut into train, validation and test: the sibling of :class:`experiments.data.Dataset`.

    Raises:
        NeurofaError: splits of another length or shape, a label or a teaching period out of range, no time.
    """

    name: str
    train: SequenceSplit
    validation: SequenceSplit
    test: SequenceSplit
    classes: int
    """Number of classes, or of regression targets ``o``."""
    input_shape: tuple[int, ...]
    """Shape of one sample in one tick; events have ``prod(input_shape)`` channels, counted in C order."""
    ticks: int
    """T."""
    tick: float
    """Length of a tick, s."""
    provenance: Mapping[str, str]
    """Origin of the data: file names with their sha256, seeds, source."""
    teach: tuple[int, int] | None = None
    """Ticks [begin, end) in which the target counts; None: all."""
    compute: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Device of the batches."""

    def __post_init__(self) -> None:
        if self.ticks < 1 or not 0 < self.tick < math.inf:
            raise NeurofaError(
                f"got {self.ticks} ticks of {self.tick} s in data '{self.name}'; expected 1 or more, of a time above 0;"
                " change ticks and tick"
            )
        if self.teach is not None and not 0 <= self.teach[0] < self.teach[1] <= self.ticks:
            raise NeurofaError(
                f"got data '{self.name}' taught in ticks {self.teach}; expected a part of [0, {self.ticks}); change it"
            )
        for where, split in self.splits().items():
            if split.ticks != self.ticks or split.input_shape != self.input_shape:
                raise NeurofaError(
                    f"got {where} sequences of {split.ticks} ticks of {split.input_shape} in data '{self.name}'; "
                    f"expected {self.ticks} of {self.input_shape}; cut them alike"
                )
            labels = split.labels
            if labels is not None and len(labels) and (int(labels.min()) < 0 or int(labels.max()) >= self.classes):
                raise NeurofaError(
                    f"got {where} labels from {int(labels.min())} to {int(labels.max())} in data '{self.name}'; "
                    f"expected 0 to {self.classes - 1}; check the label file"
                )

    @classmethod
    def of(
        cls,
        name: str,
        splits: Mapping[str, SequenceSplit],
        *,
        classes: int,
        tick: float,
        provenance: Mapping[str, str],
        teach: tuple[int, int] | None = None,
    ) -> Sequences:
        """Return the data set of splits that are all as long, and of the same shape, as the training split.

        Args:
            name: of the data set.
            splits: ``train``, ``validation`` and ``test``.
            classes: number of classes, or of regression targets.
            tick: length of a tick, s.
            provenance: origin of the data.
            teach: ticks [begin, end) in which the target counts; None: all.
        """
        train, validation, test = (splits[where] for where in ("train", "validation", "test"))
        return cls(
            name=name,
            train=train,
            validation=validation,
            test=test,
            classes=classes,
            input_shape=train.input_shape,
            ticks=train.ticks,
            tick=tick,
            provenance=provenance,
            teach=teach,
        )

    @property
    def regression(self) -> bool:
        """Whether the targets are numbers for every tick rather than labels."""
        return self.train.regression

    def splits(self) -> dict[str, SequenceSplit]:
        """Return the three splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def to(self, device: torch.device | str) -> Sequences:
        """Return the same data with batches delivered on ``device``, and stored there when they fit.

        Args:
            device: such as ``"cuda"``; a set that would take more than half of a GPU's free memory stays on the host.
        """
        device = torch.device(device)
        home = home_of(device, sum(split.nbytes for split in self.splits().values()))
        moved = {name: split.to(home) for name, split in self.splits().items()}
        return replace(self, train=moved["train"], validation=moved["validation"], test=moved["test"], compute=device)

    def batches(
        self, where: str, batch_size: int, gen: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor | Events, Tensor]]:
        """Cut a split into batches, each sample once.

        Args:
            where: name of the split.
            batch_size: samples in a batch; the last one may be smaller.
            gen: a CPU generator that draws the order (the same on every device) and new spikes; None: the stored order
                and fixed draws.

        Returns:
            An iterator over ``(xs, targets)``, see the module.

        Raises:
            NeurofaError: no such split, or a batch size below 1.
        """
        if where not in self.splits():
            raise NeurofaError(f"got split '{where}'; expected {', '.join(self.splits())}; name one of them")
        if batch_size < 1:
            raise NeurofaError(f"got batch size {batch_size}; expected 1 or more; raise it")
        return self._cut(self.splits()[where], batch_size, gen)

    def _cut(
        self, split: SequenceSplit, batch_size: int, gen: torch.Generator | None
    ) -> Iterator[tuple[Tensor | Events, Tensor]]:
        order = torch.arange(len(split)) if gen is None else torch.randperm(len(split), generator=gen)
        for index in torch.split(order, batch_size):
            if not len(index):  # an empty split is one empty piece
                return
            xs, targets = split.cut(index, gen)
            yield xs.to(self.compute), targets.to(self.compute, non_blocking=True)


def require_static(dataset: Dataset | Sequences, what: str) -> Dataset:
    """Return a static data set, and refuse sequences.

    Args:
        dataset: any.
        what: name of what cannot use sequences, for the message.

    Raises:
        NeurofaError: sequences.
    """
    if isinstance(dataset, Sequences):
        raise NeurofaError(
            f"got data '{dataset.name}', sequences of {dataset.ticks} ticks, for {what}; expected data without time;"
            " choose other data (see: neurofa list data)"
        )
    return dataset
