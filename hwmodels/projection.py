"""Projections: hardware that multiplies an error by a fixed matrix to give a teaching signal."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from hwmodels.description import DescribedBuffers, TensorDescription
from hwmodels.device import Device
from hwmodels.errors import POSITIVE, NeurofaError, check_options
from hwmodels.figures import CostReport
from hwmodels.format import Format
from hwmodels.numerics.noise_moments import Noise, NoiseSource
from hwmodels.registry import Registered


class AgeingMatrix(ABC):
    """The effect of time on the matrix of a projection: drift and decorrelation."""

    @abstractmethod
    def relax(self, seconds: float, gen: torch.Generator | None = None) -> None:
        """Change the matrix as ``seconds`` (s) of drift or decorrelation do; zero changes nothing."""

    def drifted(self, error: Tensor, seconds: float) -> Noise | None:
        """Predict in closed form how far projections e B(t) have moved from e B(0), for a B that was just programmed.

        Args:
            error: e, (B, n_in), the errors that are projected.
            seconds: t, time since programming, s.

        Returns:
            The change of the projections as a noise on the ``signal`` e B(0), which gives their cosine
            (:meth:`~hwmodels.numerics.noise_moments.Noise.cosine`); None where there is no closed form (default).
        """
        return None


class Projection(DescribedBuffers, Registered, ABC, kind="projection"):
    """A fixed random projection in hardware: (B, n_in) to (B, n_out).

    :meth:`open` makes the matrix, :meth:`forward` is one pass with all errors of the hardware, :meth:`effective` the
    noise-free linear map, :attr:`ageing` the effect of time. Matrices and all other state are buffers.

    Args:
        gain: standard deviation of the entries of the matrix in units of 1/sqrt(3 n_in); with gain 1 they are as those
            of U(-1, 1)/sqrt(n_in). It is applied digitally, behind the hardware.
    """

    tensors: ClassVar[Mapping[str, TensorDescription]] = {}
    """Meaning and unit of the buffers, by name; a buffer without an entry is a number without a unit."""

    def __init__(self, *, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain
        check_options(self, POSITIVE, "gain", remedy="1 is the default")
        self.n_in = self.n_out = 0

    def open(self, n_in: int, n_out: int, gen: torch.Generator) -> None:
        """Draw the matrix, and all else that is fixed at fabrication, for the given sizes.

        Args:
            n_in: length of the error.
            n_out: length of the projection.
            gen: source of the matrix and of all that is fixed at fabrication, on the CPU.

        Raises:
            NeurofaError: sizes below 1, or sizes that the hardware does not have.
        """
        if n_in < 1 or n_out < 1:
            raise NeurofaError(f"got a projection from {n_in} to {n_out}; expected at least 1; change the sizes")
        self.n_in, self.n_out = n_in, n_out
        self._open(gen)

    @abstractmethod
    def _open(self, gen: torch.Generator) -> None:
        """Create the buffers."""

    @abstractmethod
    def forward(self, error: Tensor, gen: torch.Generator | None = None) -> Tensor:
        """Return the projections of errors, with all noise and quantisation of the hardware.

        Args:
            error: (B, n_in), any unit.
            gen: source of the noise, on the device of the error.

        Returns:
            (B, n_out), in the unit of the error (of the encoded error where the hardware encodes it).
        """

    def effective(self) -> Tensor | None:
        """Return the noise-free linear map (n_in, n_out), static errors included, or None where there is none."""
        return None

    def clean(self, error: Tensor) -> Tensor:
        """Return the projections (B, n_out) without noise and converters; default: error @ :meth:`effective`.

        Args:
            error: (B, n_in), any unit.

        Raises:
            NeurofaError: there is no such map, and the projection defines no ``clean`` of its own.
        """
        b = self.effective()
        if b is None:
            raise NeurofaError(f"got {self.name} without a linear map; expected one, or a method clean; add it")
        return error @ b

    def dynamics(self, error: Tensor) -> tuple[NoiseSource, ...] | None:
        """Return every source of noise that is drawn anew at each projection, with the closed form of its size.

        Args:
            error: (B, n_in), the errors that are projected.

        Returns:
            Sources whose noise has its ``signal``; an empty tuple where :meth:`forward` has no noise; None where the
            noise has no closed form (default).
        """
        return None

    @property
    def ageing(self) -> AgeingMatrix | None:
        """The effect of time on the matrix; None (default): there is none."""
        return None

    def program(self, target: Tensor, gen: torch.Generator | None = None) -> None:
        """Set the matrix; default: it was fixed at fabrication.

        Args:
            target: (n_in, n_out), finite.
            gen: source of programming errors.

        Raises:
            NeurofaError: the matrix cannot be chosen.
        """
        raise NeurofaError(
            f"got a matrix to program for {self.name}, which was fixed at fabrication; expected a projection whose"
            " matrix can be chosen, such as crossbar, microring or mzi; use one of them"
        )

    @property
    def exact(self) -> bool:
        """Whether :meth:`forward` is the product with :meth:`effective`, without noise and converters; default: no."""
        return False

    @property
    def input_format(self) -> Format | None:
        """Number format in which the hardware encodes the error; None (default): it takes any number."""
        return None

    @property
    def stored_on(self) -> Device | None:
        """The memory device whose cells hold the matrix; None (default): there is none."""
        return None

    @property
    def resolution(self) -> float | None:
        """Effective resolution of a projected number, bit; infinite without any limit; None (default): unknown."""
        return None

    def describe_buffer(self, key: str) -> TensorDescription:
        """Return meaning and unit of one buffer; default: as :attr:`tensors` says."""
        return self.tensors.get(key, TensorDescription(meaning=f"'{key}' of the {self.name}"))

    def settings(self) -> dict[str, tuple[Tensor, TensorDescription]]:
        """Return the tensors that set the hardware, each with its description, by name; default: all buffers.

        They are programmed (phases, conductances), or fixed at fabrication.
        """
        return {key: (buffer, self.describe_buffer(key)) for key, buffer in self.named_buffers()}

    def static_trials(self, gen: torch.Generator) -> tuple[Tensor, list[tuple[str, Tensor]]] | None:
        """Draw a matrix, and program it once under each static error of the hardware alone, and once under all.

        Static errors are those that programming fixes: they replace the wanted matrix by another one.

        Args:
            gen: source of the matrix, of programming errors and faults.

        Returns:
            The wanted matrix (n_in, n_out), and pairs of the name of an error with the matrix that the hardware then
            holds; None (default): the matrix of this hardware cannot be chosen.
        """
        return None

    def pass_costs(self, vectors: int) -> CostReport:
        """Return counts, energy and time of projecting a number of vectors; default: no figure is known.

        Args:
            vectors: error vectors that are sent.
        """
        return CostReport(missing=(f"energy and time of {self.name}: no figure",))

    @property
    def std(self) -> float:
        """Declared standard deviation of the entries, gain / sqrt(3 n_in)."""
        return self.gain / math.sqrt(3 * self.n_in)


class Programmable(Projection, ABC):
    """A projection whose matrix can be chosen; by default its entries are uniform in +-gain/sqrt(n_in)."""

    programming: ClassVar[CostReport] = CostReport(missing=("programming B, once and not at every update",))
    """Costs that :meth:`pass_costs` names as missing: programming the matrix B."""

    def _open(self, gen: torch.Generator) -> None:
        self.program(self.wanted(gen), gen)

    def pass_costs(self, vectors: int) -> CostReport:
        return self.programming + super().pass_costs(vectors)

    def wanted(self, gen: torch.Generator) -> Tensor:
        """Draw the matrix that :meth:`open` programs: uniform entries (n_in, n_out)."""
        b = torch.rand(self.n_in, self.n_out, generator=gen).mul_(2).sub_(1)
        return b.mul_(self.gain / math.sqrt(self.n_in))

    def statics(self) -> dict[str, Programmable]:
        """Return copies of this projection, each with one static error alone, by the name of the error; default: none.

        They have no matrix yet (:meth:`open`).
        """
        return {}

    def static_trials(self, gen: torch.Generator) -> tuple[Tensor, list[tuple[str, Tensor]]]:
        twins = self.statics()
        # a single error acting alone is all of them together
        if len(twins) != 1:
            twins = {**twins, "all together" if twins else "none": self.twin()}
        wanted, realised = self.wanted(gen), []
        for name, twin in twins.items():
            twin.open(self.n_in, self.n_out, gen)
            twin.program(wanted, gen)
            matrix = twin.effective()
            assert matrix is not None  # noqa: S101 (a programmable projection has one)
            realised.append((name, matrix))
        return wanted, realised

    def twin(self, **changes: object) -> Programmable:
        """Return a projection with the options of this one, except ``changes``; it has no matrix yet (:meth:`open`)."""
        return type(self)(**self.chosen() | changes)

    @torch.no_grad()
    def program(self, target: Tensor, gen: torch.Generator | None = None) -> None:
        """Set the matrix, as nearly as the hardware can.

        Args:
            target: (n_in, n_out), finite.
            gen: source of programming errors.

        Raises:
            NeurofaError: another shape, or numbers that are not finite.
        """
        if target.shape != (self.n_in, self.n_out):
            raise NeurofaError(
                f"got a matrix of shape {tuple(target.shape)}; expected ({self.n_in}, {self.n_out});"
                " transpose or cut it"
            )
        if not bool(target.isfinite().all()):
            raise NeurofaError("got NaN or infinity in a matrix; expected finite numbers; check the source")
        self._program(target.detach(), gen)

    @abstractmethod
    def _program(self, target: Tensor, gen: torch.Generator | None) -> None:
        """Set the buffers; ``target`` has been checked."""

    def set_buffer(self, name: str, value: Tensor) -> None:
        """Register a buffer, or copy the value into the existing one."""
        if name in self._buffers:
            self.get_buffer(name).copy_(value)
        else:
            self.register_buffer(name, value.clone())
