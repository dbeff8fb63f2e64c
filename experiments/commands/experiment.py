"""The command ``neurofa experiment``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments.commands.sweep import Spreading

if TYPE_CHECKING:
    from rich.console import Console

HELP = """Answer a question with runs: print the table and the checks, and leave result.json and pictures in OUT.

The same command goes on where an interrupted experiment was. 'neurofa list experiment' shows what there is; options
of an experiment are written in its spec.

Examples:

  neurofa experiment fixed_feedback --part mnist

  neurofa experiment "fixed_feedback(digits=digits, epochs=3)" --part mnist bits --seeds 2

  neurofa experiment fixed_feedback --full --compute cuda --out runs/full
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("experiment", cls=Spreading, help=HELP)(experiment)


def experiment(
    name: Annotated[str, typer.Argument(help="Name or spec of the experiment.")],
    part: Annotated[list[str] | None, typer.Option(help="Only these parts; default: all.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Large sizes, instead of those that take minutes.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder; default: runs/experiments/<spec>[-full].")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs that count, for each method.")] = 3,
    workers: Annotated[int, typer.Option(min=0, help="Worker processes; 0: none but this one.")] = 2,
    threads: Annotated[int, typer.Option(min=1, help="Threads in each worker.")] = 1,
    compute: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print result.json, and nothing else, on stdout.")] = False,
) -> None:
    """Do the experiment and show it."""
    from rich.console import Console

    from experiments.runs.spec import canonical
    from experiments.sweeps.experiment import Experiment, conduct
    from experiments.sweeps.study import Setup
    from experiments.sweeps.watch import run_bar
    from hwmodels.registry import build

    made: Experiment = build("experiment", name)
    folder = out if out is not None else Path("runs", "experiments", canonical(name) + ("-full" if full else ""))
    console = Console(stderr=True)
    if not as_json:
        console.print(f"{made.name}: {made.question}", markup=False)
    with run_bar() as bar:
        setup = Setup(
            folder=folder, seeds=seeds, workers=workers, threads=threads, compute=compute, full=full, watch=bar
        )
        result = conduct(made, setup, parts=part or [])
    if as_json:
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
    else:
        _show(result, Console(), folder)


def _show(result: Mapping[str, Any], console: Console, folder: Path) -> None:
    from experiments.tables import cell_text, percent_text, text_table

    shares = ("test_accuracy", "margin", "validation_accuracy")
    for part in result["parts"]:
        rows = [row for row in result["rows"] if row["part"] == part]
        columns = result["columns"].get(part)
        if columns:
            headers = [c.replace("_accuracy", " %").replace("_", " ") for c in columns]
            console.print(text_table(part, headers, [[_cell(row, c) for c in columns] for row in rows]))
            continue
        lines = [
            [row["method"], *[percent_text(row[m], row[f"{m}_std"]) for m in shares], str(row["epochs"]), str(row["n"])]
            for row in rows
        ]
        headers = ["method", "test %", "margin", "validation %", "epochs", "n"]
        console.print(text_table(f"{part}: mean ± standard deviation over seeds", headers, lines))
        lines = [[row["method"], _setting(row)] for row in rows]
        console.print(text_table(f"{part}: settings, by validation accuracy", ["method", "setting"], lines, left=2))
    if result["reference"]:
        lines = [[f["name"], f"{f['value']:g}", f"{f['source']} ({f['certainty']})"] for f in result["reference"]]
        console.print(text_table("figures of others", ["figure", "value", "source"], lines, left=3))
    lines = [
        [check["name"], cell_text(check["value"]), check["target"], "yes" if check["holds"] else "NO"]
        for check in result["checks"]
    ]
    console.print(text_table("checks", ["what", "value", "target", "holds"], lines))
    for name in [*result["pictures"], "result.json"]:
        console.print(str(folder / name), markup=False, soft_wrap=True)


def _cell(row: Mapping[str, Any], column: str) -> str:
    """A value with its spread where there is one; accuracies and their differences as percentages."""
    from experiments.tables import cell_text, percent_text

    value, spread = row.get(column), row.get(f"{column}_std")
    if "accuracy" in column or column in ("margin", "behind"):
        return percent_text(value, spread)
    return cell_text(value) if value is None or spread is None else f"{cell_text(value)} ± {spread:.2g}"


def _setting(row: Mapping[str, Any]) -> str:
    parts = ("rule", "optimizer", "network", "device")
    return ", ".join(str(row[part]) for part in parts if part in row)
