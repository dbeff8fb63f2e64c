"""``neurofa cost``: FLOP and memory of a rule's training step beside backpropagation's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments.commands._options import AsJson, ChosenFields, with_run_options
from experiments.commands._output import print_json, print_table

if TYPE_CHECKING:
    from neurofa.costs.flops import StepFlops

BASELINE = "bp"
FIELDS = ("data", "network", "rule", "batch_size", "optimizer")


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command("cost")(with_run_options(cost_command, only=FIELDS))


def cost_command(
    chosen: ChosenFields,
    layers: Annotated[bool, typer.Option("--layers", help="Also show every layer.")] = False,
    as_json: AsJson = False,
) -> None:
    """Count the matrix products of a training step by phase, and the bytes that it holds, beside backpropagation.

    Nothing is computed: layers, feedback and rule state their products. What is
    done only at some steps (a noise pass, a decomposition, a calibrating step)
    counts in equal shares. Elementwise work, QR and SVD are not counted. A FLOP
    is one multiplication or one addition. Of a spiking network, a step is one
    tick of a batch.

    [bold]Examples[/bold]

      neurofa cost --rule dfa --network "mlp(hidden=[800, 800])" --data mnist

      neurofa cost --rule "ldfa_normative(rank=32)" --network "vit(width=384, depth=8, heads=8)" --data cifar10

      neurofa cost --rule grape2026 --network cnn --data cifar10 --optimizer adam --json
    """
    from dataclasses import replace

    from experiments.runs.build import build_learner, build_network, load_data
    from experiments.runs.spec import RunSpec
    from neurofa.costs.flops import step_flops
    from neurofa.costs.memory import step_memory

    spec = RunSpec(**chosen)
    dataset = load_data(spec.data)

    def step_cost(run: RunSpec) -> tuple[StepFlops, dict[str, int]]:
        learner = build_learner(build_network(run, dataset), run)
        return step_flops(learner, batch_size=run.batch_size), step_memory(learner, run.batch_size)

    ours, baseline = step_cost(spec), step_cost(replace(spec, rule=BASELINE))
    about = {
        **{name: getattr(spec, name) for name in FIELDS},
        **_totals(*ours),
        "baseline": {"rule": BASELINE, **_totals(*baseline)},
        "ratio": ours[0].total / baseline[0].total,
        "layers": {name or "all together": _flop_by_phase(items) for name, items in ours[0].items.items()},
    }
    if as_json:
        print_json(about)
    else:
        _show(about, layers=layers)


def _totals(flops: StepFlops, memory: dict[str, int]) -> dict[str, Any]:
    """Return FLOP by phase and bytes by what holds them, each with the total."""
    flop = {**flops.by_phase(), "total": flops.total}
    return {"flop": flop, "bytes": {**memory, "total": sum(memory.values())}}


def _flop_by_phase(items: Iterable[Any]) -> dict[str, float]:
    flop: dict[str, float] = {}
    for item in items:
        flop[item.phase] = flop.get(item.phase, 0.0) + (item.flop / item.every if item.every else 0.0)
    return flop


def _show(about: dict[str, Any], *, layers: bool) -> None:
    title = f"{about['rule']} on {about['network']}, {about['data']}, batch {about['batch_size']}"
    for what, unit, scale in (("flop", "MFLOP a step", 1e6), ("bytes", "MiB", 2**20)):
        baseline = about["baseline"][what]
        rows = []
        for key, value in about[what].items():
            ratio = f"{value / baseline[key]:.3f}" if baseline[key] else "-"
            rows.append([key, f"{value / scale:.3f}", f"{baseline[key] / scale:.3f}", ratio])
        headers = ["phase" if what == "flop" else "held", unit, BASELINE, f"ratio to {BASELINE}"]
        print_table(title if what == "flop" else about["optimizer"], headers, rows)
    if layers:
        phases = [phase for phase in about["flop"] if phase != "total"]
        rows = [[name, *(f"{flop.get(p, 0) / 1e6:.3f}" for p in phases)] for name, flop in about["layers"].items()]
        print_table("MFLOP a step, by layer", ["layer", *phases], rows)
