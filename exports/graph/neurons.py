"""Layers of spiking neurons: their dynamics in discrete time, and the affine map that drives them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from exports.graph.arrays import Array, Matrix, sized
from exports.graph.nodes import ConvNode, DenseNode, Node, PoolNode
from hwmodels.errors import NeurofaError


@dataclass(frozen=True, kw_only=True, eq=False)
class NeuronDynamics:
    """Dynamics of one layer of neurons in discrete time; every parameter is an array of the layer's shape.

    With the input current I, the previous spikes z and the threshold theta, one tick of dt seconds is

    - ``lif``: u <- beta u + I;   ``leaky`` the same, without spikes: the output is u;
    - ``synaptic``: i <- alpha i + I, u <- beta u + i;
    - ``alif``: u <- beta u + I, fires above theta + kappa a, a <- rho a + z afterwards.

    z' = 1(u > theta). Reset: ``subtract`` takes theta from u where z, ``zero`` sets u to 0 where z, ``none`` leaves it.
    With ``delay`` that happens in the next tick (``zero`` then acts on u before it decays), else at once. Seen from the
    spikes the two are the same but for ``subtract``, whose theta then has not decayed. At once, ``lif`` and
    ``synaptic`` neurons that subtract do as snnTorch does: with R = 1(u > theta) of the u that the tick finds, R theta
    comes off before they fire and (z - R) theta afterwards. ``gated`` neurons that reset to zero in the next tick lose
    that tick's drive (I, or i) too.

    Args:
        model: which of the four.
        beta: decay of u a tick, 0 to 1.
        dt: length of a tick, s.
        alpha: decay of i a tick (``synaptic``).
        threshold: theta.
        rho: decay of a a tick (``alif``).
        kappa: what one unit of a adds to the threshold (``alif``).
        reset: see above.
        delay: see above.
        gated: see above.
        membrane: number format to which every tick rounds u and i; ``raw``: none.
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
        needed = {"lif": ("threshold",), "synaptic": ("alpha", "threshold"), "alif": ("threshold", "rho", "kappa")}
        for key in needed.get(self.model, ()):
            if getattr(self, key) is None:
                raise NeurofaError(f"got a {self.model} neuron without {key}; expected an array; give it")
        if not 0 < self.dt < math.inf:
            raise NeurofaError(f"got dt={self.dt} s; expected a positive number of seconds; 1e-3 is usual")
        for key, array in self.arrays().items():
            sized(array, self.beta.shape, f"{key} of a {self.model} neuron")
        for key in ("beta", "alpha", "rho"):
            array = getattr(self, key)
            if array is not None and not bool(((array.values >= 0) & (array.values <= 1)).all()):
                raise NeurofaError(f"got {key} outside of 0 to 1; expected a decay; change it")

    def arrays(self) -> dict[str, Array]:
        """The parameters that are there."""
        found = {key: getattr(self, key) for key in ("beta", "alpha", "threshold", "rho", "kappa")}
        return {key: array for key, array in found.items() if array is not None}

    @property
    def spikes(self) -> bool:
        """Whether the output is spikes."""
        return self.model != "leaky"

    @property
    def skips(self) -> bool:
        """Whether a spike makes the next tick lose its drive."""
        return self.gated and self.delay and self.reset == "zero" and self.spikes

    def computable(self, name: str) -> None:
        """Refuse neurons whose potentials are rounded, where nothing can round as they do.

        Args:
            name: of their node, for the message.

        Raises:
            NeurofaError: a membrane in a number format.
        """
        if self.membrane != "raw":
            raise NeurofaError(
                f"got potentials in {self.membrane} at '{name}'; expected raw ones, because rounding is not written out"
                " there; export to HDF5, or train with membrane=raw"
            )

    @property
    def states(self) -> tuple[str, ...]:
        """Names of what is carried from tick to tick."""
        return {"synaptic": ("i", "u"), "alif": ("u", "a")}.get(self.model, ("u",))


@dataclass(frozen=True, kw_only=True, eq=False)
class SpikingNode(Node):
    """An affine map into a layer of neurons, with weights among them or without.

    Args:
        current: the affine map, with the activation identity and no norm; its output is the current I.
        neuron: the dynamics.
        pool: a pooling through which the current passes first; None: none.
        recurrent: (n, n) weights from the layer's previous spikes to its currents.
    """

    kind = "spiking"

    current: DenseNode | ConvNode
    neuron: NeuronDynamics
    recurrent: Matrix | None = None
    pool: PoolNode | None = None

    def __post_init__(self) -> None:
        last = self.current.out_shape if self.pool is None else self.pool.out_shape
        self._need(last == self.out_shape, f"currents of shape {last}", f"{self.out_shape}")
        into = self.current.out_shape if self.pool is None else self.pool.in_shape
        self._need(into == self.current.out_shape, f"a pooling of {into}", f"one of {self.current.out_shape}")
        plain = self.current.activation == "identity" and self.current.norm is None
        self._need(plain, "a current with an activation or a norm", "a plain affine map")
        sized(self.neuron.beta, self.out_shape, f"beta of node '{self.name}'")
        if self.recurrent is not None:
            n = math.prod(self.out_shape)
            sized(self.recurrent, (n, n), f"recurrent weights of node '{self.name}'")

    def arrays(self) -> dict[str, Array]:
        found = {**self.current.arrays(), **{f"neuron_{k}": a for k, a in self.neuron.arrays().items()}}
        return found | ({} if self.recurrent is None else {"recurrent": self.recurrent})

    def constants(self) -> dict[str, Any]:
        n = self.neuron
        own = {
            "model": n.model, "reset": n.reset, "reset_delay": n.delay, "reset_gated": n.skips, "membrane": n.membrane,
            "recurrent_weights": self.recurrent is not None,
        }  # fmt: skip
        affine = {k: v for k, v in self.current.constants().items() if k in ("stride", "padding", "groups")}
        pool = {} if self.pool is None else {f"pool_{key}": value for key, value in self.pool.constants().items()}
        return affine | pool | own | {"dt": n.dt, "current": self.current.kind}
