"""Event-driven random backpropagation."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from neurofa.core.capabilities import Declaration, SequenceLearning
from neurofa.core.directions import Directions
from neurofa.core.dynamics import Dynamics
from neurofa.core.feedback import Feedback
from neurofa.core.layer import Layer
from neurofa.core.recommended import Recommended
from neurofa.core.rule import Direct
from neurofa.core.view import LocalView, State
from neurofa.spiking.eligibility import as_ticks
from neurofa.spiking.temporal import Temporal, backprop_by, batch_of, check_dynamics, potential


class ERBP(Direct, name="erbp"):
    """Event-driven random backpropagation: dw_ji = T_j at every spike of input i while |u_j - threshold| < window.

    w_ji is the weight from input i to neuron j, u_j the potential of the neuron. T = B e, with e the output error and B
    fixed and random, is the potential of the neuron's second, error-driven compartment. No trace is kept: an arriving
    spike costs one addition and two comparisons. On layers without a memory the rule is direct feedback alignment.

    Args:
        window: half width of the gate, in the unit of the potential.
        feedback: direct pathway, a spec or a module.
        error: number format of e before it enters the pathway.
    """

    source = "Neftci, Augustine, Paul and Detorakis 2017, Frontiers in Neuroscience 11, 324"
    recommended = Recommended()

    def __init__(self, *, window: float = 0.5, feedback: Feedback | str = "dense", error: Format | str = "raw") -> None:
        super().__init__(feedback=feedback, error=error)
        if not window > 0:
            raise NeurofaError(f"got erbp(window={window}); expected a positive number; 0.5 is the default")
        self.window = window

    @cached_property
    def declares(self) -> Declaration:
        return replace(super().declares, eligibility=self, sequences=SequenceLearning(remembers=False))

    def dynamics(self, name: str, layer: Temporal, view: LocalView) -> Dynamics:
        gate = (potential(view).abs() < self.window).to(view.y.dtype)
        return Dynamics([[0.0]], [1.0], [as_ticks(gate, batch_of(layer, view))])

    def carried(self, name: str, layer: Temporal, view: LocalView) -> State:
        return {}  # no trace: a tick depends on no earlier one

    def update(self, name: str, layer: Layer, view: LocalView) -> tuple[LocalView, Directions]:
        if name == self.plan.readout.name or not isinstance(layer, Temporal):
            return super().update(name, layer, view)
        assert view.error is not None
        dynamics = check_dynamics(layer, self.dynamics(name, layer, view), view)
        view = backprop_by(layer, view, view.error, dynamics)
        return view, layer.pullback(view)
