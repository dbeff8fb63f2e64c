"""The command ``neurofa bench``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from hwmodels.errors import NeurofaError

if TYPE_CHECKING:
    import torch
    from rich.table import Table

    from experiments.speed.suite import SpeedRow

HELP = """Measure speed against a baseline that runs beside it in the same process.

Methods take turns (A B C A B C), garbage collection is off while they are timed, and the table shows medians with the
interquartile range. 'ratio' is the baseline's time over the method's: above 1 is faster. 'of floor' is the time of the
bare matrix products over the method's: 100 % cannot be beaten. 'peak' is the memory that the method needs, measured in
a process of its own. Other work on the machine spoils the times: look at the load average, or take --clock cpu.

Examples:

  neurofa bench step --case mlp-1024

  neurofa bench step --threads 1 --seconds 10 --json > step.json

  neurofa bench rules --case mlp --threads 1 --clock cpu --no-memory
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bench", help=HELP)(bench)


def bench(
    suite: Annotated[str, typer.Argument(help="What to measure; 'neurofa list speed' shows the suites.")],
    case: Annotated[list[str] | None, typer.Option(help="Cases of the suite, default all; may be repeated.")] = None,
    seconds: Annotated[float, typer.Option(help="Seconds of measuring for each method of a case.")] = 3.0,
    threads: Annotated[int, typer.Option(help="Threads of torch on the CPU.")] = 2,
    compute: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    clock: Annotated[str, typer.Option(help="wall, or cpu: time of this process alone (take --threads 1).")] = "wall",
    memory: Annotated[bool, typer.Option(help="Also measure peaks of memory, one process a method.")] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the rows as JSON, and nothing else, on stdout.")
    ] = False,
) -> None:
    """Measure and show."""
    from rich.console import Console

    from experiments.speed.suite import measure_case, select_cases
    from hwmodels.registry import build

    device = _device(compute)
    cases = select_cases(build("speed", suite), case or [])
    rows: list[SpeedRow] = []
    console, progress = Console(), Console(stderr=True)
    for number, one in enumerate(cases, 1):
        with progress.status(f"{suite} {one.name} ({number} of {len(cases)}): {len(one.methods)} methods"):
            found = measure_case(
                suite, one, device=device, threads=threads, seconds=seconds, memory=memory, clock=clock
            )
        rows += found
        if not as_json:
            if number == 1:
                console.print(_describe(found[0].machine), highlight=False)
            console.print(table(found))
    if as_json:
        sys.stdout.write(json.dumps([row.flat() for row in rows], indent=1) + "\n")


def _device(compute: str) -> torch.device:
    from experiments.runs.run import compute_device

    if compute not in ("cpu", "cuda"):
        raise NeurofaError(f"got compute '{compute}'; expected cpu or cuda; choose one")
    return compute_device(compute)


def _describe(machine: Mapping[str, object]) -> str:
    return ", ".join(f"{key} {value}" for key, value in machine.items())


def table(rows: Sequence[SpeedRow]) -> Table:
    """One case as a table for the terminal."""
    from experiments.tables import text_table

    load = "" if rows[0].load is None else f", load average {rows[0].load:.1f}"
    floors, peaks = (any(getattr(row, key) is not None for row in rows) for key in ("floor_fraction", "peak_bytes"))
    lines = [
        [
            row.method, f"{1e3 * row.median_s:.3f}", f"{1e3 * row.spread_s:.3f}", f"{row.ratio:.2f}",
            *([] if row.beside_ratio is None else [f"{row.beside_ratio:.2f}"]),
            *(["-" if row.floor_fraction is None else f"{100 * row.floor_fraction:.0f} %"] if floors else []),
            *(["-" if row.peak_bytes is None else f"{row.peak_bytes / 2**20:.1f}"] if peaks else []),
        ]
        for row in rows
    ]  # fmt: skip
    second = [f"ratio to {rows[0].beside}"] if rows[0].beside else []
    headers = ["method", f"median {rows[0].clock} ms", "spread ms", "ratio", *second]
    headers += ["of floor"] * floors + ["peak MiB"] * peaks
    return text_table(f"{rows[0].suite} {rows[0].case} (baseline {rows[0].baseline}{load})", headers, lines)
