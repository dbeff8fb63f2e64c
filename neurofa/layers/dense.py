"""Fully connected layer."""

from __future__ import annotations

from neurofa.maps.activations import Activation
from neurofa.maps.affine import Affine
from neurofa.maps.dense_map import DenseMap
from neurofa.maps.norms import Norm


class Dense(Affine, name="dense"):
    """Fully connected layer h = f(norm(W x + b)): (B, n_in) to (B, n_out).

    Args:
        n_in: inputs.
        n_out: outputs.
        activation: f.
        norm: ``"batch"``, ``"layer"``, with options (``"batch(affine=False)"``), or None.
        dropout: probability that an output is dropped in training.
        bias: whether b is added.
    """

    def __init__(
        self,
        n_in: int = 4,
        n_out: int = 3,
        *,
        activation: str | Activation = "identity",
        norm: str | Norm | None = None,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__(DenseMap(n_in, n_out), bias=bias, activation=activation, norm=norm, dropout=dropout)
