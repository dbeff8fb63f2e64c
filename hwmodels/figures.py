"""Published figures of energy, time and endurance, each with its source and how sure it is, and costs made of them.

Ranges are those of the literature, not of one device: they say what is plausible, not what a device does. A quantity
that is missing here has no figure, and nothing else may replace it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hwmodels.provenance import Verified


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A published range of one physical quantity, such as the energy of a write."""

    low: float | None
    """Smallest published value, in ``unit``; None: not known."""
    high: float | None
    """Largest published value, in ``unit``; equal to ``low`` where there is one value; None: not known."""
    unit: str
    """Such as ``J``, ``s`` or ``W``."""
    source: str
    """Where the range was published."""
    verified: Verified
    """How sure it is: ``read`` in the source, ``second-hand`` or ``remembered``."""


@dataclass(frozen=True, kw_only=True)
class Technology:
    """Published figures of one kind of memory device; None: no figure is known."""

    write_energy: Figure | None = None
    """Energy of one pulse or programming write of one device."""
    write_time: Figure | None = None
    """Time of one pulse or write."""
    read_energy: Figure | None = None
    """Energy of one device in one product."""
    read_time: Figure | None = None
    """Time of one product."""
    endurance: Figure | None = None
    """Writes in the life of a device."""


NO_FIGURES = Technology()


@dataclass(frozen=True, kw_only=True)
class CostLine:
    """One quantity of an update: a count, or a count times a published figure, with the figure's bounds."""

    part: str = ""
    """Part of an update that has the cost: ``forward``, ``feedback``, ``update`` or ``life``; empty: not said yet."""
    what: str
    """The quantity, in words."""
    low: float | None
    high: float | None
    """Equal to ``low`` where it is one number; an unknown bound is None."""
    unit: str
    """Empty for a count."""
    formula: str
    """What was multiplied, in words."""
    source: str
    """Where the published figure comes from; ``this network`` for a count."""
    sure: str
    """``counted`` or ``measured`` here; ``read``, ``second-hand`` or ``remembered`` figures; ``given`` by an option."""

    @classmethod
    def counted(cls, what: str, number: float, formula: str, sure: str = "counted") -> CostLine:
        """Return the line of a count: a number without a unit that follows from the network alone.

        Args:
            what: the quantity, in words.
            number: value of the quantity.
            formula: what was counted or multiplied, in words.
            sure: ``counted`` or ``measured``.
        """
        return cls(what=what, low=number, high=number, unit="", formula=formula, source="this network", sure=sure)

    @classmethod
    def scaled(cls, what: str, number: float, figure: Figure, formula: str, unit: str = "") -> CostLine:
        """Return the line of a count times a published figure; both bounds are multiplied.

        Args:
            what: the quantity, in words.
            number: factor.
            figure: the published figure, whose source and mark the line takes.
            formula: what was counted or multiplied, in words.
            unit: unit of the result; empty: that of the figure.
        """
        low, high = (None if bound is None else number * bound for bound in (figure.low, figure.high))
        return cls._of(what, low, high, figure, formula, unit or figure.unit)

    @classmethod
    def divided(cls, what: str, figure: Figure, number: float, formula: str) -> CostLine:
        """Return the line of a published figure divided by a number, without a unit; both bounds are divided.

        Args:
            what: the quantity, in words.
            figure: the published figure, whose source and mark the line takes.
            number: divisor.
            formula: what was counted or multiplied, in words.
        """
        low, high = (None if bound is None else bound / number for bound in (figure.low, figure.high))
        return cls._of(what, low, high, figure, formula, "")

    @classmethod
    def _of(cls, what: str, low: float | None, high: float | None, figure: Figure, formula: str, unit: str) -> CostLine:
        return cls(
            what=what, low=low, high=high, unit=unit, formula=formula, source=figure.source, sure=figure.verified
        )


@dataclass(frozen=True)
class CostReport:
    """Costs of one part of an update, and the quantities for which no figure is known."""

    lines: tuple[CostLine, ...] = ()
    missing: tuple[str, ...] = ()
    """The quantities without a figure, in words."""

    def __add__(self, other: CostReport) -> CostReport:
        return CostReport(self.lines + other.lines, self.missing + other.missing)

    def of(self, part: str) -> CostReport:
        """Return the report with ``part``, such as ``forward``, entered in every line and every missing figure."""
        lines = tuple(replace(line, part=part) for line in self.lines)
        return CostReport(lines, tuple(f"{part}: {gap}" for gap in self.missing))


_COMMON = "common figure of reviews, no text read"
_CLAIMS = "common figure of reviews, no text read; such claims often lack statistics (Lanza et al. 2019)"


def _remembered(low: float | None, high: float | None, unit: str, source: str = _COMMON) -> Figure:
    return Figure(low=low, high=high, unit=unit, source=source, verified="remembered")


_NEUROSIM = "DNN+NeuroSim V2.1, defaults: R_on 240 kOhm, on/off 100"


def _neurosim(volts: float, seconds: float) -> Figure:
    """Return V^2 t G of one cell, from its lowest to its highest conductance."""
    r_on, on_off = 240e3, 100.0
    high = volts**2 * seconds / r_on
    source = f"{_NEUROSIM}, {volts:g} V for {seconds * 1e9:g} ns; V² G t, G from 1/(R_on on/off) to 1/R_on"
    return Figure(low=high / on_off, high=high, unit="J", source=source, verified="read")


def _neurosim_time(seconds: float) -> Figure:
    return Figure(low=seconds, high=seconds, unit="s", source=_NEUROSIM, verified="read")


TECHNOLOGIES = {
    "rram": Technology(
        write_energy=_remembered(0.1e-12, 10e-12, "J"),
        write_time=_remembered(10e-9, 100e-9, "s"),
        endurance=_remembered(1e5, 1e8, "writes", f"analog, in arrays (1e6 to 1e12 are claimed): {_CLAIMS}"),
    ),
    "pcm": Technology(
        write_energy=_remembered(10e-12, 100e-12, "J"),
        write_time=_remembered(100e-9, 100e-9, "s"),
        endurance=_remembered(1e8, 1e12, "writes", _CLAIMS),
    ),
    "ecram": Technology(
        write_energy=_remembered(1e-15, 1e-12, "J"),
        write_time=_remembered(1e-6, 1e-3, "s"),
        endurance=_remembered(1e8, None, "writes", _CLAIMS),
    ),
    "fefet": Technology(
        write_energy=_neurosim(4.0, 50e-9),
        write_time=_neurosim_time(50e-9),
        read_energy=_neurosim(0.5, 10e-9),
        read_time=_neurosim_time(10e-9),
        endurance=_remembered(1e5, 1e10, "writes", _CLAIMS),
    ),
}
"""Published figures by kind of memory, the word that a device declares as its ``technology``."""

_BANK = "Filipovich et al. 2022, Optica 9, 1323 (paper body)"

BANK_ROWS, BANK_COLUMNS = 20, 50
"""Inputs and outputs of the microring bank that the two figures below belong to; remembered."""

BANK_ENERGY = _remembered(0.28e-12, 1.0e-12, "J", f"{_BANK}: 1.0 pJ an operation with heaters, 0.28 after trimming")
"""Energy of one operation; a product and a sum are two."""

BANK_TIME = _remembered(1e-10, 1e-10, "s", f"{_BANK}: 10 GHz")
"""Time of one product with the matrix of the bank."""

OPU_POWER = Figure(
    low=None, high=30.0, unit="W", source="Wang et al. 2024, arXiv 2409.12965, abstract: under 30 W", verified="read"
)
"""Power of the whole optical processor."""
