"""Event-driven random backpropagation."""

from __future__ import annotations

from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from neurofa.core.feedback import Feedback
from neurofa.core.layer import Layer, LocalView
from neurofa.core.rule import Direct
from neurofa.spiking.neuron import Dynamics
from neurofa.spiking.temporal import Temporal


class ERBP(Direct, name="erbp"):
    """Event-driven random backpropagation: dw_ji = T_j at every spike of input i while |u_j - threshold| < window.

    T = B e is the neuron's second, error-driven compartment. No trace is kept: one addition and two comparisons for
    every spike that arrives. On layers without a memory it is direct feedback alignment.

    Args:
        window: half width of the gate, in the unit of the potential.
        feedback: the pathway.
        error: number format of e before it enters the pathway.
    """

    source = "Neftci, Augustine, Paul and Detorakis 2017, Frontiers in Neuroscience 11, 324"
    remembers = False

    def __init__(self, *, window: float = 0.5, feedback: Feedback | str = "dense", error: Format | str = "raw") -> None:
        super().__init__(feedback=feedback, error=error)
        if not window > 0:
            raise NeurofaError(f"got erbp(window={window}); expected a positive number; 0.5 is the default")
        self.window = window

    def dynamics(self, name: str, layer: Temporal, view: LocalView) -> Dynamics:
        gate = (layer.potential(view).abs() < self.window).to(view.y.dtype)
        return Dynamics([[0.0]], [1.0], [layer.ticks(view, gate)])

    def localise(self, name: str, layer: Layer, view: LocalView) -> LocalView:
        if not isinstance(layer, Temporal):
            return layer.localise(view)
        return layer.localise_by(view, self.dynamics(name, layer, view))
