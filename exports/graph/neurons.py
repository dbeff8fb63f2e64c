"""Layers of spiking neurons: the dynamics in discrete time, and the affine map that drives them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from exports.graph.arrays import Array, Matrix, require_shape
from exports.graph.nodes import ConvNode, DenseNode, Node, PoolNode
from hwmodels.errors import NeurofaError

PARAMETERS = ("beta", "alpha", "threshold", "rho", "kappa")
_NEEDED = {"lif": ("threshold",), "synaptic": ("alpha", "threshold"), "alif": ("threshold", "rho", "kappa")}


@dataclass(frozen=True, kw_only=True, eq=False)
class NeuronDynamics:
    """Dynamics of one layer of neurons in discrete time; every parameter is an array of the layer's shape.

    With the input current I, the previous spikes z and the threshold theta, one tick of dt seconds is

    - ``lif``: u <- beta u + I;   ``leaky`` the same without spikes, the output being u;
    - ``synaptic``: i <- alpha i + I, u <- beta u + i;
    - ``alif``: u <- beta u + I, fires above theta + kappa a, a <- rho a + z afterwards.

    z' = 1(u > theta). Reset: ``subtract`` takes theta from u where z, ``zero`` sets u to 0 where z, ``none`` leaves it.
    With ``delay`` the reset acts in the next tick (``zero`` then acts on u before it decays), else at once. The spikes
    of both are the same but for ``subtract``, whose theta then has not decayed. At once, ``lif`` and ``synaptic``
    neurons that subtract do as snnTorch does: with R = 1(u > theta) of the u at the beginning of the tick, R theta is
    subtracted before they fire and (z - R) theta afterwards. ``gated`` neurons that reset to zero in the next tick lose
    that tick's drive (I, or i) too.

    Args:
        model: ``lif``, ``synaptic``, ``alif`` or ``leaky``.
        beta: decay of u in one tick, 0 to 1.
        dt: length of a tick, s.
        alpha: decay of i in one tick (``synaptic``).
        threshold: theta.
        rho: decay of a in one tick (``alif``).
        kappa: rise of the threshold for one unit of a (``alif``).
        reset: what a spike does to u: ``subtract``, ``zero`` or ``none``.
        delay: whether the reset acts in the next tick instead of at once.
        gated: whether a spike also takes the drive of the next tick.
        membrane: number format to which every tick rounds u and i; ``raw``: none.

    Raises:
        NeurofaError: a parameter is missing, has another shape, or is no decay.
    """

    model: Literal["lif", "synaptic", "alif", "leaky"]
    beta: Array
    dt: float
    alpha: Array | None = None
    threshold: Array | None = None
    rho: Array | None = None
    kappa: Array | None = None
    reset: Literal["subtract", "zero", "none"] = "subtract"
    delay: bool = True
    gated: bool = False
    membrane: str = "raw"

    def __post_init__(self) -> None:
        arrays = self.arrays()
        for key in _NEEDED.get(self.model, ()):
            if key not in arrays:
                raise NeurofaError(f"got a {self.model} neuron without {key}; expected an array; give it")
        if not 0 < self.dt < math.inf:
            raise NeurofaError(f"got dt={self.dt} s; expected a positive number of seconds; 1e-3 is usual")
        for key, array in arrays.items():
            require_shape(array, self.beta.shape, f"{key} of a {self.model} neuron")
            decays = key in ("beta", "alpha", "rho")
            if decays and not bool(((array.values >= 0) & (array.values <= 1)).all()):
                raise NeurofaError(f"got {key} outside of 0 to 1; expected a decay; change it")

    def arrays(self) -> dict[str, Array]:
        """Return the parameters that are present, by name."""
        arrays = {key: getattr(self, key) for key in PARAMETERS}
        return {key: array for key, array in arrays.items() if array is not None}

    @property
    def spikes(self) -> bool:
        """Whether the output is spikes."""
        return self.model != "leaky"

    @property
    def skips(self) -> bool:
        """Whether a spike makes the next tick lose its drive."""
        return self.gated and self.delay and self.reset == "zero" and self.spikes

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the variables that are carried from tick to tick."""
        return {"synaptic": ("i", "u"), "alif": ("u", "a")}.get(self.model, ("u",))


@dataclass(frozen=True, kw_only=True, eq=False)
class SpikingNode(Node):
    """An affine map into a layer of neurons, with or without recurrent weights.

    Args:
        current: the affine map, with the activation identity and no norm; its output is the current I.
        neuron: the dynamics.
        pool: pooling of the current; None: none.
        recurrent: (n, n) weights from the layer's previous spikes to its currents.
    """

    kind = "spiking"
    has_memory = True

    current: DenseNode | ConvNode
    neuron: NeuronDynamics
    recurrent: Matrix | None = None
    pool: PoolNode | None = None

    def __post_init__(self) -> None:
        last = self.current.out_shape if self.pool is None else self.pool.out_shape
        self._require(last == self.out_shape, f"currents of shape {last}", f"{self.out_shape}")
        first = self.current.out_shape if self.pool is None else self.pool.in_shape
        self._require(first == self.current.out_shape, f"a pooling of {first}", f"one of {self.current.out_shape}")
        self._require(self.current.purely_affine, "a current with an activation or a norm", "a plain affine map")
        require_shape(self.neuron.beta, self.out_shape, f"beta of node '{self.name}'")
        if self.recurrent is not None:
            n = math.prod(self.out_shape)
            require_shape(self.recurrent, (n, n), f"recurrent weights of node '{self.name}'")

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the variables that are carried from tick to tick; the spikes z only where the equations use them."""
        previous = self.recurrent is not None or self.neuron.model == "alif"
        return (*self.neuron.states, "z") if previous else self.neuron.states

    def require_raw_membrane(self) -> None:
        """Refuse neurons whose potentials are rounded, for exporters that cannot write the rounding.

        Raises:
            NeurofaError: the membrane has a number format.
        """
        if self.neuron.membrane != "raw":
            raise NeurofaError(
                f"got potentials in {self.neuron.membrane} at '{self.name}'; expected raw ones, because rounding is not"
                " written out there; export to HDF5, or train with membrane=raw"
            )

    def arrays(self) -> dict[str, Array]:
        arrays = {**self.current.arrays(), **{f"neuron_{k}": a for k, a in self.neuron.arrays().items()}}
        return arrays | ({} if self.recurrent is None else {"recurrent": self.recurrent})

    def constants(self) -> dict[str, Any]:
        n = self.neuron
        geometry = {k: v for k, v in self.current.constants().items() if k in ("stride", "padding", "groups")}
        pool = {} if self.pool is None else {f"pool_{key}": value for key, value in self.pool.constants().items()}
        reset = {"reset": n.reset, "reset_delay": n.delay, "reset_gated": n.skips}
        other = {"membrane": n.membrane, "recurrent_weights": self.recurrent is not None, "dt": n.dt}
        return {"model": n.model, "current": self.current.kind} | geometry | pool | reset | other
