"""Facts of a layer: plain data for exports, costs and chip checks."""

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
    """Facts of any layer that follow from its weights; layers with further facts declare a subclass in their traits.

    Args:
        layer: the described layer.
    """

    knows_inputs: ClassVar[bool] = False
    """Whether :meth:`matrix_inputs` returns the inputs of every matrix."""

    def __init__(self, layer: Any) -> None:
        # not typed as Layer: neurofa.core.layer imports this module
        self.layer = layer

    def describe(self, in_shape: tuple[int, ...]) -> LayerDescription:
        """Return the description for exports; default: the weights and a module whose operations can be listed.

        Args:
            in_shape: shape of one sample at the input.
        """
        return self.as_module()

    def as_module(self) -> ModuleDescription:
        """Return a description by weights and a module whose operations can be listed."""
        return ModuleDescription(
            source=type(self.layer).__name__,
            synapses={module_name(key): synapses for key, synapses in self.layer.synapses.items()},
            matrices=frozenset(map(module_name, self.matrices)),
            module=PlainModule(self.layer),
        )

    @property
    def matrices(self) -> tuple[str, ...]:
        """Names of the weights that connect neurons; default: those with two axes or more that an error crosses."""
        weights = self.layer.synapses
        return tuple(key for key in self.layer.traits.returning if weights[key].weight.dim() > 1)

    @property
    def connections_in(self) -> int:
        """Largest number of connections into one output; default: that of the largest row of a matrix."""
        return max((self.layer.synapses[key].weight[0].numel() for key in self.matrices), default=0)

    def connections(self, out_shape: tuple[int, ...]) -> int:
        """Return the number of connections; default: one per weight in tensors with two axes or more.

        Args:
            out_shape: shape of one sample at the output.
        """
        weights = [synapses.weight for synapses in self.layer.synapses.values()]
        return sum(weight.numel() for weight in weights if weight.dim() > 1)

    def memory(self) -> MemoryDescription | None:
        """Return a description of the state kept from tick to tick; None (default): there is none."""
        return None

    def slope(self) -> tuple[str, Callable[[Tensor], Tensor]] | None:
        """Return name and function of the elementwise derivative f'(a); None (default): there is no single one."""
        return None

    @property
    def activates(self) -> bool:
        """Whether outputs come from an activation function or from spiking neurons; default: no."""
        return False

    def matrix_inputs(self, view: LocalView) -> tuple[MatrixInputs, ...]:
        """Return the inputs of every matrix in the ticks of a view; empty if ``knows_inputs`` is False."""
        return ()


class DescribedFacts(LayerFacts):
    """Facts of a layer with a constant description.

    Args:
        layer: the described layer.
        description: for exports.
    """

    def __init__(self, layer: Any, description: LayerDescription) -> None:
        super().__init__(layer)
        self.description = description

    def describe(self, in_shape: tuple[int, ...]) -> LayerDescription:
        return self.description


class PlainModule(nn.Module):
    """The map of a layer in evaluation mode, with copies of its weights as parameters: (B, *in_shape) to outputs.

    Args:
        layer: a layer without state between ticks.
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
        """Return the layer's output."""
        layer = self._layer[0]
        params = {key: self.get_parameter(module_name(key)) for key in self._keys}
        y: Tensor = layer.compute(params, x, layer.fresh_state(x, None))[0]
        return y
