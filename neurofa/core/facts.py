"""Facts of a layer: plain data from which exports, accounts of cost and chip checks work."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn

from neurofa.core.description import LayerDescription, MemoryDescription, ModuleDescription
from neurofa.core.products import MatrixInputs
from neurofa.core.synapses import module_name
from neurofa.core.view import LocalView


class LayerFacts:
    """Facts of any layer, as far as its weights tell; layers that know more declare a subclass in their traits.

    Args:
        layer: whose facts these are.
    """

    knows_inputs: ClassVar[bool] = False
    """Whether :meth:`matrix_inputs` gives the inputs of every matrix."""

    def __init__(self, layer: Any) -> None:
        # not typed as a layer, which imports this module to declare its facts
        self.layer = layer

    def describe(self, in_shape: tuple[int, ...]) -> LayerDescription:
        """Describe the layer to exports; default: its weights, and a module whose operations can be listed.

        Args:
            in_shape: shape of one sample at the input.
        """
        return self.as_module()

    def as_module(self) -> ModuleDescription:
        """Describe the layer as weights and a module whose operations can be listed."""
        return ModuleDescription(
            source=type(self.layer).__name__,
            synapses={module_name(key): synapses for key, synapses in self.layer.synapses.items()},
            matrices=frozenset(map(module_name, self.matrices)),
            module=PlainModule(self.layer),
        )

    @property
    def matrices(self) -> tuple[str, ...]:
        """Names of the weights that connect neurons; default: those of two axes or more that an error crosses."""
        weights = self.layer.synapses
        return tuple(key for key in self.layer.traits.returning if weights[key].weight.dim() > 1)

    @property
    def connections_in(self) -> int:
        """Most connections into one output; default: the largest row of a matrix."""
        return max((self.layer.synapses[key].weight[0].numel() for key in self.matrices), default=0)

    def connections(self, out_shape: tuple[int, ...]) -> int:
        """Return the number of connections; default: every weight of two axes or more is one.

        Args:
            out_shape: shape of one sample at the output.
        """
        weights = [synapses.weight for synapses in self.layer.synapses.values()]
        return sum(weight.numel() for weight in weights if weight.dim() > 1)

    def memory(self) -> MemoryDescription | None:
        """Describe the state that the layer keeps from tick to tick; None (default): it keeps none."""
        return None

    def slope(self) -> tuple[str, Callable[[Tensor], Tensor]] | None:
        """Return name and function of the elementwise derivative that an error meets; None (default): no single one."""
        return None

    @property
    def activates(self) -> bool:
        """Whether outputs are those of an activation function or of firing neurons; default: no."""
        return False

    def matrix_inputs(self, view: LocalView) -> tuple[MatrixInputs, ...]:
        """Return the inputs of every matrix in the ticks of a view; empty where ``knows_inputs`` is False."""
        return ()


class DescribedFacts(LayerFacts):
    """Facts of a layer whose description is known beforehand.

    Args:
        layer: whose facts these are.
        description: for exports.
    """

    def __init__(self, layer: Any, description: LayerDescription) -> None:
        super().__init__(layer)
        self.description = description

    def describe(self, in_shape: tuple[int, ...]) -> LayerDescription:
        return self.description


class PlainModule(nn.Module):
    """The map of a layer in evaluation mode, with copies of its weights as parameters; (B, *in_shape) to outputs.

    Args:
        layer: without state between ticks.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        # in a list, so that its own tensors are not registered a second time
        self._layer = [copy.deepcopy(layer).eval()]
        stored = layer.synapses.stored()
        self._keys = tuple(stored)
        for key, value in stored.items():
            self.register_parameter(module_name(key), nn.Parameter(value.clone()))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the layer's output."""
        layer = self._layer[0]
        params = {key: self.get_parameter(module_name(key)) for key in self._keys}
        y: Tensor = layer.compute(params, x, layer.fresh_state(x, None))[0]
        return y
