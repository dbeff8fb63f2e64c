"""``neurofa budget``: what do the errors of the feedback hardware cost, and what does an update cost?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

AFTER = [1.0, 3600.0, 86400.0]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("budget")(budget)


def budget(
    rule: Annotated[str | None, typer.Option(help="Rule. Default: dfa(feedback=microring), or that of --run.")] = None,
    data: Annotated[str | None, typer.Option(help="Data whose errors are projected. Default: digits.")] = None,
    network: Annotated[str | None, typer.Option(help="Network, as it begins. Default: mlp.")] = None,
    device: Annotated[str | None, typer.Option(help="Device that stores the weights. Default: digital.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="For the writes of an update. Default: sgd(lr=0.1).")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Samples in an update. Default: 32.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of network, feedback and measured noise. Default: 0.")] = None,
    run: Annotated[
        Path | None, typer.Option(help="Finished run, which says all of these; only --rule may differ.")
    ] = None,
    profile: Annotated[str | None, typer.Option(help="Digital chip, for the energy of an operation.")] = None,
    after: Annotated[list[float], typer.Option(min=0, help="Age of B in seconds, for its drift; repeat it.")] = AFTER,
    samples: Annotated[int, typer.Option(min=1, help="Training samples whose errors are taken.")] = 256,
    json: Annotated[bool, typer.Option("--json", help="Print an object on stdout, and nothing else there.")] = False,
) -> None:
    """Predict how much of the teaching signal's direction the hardware leaves, measure it, and count what it costs.

    [bold]Dynamic[/bold] errors are others at every use: cos = 1/sqrt(1 + NSR²), from the constants of the hardware and
    the errors of the network alone. A line says where the formula does not hold.

    [bold]Drift[/bold] moves B between two uses: a gain, which turns nothing, and a change of direction.

    [bold]Static[/bold] errors (programming, faults, crosstalk, settable phases) only make another B, which learning
    absorbs: they cost no alignment.

    [bold]Costs[/bold] are counts of this network times published figures, each with its source and how sure it is; what
    no figure is known for is listed as not modelled.

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

    given = {
        "data": data, "network": network, "device": device, "optimizer": optimizer, "batch_size": batch_size,
        "seed": seed,
    }  # fmt: skip
    chosen = {key: value for key, value in given.items() if value is not None}
    if run is None:
        folder, spec = None, RunSpec(rule=rule or "dfa(feedback=microring)", **chosen)  # type: ignore[arg-type]
    elif chosen:
        flag = next(iter(chosen)).replace("_", "-")
        raise NeurofaError(f"got --{flag} beside --run; expected what the run has; leave out --{flag} or --run")
    else:
        folder = RunFolder(run)
        spec = folder.spec() if rule is None else replace(folder.spec(), rule=rule)
    about = budget_report(spec, None if folder is None else folder.model, samples=samples, after=after, profile=profile)
    if json:
        import json as encoder

        typer.echo(encoder.dumps(about, indent=2))
    else:
        print_budget(about)
