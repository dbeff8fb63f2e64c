"""``neurofa speed``: how fast is this software?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.commands._options import AsJson
from experiments.commands._output import print_json
from hwmodels.errors import NeurofaError

if TYPE_CHECKING:
    from rich.table import Table

    from experiments.speed.suite import SpeedRow


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command("speed")(speed_command)


def speed_command(
    suite: Annotated[str, typer.Argument(help="Suite to measure, such as step; see: neurofa list speed.")],
    case: Annotated[list[str] | None, typer.Option(help="Cases of the suite; repeat it. Default: all.")] = None,
    seconds: Annotated[float, typer.Option(help="Seconds of measuring for each method of a case.")] = 3.0,
    threads: Annotated[int, typer.Option(help="CPU threads of torch.")] = 2,
    compute: Annotated[str, typer.Option(help="Where to compute: cpu or cuda.")] = "cpu",
    clock: Annotated[str, typer.Option(help="wall, or cpu: time of this process alone (take --threads 1).")] = "wall",
    memory: Annotated[bool, typer.Option(help="Also measure peaks of memory, one process for each method.")] = True,
    as_json: AsJson = False,
) -> None:
    """Measure speed against a baseline that runs beside it in the same process.

    Methods take turns (A B C A B C), garbage collection is off while they are
    timed, and the table shows medians with the interquartile range. 'ratio' is
    the baseline's time over the method's: above 1 is faster. 'of floor' is the
    time of the bare matrix products over the method's: 100 % is the bound.
    'peak' is the memory that the method needs, measured in a process of its
    own. Other work on the machine spoils the times: look at the load average,
    or take --clock cpu. A case that fails is named at the end, with exit code 1;
    the others are measured all the same.

    [bold]Examples[/bold]

      neurofa speed step --case mlp-1024

      neurofa speed step --threads 1 --seconds 10 --json > step.json

      neurofa speed rules --case mlp --threads 1 --clock cpu --no-memory
    """
    from rich.console import Console

    from experiments.runs.build import compute_device
    from experiments.speed.suite import measure_case, select_cases
    from hwmodels.registry import build

    if compute not in ("cpu", "cuda"):
        raise NeurofaError(f"got compute '{compute}'; expected cpu or cuda; choose one")
    device = compute_device(compute)
    cases = select_cases(build("speed", suite), case or [])
    rows: list[SpeedRow] = []
    failed: dict[str, NeurofaError] = {}
    console, progress = Console(), Console(stderr=True)
    try:
        for number, one in enumerate(cases, 1):
            try:
                with progress.status(f"{suite} {one.name} ({number} of {len(cases)}): {len(one.methods)} methods"):
                    measured = measure_case(
                        suite, one, device=device, threads=threads, seconds=seconds, memory=memory, clock=clock
                    )
            except NeurofaError as error:
                failed[one.name] = error
                continue
            if not as_json:
                if not rows:
                    machine = measured[0].machine
                    console.print(", ".join(f"{key} {value}" for key, value in machine.items()), highlight=False)
                console.print(case_table(measured))
            rows += measured
        if failed and not rows:
            raise next(iter(failed.values()))
    finally:
        # what is measured is never lost, to Ctrl-C neither
        if as_json and rows:
            print_json([row.flat() for row in rows])
    for name, reason in failed.items():
        typer.echo(f"failed: {suite} {name}: {reason}", err=True)
    if failed:
        raise typer.Exit(1)


def case_table(rows: Sequence[SpeedRow]) -> Table:
    """Return the table of one case: a line for each method; columns without a value are left out."""
    from experiments.tables import text_table

    first = rows[0]
    load = "" if first.load is None else f", load average {first.load:.1f}"
    columns = {
        f"median {first.clock} ms": [f"{1e3 * row.median_s:.3f}" for row in rows],
        "spread ms": [f"{1e3 * row.spread_s:.3f}" for row in rows],
        "ratio": [f"{row.ratio:.2f}" for row in rows],
        f"ratio to {first.beside}": [f"{row.beside_ratio:.2f}" if row.beside_ratio else "-" for row in rows],
        "of floor": [f"{100 * row.floor_fraction:.0f} %" if row.floor_fraction else "-" for row in rows],
        "peak MiB": ["-" if row.peak_bytes is None else f"{row.peak_bytes / 2**20:.1f}" for row in rows],
    }
    columns = {"method": [row.method for row in rows]} | {k: v for k, v in columns.items() if set(v) != {"-"}}
    title = f"{first.suite} {first.case} (baseline {first.baseline}{load})"
    return text_table(title, list(columns), list(zip(*columns.values(), strict=True)))
