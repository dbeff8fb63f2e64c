"""Recommended optimizers: what a rule is trained with on each kind of network where its user chooses none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NetworkKind = Literal["dense", "convolutional", "spiking"]
"""``dense``: layers of neurons with weights of their own; ``convolutional``: weights that many positions share
(convolutions, transformers), whose directions are sums over positions; ``spiking``: a network that repeats its tick,
whose directions are sums over ticks, and with a filter larger by its gain 1/(1 - kappa)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommended:
    """Specs of optimizers by kind of network, for batches of 32 and the cross-entropy.

    Chosen by validation accuracy after a few epochs on subsets of digits, MNIST, encoded digits and spoken digits, with
    feedback of the scale ``backprop``. They are where tuning begins, not where it ends.
    """

    dense: str = "sgd(lr=0.1)"
    convolutional: str = "adam(lr=0.001)"
    spiking: str = "adam(lr=0.001)"

    def on(self, kind: NetworkKind) -> str:
        """Return the spec of the optimizer for one kind of network."""
        return {"dense": self.dense, "convolutional": self.convolutional, "spiking": self.spiking}[kind]
