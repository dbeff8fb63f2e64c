"""What layers and rules say of the matrix products of a step: the words in which every part tells its own.

A FLOP is one multiplication or one addition, so that a product of (m, k) and (k, n) takes 2 m k n. Only products of
matrices, convolutions and attention are told; what is elementwise (activations, normalisations, noise, the optimizer's
arithmetic) and decompositions (QR, SVD) are not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

PHASES = ("forward", "passes", "delivery", "update", "adaptation")
"""``forward``: the pass that is learnt from; ``passes``: those beside it (tangent, difference, second, noise pass);
``delivery``: errors on their way to and through layers; ``update``: directions of the weights; ``adaptation``: what the
feedback learns from."""

RETURNING_ATTENTION = 5
"""Products of the size of q k^T that an error takes through a fused attention: four, and the scores once more."""
TANGENT_ATTENTION = 4
"""Products of that size for the change of an attention: two for the scores, two for what they weigh."""


class Item(NamedTuple):
    """Products of one kind."""

    phase: str
    """One of ``PHASES``."""
    flop: int
    every: int = 1
    """Steps from one time to the next, beginning with the first step; 0: in the first step alone."""


@dataclass(frozen=True, slots=True)
class Map:
    """One affine map, and what it multiplies in one pass of a batch."""

    key: str
    """Name of its weight."""
    rows: int
    """Vectors that it multiplies: samples times positions or tokens."""
    n_in: int
    """Inputs of one output; channels times pixels of a kernel."""
    n_out: int
    """Outputs of one vector."""
    sends: bool
    """Whether the error at its output is sent on to its input."""
    groups: int = 1
    """Groups of channels that do not mix; ``n_in`` is that of one."""
    factored: bool = False
    """Whether its direction comes in factors, which are multiplied wherever it is used."""

    @property
    def product(self) -> int:
        """FLOP of its forward product; of its direction, and of its transpose, as well."""
        return 2 * self.rows * self.n_in * self.n_out

    def narrow(self, rank: int) -> int:
        """FLOP of two products through ``rank`` numbers a vector, in the place of one."""
        return 2 * self.rows * rank * (self.n_in + self.n_out)


@dataclass(frozen=True, slots=True)
class Work:
    """Products of one layer."""

    maps: tuple[Map, ...] = ()
    attention: int = 0
    """FLOP of q k^T, summed over the layer's attentions."""
    closed: bool = True
    """Whether an error is sent to the input only when it is asked for; else it goes through the whole layer at once,
    with all directions."""
    kept: bool = True
    """Whether the output of the affine map is there in the backward phase."""

    @property
    def affine(self) -> int:
        """FLOP of all affine maps in one pass."""
        return sum(m.product for m in self.maps)

    @property
    def forward(self) -> int:
        """FLOP of one pass."""
        return self.affine + 2 * self.attention


@dataclass(frozen=True, slots=True)
class At:
    """One layer that learns, as a rule meets it in a step."""

    name: str
    batch: int
    """Samples."""
    width: int
    """Outputs of the layer, a sample."""
    outputs: int
    """Outputs of the network, a sample."""
    work: Work
    readout: bool
    sends: bool
    """Whether the layer's input error is asked for."""

    def served(self, through: Callable[[str, Map], int]) -> list[Item]:
        """Working a delivered error into all directions and, where it is asked for, to the input.

        Args:
            through: FLOP of an error's way through one map of a layer.
        """
        sent = sum(through(self.name, m) for m in self.work.maps if m.sends)
        if self.work.closed:
            sent *= self.sends
        else:
            sent += RETURNING_ATTENTION * self.work.attention
        return [Item("delivery", sent), Item("update", self.work.affine)]


@dataclass(frozen=True, slots=True)
class MatrixInputs:
    """What one matrix of a layer multiplies in a pass, and how pairs of numbers that meet in it are counted."""

    key: str
    """Name of its weight."""
    inputs: Tensor
    """(B, *in_shape); rows of events may be sparse."""
    products: Callable[[Tensor, Tensor], float]
    """Pairs of an input and a weight: of counts of inputs, shaped as one sample, and of weights, shaped as they are."""
    updates: Callable[[Tensor, Tensor], float]
    """Pairs of an error and an input over all weights: of counts of errors and of inputs, a batch of each."""
