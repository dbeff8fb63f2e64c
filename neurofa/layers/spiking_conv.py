"""Neurons behind a convolution."""

from __future__ import annotations

from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from hwmodels.registry import build
from neurofa.core.description import PoolDescription
from neurofa.core.layer import Layer, LocalView, Params, State
from neurofa.core.window import Window
from neurofa.maps.conv_map import ConvMap
from neurofa.spiking.neuron import Dynamics, Neuron
from neurofa.spiking.temporal import Temporal

POOLS = ("avg_pool2d", "max_pool2d")
INDEX = "index"
"""Where each current of a tick came from, in what a max pooling leaves."""


class SpikingConv2d(Temporal, ConvMap, name="spiking_conv"):
    """Neurons driven by pool(W * x + b): (B, C_in, H, W) to (B, C_out, H', W').

    With a pooling there is one neuron for each window, as in snnTorch's ``Conv2d, MaxPool2d, Leaky``: the error at the
    currents goes back to the positions of the convolution by the pooling's own transpose, inside the layer. A max
    pooling chooses anew in every tick, so that what happened at the chosen positions has no trace that windows share:
    directions are exact within one chunk of ticks, and a rule that remembers takes the whole sequence as one.

    Args:
        c_in: input channels.
        c_out: output channels.
        kernel: side of the kernel, pixels.
        stride: step between positions, pixels.
        padding: zeros added on every side, pixels.
        pool: ``avg_pool2d`` or ``max_pool2d`` with their options, between convolution and neurons; None: none.
        neuron: model of the neurons.
        bias: whether there is a b.
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
        super().__init__(c_in, c_out, kernel, stride=stride, padding=padding, bias=bias)
        self.own(neuron, traces, recurrent=False)
        self.pool: Layer | None = None if pool is None else build("layer", pool)
        if self.pool is not None and self.pool.name not in POOLS:
            raise NeurofaError(f"got pool={self.pool.name}; expected {' or '.join(POOLS)}; choose one, or None")

    @property
    def window(self) -> Window:
        own = Window(self.kernel, self.stride, self.padding)
        pool = None if self.pool is None else self.pool.window
        return own if pool is None else pool.after(own)

    def pooling(self, in_shape: tuple[int, ...]) -> PoolDescription | None:
        described = None if self.pool is None else self.pool.describe(in_shape)
        assert described is None or isinstance(described, PoolDescription)
        return described

    def currents(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        a = self._affine(params, x, state)
        return (a, {}) if self.pool is None else self.pool.compute({}, a, {})

    def unroute(self, view: LocalView, error: Tensor) -> Tensor:
        return error if self.pool is None else self.pool.transpose(self._pooled(view, error), {})

    def reroute(self, view: LocalView, change: Tensor) -> Tensor:
        return change if self.pool is None else self.pool.tangent(self._pooled(view, view.y), change, {})

    def _pooled(self, view: LocalView, error: Tensor) -> LocalView:
        """The pooling's view; of its input only the shape is used."""
        shape = (len(error), *self.out_shape(view.x.shape)[1:])
        blank = error.new_empty(1).expand(shape)
        left = {INDEX: view.after[INDEX]} if INDEX in view.after else {}
        return LocalView(blank, error, {}, after=left, error=error)

    def carry_traces(self, view: LocalView, dynamics: Dynamics | None = None) -> State:
        if INDEX in view.after:
            raise NeurofaError(
                f"got {len(view.y) // self._batch(view)} ticks of a longer sequence for neurons behind a max pooling,"
                " under a rule that remembers; expected all ticks in one chunk, because the pooling chooses other"
                " positions in every tick; use chunk=T, avg_pool2d, or a rule without memory"
            )
        return super().carry_traces(view, dynamics)

    def _served(self, found: Dynamics, view: LocalView) -> Dynamics:
        if INDEX in view.after and self.traces.name != "raw":
            raise NeurofaError(
                f"got traces in {self.traces.name} behind a max pooling, which chooses other positions in every tick;"
                " expected raw traces, or an average pooling; change one"
            )
        return super()._served(found, view)
