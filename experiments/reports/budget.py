"""What ``neurofa budget`` finds out about one run before it is trained, or after, and its tables."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from experiments.runs.spec import RunSpec

Report = dict[str, Any]

OWN = "this network"

UPDATES = 4
"""Updates of a copy of the network whose writes are counted."""


def report(spec: RunSpec, model: Path | None, *, samples: int, after: Sequence[float], profile: str | None) -> Report:
    """Dynamic and static errors of the feedback, its drift, and the costs of one update.

    Args:
        spec: network, rule, data, device, optimizer, batch and seed.
        model: weights of a finished run; None: as the network begins.
        samples: training samples whose errors are projected.
        after: ages of the feedback matrix, s.
        profile: spec of a digital chip, for the energy of an operation.

    Returns:
        JSON values; ``dynamic`` is None where noise is not modelled, ``hardware`` None where feedback is exact.

    Raises:
        NeurofaError: an unknown or impossible part.
    """
    from experiments.data import still
    from experiments.reports.chips import profile_of
    from experiments.runs.build import load_data
    from hwmodels.errors import NeurofaError
    from hwmodels.registry import build
    from neurofa.core.network import Network
    from neurofa.core.randomness import generator
    from neurofa.core.rule import Direct, Teaching
    from neurofa.costs.energy import costs
    from neurofa.costs.writes import per_update
    from neurofa.theory import budget
    from neurofa.training.checkpoint import load_network
    from neurofa.training.learner import Learner

    if not all(map(math.isfinite, after)):
        raise NeurofaError(f"got --after {max(after)}; expected seconds; give a number")
    chip = None if profile is None else profile_of(profile)
    dataset = still(load_data(spec.data), "a budget")
    shape = {"input_shape": dataset.input_shape, "outputs": dataset.classes}
    made: Network = (
        load_network(model)
        if model is not None
        else build("network", spec.network, seed=spec.seed, device=spec.device, periphery=spec.periphery, **shape)
    )

    def learner_of(network: Network) -> Learner:
        optimizer = build("optimizer", spec.optimizer)(network.parameters())
        return Learner(network, spec.rule, optimizer=optimizer, loss=spec.loss, seed=spec.seed)

    learner = learner_of(made)
    rule = learner.rule
    hardware = budget.hardware(rule.feedback) if isinstance(rule, Direct) and rule.feedback.slices else None
    about: Report = {
        "rule": spec.rule, "data": spec.data, "network": made.spec, "device": spec.device, "samples": samples,
        "path": "chained" if rule.chained else "direct", "hardware": None if hardware is None else hardware.name,
        "dynamic": [], "drift": [], "static": [],
    }  # fmt: skip
    if hardware is not None and isinstance(rule, Direct):
        x, target = next(dataset.batches("train", samples))
        outcome = learner.loss.outcome(made.step(x, gen=generator(spec.seed, "budget")).y, target)
        gen = generator(spec.seed, "budget noise")
        sent = rule.encoder.quantize(rule.signal(Teaching(outcome.error, outcome.target)), gen)
        lines = budget.dynamics(hardware, sent, gen)
        about["dynamic"] = None if lines is None else [asdict(line) for line in lines]
        about["drift"] = [asdict(line) for line in budget.drifts(hardware, sent, gen, after)]
        about["static"] = [asdict(line) for line in budget.statics(hardware, generator(spec.seed, "budget static"))]
    batches = dataset.batches("train", spec.batch_size, generator(spec.seed, "order"))
    writes = per_update(learner_of(copy.deepcopy(made)), itertools.islice(batches, UPDATES))
    found, missing = costs(made, rule, spec.batch_size, writes, chip)
    return about | {"costs": [asdict(cost) for cost in found], "not_modelled": missing}


def show(about: Report) -> None:
    """Print the tables."""
    from rich.console import Console
    from rich.text import Text

    from experiments.tables import table

    console = Console()
    for line in _dynamic_notes(about):
        console.print(Text(line))
    if about["dynamic"]:
        headers = ["source", "NSR²", "cos predicted", "cos measured", "formula does not hold"]
        rows = [
            [line["source"], line["formula"], f"{line['predicted']:.4f}", f"{line['measured']:.4f}", line["outside"]]
            for line in about["dynamic"]
        ]
        console.print(
            table(f"dynamic errors, {about['rule']} on {about['data']}: alignment left", headers, rows, left=2)
        )
        worst = min((d for d in about["dynamic"] if d["source"] != "all together"), key=lambda line: line["measured"])
        console.print(Text(f"largest loss: {worst['source']}"))
    if about["drift"]:
        rows = [
            [duration(d["seconds"]), d["formula"], f"{d['gain']:.4f}", _cosine(d["predicted"]), _cosine(d["measured"])]
            for d in about["drift"]
        ]
        headers = ["age of B", "NSR²", "gain left", "cos predicted", "cos measured"]
        console.print(table("drift: B changes between two uses; a gain turns nothing", headers, rows, left=2))
    if about["static"]:
        rows = [
            [
                s["source"], _cosine(s["cosine"]), f"{s['gain']:.4f}", _cosine(s["lowest_row"]), str(s["rank"]),
                f"{s['spread']:.2f}",
            ]
            for s in about["static"]
        ]  # fmt: skip
        headers = ["source", "cos(B, wanted)", "gain", "lowest row", "rank", "stable rank"]
        console.print(table("static errors: another B, which learning absorbs (no alignment lost)", headers, rows))
    sources = list(dict.fromkeys(c["source"] for c in about["costs"] if c["source"] != OWN))
    rows = [
        [c["part"], c["what"], amount(c), c["formula"], f"{c['sure']} {_mark(c, sources)}".rstrip()]
        for c in about["costs"]
    ]
    headers = ["part", "quantity", "one update", "formula", "how sure"]
    console.print(table(f"costs of one update, weights on {about['device']}", headers, rows, left=5))
    for source in sources:
        console.print(Text(f"[{sources.index(source) + 1}] {source}", style="dim"))
    console.print(Text("not modelled:"))
    for line in about["not_modelled"]:
        console.print(Text(f"  {line}"))


def _mark(cost: Report, sources: list[str]) -> str:
    """Number of the cost's source; none for what this network says of itself."""
    return f"[{sources.index(cost['source']) + 1}]" if cost["source"] in sources else ""


def _dynamic_notes(about: Report) -> list[str]:
    if about["hardware"] is None:
        if about["path"] == "chained":
            return [f"{about['rule']} sends errors from layer to layer: errors of return weights are not modelled"]
        return [f"the feedback of {about['rule']} is exact arithmetic, or none: it has no errors of hardware"]
    if about["dynamic"] is None:
        return ["dynamic errors: the noise of this projection is not modelled in closed form"]
    return [] if about["dynamic"] else ["dynamic errors: none, the teaching signal keeps its direction"]


def _cosine(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def duration(seconds: float) -> str:
    """A time in the largest unit of which it holds one.

    >>> duration(86400), duration(90), duration(0.5)
    ('1 d', '1.5 min', '0.5 s')
    """
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"), (1e-15, "f"))


def quantity(value: float, unit: str) -> str:
    """A number with its unit and prefix; counts without a unit get none.

    >>> quantity(2.5e-9, "J"), quantity(1234567, ""), quantity(0.5, "")
    ('2.5 nJ', '1.23e+06', '0.5')
    """
    if unit not in ("J", "s") or not value:
        return f"{value:.3g} {unit}".rstrip()
    size, prefix = next((p for p in PREFIXES if abs(value) >= p[0]), PREFIXES[-1])
    return f"{value / size:.3g} {prefix}{unit}"


def amount(cost: Report) -> str:
    """One number, or the bounds that are known."""
    low, high, unit = cost["low"], cost["high"], cost["unit"]
    if low is None or high is None:
        return f"up to {quantity(high, unit)}" if low is None else f"{quantity(low, unit)} or more"
    return quantity(low, unit) if low == high else f"{quantity(low, unit)} to {quantity(high, unit)}"
