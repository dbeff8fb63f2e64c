"""The neutral graph: what a chip or another tool has to know of a network, in plain data with shapes and units.

Layers and feedback pathways are turned into these nodes once (:mod:`exports.describe.layers`); every exporter reads
only them. All nodes check their shapes when they are built.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from exports.graph.arrays import Array, Matrix, sized
from hwmodels.errors import NeurofaError, did_you_mean

Shape = tuple[int, ...]

ACTIVATIONS = ("identity", "relu", "tanh", "sigmoid", "leaky_relu", "gelu", "silu")
"""Elementwise functions that every exporter knows by these names; leaky_relu has the slope 0.01, gelu is exact."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """One layer.

    Args:
        name: unique in its chain.
        in_shape: shape of one sample at the input.
        out_shape: shape of one sample at the output.
    """

    name: str
    in_shape: Shape
    out_shape: Shape

    @property
    def kind(self) -> str:
        """The word for this kind of node in files."""
        return type(self).__name__.lower()

    def arrays(self) -> dict[str, Array]:
        """Everything that is stored, by name; default: nothing."""
        return {}

    def constants(self) -> dict[str, Any]:
        """Plain values beside the arrays; default: none."""
        return {}

    def _need(self, holds: bool, got: str, expected: str) -> None:
        if not holds:
            raise NeurofaError(f"got {got} at node '{self.name}'; expected {expected}; check what describes the layer")


@dataclass(frozen=True, kw_only=True, eq=False)
class Norm:
    """Normalisation between an affine map and its activation.

    ``batch``: (a - mean) / sqrt(variance + eps) with the stored statistics, per channel; ``layer``: with the mean and
    the variance of one sample over its channels and positions. Then gain and shift per channel. In training ``batch``
    takes the statistics of the batch, and the stored ones follow by ``momentum``.
    """

    kind: Literal["batch", "layer"]
    eps: float
    momentum: float = 0.0
    gain: Array | None = None
    shift: Array | None = None
    mean: Array | None = None
    variance: Array | None = None

    def arrays(self) -> dict[str, Array]:
        """Those that are there."""
        found = {"gain": self.gain, "shift": self.shift, "mean": self.mean, "variance": self.variance}
        return {f"norm_{key}": array for key, array in found.items() if array is not None}


@dataclass(frozen=True, kw_only=True, eq=False)
class Affine(Node):
    """h = f(norm(W x + b)).

    Args:
        weight: W, one row an output.
        bias: b, (n_out,).
        norm: between W x + b and f.
        activation: name of f.
        dropout: probability with which training drops an output; inference drops none.
    """

    weight: Matrix
    bias: Array | None = None
    norm: Norm | None = None
    activation: str = "identity"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        self._need(
            self.activation in ACTIVATIONS, f"activation '{self.activation}'",
            f"one of {', '.join(ACTIVATIONS)}{did_you_mean(self.activation, ACTIVATIONS)}",
        )  # fmt: skip
        beside = {"bias": self.bias} if self.bias is not None else {}
        for key, array in (beside | (self.norm.arrays() if self.norm is not None else {})).items():
            sized(array, (self.weight.shape[0],), f"{key} of node '{self.name}'")

    def arrays(self) -> dict[str, Array]:
        found: dict[str, Array] = {"weight": self.weight}
        if self.bias is not None:
            found["bias"] = self.bias
        return found | (self.norm.arrays() if self.norm is not None else {})

    def constants(self) -> dict[str, Any]:
        norm = (
            {}
            if self.norm is None
            else {"norm": self.norm.kind, "norm_eps": self.norm.eps, "norm_momentum": self.norm.momentum}
        )
        return {"activation": self.activation, "dropout": self.dropout} | norm


@dataclass(frozen=True, kw_only=True, eq=False)
class Dense(Affine):
    """On vectors: W is (n_out, n_in)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        sized(self.weight, (math.prod(self.out_shape), math.prod(self.in_shape)), f"weight of node '{self.name}'")


@dataclass(frozen=True, kw_only=True, eq=False)
class Conv2d(Affine):
    """On images: W is (C_out, C_in / groups, k, k).

    Args:
        stride: pixels between positions.
        padding: zeros on every side, pixels.
        groups: groups of channels that do not mix.
    """

    stride: int = 1
    padding: int = 0
    groups: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need(len(self.in_shape) == len(self.out_shape) == 3, f"shape {self.in_shape}", "images (C, H, W)")
        c_out, c_in, k, k2 = (*self.weight.shape, 0, 0)[:4]
        sides = [(n + 2 * self.padding - k) // self.stride + 1 for n in self.in_shape[1:]]
        self._need(
            k == k2 and c_in * self.groups == self.in_shape[0] and (c_out, *sides) == self.out_shape,
            f"kernels {self.weight.shape} from {self.in_shape} to {self.out_shape}", "kernels that fit both",
        )  # fmt: skip

    def constants(self) -> dict[str, Any]:
        return super().constants() | {"stride": self.stride, "padding": self.padding, "groups": self.groups}


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool(Node):
    """Largest value (``max``) or mean (``mean``) of each window, or the mean of the whole image (``global``)."""

    how: Literal["max", "mean", "global"]
    size: int = 0
    stride: int = 0

    def constants(self) -> dict[str, Any]:
        return {"how": self.how, "size": self.size, "stride": self.stride}


@dataclass(frozen=True, kw_only=True, eq=False)
class Flatten(Node):
    """(B, ...) to (B, n), the last axis innermost."""

    def __post_init__(self) -> None:
        fits = self.out_shape == (math.prod(self.in_shape),)
        self._need(fits, f"{self.in_shape} to {self.out_shape}", "all values in one vector")


@dataclass(frozen=True, kw_only=True, eq=False)
class Identity(Node):
    """What does nothing in inference, such as dropout of probability ``p`` in training."""

    p: float = 0.0

    def constants(self) -> dict[str, Any]:
        return {"p": self.p}


@dataclass(frozen=True, kw_only=True, eq=False)
class Op:
    """One operation of a traced module, by its name in ATen's core operator set.

    Arguments are plain values; the name of another result is :class:`Ref`.
    """

    name: str
    target: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@dataclass(frozen=True)
class Ref:
    """The result of another operation, an input or a parameter."""

    name: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Traced(Node):
    """A torch module as a list of operations, for everything that is no single affine map.

    Args:
        parameters: arrays by the module's own names.
        placeholders: the name by which operations refer to each of them; ``x`` is the input.
        ops: in order.
        result: name of the output.
        reason: why there are no operations; empty where there are.
    """

    parameters: dict[str, Array]
    placeholders: dict[str, str] = field(default_factory=dict)
    ops: tuple[Op, ...] = ()
    result: str = ""
    reason: str = ""

    def arrays(self) -> dict[str, Array]:
        return dict(self.parameters)

    def constants(self) -> dict[str, Any]:
        return {"operations": [op.target for op in self.ops]}


@dataclass(frozen=True, kw_only=True, eq=False)
class Neuron:
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
class Spiking(Node):
    """An affine map into a layer of neurons, with weights among them or without.

    Args:
        current: the affine map, with the activation identity and no norm; its output is the current I.
        neuron: the dynamics.
        pool: a pooling through which the current passes first; None: none.
        recurrent: (n, n) weights from the layer's previous spikes to its currents.
    """

    current: Dense | Conv2d
    neuron: Neuron
    recurrent: Matrix | None = None
    pool: Pool | None = None

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


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """Everything that is exported of one learner.

    Args:
        input_shape: of one sample.
        nodes: from input to readout.
        feedback: how errors return; None: not exported.
        error: number format of the error that enters the pathway.
        learning: the rule's constants.
        loss: name of the loss.
        converters: constants of the converters around arrays of forward weights; empty: exact products.
        more: state that a learner needs to go on and that is no part of the nodes.
        provenance: where it comes from: spec, seed, versions; JSON values.
    """

    input_shape: Shape
    nodes: tuple[Node, ...]
    feedback: Any = None
    error: Any = None
    learning: Any = None
    loss: str = "cross_entropy"
    converters: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Array] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.nodes:
            raise NeurofaError("got a graph without nodes; expected one at least; describe a network")
        shape, seen = self.input_shape, set[str]()
        for node in self.nodes:
            if node.in_shape != shape or node.name in seen:
                raise NeurofaError(
                    f"got node '{node.name}' for {node.in_shape} behind {shape}; expected unique names and shapes that"
                    " fit; order the nodes from input to readout"
                )
            seen.add(node.name)
            shape = node.out_shape

    @property
    def spiking(self) -> bool:
        """Whether it runs in ticks."""
        return any(isinstance(node, Spiking) for node in self.nodes)

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        return math.prod(self.nodes[-1].out_shape)

    def node(self, name: str) -> Node:
        """The node of that name.

        Raises:
            NeurofaError: there is none.
        """
        for found in self.nodes:
            if found.name == name:
                return found
        names = [node.name for node in self.nodes]
        raise NeurofaError(f"got node '{name}'; expected one of {', '.join(names)}{did_you_mean(name, names)}")
