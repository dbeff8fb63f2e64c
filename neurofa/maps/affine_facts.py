"""Facts of affine layers for exports, costs and chip checks."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from neurofa.core.description import AffineDescription, LayerDescription, NormDescription
from neurofa.core.directions import Outer, Sum
from neurofa.core.facts import LayerFacts
from neurofa.core.products import MatrixInputs
from neurofa.core.view import LocalView


class AffineFacts(LayerFacts):
    """Facts of an affine layer h = dropout(f(norm(W x + b))) for exports, costs and chip checks.

    Args:
        layer: dense or convolutional.
    """

    knows_inputs = True

    def describe(self, in_shape: tuple[int, ...]) -> LayerDescription:
        norm = None if self.layer.norm is None else self.layer.norm.describe()
        known = self.layer.norm is None or norm is not None
        described = self.affine_description(norm) if known else None
        return super().describe(in_shape) if described is None else described

    def affine_description(self, norm: NormDescription | None) -> AffineDescription | None:
        """Return the description of the affine map, normalisation, activation and dropout; None: files have none.

        Args:
            norm: description of the normalisation; None: there is none.
        """
        layer, synapses = self.layer, self.layer.synapses
        scaled = norm is not None and "gain" in synapses
        described: AffineDescription | None = layer.map.describe(
            weight=synapses["weight"],
            bias=synapses["bias"] if layer.bias else None,
            norm=norm,
            gain=synapses["gain"] if scaled else None,
            shift=synapses["shift"] if scaled else None,
            activation=repr(layer.activation),
            dropout=layer.dropout,
        )
        return described

    @property
    def connections_in(self) -> int:
        fan_in: int = self.layer.map.fan_in
        return fan_in

    def connections(self, out_shape: tuple[int, ...]) -> int:
        connections: int = self.layer.map.connections(out_shape)
        return connections

    @property
    def activates(self) -> bool:
        return not self.layer.activation.identity

    def slope(self) -> tuple[str, Callable[[Tensor], Tensor]] | None:
        return repr(self.layer.activation), self.layer.activation.derivative

    def matrix_inputs(self, view: LocalView) -> tuple[MatrixInputs, ...]:
        return (MatrixInputs("weight", view.x, self._products, self._updates),)

    def _products(self, inputs: Tensor, weights: Tensor) -> float:
        return float(self.layer.map.linear(inputs.unsqueeze(0), weights, None).sum())

    def _updates(self, errors: Tensor, inputs: Tensor) -> float:
        direction = self.layer.direction(errors, inputs)
        assert not isinstance(direction, Sum)
        return float((direction.dense() if isinstance(direction, Outer) else direction).sum())
