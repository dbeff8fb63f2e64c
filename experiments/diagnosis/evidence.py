"""What a run's measurements say of one layer: the figures on which its diagnosis rests."""

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


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Accuracy (or R^2) of a linear probe of one layer's features on held-out samples."""

    start: float
    end: float
    control: float
    """Of the features that the layer has when it does not learn: those of the readout-only control."""
    samples: int
    p: float
    """Of the sign test between the two, sample by sample."""

    @property
    def verdict(self) -> str:
        """``better`` or ``worse`` than the control, where chance is unlikely; else ``same``."""
        if self.p >= CHANCE or self.end == self.control:
            return "same"
        return "better" if self.end > self.control else "worse"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One layer of a run."""

    name: str
    kind: str
    """``dense``, ``conv2d``, ``block``."""
    hidden: bool
    gradient: Phases | None
    """Course of its gradient alignment."""
    weight: Phases | None
    """Course of its weight alignment."""
    probe: Probe | None
    vanished: int | None
    """First look (its step) from which the gradient of backpropagation stays below a share of the largest layer's."""
    gradient_share: float | None
    """Least share of the largest layer's gradient, over the run."""
    travel: float | None
    """Bound on how far the rule can have moved the weights, in units of their norm; None: not known."""
    travel_bp: float | None
    """The same for backpropagation's gradients at the same places."""
    stride: float | None
    """Largest relative change of the weights by one step; None: not known."""
    slope: tuple[float | None, float | None]
    """Backpropagation's ||delta|| / ||delivered error||, the mean derivative of the activation, at start and end."""
    feedback: dict[str, float | None] | None
    """Conditioning, orthogonality and norm of F_l; a conditioning of None is infinite."""
    isotropy: float | None
    """Best isotropy of the alignment matrix over the run."""
    rising: bool
    """Whether gradient alignment still rises at the end."""
    reachable: float | None
    """For convolutions: largest possible cosine between an unrolled kernel and F_l F_{l-1}^T."""
    width: int
    """Number of its outputs."""


def collect_evidence(
    spec: RunSpec, result: Result, network: Network, found: Sequence[Measurement], probes: Mapping[str, Probe]
) -> list[Evidence]:
    """The evidence on every layer with weights, from input to readout.

    Args:
        spec: the run.
        result: with the rows of all epochs.
        network: as trained, for kinds and shapes.
        found: all measurements, with alignment.
        probes: of hidden layers, by name.
    """
    first = next(look.alignment for look in found if look.alignment is not None)
    reachable = _reachable(network)
    made = []
    for name in first["layers"]:
        steps, gradients = measurement_series(found, name, "gradient_norm")
        shares = _shares(found, gradients)
        cosines = _cosines(found, name)
        weight = phases(*measurement_series(found, name, "weight_alignment"))
        rates = [_rate(spec, result.rows, step) for step in steps]
        updates, sizes = (measurement_series(found, name, what)[1] for what in ("relative_update", "weight_norm"))
        bp = [g / w if g is not None and w else None for g, w in zip(gradients, sizes, strict=True)]
        last = next(look.alignment for look in reversed(found) if look.alignment is not None)
        made.append(Evidence(
            name=name, kind=network.layer(name).name, hidden=name != network.readout,
            gradient=phases(steps, cosines), weight=weight, probe=probes.get(name), vanished=_vanished(steps, shares),
            gradient_share=min((s for s in shares if s is not None), default=None),
            travel=_travel(steps, updates, rates), travel_bp=_travel(steps, bp, rates),
            stride=max((u * r for u, r in zip(updates, rates, strict=True) if u is not None and r is not None),
                       default=None),
            slope=(_slope(first["layers"][name]), _slope(last["layers"][name])),
            feedback=last["layers"][name].get("feedback"),
            isotropy=max((i for i in measurement_series(found, name, "alignment_matrix.isotropy")[1] if i is not None),
                         default=None),
            rising=_rising(steps, cosines), reachable=reachable.get(name), width=math.prod(network.shapes[name]),
        ))  # fmt: skip
    return made


def _cosines(found: Sequence[Measurement], name: str) -> list[float | None]:
    """Gradient alignment; of layers of several affine maps, that of the delivered errors."""
    deltas = measurement_series(found, name, "delta_cosine")[1]
    return deltas if any(v is not None for v in deltas) else measurement_series(found, name, "delivered_cosine")[1]


def _shares(found: Sequence[Measurement], gradients: Sequence[float | None]) -> list[float | None]:
    tops = [
        max((row["gradient_norm"] or 0.0 for row in look.alignment["layers"].values()), default=0.0)
        for look in found
        if look.alignment is not None
    ]
    return [g / top if g is not None and top else None for g, top in zip(gradients, tops, strict=True)]


def _vanished(steps: Sequence[int], shares: Sequence[float | None]) -> int | None:
    since = None
    for step, share in zip(steps, shares, strict=True):
        if share is not None and share >= VANISHED:
            since = None
        elif since is None:
            since = step
    return since


def _rate(spec: RunSpec, rows: Sequence[EpochRow], step: int) -> float | None:
    """How far SGD moves in the end along a direction that stays; None where each update is rescaled or clipped."""
    optimizer = parse(spec.optimizer)
    momentum = optimizer.options.get("momentum", 0.0)
    if optimizer.name != "sgd" or spec.clip is not None or not isinstance(momentum, int | float):
        return None
    row = next((row for row in rows if row["step"] > step), rows[-1])
    return float(row["lr"]) / (1 - momentum) / spec.accumulate


def _travel(steps: Sequence[int], sizes: Sequence[float | None], rates: Sequence[float | None]) -> float | None:
    """Sum of step sizes between the looks, trapezoids: the triangle inequality's bound on the distance."""
    known = [
        (t, v * r) for t, v, r in zip(steps, sizes, rates, strict=True) if v is not None and r is not None
    ]  # fmt: skip
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


def _slope(row: dict[str, Any]) -> float | None:
    inside, outside = row.get("delta_gradient_norm"), row.get("delivered_gradient_norm")
    return inside / outside if inside is not None and outside else None


def _reachable(network: Network) -> dict[str, float]:
    """For every convolution k / sqrt(P_in P_out), with P the pixels of its input and its output."""
    before, found = network.input_shape, {}
    for name, layer in network.items():
        after = network.shapes[name]
        if isinstance(layer, Conv2d):
            found[name] = layer.kernel / math.sqrt(math.prod(before[1:]) * math.prod(after[1:]))
        before = after
    return found
