"""Batches (x, y) out of whatever holds them: loaders, lists, arrays, dicts."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from neurofa.core.events import Events
from neurofa.core.network import Network
from neurofa.core.randomness import generator

Batch = tuple[Tensor | Events, Tensor]
"""Inputs with targets."""
KINDS = "a DataLoader, a list of (x, y), arrays (x, y), or a function of the epoch that returns one of them"


@dataclass(frozen=True, kw_only=True)
class Batches:
    """Reads the batches of every epoch, in the dtype and on the device of a network.

    Raises:
        NeurofaError: data of another kind.
    """

    data: object
    """An iterable of batches that can be read again, a function of the epoch, or whole arrays (x, y)."""
    network: Network
    what: str
    """``training`` or ``validation``, for messages."""
    batch_size: int
    """Samples in a batch that is cut from whole arrays."""
    keys: tuple[str, str] | None
    """Names of inputs and targets where batches or arrays are dicts."""
    batch_first: bool
    """Whether sequences come as (B, T, ...)."""
    seed: int | None
    """Of the order of whole arrays; None: as they are."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise NeurofaError(f"got batch_size={self.batch_size}; expected 1 or more; raise it")
        if not (callable(self.data) or hasattr(self.data, "__iter__") or isinstance(self.data, Mapping)):
            raise NeurofaError(f"got {self.what} data of type {type(self.data).__name__}; expected {KINDS}; pass one")

    def require_again(self, epochs: int) -> None:
        """Refuse an iterator that is used up after one epoch.

        Raises:
            NeurofaError: naming its type.
        """
        if epochs > 1 and isinstance(self.data, Iterator):
            raise NeurofaError(
                f"got {self.what} data that can be read once (a {type(self.data).__name__}) for {epochs} epochs;"
                f" expected {KINDS}; pass list(...) of it, or a function that makes it anew"
            )

    @property
    def count(self) -> int | None:
        """Number of batches of an epoch; None: not known beforehand."""
        if (whole := self.whole) is not None:
            return -(-self._samples(*whole) // self.batch_size)
        return None if self._drawn or not hasattr(self.data, "__len__") else len(self.data)

    @property
    def _drawn(self) -> bool:
        """Whether the data are a function of the epoch."""
        return callable(self.data) and not hasattr(self.data, "__iter__")

    def of_epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch.

        Args:
            epoch: its number, from 1.

        Raises:
            NeurofaError: what is no batch, a missing key, inputs or targets that are no numbers.
        """
        if (whole := self.whole) is not None:
            yield from self._cut(*whole, epoch)
            return
        data: Any = self.data
        for item in data(epoch) if self._drawn else data:
            yield self._batch(item)

    @functools.cached_property
    def whole(self) -> Batch | None:
        """Inputs and targets of all samples, if that is what was given."""
        data = self.data
        if isinstance(data, Mapping):
            return self._batch(data)
        arrays = isinstance(data, tuple | list) and len(data) == 2 and all(_is_array(part) for part in data)
        return self._batch(data) if arrays else None

    def _cut(self, x: Tensor | Events, y: Tensor, epoch: int) -> Iterator[Batch]:
        """Yield batches of whole arrays; sequences are time first here."""
        count = self._samples(x, y)
        if isinstance(x, Events):
            raise NeurofaError(
                "got all samples as one Events; expected batches of them; pass a list of (Events, targets), or a"
                " function of the epoch"
            )
        order = torch.arange(count)
        if self.seed is not None:
            order = torch.randperm(count, generator=generator(self.seed, "order", str(epoch)))
        axis = int(is_sequence(self.network, x))
        per_tick = int(y.dim() == 3 and bool(axis))
        for begin in range(0, count, self.batch_size):
            index = order[begin : begin + self.batch_size].to(x.device)
            yield x.index_select(axis, index), y.index_select(per_tick, index)

    def _samples(self, x: Tensor | Events, y: Tensor) -> int:
        count = x.shape[1] if is_sequence(self.network, x) else x.shape[0]
        targets = y.shape[1] if y.dim() == 3 and is_sequence(self.network, x) else len(y)
        if count != targets or not count:
            raise NeurofaError(
                f"got {count} inputs with {targets} targets as {self.what} data; expected one target a sample, and some"
                " samples; check both, and batch_first for sequences"
            )
        return int(count)

    def _batch(self, item: object) -> Batch:
        """Return one batch as tensors."""
        if isinstance(item, Mapping):
            if self.keys is None:
                raise NeurofaError(
                    f"got {self.what} batches with {', '.join(map(str, item))}; expected to know which are inputs and"
                    " targets; name them with keys=(inputs, targets)"
                )
            missing = next((key for key in self.keys if key not in item), None)
            if missing is not None:
                raise NeurofaError(
                    f"got {self.what} batches with {', '.join(map(str, item))}; expected '{missing}'; name another key"
                )
            item = tuple(item[key] for key in self.keys)
        if not isinstance(item, tuple | list) or len(item) != 2:
            size = f" of {len(item)} parts" if isinstance(item, Sequence) and not isinstance(item, str) else ""
            raise NeurofaError(
                f"got a {self.what} batch that is a {type(item).__name__}{size}; expected (x, y), inputs with targets;"
                " return two from the loader, or a dict with keys"
            )
        return self._inputs(item[0]), self._targets(item[1])

    def _inputs(self, value: object) -> Tensor | Events:
        like = next(self.network.parameters())
        if isinstance(value, Events):
            return value.to(like.device)
        x = _tensor(value, f"{self.what} inputs")
        tokens = self.network.vocabulary is not None
        if tokens and not x.is_floating_point():
            x = x.to(like.device, torch.int64, non_blocking=True)
        elif x.is_floating_point() or x.dtype == torch.bool:
            x = x.to(like.device, x.dtype if tokens else like.dtype, non_blocking=True)
        else:
            raise NeurofaError(
                f"got {self.what} inputs of {x.dtype}; expected floating point; scale them first, such as x / 255"
            )
        return x.transpose(0, 1) if self.batch_first and is_sequence(self.network, x) else x

    def _targets(self, value: object) -> Tensor:
        like = next(self.network.parameters())
        y = _tensor(value, f"{self.what} targets")
        y = y.to(like.device, like.dtype if y.is_floating_point() else y.dtype, non_blocking=True)
        return y.transpose(0, 1) if self.batch_first and y.dim() == 3 and self.network.positions is None else y


def is_sequence(network: Network, x: Tensor | Events) -> bool:
    """Return whether inputs have an axis of time before their samples, (T, B, *input_shape)."""
    return isinstance(x, Events) or x.dim() == len(network.input_shape) + 2


def _is_array(value: object) -> bool:
    return isinstance(value, Tensor | np.ndarray | Events)


def _tensor(value: object, what: str) -> Tensor:
    if isinstance(value, Tensor):
        if value.is_complex() or value.layout != torch.strided:
            raise NeurofaError(
                f"got {what} of {value.dtype}, {value.layout}; expected dense real numbers; convert them"
            )
        return value
    try:
        if isinstance(value, list | tuple) and value and all(isinstance(part, Tensor) for part in value):
            return torch.stack(list(value))
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            raise NeurofaError(f"got {what} of type {array.dtype}; expected real numbers; convert them")
        # torch shares the memory of an array, but warns where it may not be written
        native = array.astype(array.dtype.newbyteorder("="), copy=not array.flags.writeable)
        return torch.from_numpy(np.ascontiguousarray(native))
    except NeurofaError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise NeurofaError(
            f"got {what} that are no array ({reason}); expected numbers of one shape; convert them"
        ) from None
