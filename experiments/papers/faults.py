"""How many stuck devices does direct feedback alignment bear, in its feedback matrix and in its weights?"""

from __future__ import annotations

from collections.abc import Sequence

from experiments.charts.figure import Axis
from experiments.sweeps.experiment import Experiment, ExperimentCheck, Findings, Reference, above, at_most
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import Fields
from experiments.sweeps.tuned_curves import (
    CONTROL,
    CurvePoint,
    accuracy_difference,
    draw_tuned_curves,
    percent_at,
    run_curves,
)
from experiments.tables import Record
from hwmodels.errors import NeurofaError
from hwmodels.spec import Spec

HIGH_SHARE = 9.04 / (9.04 + 1.75)
"""Share of the stuck elements that are stuck at their highest conductance (as remembered, not verified)."""
FEEDBACK, WEIGHTS = "dfa, faults in the feedback", "dfa, faults in the weights"
BP, FLOOR = "bp, faults in the weights", f"{CONTROL}, faults in the weights"
SOUND = "dfa, no faults"
CHEN = "Chen et al. 2015, IEEE Trans. Comput. 64:180"
RANGE_RATE = 30.0
"""Percent of the elements, in the part range."""
TOLERATED = {10.0: 0.2, 30.0: 0.5}
"""Points of accuracy that faults in the feedback may cost, by their rate in percent."""


class Faults(Experiment, name="faults"):
    """Accuracy against the rate of stuck elements, separately in the feedback matrix and in the forward weights.

    A weight is a pair of elements w = G+ - G-; the rate is that of single elements, so that a share 1 - (1 - rate)^2
    of the weights is hit. An element that is stuck does not move, its partner does: training goes on around the
    faults. In the weights every element ends at ``full_scale``, where those stuck high are; the feedback matrix fills
    its own range.

    Parts: ``stuck`` (9.04 stuck at the highest conductance to 1.75 at the lowest), ``low`` (all at the lowest, so that
    the full scale does not matter), ``range`` (30 % stuck, mixed, in the weights, against the full scale). Every point
    is tuned on validation data before its own runs count.

    Args:
        data: of all parts.
        hidden: width of the two hidden layers.
        rates: stuck elements, percent, 0 to 100.
        full_scale: weight at the highest conductance, > 0; 0.107 is three times the largest one at the start.
        scales: full scales of the part range.
        epochs: of the runs that count, instead of each part's own.
        tuning_epochs: of the runs that choose, instead of one.

    Raises:
        NeurofaError: a rate that is no percentage.
    """

    source = "stuck-at faults: Chen et al. 2015, IEEE Trans. Comput. 64:180 (the ratio of the two kinds as remembered)"
    question = (
        "How much accuracy do stuck devices cost in the fixed feedback matrix of direct feedback alignment, and how"
        " much in the weights that are trained around them?"
    )
    parts = ("stuck", "low", "range")

    def __init__(
        self, *, data: Spec | str = "mnist", hidden: int = 800, rates: list[float] | None = None,
        full_scale: float = 0.107, scales: list[float] | None = None, epochs: int | None = None,
        tuning_epochs: int | None = None,
    ) -> None:  # fmt: skip
        self.data, self.hidden, self.full_scale = str(data), hidden, full_scale
        self.rates = [0.0, 1.0, 3.0, 10.0, 30.0, 50.0, 80.0] if rates is None else rates
        self.scales = [0.0357, 0.0714, 0.107, 0.214, 0.428] if scales is None else scales
        self.epochs, self.tuning_epochs = epochs, tuning_epochs or 1
        for rate in self.rates:
            if not 0 <= rate <= 100:
                raise NeurofaError(f"got faults(rates=[{rate:g}]); expected percentages, 0 to 100; change the rates")

    def run(self, part: str, setup: Setup) -> Findings:
        points = {"stuck": self._stuck, "low": self._low, "range": self._range}[part]()
        common = {
            "data": self.data, "batch_size": 64, "epochs": self.epochs or (20 if setup.full else 3),
            "schedule": "cosine", "network": f"mlp(hidden=[{self.hidden}, {self.hidden}], activation=tanh)",
        }  # fmt: skip
        found = run_curves(points, common, self.tuning_epochs, setup, name=part)
        label = "full scale of the weights" if part == "range" else "stuck elements (%)"
        picture = draw_tuned_curves(found, common, setup, name=part, x=Axis(label))
        reference = [Reference("elements stuck high for one stuck low", 9.04 / 1.75, CHEN, "remembered, not verified")]
        return Findings(
            rows=found.lines, tuning=found.tuning, reference=reference if part == "stuck" else [],
            checks=checks(part, found.lines), pictures=[picture],
        )  # fmt: skip

    def _stuck(self) -> list[CurvePoint]:
        return [*self._curves(self.rates, HIGH_SHARE), *self._curve(BP, self.rates[::2], HIGH_SHARE)]

    def _low(self) -> list[CurvePoint]:
        return self._curves([rate for rate in self.rates if rate >= 10 or not rate], 0.0)

    def _curves(self, rates: Sequence[float], high_share: float) -> list[CurvePoint]:
        return [
            *self._curve(FEEDBACK, rates, high_share),
            *self._curve(WEIGHTS, rates, high_share),
            *self._curve(FLOOR, rates[::2], high_share),
        ]

    def _curve(self, series: str, rates: Sequence[float], high_share: float) -> list[CurvePoint]:
        made = []
        for rate in rates:
            rule, device = _rule(series), sound(self.full_scale)
            if series == FEEDBACK and rate:
                # nobody writes to the feedback after programming: a plain float within the range of the matrix
                rule = f"dfa(feedback=dense(device={stuck(rate, high_share)}))"
            elif rate:
                device = stuck(rate, high_share, self.full_scale)
            made.append(CurvePoint(series=series, x=rate, candidates=_candidates(rule, device)))
        return made

    def _range(self) -> list[CurvePoint]:
        return [
            CurvePoint(series=series, x=scale, candidates=_candidates(_rule(series), device))
            for scale in self.scales
            for series, device in (
                (SOUND, sound(scale)),
                (WEIGHTS, stuck(RANGE_RATE, HIGH_SHARE, scale)),
                (FLOOR, stuck(RANGE_RATE, HIGH_SHARE, scale)),
            )
        ]


def sound(full_scale: float) -> str:
    """The spec of a weight without faults: as fine as a float, and bounded by +-full_scale as a pair of elements is."""
    return f"fixed(bits=24, range={full_scale:g}, rounding=nearest)"


def stuck(rate: float, high_share: float, full_scale: float | None = None) -> str:
    """The spec of a device with faults.

    Args:
        rate: elements that are stuck, percent.
        high_share: of these, stuck at the highest conductance; the rest are stuck at the lowest.
        full_scale: weight at the highest conductance; None: the largest that is programmed, on a plain float.
    """
    high = rate / 100 * high_share
    # high wins where both strike, so that low has to strike more often than its share
    low = (rate / 100 - high) / (1 - high) if high < 1 else 0.0
    inner = "" if full_scale is None else f"device={sound(full_scale)}, range={full_scale:g}, "
    return f"stuck({inner}low={low:.6g}, high={high:.6g})"


def _rule(series: str) -> str:
    return {BP: "bp", FLOOR: CONTROL}.get(series, "dfa")


def _candidates(rule: str, device: str) -> list[Fields]:
    rates = (0.1, 0.3) if rule == CONTROL else (0.1, 0.2)
    return [{"rule": rule, "optimizer": f"sgd(lr={lr})", "device": device} for lr in rates]


def checks(part: str, lines: Sequence[Record]) -> list[ExperimentCheck]:
    """The statements of one part about its table.

    Args:
        part: one of the experiment's parts.
        lines: one a method, with ``series``, ``x`` and accuracies as shares.
    """
    made = []
    places = sorted({line["x"] for line in lines})
    for x in places:
        weights, floor = percent_at(lines, WEIGHTS, x), percent_at(lines, FLOOR, x)
        if part != "range" and x:
            saved = accuracy_difference(percent_at(lines, FEEDBACK, x), weights)
            made.append(above(f"{part}: {x:g} % in the feedback cost less than in the weights, by points", saved, 0))
        if floor is not None:
            made.append(
                above(f"{part}: {WEIGHTS}, {x:g}: over {CONTROL}, points", accuracy_difference(weights, floor), 0)
            )
    clean = percent_at(lines, FEEDBACK, 0.0)
    for x, bound in TOLERATED.items():
        if part != "range" and x in places:
            cost = accuracy_difference(clean, percent_at(lines, FEEDBACK, x))
            made.append(at_most(f"{part}: what {x:g} % in the feedback cost, points", cost, bound))
    return made
