"""Feedback pathways: from the output error to a teaching signal at every hidden layer."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from hwmodels.device import Device
from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from hwmodels.projection import Projection
from hwmodels.projections.crossbar import Crossbar
from hwmodels.registry import Registered, build
from neurofa.core.description import FeedbackDescription
from neurofa.core.plan import Site
from neurofa.core.synapses import Synapses

Scale = Literal["backprop", "fixed"]
"""How large the errors are that a direct pathway delivers, with gain 1: as those of backpropagation at each layer at
initialisation, or 1/sqrt(3) of the output error at every layer."""


class Feedback(nn.Module, Registered, ABC, kind="feedback"):
    """A pathway from the output error to teaching signals, the errors that hidden layers receive.

    Direct rules multiply the (B, o) output error by one matrix (m, o), whose rows belong to the hidden layers. Chained
    rules draw the return weights of each layer with :meth:`draw`; a pathway that is one physical projection has none.
    """

    slices: dict[str, slice]
    """Rows of the projected error that belong to each layer; there after :meth:`open`."""
    shapes: dict[str, tuple[int, ...]]
    """Shape of the signal of one sample at each layer; there after :meth:`open`."""
    factors: dict[str, float]
    """By what each layer's signal is scaled beyond 1/sqrt(3) of the error; there after :meth:`open`."""
    gain: float = 1.0
    """Factor of all signals."""
    scale: Scale | None = None
    """Scale that the pathway was given; None: that of the plan."""

    def open(self, sites: tuple[Site, ...], outputs: int, gen: torch.Generator) -> None:
        """Create the pathway to the hidden layers of a network.

        Args:
            sites: hidden layers, from input to readout.
            outputs: o, length of the error.
            gen: source of randomness for the matrices.
        """
        self.slices = {}
        self.shapes = {site.name: site.out_shape for site in sites}
        # with entries of standard deviation 1/sqrt(3 o), an error of rms 1 is delivered with rms 1/sqrt(3)
        self.factors = {
            site.name: 1.0 if self.scale == "fixed" or site.error_size is None else site.error_size * math.sqrt(3)
            for site in sites
        }
        self._open(sites, outputs, gen)

    @property
    def delivered(self) -> dict[str, float]:
        """Expected rms(delivered error) / rms(sent error) of each layer, as the pathway was drawn."""
        return {name: self.gain * factor / math.sqrt(3) for name, factor in self.factors.items()}

    @abstractmethod
    def _open(self, sites: tuple[Site, ...], outputs: int, gen: torch.Generator) -> None:
        """Create the matrices and fill ``slices``."""

    def stack(self, sites: tuple[Site, ...]) -> int:
        """Store in ``slices`` the rows of each layer, one layer below the other, and return their total number m.

        Args:
            sites: hidden layers, from input to readout.
        """
        at = 0
        for site in sites:
            self.slices[site.name] = slice(at, at + site.width)
            at += site.width
        return at

    @abstractmethod
    def project(self, error: Tensor, gen: torch.Generator | None = None) -> Tensor:
        """Return the signals of all layers for a batch of errors: (B, o) to (B, m), with the columns in ``slices``."""

    def forward(self, error: Tensor, gen: torch.Generator | None = None) -> dict[str, Tensor]:
        """Return the teaching signals for a batch of errors, (B, o), by the name of the layer, each (B, *out_shape)."""
        projected = self.project(error, gen)
        return {
            name: projected[:, part].reshape(-1, *self.shapes[name])
            if len(self.shapes[name]) > 1
            else projected[:, part]
            for name, part in self.slices.items()
        }

    def send(self, error: Tensor, gen: torch.Generator | None = None) -> Callable[[str], Tensor]:
        """Send one batch of errors; return the function that gives the teaching signal of each layer.

        Args:
            error: (B, o).
            gen: source of the pathway's noise, drawn once for all layers.

        Returns:
            From the name of a layer to its signal, (B, *out_shape).
        """
        signals: dict[str, Tensor] = self(error, gen)
        return signals.__getitem__

    def flop(self, batch: int, outputs: int) -> int:
        """Return the FLOP of sending a batch of errors to all layers; hardware counts as a product with its matrix.

        Args:
            batch: B, samples.
            outputs: o, length of the error.
        """
        return 2 * batch * outputs * self.width

    def draw(self, shape: tuple[int, ...], gen: torch.Generator) -> Synapses:
        """Draw the return weights of one affine map, oriented as its forward weights (chained rules).

        Args:
            shape: of the forward weights.
            gen: source of randomness.

        Raises:
            NeurofaError: the pathway is one projection, not a set of matrices.
        """
        raise NeurofaError(
            f"got feedback '{self.name}' for a chained rule; expected one that has a matrix per layer (dense, sparse);"
            " or use it with a direct rule such as dfa"
        )

    def matrix(self) -> Synapses | None:
        """Return the matrix (m, o) that a rule may train, whose rows ``slices`` assigns; None: the pathway is fixed."""
        return None

    def describe(self) -> FeedbackDescription | None:
        """Return what multiplies the error, for exports and costs; None (default): it has no such description."""
        return None

    def hardware(self) -> Projection | None:
        """Return the projection that carries the error; None (default): the pathway is arithmetic."""
        return None

    @property
    def input_format(self) -> Format | None:
        """Number format in which hardware encodes the error by itself; None (default): it takes any number."""
        return None

    @property
    def resolution(self) -> float | None:
        """Effective resolution of the detector, bit; None (default): there is no detector, or it is not known."""
        return None

    @property
    def width(self) -> int:
        """Length m of the projected error; 0 in a network without hidden layers."""
        return max((part.stop for part in self.slices.values()), default=0)

    def spread(self, name: str, rows: Tensor) -> Tensor:
        """Return the teaching signal of a layer, (B, *out_shape), from its columns of the projected error, (B, rows).

        Args:
            name: the layer's name.
            rows: projected error of the layer; a pathway with one row per channel repeats it at all positions.
        """
        return rows.view(len(rows), *self.shapes[name])

    def rows_of(self, name: str, values: Tensor) -> Tensor:
        """Return values at a layer's output, (B, ...), as the rows of its signal, (N, *shape): N = B or B S.

        Args:
            name: the layer.
            values: such as its output; N is B S in a network that answers at each of S positions.
        """
        return values.reshape(-1, *self.shapes[name])

    def gather(self, name: str, change: Tensor) -> Tensor:
        """Return factors g, (B, rows), of a layer's random change for an estimate of the Jacobian from a probe.

        With u, (B, o), the change of the network's output, the mean of g^T u over samples estimates the transposed
        Jacobian in the rows of the layer; a row that several positions share gets their mean.

        Args:
            name: the layer's name.
            change: (B, *out_shape), change of the layer's output, the same at all positions that share a row.
        """
        return self.rows_of(name, change).flatten(1)


def check_scale(name: str, scale: str | None) -> Scale | None:
    """Return the checked option ``scale`` of a pathway.

    Args:
        name: of the pathway, for the message.
        scale: as it was given.

    Raises:
        NeurofaError: another word.
    """
    for known in get_args(Scale):
        if scale == known:
            checked: Scale = known
            return checked
    if scale is not None:
        raise NeurofaError(f"got {name}(scale={scale}); expected backprop or fixed; choose one, or leave it out")
    return None


class RandomMatrices(Feedback, ABC):
    """Fixed random matrices with a declared gain, scale, number format and device.

    Entries are uniform in +-gain sqrt(3) s. For return weights s is the standard deviation 1/sqrt(3 fan_in), so that
    with gain 1 they are drawn as the forward weights are. For the rows of layer l of a direct pathway s is
    c_l/sqrt(o), where c_l is the rms of the errors of backpropagation at the layer at initialisation, in units of the
    rms of the output error (:attr:`neurofa.core.plan.Site.error_size`): delivered errors have that size. With
    ``scale=fixed`` s is 1/sqrt(3 o) for all layers: B is U(-1, 1)/sqrt(o). A coarse format keeps the standard
    deviation.

    Args:
        gain: factor of the entries.
        distribution: ``uniform`` or ``normal``.
        values: number format of the entries (``sign``, ``ternary``, ``uniform(bits=4)``); default: as drawn.
        device: device on which the matrices live (read noise, drift).
        scale: ``backprop`` or ``fixed``; None: as the learner says, ``backprop`` unless it is told otherwise.
    """

    def __init__(
        self,
        *,
        gain: float = 1.0,
        distribution: str = "uniform",
        values: Format | str = "raw",
        device: Device | str = "digital",
        scale: Scale | None = None,
    ) -> None:
        super().__init__()
        self.scale = check_scale(self.name, scale)
        if gain <= 0 or not math.isfinite(gain):
            raise NeurofaError(f"got {self.name}(gain={gain}); expected a positive number; 1 is the default")
        if distribution not in ("uniform", "normal"):
            raise NeurofaError(f"got {self.name}(distribution={distribution}); expected uniform or normal; choose one")
        self.gain, self.distribution = gain, distribution
        self.values: Format = build("format", values)
        self.device: Device = build("device", device)

    def entries(self, shape: tuple[int, ...], fan: float, gen: torch.Generator) -> Tensor:
        """Draw one matrix with the standard deviation gain/sqrt(3 fan), before rows are scaled by layer.

        Args:
            shape: of the matrix.
            fan: o for direct pathways, fan_in for return weights.
            gen: source of the entries and of their rounding.
        """
        std = self.gain / math.sqrt(3 * fan)
        if self.distribution == "normal":
            b = torch.randn(shape, generator=gen).mul_(std)
        else:
            # a uniform number in +-c has the standard deviation c / sqrt(3)
            b = torch.rand(shape, generator=gen).mul_(2).sub_(1).mul_(std * math.sqrt(3))
        if self.values.name != "raw":
            # rounding changes the standard deviation of the entries; it is restored
            coarse = self.values.quantize(b / std, gen)
            b = coarse * (std / coarse.square().mean().sqrt().clamp_min(1e-12))
        return self.thin(b, gen)

    def thin(self, b: Tensor, gen: torch.Generator) -> Tensor:
        """Return the matrix with some entries set to zero, for sparse pathways; default: unchanged."""
        return b

    def draw(self, shape: tuple[int, ...], gen: torch.Generator) -> Synapses:
        return Synapses(self.entries(shape, math.prod(shape[1:]), gen), self.device, gen, adopt=True)


class MatrixFeedback(RandomMatrices, ABC):
    """Random matrices of all layers below each other in one (m, o) matrix: one product gives all teaching signals.

    The matrix is stored as every weight is, outputs first: a device that takes its range from the fan-in sees o.
    """

    b: Synapses
    """B, (m, o)."""

    def describe(self) -> FeedbackDescription:
        return FeedbackDescription(matrix=self.b)

    def hardware(self) -> Projection | None:
        """Return the array that holds the matrix, where it lives on a memory device and each layer has its own rows."""
        stored = self.matrix()
        if stored is None or stored.exact:
            return None
        array = Crossbar(device=stored.device, periphery="exact")
        array.adopt(stored.cells)
        return array

    def _open(self, sites: tuple[Site, ...], outputs: int, gen: torch.Generator) -> None:
        rows = self.rows(sites, self.stack(sites), outputs, gen)
        for name, part in self.slices.items():
            if self.factors[name] != 1:
                rows[part] *= self.factors[name]
        self.b = Synapses(rows, self.device, gen, adopt=True)

    def rows(self, sites: tuple[Site, ...], width: int, outputs: int, gen: torch.Generator) -> Tensor:
        """Draw the matrix of all layers, (m, o), before each layer's rows are scaled; default: independent entries.

        Args:
            sites: hidden layers, from input to readout.
            width: m, rows of all layers together.
            outputs: o.
            gen: source of randomness.
        """
        return self.entries((width, outputs), outputs, gen)

    def project(self, error: Tensor, gen: torch.Generator | None = None) -> Tensor:
        return nn.functional.linear(error, self.b.read(gen))

    def send(self, error: Tensor, gen: torch.Generator | None = None) -> Callable[[str], Tensor]:
        if not any(len(shape) == 3 for shape in self.shapes.values()):
            return super().send(error, gen)
        # one product a layer, when it is due: to images, all signals together are larger than all activations
        b = self.b.read(gen)

        def signal(name: str) -> Tensor:
            rows, shape = b[self.slices[name]], self.shapes[name]
            if len(shape) != 3 or error.device.type != "cpu":
                return nn.functional.linear(error, rows).view(-1, *shape)
            c, h, w = shape
            # convolutions want the channel innermost; the o columns are reordered more cheaply than B signals
            inner = rows.view(c, h * w, -1).transpose(0, 1).reshape(rows.shape)
            return nn.functional.linear(error, inner).view(-1, h, w, c).permute(0, 3, 1, 2)

        return signal

    def matrix(self) -> Synapses | None:
        return self.b
