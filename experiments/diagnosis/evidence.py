"""The measurements of one layer on which its diagnosis rests."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.runs.measurements import Measurement, measurement_series
from experiments.runs.result import EpochRow, Result
from experiments.runs.spec import RunSpec
from hwmodels.spec import parse
from neurofa.core.network import Network
from neurofa.diagnostics.phases import Phases, phases
from neurofa.layers.conv import Conv2d

VANISHED = 1e-5
"""Share of the largest layer's gradient below which a gradient has vanished."""
CHANCE = 0.05
"""Probability of chance from which on two probes count as equal."""

MEASURES = (
    "weight_alignment",
    "relative_update",
    "weight_norm",
    "delta_cosine",
    "delivered_cosine",
    "alignment_matrix.isotropy",
)


@dataclass(frozen=True, kw_only=True)
class LinearProbe:
    """Accuracy (or R^2) of linear classifiers of one layer's features, on held-out samples."""

    start: float
    """With the features before training."""
    end: float
    """With the features after training."""
    control: float
    """With the features of the readout-only control, whose hidden layers do not learn."""
    samples: int
    """Number of held-out samples."""
    p: float
    """p value of the sign test between ``end`` and ``control``, sample by sample."""

    @property
    def verdict(self) -> str:
        """``better`` or ``worse`` than the control, where chance is unlikely; else ``same``."""
        if self.p >= CHANCE or self.end == self.control:
            return "same"
        return "better" if self.end > self.control else "worse"


@dataclass(frozen=True, kw_only=True)
class LayerEvidence:
    """What was measured of one layer in the course of a run."""

    name: str
    kind: str
    """``dense``, ``conv2d``, ``block``."""
    hidden: bool
    """Whether it lies below the readout."""
    width: int
    """Number of its outputs."""
    gradient_alignment: Phases | None
    """Course of the cosine between the error at this layer and that of backpropagation; None: not measured."""
    weight_alignment: Phases | None
    """Course of the cosine between the layer's weights and F_l F_(l-1)^T, F_l being the feedback matrix of layer l (in
    chained rules: between weights and return weights); None: not defined."""
    rising: bool
    """Whether gradient alignment still rises at the end."""
    probe: LinearProbe | None
    """Linear classifiers of its features; None: not measured."""
    vanished_from_step: int | None
    """Step from which on the gradient of backpropagation stays below :data:`VANISHED` of the largest layer's; None: it
    does not."""
    gradient_share: float | None
    """Least share of the largest layer's gradient, over the run."""
    travel: float | None
    """Bound on how far the rule can have moved the weights, in units of their norm; None: not known."""
    travel_bp: float | None
    """The same for backpropagation's gradients at the same weights."""
    largest_relative_step: float | None
    """Largest relative change of the weights by one step; None: not known."""
    slope: tuple[float | None, float | None]
    """Backpropagation's ||delta|| / ||delivered error||, the mean derivative of the activation, at start and end."""
    feedback: dict[str, float | None] | None
    """Conditioning, orthogonality and norm of F_l; a conditioning of None is infinite."""
    isotropy: float | None
    """Best isotropy of the alignment matrix over the run."""
    reachable_cosine: float | None
    """For convolutions: largest possible cosine between an unrolled kernel and F_l F_{l-1}^T."""


def collect_evidence(
    spec: RunSpec,
    result: Result,
    network: Network,
    measurements: Sequence[Measurement],
    probes: Mapping[str, LinearProbe],
) -> list[LayerEvidence]:
    """Return the evidence on every layer with weights, from input to readout.

    Args:
        spec: the run.
        result: result of the run, with the rows of all epochs.
        network: the trained network, for kinds and shapes of its layers.
        measurements: all of the run, with alignment.
        probes: scores of linear classifiers of the hidden layers, by layer.
    """
    rows = [m.alignment["layers"] for m in measurements if m.alignment is not None]
    reachable = _reachable(network)
    evidence = []
    for name in rows[0]:
        series = {measure: measurement_series(measurements, name, measure)[1] for measure in MEASURES}
        steps, gradients = measurement_series(measurements, name, "gradient_norm")
        rates = [_rate(spec, result.rows, step) for step in steps]
        updates, norms = series["relative_update"], series["weight_norm"]
        gradients_bp = [g / w if g is not None and w else None for g, w in zip(gradients, norms, strict=True)]
        strides = [u * r for u, r in zip(updates, rates, strict=True) if u is not None and r is not None]
        shares = _shares(rows, gradients)
        # of layers with several affine maps, alignment is that of the delivered errors
        deltas = series["delta_cosine"]
        cosines = deltas if any(v is not None for v in deltas) else series["delivered_cosine"]
        evidence.append(
            LayerEvidence(
                name=name,
                kind=network.layer(name).name,
                hidden=name != network.readout,
                width=math.prod(network.shapes[name]),
                gradient_alignment=phases(steps, cosines),
                weight_alignment=phases(steps, series["weight_alignment"]),
                rising=_rising(steps, cosines),
                probe=probes.get(name),
                vanished_from_step=_vanished(steps, shares),
                gradient_share=min(_known(shares), default=None),
                travel=_travel(steps, updates, rates),
                travel_bp=_travel(steps, gradients_bp, rates),
                largest_relative_step=max(strides, default=None),
                slope=(_slope(rows[0][name]), _slope(rows[-1][name])),
                feedback=rows[-1][name].get("feedback"),
                isotropy=max(_known(series["alignment_matrix.isotropy"]), default=None),
                reachable_cosine=reachable.get(name),
            )
        )
    return evidence


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _shares(rows: Sequence[Mapping[str, Any]], gradients: Sequence[float | None]) -> list[float | None]:
    """Return one layer's gradient norms over the largest of all layers at the same step."""
    largest = [max((row["gradient_norm"] or 0.0 for row in layers.values()), default=0.0) for layers in rows]
    return [g / top if g is not None and top else None for g, top in zip(gradients, largest, strict=True)]


def _vanished(steps: Sequence[int], shares: Sequence[float | None]) -> int | None:
    """Return the step from which on the shares stay below the bound."""
    since = None
    for step, share in zip(steps, shares, strict=True):
        if share is not None and share >= VANISHED:
            since = None
        elif since is None:
            since = step
    return since


def _rate(spec: RunSpec, rows: Sequence[EpochRow], step: int) -> float | None:
    """Return how far SGD moves in the end along a constant direction; None where updates are rescaled or clipped."""
    optimizer = parse(spec.optimizer)
    momentum = optimizer.options.get("momentum", 0.0)
    if optimizer.name != "sgd" or spec.clip is not None or not isinstance(momentum, int | float):
        return None
    row = next((row for row in rows if row["step"] > step), rows[-1])
    # momentum m adds up the steps of a constant direction to 1/(1 - m) times one step
    return float(row["lr"]) / (1 - momentum) / spec.accumulate


def _travel(steps: Sequence[int], sizes: Sequence[float | None], rates: Sequence[float | None]) -> float | None:
    """Return the sum of step sizes by the trapezoidal rule: the triangle inequality's bound on the distance."""
    triples = zip(steps, sizes, rates, strict=True)
    known = [(t, size * rate) for t, size, rate in triples if size is not None and rate is not None]
    if len(known) < 2:
        return None
    return sum((t1 - t0) * (a + b) / 2 for (t0, a), (t1, b) in itertools.pairwise(known))


def _rising(steps: Sequence[int], values: Sequence[float | None]) -> bool:
    """Whether the last third of the steps raised the alignment by more than 0.02, to its largest value or near it."""
    known = [(t, v) for t, v in zip(steps, values, strict=True) if v is not None]
    if len(known) < 2:
        return False
    earlier = [v for t, v in known if t <= 2 / 3 * known[-1][0]]
    return known[-1][1] >= 0.95 * max(v for _, v in known) and bool(earlier) and known[-1][1] - earlier[-1] > 0.02


def _slope(row: Mapping[str, Any]) -> float | None:
    inside, outside = row.get("delta_gradient_norm"), row.get("delivered_gradient_norm")
    return inside / outside if inside is not None and outside else None


def _reachable(network: Network) -> dict[str, float]:
    """Return k / sqrt(P_in P_out) of every convolution, with P the pixels of its input and its output."""
    before, bounds = network.input_shape, {}
    for name, layer in network.items():
        after = network.shapes[name]
        window = layer.traits.window
        if isinstance(layer, Conv2d) and window is not None:
            bounds[name] = window.side / math.sqrt(math.prod(before[1:]) * math.prod(after[1:]))
        before = after
    return bounds
