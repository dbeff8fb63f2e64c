"""``neurofa sweep`` and ``neurofa results``: many runs in one folder, and their table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments.commands._options import (
    AsJson,
    ChosenFields,
    CsvFile,
    ListCommand,
    Workers,
    WorkerThreads,
    with_run_options,
)
from experiments.commands._output import print_json, recommended_lines
from hwmodels.errors import NeurofaError

if TYPE_CHECKING:
    from experiments.sweeps.rows import SweepRow


def register(app: typer.Typer) -> None:
    """Add both commands to the application."""
    axes = with_run_options(sweep_command, without=("seed",), lists=True)
    app.command("sweep", cls=ListCommand)(axes)
    app.command("results")(results_command)


def sweep_command(
    out: Annotated[Path, typer.Option(help="Folder of the rows.")],
    chosen: ChosenFields,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0 to SEEDS-1 of each combination.")] = 1,
    workers: Workers = 2,
    threads: WorkerThreads = 1,
    csv: CsvFile = None,
    as_json: AsJson = False,
) -> None:
    """Train every combination of rules, networks, devices, data and options, on several seeds.

    Every option of a run is an axis: give several values behind one flag, or
    the flag several times. Each run is one row in OUT/rows, named by the hash
    of its spec. The same command continues after an interruption: finished
    runs are kept, failed ones are tried again; the exit code is 1 while a run has
    failed. Several sweeps may share OUT; 'neurofa results OUT' shows them all.
    Without --optimizer every rule has the one that it recommends for the network.

    [bold]Examples[/bold]

      neurofa sweep --rule bp dfa --seeds 3 --out sweeps/first

      neurofa sweep --rule dfa --device digital "fixed(bits=4)" "fixed(bits=6)" \
--optimizer "sgd(lr=0.05)" "sgd(lr=0.1)" --out sweeps/bits --csv bits.csv
    """
    from experiments.sweeps.progress import sweep_bar
    from experiments.sweeps.setup import Setup
    from experiments.sweeps.sweep import run_sweep, spec_grid

    _require_network(chosen)
    specs = spec_grid({**chosen, "seed": range(seeds)})
    for line in recommended_lines(specs, chosen):
        typer.echo(line, err=True)
    with sweep_bar() as bar:
        rows = run_sweep(specs, Setup(folder=out, workers=workers, threads=threads, progress=bar))
    _show(rows, f"sweep in {out}", csv, as_json=as_json)
    if not all(row.done for row in rows):
        raise typer.Exit(1)


def _require_network(chosen: Mapping[str, Any]) -> None:
    """Refuse sequences without a network: the default has no memory, and would take every tick for a sample.

    Raises:
        NeurofaError: naming the data set.
    """
    from experiments.runs.default_network import SPIKING, makes_sequences

    values = chosen.get("data", [])
    for data in [] if "network" in chosen else values if isinstance(values, list | tuple) else [values]:
        if makes_sequences(str(data)):
            raise NeurofaError(
                f"got data '{data}', which are sequences, without a network; expected one that spikes; add --network"
                f" {SPIKING}, and sweep data without time separately"
            )


def results_command(
    folder: Annotated[Path, typer.Argument(help="Folder of a sweep.")], csv: CsvFile = None, as_json: AsJson = False
) -> None:
    """Show the rows of a sweep's folder: mean and standard deviation over seeds.

    [bold]Examples[/bold]

      neurofa results sweeps/first

      neurofa results sweeps/first --json
    """
    from experiments.sweeps.rows import load_rows

    if not (folder / "rows").is_dir():
        raise NeurofaError(
            f"got '{folder}' without a folder 'rows'; expected the folder of a sweep; make one with neurofa sweep --out"
        )
    _show(list(load_rows(folder).values()), f"all runs in {folder}", csv, as_json=as_json)


def _show(rows: Sequence[SweepRow], title: str, csv: Path | None, *, as_json: bool) -> None:
    from rich.console import Console

    from experiments import tables
    from experiments.files import write_text

    records = [row.flat() for row in rows]
    if csv is not None:
        write_text(csv, tables.csv_text(records))
    if as_json:
        print_json(records)
    else:
        columns = list(dict.fromkeys(column for row in rows for column in row.settings))
        Console().print(tables.summary_table(title, records, columns))
    errors = Console(stderr=True, soft_wrap=True)
    failed = [row for row in rows if row.error]
    for row in failed:
        errors.print(f"failed: {row.spec.get('rule')}, seed {row.spec.get('seed')}: {row.error}", markup=False)
    if failed:
        errors.print("the same command tries failed runs again")
