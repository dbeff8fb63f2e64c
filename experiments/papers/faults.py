"""How many stuck devices does direct feedback alignment bear, in its feedback matrix and in its weights?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from experiments.charts.figure import Axis
from experiments.protocols.curves import Curves, gain, swept_curves
from experiments.sweeps.candidates import rate_grid
from experiments.sweeps.experiment import Checks, Experiment, Findings, Reference, above, at_most
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import CONTROL, Fields
from experiments.sweeps.tuned_curves import CurvePoint, percent_at
from experiments.tables import Record
from hwmodels.errors import NeurofaError
from hwmodels.spec import Spec

HIGH_SHARE = 9.04 / (9.04 + 1.75)
"""Share of the stuck elements that are stuck at their highest conductance (as remembered, not verified)."""
FEEDBACK, WEIGHTS = "dfa, faults in the feedback", "dfa, faults in the weights"
BP, FLOOR = "bp, faults in the weights", f"{CONTROL}, faults in the weights"
SOUND = "dfa, no faults"
CHEN = "Chen et al. 2015, IEEE Trans. Comput. 64:180"
RATIO = Reference("elements stuck high for one stuck low", 9.04 / 1.75, CHEN, "remembered, not verified")
RANGE_RATE = 30.0
"""Percent of the elements that are stuck in the part range."""
TOLERATED = {10.0: 0.2, 30.0: 0.5}
"""Points of accuracy that faults in the feedback may cost, by the rate of stuck elements in percent."""


@dataclass(frozen=True, kw_only=True)
class Faults(Experiment, name="faults"):
    """Accuracy against the rate of stuck elements, separately in the feedback matrix and in the forward weights.

    A weight is a pair of elements w = G+ - G-; the rate is that of single elements, so that a share 1 - (1 - rate)^2
    of the weights is hit. A stuck element does not move, its partner does: training goes on around the faults. In the
    weights every element ends at ``full_scale``, where those stuck high are; the feedback matrix fills its own range.

    Parts: ``stuck`` (9.04 stuck at the highest conductance to 1.75 at the lowest), ``low`` (all at the lowest, so that
    the full scale does not matter), ``range`` (30 % stuck, mixed, in the weights, against the full scale). Every point
    is tuned on validation data before its own runs count.

    Raises:
        NeurofaError: a rate that is no percentage.
    """

    source = "stuck-at faults: Chen et al. 2015, IEEE Trans. Comput. 64:180 (the ratio of the two kinds as remembered)"
    differs = (
        "no text has this protocol: network, epochs and training around the faults are ours; the ratio is remembered"
    )
    question = "How much accuracy do stuck devices cost in fixed feedback, and in weights that train around them?"
    parts = ("stuck", "low", "range")

    data: Spec | str = "mnist"
    """Data of all parts."""
    hidden: int = 800
    """Width of the two hidden layers."""
    rates: tuple[float, ...] = (0.0, 1.0, 3.0, 10.0, 30.0, 50.0, 80.0)
    """Rates of stuck elements, percent, 0 to 100."""
    full_scale: float = 0.107
    """Weight at the highest conductance, > 0; the default is three times the largest weight at the start."""
    scales: tuple[float, ...] = (0.0357, 0.0714, 0.107, 0.214, 0.428)
    """Full scales of the part range."""
    epochs: int | None = None
    """Epochs of the runs that count, instead of 3 (full: 20)."""
    tuning_epochs: int = 1
    """Epochs of the runs that choose."""

    def __post_init__(self) -> None:
        for rate in self.rates:
            if not 0 <= rate <= 100:
                raise NeurofaError(f"got faults(rates=[{rate:g}]); expected percentages, 0 to 100; change the rates")

    def run(self, part: str, setup: Setup) -> Findings:
        network = f"mlp(hidden=[{self.hidden}, {self.hidden}], activation=tanh)"
        common = {"data": str(self.data), "network": network, "schedule": "cosine", "batch_size": 64}
        common |= {"epochs": self.epochs or (20 if setup.full else 3)}
        x = Axis("full scale of the weights" if part == "range" else "stuck elements (%)")
        found = swept_curves(Curves(points=self._points(part), x=x), common, setup, part, self.tuning_epochs)
        return replace(found, reference=[RATIO] if part == "stuck" else [])

    def _points(self, part: str) -> list[CurvePoint]:
        if part == "range":
            series = {SOUND: 0.0, WEIGHTS: RANGE_RATE, FLOOR: RANGE_RATE}
            grid = [(scale, name) for scale in self.scales for name in series]
            return [CurvePoint(series=s, x=x, candidates=faulty_settings(s, series[s], HIGH_SHARE, x)) for x, s in grid]
        high = HIGH_SHARE if part == "stuck" else 0.0
        rates = [rate for rate in self.rates if part == "stuck" or rate >= 10 or not rate]
        places = {FEEDBACK: rates, WEIGHTS: rates, FLOOR: rates[::2]} | ({BP: rates[::2]} if part == "stuck" else {})
        grid = [(rate, name) for name, own in places.items() for rate in own]
        return [CurvePoint(series=s, x=x, candidates=faulty_settings(s, x, high, self.full_scale)) for x, s in grid]

    def checks(self, part: str, rows: Sequence[Record]) -> Checks:
        places = sorted({row["x"] for row in rows})
        for x in places:
            if part != "range" and x:
                saved = gain(rows, (FEEDBACK, x), (WEIGHTS, x))
                yield above(f"{part}: {x:g} % in the feedback cost less than in the weights, by points", saved, 0)
            if percent_at(rows, FLOOR, x) is not None:
                gained = gain(rows, (WEIGHTS, x), (FLOOR, x))
                yield above(f"{part}: {WEIGHTS}, {x:g}: over {CONTROL}, points", gained, 0)
        for x in [x for x in TOLERATED if part != "range" and x in places]:
            cost = gain(rows, (FEEDBACK, 0.0), (FEEDBACK, x))
            yield at_most(f"{part}: what {x:g} % in the feedback cost, points", cost, TOLERATED[x])


def sound(full_scale: float) -> str:
    """Return the spec of a device without faults: steps as fine as those of a float, weights within +-full_scale."""
    return f"fixed(bits=24, range={full_scale:g}, rounding=nearest)"


def stuck(rate: float, high_share: float, full_scale: float | None = None) -> str:
    """Return the spec of a device with stuck elements.

    Args:
        rate: stuck elements, percent.
        high_share: share of these that is stuck at the highest conductance; the rest is stuck at the lowest.
        full_scale: weight at the highest conductance; None: the largest that is programmed, on a plain float.
    """
    high = rate / 100 * high_share
    # high wins where both strike, so that low has to strike more often than its share
    low = (rate / 100 - high) / (1 - high) if high < 1 else 0.0
    inner = "" if full_scale is None else f"device={sound(full_scale)}, range={full_scale:g}, "
    return f"stuck({inner}low={low:.6g}, high={high:.6g})"


def faulty_settings(series: str, rate: float, high_share: float, full_scale: float) -> list[Fields]:
    """Return the candidate settings of one point of a curve, at several learning rates.

    Args:
        series: name of the curve.
        rate: stuck elements, percent.
        high_share: share of these that is stuck at the highest conductance.
        full_scale: weight at the highest conductance.
    """
    rule, device = {BP: "bp", FLOOR: CONTROL}.get(series, "dfa"), sound(full_scale)
    if rate and series == FEEDBACK:
        # nobody writes to the feedback after programming: a plain float within the range of the matrix
        rule = f"dfa(feedback=dense(device={stuck(rate, high_share)}))"
    elif rate:
        device = stuck(rate, high_share, full_scale)
    return rate_grid(rule, (0.1, 0.3) if rule == CONTROL else (0.1, 0.2), device=device)
