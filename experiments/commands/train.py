"""``neurofa train``: one run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from experiments.runs.run import Result, RunSpec


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(train)


def train(
    data: Annotated[str | None, typer.Option(help="Data set. Default: digits.")] = None,
    network: Annotated[str | None, typer.Option(help="Network. Default: mlp.")] = None,
    rule: Annotated[str | None, typer.Option(help="Learning rule. Default: dfa.")] = None,
    device: Annotated[str | None, typer.Option(help="Device that stores the weights. Default: digital.")] = None,
    periphery: Annotated[str | None, typer.Option(help="Converters and noise around weights. Default: exact.")] = None,
    profile: Annotated[str | None, typer.Option(help="Chip that chooses what is not given. Default: none.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training data. Default: 10.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples in a step. Default: 32.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="Optimizer. Default: sgd(lr=0.1).")] = None,
    schedule: Annotated[str | None, typer.Option(help="Course of the learning rate. Default: constant.")] = None,
    loss: Annotated[str | None, typer.Option(help="cross_entropy (default), or mse for regression.")] = None,
    accumulate: Annotated[int | None, typer.Option(help="Batches averaged into an update. Default: 1.")] = None,
    clip: Annotated[float | None, typer.Option(help="Largest norm of an update's direction. Default: none.")] = None,
    fused: Annotated[
        bool | None,
        typer.Option("--fused", help="Compile device writes and analog products (needs a C++ compiler). Default: no."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random. Default: 0.")] = None,
    select: Annotated[str | None, typer.Option(help="Epoch to report: last (default), or best by validation.")] = None,
    feedback_seed: Annotated[int | None, typer.Option(help="Seed of the feedback alone. Default: the seed.")] = None,
    chunk: Annotated[int | None, typer.Option(help="Ticks of a sequence at once (memory). Default: 100.")] = None,
    update: Annotated[
        str | None, typer.Option(help="When a sequence changes weights: end (default), chunk or tick.")
    ] = None,
    log: Annotated[
        str | None, typer.Option(help="Measured beside: none (default), alignment, features or all.")
    ] = None,
    compute: Annotated[str | None, typer.Option(help="Where to compute: cpu (default), cuda or auto.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads. Default: torch's choice.")] = None,
    control: Annotated[
        bool | None, typer.Option("--control/--no-control", help="Also train the readout-only control. Default: yes.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder. Default: runs/DATA-NETWORK-RULE-SEED-HASH.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the folder, from its last finished epoch.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin anew in a folder that holds a run.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print result.json on stdout, and nothing else there.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no table.")] = False,
) -> None:
    """Train a network by a learning rule, beside a control in which only the readout learns.

    [bold]Examples[/bold]

      neurofa train

      neurofa train --rule bp --seed 1

      neurofa train --data mnist --network "mlp(hidden=[800, 800])"

      neurofa train --device "fixed(bits=4, rounding=stochastic)"

      neurofa train --rule "dfa(error=ternary)" --schedule "cosine(warmup=1)"

      neurofa train --data encoded --network snn --rule eprop

      neurofa train --profile loihi1

      neurofa train --log all

      neurofa train --resume --out runs/my-run

    [bold]The folder[/bold] holds run.json (the run, versions, machine),
    metrics.jsonl (a row an epoch), result.json, model.safetensors, curves.png,
    control/ and the checkpoint for --resume. A folder that holds a run is
    refused without --resume or --overwrite; only a finished run in the default
    folder, whose name stands for exactly this run, is begun anew.

    [bold]The numbers[/bold] are the same for the same command. Ctrl-C stops
    after the present step; --resume goes on from the last finished epoch as if
    nothing had happened, and takes what is not given from the folder. The test
    data are looked at once, at the end, and never choose anything.

    [bold]--log[/bold] measures without touching the run: alignment with
    backpropagation, norms and conditioning before the first step, at steps
    1, 2, 3, 4, 6, 8, 11, 16, ... and after every epoch; linear probes of every
    layer's features (features) before the first step and after every epoch.
    neurofa diagnose then says what they mean; metrics.jsonl holds the time
    that it took (log_seconds), which does not count as training.

    [bold]A profile[/bold] chooses device, converters, number format of the error,
    feedback, batch and learning rate, and where the chip asks for it rule and
    network, as far as they are not given. The run says all of it
    by itself. Limits that are broken all the same are told; see: neurofa check

    [bold]Parts[/bold] are specs that read like calls; see: neurofa list
    """
    given = {
        "data": data, "network": network, "rule": rule, "device": device, "periphery": periphery, "epochs": epochs,
        "batch_size": batch_size,
        "optimizer": optimizer, "schedule": schedule, "loss": loss, "accumulate": accumulate, "clip": clip,
        "fused": fused, "seed": seed, "feedback_seed": feedback_seed, "chunk": chunk, "update": update,
        "select": select, "log": log, "compute": compute,
    }  # fmt: skip
    chosen = {key: value for key, value in given.items() if value is not None}
    _train(
        chosen, profile=profile, threads=threads, control=control, out=out, resume=resume, overwrite=overwrite,
        json=json, quiet=quiet,
    )  # fmt: skip


def _train(
    chosen: dict[str, Any], *, profile: str | None, threads: int | None, control: bool | None, out: Path | None,
    resume: bool, overwrite: bool, json: bool, quiet: bool,
) -> None:  # fmt: skip
    import torch

    from experiments.files import read_json
    from experiments.runs.folder import RunFolder
    from experiments.runs.progress import Bar, Progress
    from experiments.runs.run import Interrupted, RunSpec, train_run
    from hwmodels.errors import NeurofaError

    if resume and overwrite:
        raise NeurofaError("got --resume and --overwrite; expected one of them; leave one out")
    if threads is not None:
        torch.set_num_threads(threads)
    if profile is not None:
        chosen = _on_chip(profile, chosen, quiet=quiet)
    by_default = out is None
    out = Path("runs") / RunSpec(**chosen).folder_name if out is None else out
    held = RunFolder(out)
    if resume and held.run.is_file():
        chosen = held.spec().to_json() | chosen
        control = read_json(held.run).get("control") if control is None else control
    spec = RunSpec(**chosen)
    overwrite = overwrite or (by_default and held.finished and not resume)
    if resume and held.finished and not json:
        typer.echo(f"{out} holds a finished run of {spec.epochs} epochs", err=True)
    try:
        with Progress() if quiet else Bar() as progress:
            result = train_run(
                spec, out, progress=progress, resume=resume, overwrite=overwrite, control=control is not False
            )
    except Interrupted:
        typer.echo(f"stopped; go on with: neurofa train --resume --out {_quoted(out)}", err=True)
        raise typer.Exit(130) from None
    if json:
        import json as encoder

        typer.echo(encoder.dumps(result.to_dict(), indent=2, allow_nan=False))
    elif not quiet:
        _show(result, spec, out)


def _on_chip(profile: str, chosen: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """What the chip chooses beside what was given; says which of its limits are broken all the same."""
    from experiments.reports.chips import build_profile, chip_fields, chip_findings
    from experiments.runs.run import RunSpec

    chip = build_profile(profile)
    chosen = chip_fields(chip, chosen)
    broken = [f for f in chip_findings(chip, RunSpec(**chosen)) if f.verdict == "broken"]
    for finding in broken if not quiet else ():
        said = f"{finding.title}: {finding.asked}, {chip.name} has {finding.chip}"
        typer.echo(f"limit broken: {said} (see: neurofa check)", err=True)
    return chosen


def _quoted(path: Path) -> str:
    import shlex

    return shlex.quote(str(path))


def _show(result: Result, spec: RunSpec, out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from experiments.runs.folder import RunFolder

    table = Table(title=f"{spec.network} on {spec.data}, weights on {spec.device}, {len(result.rows)} epochs")
    table.add_column("rule")
    for heading in ("test", "validation", "train", "seconds"):
        table.add_column(heading, justify="right")
    for run in (result, result.control):
        if run is not None and run.test_accuracy is not None:
            shares = (run.test_accuracy, run.row["validation_accuracy"], run.row["train_accuracy"])
            table.add_row(run.spec.rule, *map(_percent, shares), f"{run.seconds:.1f}")
        elif run is not None:
            losses = (run.test_loss, run.row["validation_loss"], run.row["train_loss"])
            table.add_row(run.spec.rule, *map(_number, losses), f"{run.seconds:.1f}")
    console = Console()
    console.print(table)
    if result.margin is not None:
        console.print(f"margin over the readout-only control: {100 * result.margin:+.2f} points")
    for name, count in result.row.get("pulses", {}).items():
        worn = f", {count['worn_out']:.1%} worn out" if count["worn_out"] else ""
        console.print(f"writes of {name}: {count['mean']:.4g} a device, at most {count['largest']:.4g}{worn}")
    if spec.log != "none":
        took = sum(row.get("log_seconds", 0.0) for row in result.rows)
        typer.echo(f"measuring took {took:.1f} s beside; what it means: neurofa diagnose {_quoted(out)}")
    typer.echo(f"picture: {RunFolder(out).curves}")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.5g}"
