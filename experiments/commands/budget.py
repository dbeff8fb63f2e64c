"""``neurofa budget``: what the errors of the feedback hardware do to the teaching signal, and what an update costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from experiments.commands._options import AsJson, ChosenFields, with_run_options
from experiments.commands._output import print_json, warn_of_folder

FIELDS = ("data", "network", "rule", "device", "batch_size", "optimizer", "seed")
RULE = "dfa(feedback=microring)"
AGES = [1.0, 3600.0, 86400.0]
"""Ages of the feedback matrix, s."""


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command("budget")(with_run_options(budget_command, only=FIELDS, defaults={"rule": f"{RULE}, or that of --run"}))


def budget_command(
    chosen: ChosenFields,
    run: Annotated[Path | None, typer.Option(help="Finished run that decides all of these but --rule.")] = None,
    profile: Annotated[str | None, typer.Option(help="Digital chip, for the energy of an operation.")] = None,
    after: Annotated[list[float], typer.Option(min=0, help="Age of B in seconds, for its drift; repeat it.")] = AGES,
    samples: Annotated[int, typer.Option(min=1, help="Training samples whose errors are projected.")] = 256,
    as_json: AsJson = False,
) -> None:
    """Predict how much of the teaching signal's direction the hardware leaves, measure it, and count what it costs.

    [bold]Dynamic[/bold] errors differ at every use: cos = 1/sqrt(1 + NSR²), from the
    constants of the hardware and the errors of the network alone. A line says
    where the formula does not hold.

    [bold]Drift[/bold] moves B between two uses: a gain, which leaves the direction,
    and a change of direction.

    [bold]Static[/bold] errors (programming, faults, crosstalk, settable phases) give
    another fixed B, to which learning aligns: they cost no alignment.

    [bold]Costs[/bold] are counts of this network times published figures, each with its
    source and how sure it is. What no figure is known for is listed as not
    modelled.

    [bold]Examples[/bold]

      neurofa budget

      neurofa budget --rule "dfa(feedback=crossbar(device=pcm, rows=4))" --network "mlp(hidden=[800, 800])"

      neurofa budget --rule "dfa(feedback=opu(detection=anchors, decorrelation=7200))" --after 60 --after 3600

      neurofa budget --rule dfa --device reram_es

      neurofa budget --run runs/my-run --json
    """
    from dataclasses import replace

    from experiments.reports.budget import budget_report
    from experiments.reports.budget_tables import print_budget
    from experiments.runs.folder import RunFolder
    from experiments.runs.spec import RunSpec
    from hwmodels.errors import NeurofaError

    others = [name for name in chosen if name != "rule"]
    if run is not None and others:
        flag = others[0].replace("_", "-")
        raise NeurofaError(f"got --{flag} beside --run; expected what the run has; leave out --{flag} or --run")
    folder = None if run is None else RunFolder(run)
    spec = RunSpec(rule=RULE) if folder is None else folder.spec()
    model = None if folder is None else folder.network()
    if folder is not None:
        warn_of_folder(folder)
    about = budget_report(replace(spec, **chosen), model, samples=samples, after=after, profile=profile)
    if as_json:
        print_json(about)
    else:
        print_budget(about)
