"""Types of the training step: results, and what holds for the chunks of a sequence."""

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
"""Asked once a layer and pass: the weights of the return path beside that layer."""

Emit = Callable[[str, Layer, LocalView, Directions], None]
"""Called for every layer that learns, from the readout to the input."""


class StepResult(NamedTuple):
    """Result of one step; tensors on the compute device, nothing has been waited for."""

    loss: Tensor
    """Mean loss of the batch before the update, 0-dim."""
    y: Tensor
    """(B, o): outputs before the update."""


@dataclass(frozen=True)
class SequenceUpdate:
    """What holds for all chunks of one batch of sequences."""

    rule: Rule
    """The rule of this step."""
    batch: int
    """B: samples."""
    share: float
    """Weight of one tick's loss."""
    kappa: float
    """Decay of the filter through which errors of hidden layers arrive; 0: no filter."""
    writes: bool
    """Whether weights change after every chunk."""


@dataclass(frozen=True)
class ChunkSpan:
    """The ticks of one chunk."""

    first: int
    ticks: int
    """K."""
    taught: tuple[slice, Tensor] | None
    """Rows that are taught, and the targets of all K B rows; None: nothing is taught."""
    last: bool
    """Whether no chunk follows, so that no traces are kept."""
