"""Plain-data descriptions of layers, neurons, feedback pathways and rules.

Exports, costs and chip checks read these classes and never the class of a part. The base classes describe a part as far
as they can, so that a part defined in one file is exported and counted with no other file changed. A quantity that a
base cannot know is left out and reported as missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

from hwmodels.description import TensorDescription
from hwmodels.format import Format
from hwmodels.projection import Projection
from hwmodels.registry import Registered
from neurofa.core.synapses import Synapses

Plasticity = Literal["fixed", "kolen_pollack", "two_factor"]
"""Learning of a pathway: ``fixed``: none. ``kolen_pollack``: by the changes of the forward weights (a direct matrix: by
the outer product of error and outputs). ``two_factor``: each of two factors through the other."""

PER_OUTPUT = "(*out_shape)"
"""Axes of a parameter with one number for each output of a layer."""

DescribedConstant = tuple[float | Tensor, TensorDescription]
"""A constant of neurons with its meaning: one number for all of them, or (*out_shape) in double precision."""


@dataclass(frozen=True, kw_only=True)
class FeedbackDescription:
    """What multiplies the output error e by B, (m, o), in a direct pathway; every hidden layer has its rows of B e."""

    matrix: Synapses | None = None
    """B, (m, o), where it is stored in weights."""
    projection: Projection | None = None
    """Hardware that multiplies by B."""
    spread: Literal["own", "channels"] = "own"
    """``own``: one row of B per output of a layer; ``channels``: one row per channel, shared by all positions."""
    behind: Mapping[str, float] = field(default_factory=dict)
    """Factor by which each layer's rows of B e are scaled digitally, by layer; none where B holds it."""


@dataclass(frozen=True, kw_only=True)
class ReturnFactors:
    """A return weight of rank r in two factors: an error delta, (B, n_out), is returned as (delta P) Q."""

    p: Synapses
    """(n_out, r)."""
    q: Synapses
    """(r, n_in), or (r, C_in, k, k)."""


@dataclass(frozen=True, kw_only=True)
class PathDescription:
    """Pathway of the error from the output to the hidden layers, and the derivative that it is multiplied by there."""

    kind: Literal["direct", "chained", "readout", "other"] = "other"
    """``direct``: from the output to every layer; ``chained``: from layer to layer; ``readout``: to no hidden layer."""
    signal: Literal["error", "target"] = "error"
    """What the pathway sends: the output error or the target."""
    feedback: FeedbackDescription | None = None
    """Of a direct path: what multiplies the error by B; None: the feedback does not describe it."""
    returns: Mapping[str, Mapping[str, Synapses | ReturnFactors]] | None = None
    """Return weights of a chained path by layer and forward weight; None: the rule does not declare them."""
    tied: Literal["own", "weights", "signs"] = "own"
    """Weights through which a chained path returns errors: its ``own``, listed in ``returns``; the forward ``weights``;
    or own magnitudes with copies of the ``signs`` of the forward weights."""
    frozen: frozenset[str] = frozenset()
    """Hidden layers that do not learn."""
    derivative: str = "own"
    """``own``: the derivative of the layer itself; else the name of the function that replaces it."""
    substitute: Callable[[Tensor], Tensor] | None = None
    """The function g(a) that replaces the derivative, a the affine output; None: the layer's own is used."""
    plasticity: Plasticity | None = None
    """How the pathway learns. None: the learning step of the rule may contain more than these fields say, so that
    exporters leave it out."""


@dataclass(frozen=True, kw_only=True)
class NeuronDescription:
    """Dynamics of a neuron, in one of the models that exported files can express."""

    model: Literal["lif", "synaptic", "alif", "leaky"]
    parameters: Mapping[str, DescribedConstant]
    """Value and meaning by name. ``beta``, ``alpha`` and ``rho`` are decays per tick: of the potential, of the synaptic
    current and of the adaptation; ``kappa`` is the increase of the threshold per unit of adaptation."""
    reset: Literal["subtract", "zero", "none"] = "none"
    """What a spike does to the potential: subtract the threshold, set it to zero, or nothing."""
    delay: bool = True
    """Whether the reset follows one tick after the spike."""
    gated: bool = False
    """Whether a reset to zero also drops the input current of its tick."""
    membrane: str = "raw"
    """Spec of the number format of the potential."""

    @staticmethod
    def decay(value: float | Tensor, what: str) -> DescribedConstant:
        """Return the decay factor of a state variable per tick, with its meaning.

        Args:
            value: the factor, or one for each neuron.
            what: the state variable, for the meaning.
        """
        return value, TensorDescription(meaning=f"decay of {what} in one tick", axes=PER_OUTPUT)


@dataclass(frozen=True, kw_only=True)
class MemoryDescription:
    """State that a layer keeps from tick to tick, with its number formats."""

    spiking: bool
    """Whether outputs are spikes, 0 or 1."""
    traces: Format
    """Number format of the eligibility traces."""
    membrane: Format
    """Number format of the potential."""
    potential: str
    """Name of the potential in the state; empty: there is none."""
    widths: Mapping[str, float] = field(default_factory=dict)
    """Width of a state variable by its name, bit, if a number format or a spike is narrower than the dtype."""
    surrogate: Registered | None = None
    """Surrogate derivative of a spike; None: the neurons do not spike."""


@dataclass(frozen=True, kw_only=True)
class NormDescription:
    """Normalisation between an affine map and its activation."""

    kind: Literal["batch", "layer"]
    eps: float
    """Number that is added to the variance."""
    momentum: float = 0.0
    """Momentum of the running statistics."""
    statistics: Mapping[str, Tensor] = field(default_factory=dict)
    """Running ``mean`` and ``variance``, (n_out,) each."""


@dataclass(frozen=True, kw_only=True)
class ModuleDescription:
    """A layer as a torch module whose operations can be listed; the default of every layer."""

    source: str
    """Name of the class, for the meanings of its weights."""
    synapses: Mapping[str, Synapses]
    """Weights by the module's own names."""
    matrices: frozenset[str] = frozenset()
    """Names of the weights that connect neurons and can be placed on arrays."""
    buffers: Mapping[str, Tensor] = field(default_factory=dict)
    """Buffers by the module's own names."""
    module: nn.Module | None = None
    """Map in evaluation mode, with copies of the weights; None: one tick has no such form."""
    reason: str = ""
    """Reason for the missing module."""


@dataclass(frozen=True, kw_only=True)
class AffineDescription:
    """Affine layer h = dropout(f(norm(W x + b))), with activation f."""

    weight: Synapses
    """W."""
    axes: str
    """Meaning of the axes of W."""
    bias: Synapses | None = None
    """b; None: there is none."""
    norm: NormDescription | None = None
    """Normalisation; None: there is none."""
    gain: Synapses | None = None
    """Factor of the norm, (n_out,); None: there is none."""
    shift: Synapses | None = None
    """Summand of the norm, (n_out,); None: there is none."""
    activation: str = "identity"
    """Name of f."""
    dropout: float = 0.0
    """Probability with which training drops an output."""


@dataclass(frozen=True, kw_only=True)
class ConvDescription(AffineDescription):
    """Convolutional layer h = dropout(f(norm(W * x + b))), where * is a convolution; stride and padding in pixels."""

    stride: int = 1
    padding: int = 0
    groups: int = 1


@dataclass(frozen=True, kw_only=True)
class PoolDescription:
    """Largest value (``max``) or mean (``mean``) of each window, or the mean of a whole image (``global``)."""

    how: Literal["max", "mean", "global"]
    size: int = 0
    """Side of a window, pixels."""
    stride: int = 0
    """Step between windows, pixels."""


@dataclass(frozen=True)
class FlattenDescription:
    """Flattening, (B, ...) to (B, n)."""


@dataclass(frozen=True, kw_only=True)
class IdentityDescription:
    """A layer that is the identity in evaluation."""

    dropout: float = 0.0
    """Probability with which training drops a value."""


@dataclass(frozen=True, kw_only=True)
class SpikingDescription:
    """Neurons driven by an affine map."""

    current: AffineDescription
    """The affine map that gives the input currents."""
    current_shape: tuple[int, ...]
    """Shape of one sample at the affine output."""
    neuron: NeuronDescription
    recurrent: Synapses | None = None
    """(n, n) weights from the layer's spikes of the previous tick to its currents."""
    pool: PoolDescription | None = None
    """Pooling between the affine map and the neurons."""


LayerDescription = (
    AffineDescription
    | PoolDescription
    | FlattenDescription
    | IdentityDescription
    | SpikingDescription
    | ModuleDescription
)
