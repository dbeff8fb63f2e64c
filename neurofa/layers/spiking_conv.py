"""Convolutional layer of spiking neurons."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from hwmodels.registry import build
from neurofa.core.description import PoolDescription
from neurofa.core.layer import Layer, LayerTraits, facts_of
from neurofa.core.view import LocalView, Params, State
from neurofa.maps.conv_map import ConvMap
from neurofa.spiking.neuron import Neuron
from neurofa.spiking.temporal import Temporal, map_inputs
from neurofa.spiking.temporal_facts import TemporalFacts

POOLS = ("avg_pool2d", "max_pool2d")
INDEX = "index"
"""Name of the positions that a max pooling chose, in the state after a tick."""


class SpikingConv2d(Temporal, name="spiking_conv"):
    """Spiking neurons with input current pool(W * x + b), * a convolution: (B, C_in, H, W) to (B, C_out, H', W').

    With a pooling there is one neuron per window, as in snnTorch's ``Conv2d, MaxPool2d, Leaky``; inside the layer the
    error at the currents returns to the convolution through the pooling's transpose. A max pooling chooses other
    positions in every tick, so that no trace can be carried: directions are exact within one chunk of ticks, and a rule
    with eligibility traces needs the whole sequence as one chunk.

    Args:
        c_in: input channels.
        c_out: output channels.
        kernel: side of the kernel, pixels.
        stride: step between positions, pixels.
        padding: zeros added on every side, pixels.
        pool: ``avg_pool2d`` or ``max_pool2d`` with their options, between convolution and neurons; None: none.
        neuron: model of the neurons.
        bias: whether b is added.
        traces: number format of the eligibility traces.
    """

    def __init__(
        self,
        c_in: int = 2,
        c_out: int = 4,
        kernel: int = 3,
        *,
        stride: int = 1,
        padding: int = 0,
        pool: Layer | str | None = None,
        neuron: Neuron | str = "lif",
        bias: bool = True,
        traces: Format | str = "raw",
    ) -> None:
        convolution = ConvMap(c_in, c_out, kernel, stride=stride, padding=padding)
        super().__init__(convolution, neuron, bias=bias, recurrent=False, traces=traces)
        self.pool: Layer | None = None if pool is None else build("layer", pool)
        if self.pool is not None and self.pool.name not in POOLS:
            raise NeurofaError(f"got pool={self.pool.name}; expected {' or '.join(POOLS)}; choose one, or None")

    @property
    def traits(self) -> LayerTraits:
        own = super().traits
        pool = None if self.pool is None else self.pool.traits.window
        window = own.window if pool is None or own.window is None else pool.after(own.window)
        described = None if self.pool is None else facts_of(self.pool).describe(())
        assert described is None or isinstance(described, PoolDescription)
        return replace(own, window=window, facts=TemporalFacts(self, map_inputs, described))

    def currents(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        a = self.affine(params, x, state)
        return (a, {}) if self.pool is None else self.pool.compute({}, a, {})

    def to_affine(self, view: LocalView, error: Tensor) -> Tensor:
        return error if self.pool is None else self.pool.input_error(self._pool_view(view, error), {})

    def to_currents(self, view: LocalView, change: Tensor) -> Tensor:
        if self.pool is None:
            return change
        own = self.pool.traits.forward_mode
        assert own is not None  # both poolings have a closed form
        return own.tangent(self._pool_view(view, view.y), change, {})

    def _pool_view(self, view: LocalView, error: Tensor) -> LocalView:
        """Return the pooling's view; only the shape of its input is used."""
        shape = (len(error), *self.map.out_shape(view.x.shape)[1:])
        blank = error.new_empty(1).expand(shape)
        after = {INDEX: view.after[INDEX]} if INDEX in view.after else {}
        return LocalView(blank, error, {}, after=after, error=error)
