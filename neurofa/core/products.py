"""Plain data in which layers and rules declare the matrix products of a step.

A FLOP is one multiplication or one addition, so that a product of (m, k) and (k, n) takes 2 m k n. Products of
matrices, convolutions and attention are counted; elementwise operations (activations, normalisations, noise, the
optimizer's arithmetic) and decompositions (QR, SVD) are not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

PHASES = ("forward", "passes", "delivery", "update", "adaptation")
"""``forward``: the pass whose activations the step learns from; ``passes``: further passes (tangent, difference,
second, noise pass); ``delivery``: sending errors to layers and through them; ``update``: directions of the weights;
``adaptation``: learning of the feedback."""

RETURNING_ATTENTION = 5
"""Products of the size of q k^T in the backward pass of a fused attention: four, and the recomputed scores."""
TANGENT_ATTENTION = 4
"""Products of that size in the tangent of an attention: two for the scores, two for the weighted values."""


class PhaseFlop(NamedTuple):
    """FLOP of products in one phase of a step."""

    phase: str
    """One of ``PHASES``."""
    flop: int
    """FLOP of one batch."""
    every: int = 1
    """Period in steps, counted from the first step; 0: the first step alone."""


@dataclass(frozen=True, slots=True)
class MapWork:
    """Shape of the product of one affine map in one pass of a batch."""

    key: str
    """Name of its weight."""
    rows: int
    """Input vectors: samples times positions or tokens."""
    n_in: int
    """Inputs of one output; of a convolution, channels times pixels of a kernel."""
    n_out: int
    """Outputs for one input vector."""
    sends: bool
    """Whether the error at its output is propagated to its input."""
    groups: int = 1
    """Groups of a grouped convolution; ``n_in`` counts the inputs of one group."""
    factored: bool = False
    """Whether its direction is kept in factors, whose product is computed at each use."""

    @property
    def product(self) -> int:
        """FLOP of its forward product; its direction and the product with its transpose take the same number."""
        return 2 * self.rows * self.n_in * self.n_out

    def narrow(self, rank: int) -> int:
        """Return the FLOP of the product when the matrix is replaced by two factors of the given rank."""
        return 2 * self.rows * rank * (self.n_in + self.n_out)


@dataclass(frozen=True, slots=True)
class LayerWork:
    """Products of one layer in one pass of a batch."""

    maps: tuple[MapWork, ...] = ()
    """Sizes of the product of every affine map."""
    attention: int = 0
    """FLOP of q k^T, summed over the attentions of the layer."""
    closed: bool = True
    """Whether the input error is a product of its own, left out when no layer needs it; a layer differentiated as a
    whole always computes it together with the directions."""
    kept: bool = True
    """Whether the output of the affine map is stored for the backward phase."""

    @property
    def affine(self) -> int:
        """FLOP of all affine maps in one pass."""
        return sum(m.product for m in self.maps)

    @property
    def forward(self) -> int:
        """FLOP of one forward pass."""
        return self.affine + 2 * self.attention


@dataclass(frozen=True, slots=True)
class ServedLayer:
    """Sizes of one layer that learns in a step, from which a rule counts the FLOP that it needs for this layer."""

    name: str
    batch: int
    """N: samples; samples times positions where the network answers at every position."""
    width: int
    """Outputs of the layer for each of them."""
    outputs: int
    """Outputs of the network for each of them."""
    work: LayerWork
    """Products of the layer's forward pass."""
    readout: bool
    """Whether the layer is the readout."""
    sends: bool
    """Whether the rule propagates an error to the input of the layer."""

    def plain_work(self, through: Callable[[str, MapWork], int]) -> list[PhaseFlop]:
        """Return the FLOP of the directions of all weights and, if an error is sent below, of the error at the input.

        Args:
            through: returns the FLOP of propagating an error back through a map, from the layer's name and the map.
        """
        sent = sum(through(self.name, m) for m in self.work.maps if m.sends)
        # autograd through a whole layer always computes the error at the input, a closed form only if it is needed
        if self.work.closed:
            sent *= self.sends
        else:
            sent += RETURNING_ATTENTION * self.work.attention
        return [PhaseFlop("delivery", sent), PhaseFlop("update", self.work.affine)]


@dataclass(frozen=True, slots=True)
class MatrixInputs:
    """Inputs of one matrix of a layer in a pass, and functions that count its multiplications by nonzero numbers."""

    key: str
    """Name of its weight."""
    inputs: Tensor
    """(B, *in_shape); rows of events may be sparse."""
    products: Callable[[Tensor, Tensor], float]
    """Return the number of pairs of a counted input and a counted weight that the matrix multiplies.

    Arguments: counts of nonzero inputs, (*in_shape), and of nonzero weights, shaped as the weight."""
    updates: Callable[[Tensor, Tensor], float]
    """Return the number of pairs of a counted error and a counted input that the update multiplies, over all weights.

    Arguments: counts of nonzero errors and of nonzero inputs, (B, ...) each."""
