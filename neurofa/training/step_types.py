"""Types of the training step: callbacks, results, and settings of the chunks of a sequence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from neurofa.core.directions import Directions, ReturnWeights
from neurofa.core.layer import Layer
from neurofa.core.rule import Rule
from neurofa.core.view import LocalView, Params

ReturnWeightsOf = Callable[[str, Params], ReturnWeights | None]
"""Function from a layer's name and weights to its return weights (None: none), called once per layer and pass."""

Emit = Callable[[str, Layer, LocalView, Directions], None]
"""Callback for name, layer, view and directions of every layer that learns, from the readout to the input."""


class StepResult(NamedTuple):
    """Loss and outputs of one learning step, as tensors on the device of the network (nothing waits for it)."""

    loss: Tensor
    """Mean loss of the batch before the update, 0-dim."""
    y: Tensor
    """(B, o): outputs before the update."""


class Graded(NamedTuple):
    """Loss and outputs of one batch without learning, as tensors on the device of the network."""

    loss: Tensor
    """Mean loss of the batch, 0-dim."""
    y: Tensor
    """(B, o): outputs, of sequences their mean over the taught ticks."""
    mass: Tensor | None
    """0-dim: sum of the samples' weights, by which the mean is divided; None: B."""


@dataclass(frozen=True)
class SequenceUpdate:
    """Settings of learning from one batch of sequences, the same for all of its chunks."""

    rule: Rule
    """Rule of this step."""
    batch: int
    """B, number of samples."""
    share: float
    """Weight of the loss of one tick: 1 / number of taught ticks."""
    kappa: float
    """Decay of the filter through which errors reach hidden layers; 0: no filter."""
    writes: bool
    """Whether weights change after every chunk."""


@dataclass(frozen=True)
class ChunkSpan:
    """Ticks of one chunk, and the targets at its taught ticks (those whose loss counts)."""

    first: int
    """First tick."""
    ticks: int
    """K, number of ticks."""
    taught: tuple[slice, Tensor] | None
    """Rows of the taught ticks among the K B rows of the chunk, and targets of all rows; None: no tick is taught."""
    last: bool
    """Whether no chunk follows, so that no traces are kept."""
