"""``neurofa cost``: what does a step of a rule take, beside backpropagation's?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from neurofa.costs.flops import Cost

BASELINE = "bp"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("cost")(cost)


def cost(
    rule: Annotated[str, typer.Option(help="Learning rule.")] = "dfa",
    network: Annotated[str, typer.Option(help="Network.")] = "mlp",
    data: Annotated[str, typer.Option(help="Data whose shapes are taken.")] = "digits",
    batch_size: Annotated[int, typer.Option("--batch-size", "--batch", min=1, help="Samples in a step.")] = 32,
    optimizer: Annotated[str, typer.Option(help="Optimizer.")] = "sgd(lr=0.1)",
    layers: Annotated[bool, typer.Option("--layers", help="Also show every layer.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print an object on stdout, and nothing else there.")] = False,
) -> None:
    """Count the matrix products of a training step by phase, and the bytes that it holds, beside backpropagation.

    Nothing is run: layers, feedback and rule tell their products. What is done now and then (a noise pass, a
    decomposition, a calibrating step) counts in equal shares. Elementwise work, QR and SVD are not counted. A FLOP is
    one multiplication or one addition. Of a spiking network, a step is one tick of a batch.

    [bold]Examples[/bold]

      neurofa cost --rule dfa --network "mlp(hidden=[800, 800])" --data mnist

      neurofa cost --rule "ldfa_normative(rank=32)" --network "vit(width=384, depth=8, heads=8)" --data cifar10

      neurofa cost --rule grape2026 --network cnn --data cifar10 --optimizer adam --json
    """
    from experiments.runs.run import load_data
    from hwmodels.registry import build
    from neurofa.costs.flops import cost as count
    from neurofa.training.learner import Learner

    dataset = load_data(data)

    def counted(spec: str) -> Cost:
        made = build("network", network, input_shape=dataset.input_shape, outputs=dataset.classes)
        learner = Learner(made, spec, optimizer=build("optimizer", optimizer)(made.parameters()))
        return count(learner, batch_size=batch_size)

    ours, bp = counted(rule), counted(BASELINE)
    about = {
        "rule": rule, "network": network, "data": data, "batch_size": batch_size, "optimizer": optimizer,
        **_described(ours), "baseline": {"rule": BASELINE, **_described(bp)}, "ratio": ours.flop / bp.flop,
        "layers": {name or "all together": _phases(items) for name, items in ours.items.items()},
    }  # fmt: skip
    if json:
        import json as encoder

        typer.echo(encoder.dumps(about, indent=2))
    else:
        _print(about, layers=layers)


def _described(cost: Cost) -> dict[str, Any]:
    return {
        "flop": {**cost.by_phase(), "total": cost.flop},
        "bytes": {**cost.memory, "total": sum(cost.memory.values())},
    }


def _phases(items: Any) -> dict[str, float]:
    found: dict[str, float] = {}
    for item in items:
        found[item.phase] = found.get(item.phase, 0.0) + (item.flop / item.every if item.every else 0.0)
    return found


def _print(about: dict[str, Any], *, layers: bool) -> None:
    from rich.console import Console

    from experiments.tables import text_table

    console = Console()
    title = f"{about['rule']} on {about['network']}, {about['data']}, batch {about['batch_size']}"
    for what, unit, scale in (("flop", "MFLOP a step", 1e6), ("bytes", "MiB", 2**20)):
        bp = about["baseline"][what]
        rows = [
            [key, f"{value / scale:.3f}", f"{bp[key] / scale:.3f}", f"{value / bp[key]:.3f}" if bp[key] else "-"]
            for key, value in about[what].items()
        ]
        headers = ["phase" if what == "flop" else "held", unit, BASELINE, f"ratio to {BASELINE}"]
        console.print(text_table(title if what == "flop" else about["optimizer"], headers, rows))
    if layers:
        phases = [phase for phase in about["flop"] if phase != "total"]
        rows = [[name, *(f"{told.get(p, 0) / 1e6:.3f}" for p in phases)] for name, told in about["layers"].items()]
        console.print(text_table("MFLOP a step, by layer", ["layer", *phases], rows))
