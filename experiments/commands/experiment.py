"""``neurofa experiment``: a question, answered with runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.commands._options import AsJson, ChosenFields, ListCommand, Workers, WorkerThreads, with_run_options
from experiments.commands._output import print_json, print_table


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command("experiment", cls=ListCommand)(with_run_options(experiment_command, only=("compute",)))


def experiment_command(
    name: Annotated[str, typer.Argument(help="Name or spec of the experiment.")],
    chosen: ChosenFields,
    part: Annotated[list[str] | None, typer.Option(help="Only these parts. Default: all.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Large sizes, instead of those that take minutes.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder. Default: runs/experiments/SPEC[-full].")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each method that count.")] = 3,
    workers: Workers = 2,
    threads: WorkerThreads = 1,
    as_json: AsJson = False,
) -> None:
    """Answer a question with runs: print the table and the checks, and leave result.json and pictures in OUT.

    The same command continues after an interruption. 'neurofa list experiment'
    shows what there is; options of an experiment are written in its spec.

    [bold]Examples[/bold]

      neurofa experiment fixed_feedback --part mnist

      neurofa experiment "fixed_feedback(digits=digits, epochs=3)" --part mnist bits --seeds 2

      neurofa experiment fixed_feedback --full --compute cuda --out runs/full
    """
    from experiments.runs.spec import canonical
    from experiments.sweeps.experiment import Experiment, conduct
    from experiments.sweeps.progress import sweep_bar
    from experiments.sweeps.setup import Setup
    from hwmodels.registry import build

    experiment: Experiment = build("experiment", name)
    folder = out if out is not None else Path("runs", "experiments", canonical(name) + ("-full" if full else ""))
    if not as_json:
        typer.echo(f"{experiment.name}: {experiment.question}", err=True)
    with sweep_bar() as bar:
        size: dict[str, Any] = {"seeds": seeds, "workers": workers, "threads": threads, "full": full, **chosen}
        result = conduct(experiment, Setup(folder=folder, progress=bar, **size), parts=part or [])
    if as_json:
        print_json(result)
    else:
        _show(result, folder)


def _show(result: Mapping[str, Any], folder: Path) -> None:
    from experiments.tables import cell_text

    for part in result["parts"]:
        rows = [row for row in result["rows"] if row["part"] == part]
        columns = result["columns"].get(part)
        if columns:
            headers = [c.replace("_accuracy", " %").replace("_", " ") for c in columns]
            print_table(part, headers, [[_cell(row, c) for c in columns] for row in rows])
            continue
        shares = ("test_accuracy", "margin", "validation_accuracy")
        lines = [
            [row["method"], *(_cell(row, share) for share in shares), str(row["epochs"]), str(row["n"])] for row in rows
        ]
        headers = ["method", "test %", "margin", "validation %", "epochs", "n"]
        print_table(f"{part}: mean ± standard deviation over seeds", headers, lines)
        lines = [[row["method"], _setting(row)] for row in rows]
        print_table(f"{part}: settings, by validation accuracy", ["method", "setting"], lines, left=2)
    if result["reference"]:
        lines = [[f["name"], f"{f['value']:g}", f"{f['source']} ({f['certainty']})"] for f in result["reference"]]
        print_table("figures of others", ["figure", "value", "source"], lines, left=3)
    lines = [[c["name"], cell_text(c["value"]), c["target"], "yes" if c["holds"] else "NO"] for c in result["checks"]]
    print_table("checks", ["what", "value", "target", "holds"], lines)
    if result.get("differs"):
        typer.echo(f"full size and source: {result['differs']}")
    for name in [*result["pictures"], "result.json"]:
        typer.echo(folder / name)


def _cell(row: Mapping[str, Any], column: str) -> str:
    """Return a value with its spread where there is one; accuracies and their differences as percentages."""
    from experiments.tables import cell_text, percent_text

    value, spread = row.get(column), row.get(f"{column}_std")
    if "accuracy" in column or column in ("margin", "behind"):
        return percent_text(value, spread)
    return cell_text(value) if value is None or spread is None else f"{cell_text(value)} ± {spread:.2g}"


def _setting(row: Mapping[str, Any]) -> str:
    return ", ".join(str(row[part]) for part in ("rule", "optimizer", "network", "device") if part in row)
