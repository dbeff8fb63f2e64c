"""The commands ``neurofa sweep`` and ``neurofa results``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from hwmodels.errors import NeurofaError

if TYPE_CHECKING:
    from experiments.sweeps.sweep import Row

SWEEP_HELP = """Train every combination of rules, networks, devices, data and options, on several seeds.

Every list is an axis: give several values behind one flag, or the flag several times. Each run is one row in
OUT/rows, keyed by the hash of its spec. The same command goes on where an interrupted sweep was: finished runs are
kept, failed ones are tried again; the exit code is 1 while a run has failed. Several sweeps may share OUT: 'neurofa
results OUT' shows all of them.

Examples:

  neurofa sweep --rule bp dfa --seeds 3 --out sweeps/first

  neurofa sweep --rule dfa --device digital "fixed(bits=4)" "fixed(bits=6)" --optimizer "sgd(lr=0.05)" "sgd(lr=0.1)" \
--out sweeps/bits --csv bits.csv
"""

RESULTS_HELP = """Show the rows of a sweep's folder: mean and standard deviation over seeds.

Examples:

  neurofa results sweeps/first

  neurofa results sweeps/first --json
"""


class Spreading(TyperCommand):
    """A command whose list options take several values behind one flag: ``--rule bp dfa``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the flag before every value, as the parser expects it."""
        lists = [flag for p in self.params if isinstance(p, TyperOption) and p.multiple for flag in p.opts]
        return super().parse_args(ctx, spread(args, lists))


def spread(args: Sequence[str], lists: Sequence[str]) -> list[str]:
    """Write ``--rule bp dfa`` as ``--rule bp --rule dfa``.

    Args:
        args: words of a command line.
        lists: flags that take several values.

    >>> spread(["--rule", "bp", "dfa", "--seeds", "3"], ["--rule"])
    ['--rule', 'bp', '--rule', 'dfa', '--seeds', '3']
    """
    words: list[str] = []
    flag, values = "", 0
    for word in args:
        if word.startswith("-"):
            name, given, _ = word.partition("=")
            flag, values = (name if name in lists else ""), len(given)
        elif flag:
            if values:
                words.append(flag)
            values += 1
        words.append(word)
    return words


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("sweep", cls=Spreading, help=SWEEP_HELP)(sweep)
    app.command("results", help=RESULTS_HELP)(results)


def sweep(
    out: Annotated[Path, typer.Option(help="Folder of the rows.")],
    rule: Annotated[list[str] | None, typer.Option(help="Learning rules.")] = None,
    network: Annotated[list[str] | None, typer.Option(help="Networks.")] = None,
    device: Annotated[list[str] | None, typer.Option(help="Devices on which the weights live.")] = None,
    periphery: Annotated[list[str] | None, typer.Option(help="Converters and noise around the weights.")] = None,
    data: Annotated[list[str] | None, typer.Option(help="Data sets.")] = None,
    optimizer: Annotated[list[str] | None, typer.Option(help="Optimizers.")] = None,
    schedule: Annotated[list[str] | None, typer.Option(help="Schedules of the learning rate.")] = None,
    loss: Annotated[list[str] | None, typer.Option(help="Losses.")] = None,
    batch_size: Annotated[list[int] | None, typer.Option(min=1, help="Batch sizes.")] = None,
    epochs: Annotated[list[int] | None, typer.Option(min=1, help="Numbers of epochs.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0 to SEEDS-1 for each combination.")] = 1,
    accumulate: Annotated[list[int] | None, typer.Option(min=1, help="Batches averaged into an update.")] = None,
    clip: Annotated[list[float] | None, typer.Option(help="Largest norms of an update's direction.")] = None,
    select: Annotated[str | None, typer.Option(help="Epoch to report: last (default), or best by validation.")] = None,
    compute: Annotated[str | None, typer.Option(help="Where to compute: cpu (default), cuda or auto.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Worker processes; 0: none but this one.")] = 2,
    threads: Annotated[int, typer.Option(min=1, help="Threads in each worker.")] = 1,
    csv: Annotated[Path | None, typer.Option(help="Also write the rows to this CSV file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print only the rows as JSON on stdout.")] = False,
) -> None:
    """Do the runs and show them."""
    from experiments.sweeps.sweep import grid
    from experiments.sweeps.sweep import sweep as do
    from experiments.sweeps.watch import run_bar

    axes: dict[str, Sequence[object] | str | None] = {
        "rule": rule, "network": network, "device": device, "periphery": periphery, "data": data,
        "optimizer": optimizer, "schedule": schedule, "loss": loss, "batch_size": batch_size, "epochs": epochs,
        "accumulate": accumulate, "clip": clip,
        "select": select and [select], "compute": compute and [compute], "seed": range(seeds),
    }  # fmt: skip
    specs = grid({name: values for name, values in axes.items() if values})
    with run_bar() as bar:
        rows = do(specs, out, workers=workers, threads=threads, watch=bar)
    _show(rows, f"sweep in {out}", csv, as_json)
    if not all(row.done for row in rows):
        raise typer.Exit(1)


def results(
    folder: Annotated[Path, typer.Argument(help="Folder of a sweep.")],
    csv: Annotated[Path | None, typer.Option(help="Also write the rows to this CSV file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print only the rows as JSON on stdout.")] = False,
) -> None:
    """Show the rows of a folder."""
    from experiments.sweeps.sweep import load_rows

    if not (folder / "rows").is_dir():
        raise NeurofaError(
            f"got '{folder}' without a folder 'rows'; expected the folder of a sweep; make one with neurofa sweep --out"
        )
    _show(list(load_rows(folder).values()), f"all runs in {folder}", csv, as_json)


def _show(rows: Sequence[Row], title: str, csv: Path | None, as_json: bool) -> None:
    from rich.console import Console

    from experiments import tables
    from experiments.files import write_text

    records = [row.flat() for row in rows]
    if csv is not None:
        write_text(csv, tables.csv_text(records))
    if as_json:
        sys.stdout.write(json.dumps(records, indent=1) + "\n")
    else:
        columns = list(dict.fromkeys(column for row in rows for column in row.settings))
        Console().print(tables.summary_table(title, records, columns))
    told = Console(stderr=True, soft_wrap=True)
    for row in rows:
        if row.error:
            told.print(f"failed: {row.spec.get('rule')}, seed {row.spec.get('seed')}: {row.error}", markup=False)
    if any(row.error for row in rows):
        told.print("the same command tries failed runs again")
