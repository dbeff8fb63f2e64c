"""``neurofa train``: one run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.commands._options import (
    AsJson,
    ChosenFields,
    Profile,
    Quiet,
    Threads,
    Weights,
    with_run_options,
    with_weights,
)
from experiments.commands._output import (
    print_json,
    print_table,
    profile_lines,
    recommended_lines,
    warn_of_broken_limits,
    warn_of_folder,
)

if TYPE_CHECKING:
    from experiments.runs.folder import RunFolder
    from experiments.runs.result import Result


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command("train")(with_run_options(train_command))


def train_command(
    chosen: ChosenFields,
    weights: Weights = None,
    profile: Profile = None,
    threads: Threads = None,
    control: Annotated[
        bool | None, typer.Option("--control/--no-control", help="Also train the readout-only control. Default: yes.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder. Default: runs/DATA-NETWORK-RULE-SEED-HASH.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in the folder after its last finished epoch.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin anew in a folder that holds a run.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train a network by a learning rule, beside a control in which only the readout learns.

    [bold]Examples[/bold]

      neurofa train

      neurofa train --rule bp --seed 1

      neurofa train --data mnist --network "mlp(hidden=[800, 800])"

      neurofa train --device "fixed(bits=4, rounding=stochastic)"

      neurofa train --rule "dfa(error=ternary)" --schedule "cosine(warmup=1)"

      neurofa train --data encoded --network snn --rule eprop

      neurofa train --data "folder(path=photos, size=32)" --network cnn

      neurofa train --profile loihi1

      neurofa train --log all

      neurofa train --resume --out runs/my-run

      neurofa train --network "module(path=model.py, name=make_model)" --data "module(path=data.py, name=make_data)"

    [bold]The folder[/bold] holds run.json (the run, versions, machine),
    metrics.jsonl (one row for each epoch), result.json, model.safetensors,
    curves.png, control/ and the checkpoint for --resume. A folder that holds a
    run is refused without --resume or --overwrite. Only a finished run in the
    default folder is begun anew, since its name identifies exactly this run.

    [bold]The numbers[/bold] are the same for the same command. Ctrl-C stops
    after the present step; --resume continues after the last finished epoch with
    the same numbers as an uninterrupted run, and takes options that are not
    given from the folder. The test data are evaluated once, at the end, and
    never choose anything.

    [bold]Without training[/bold] (--epochs 0) the folder holds the network as it is
    built, such as that of a NIR file.

    [bold]The optimizer[/bold], where none is given, is the one that the rule
    recommends for this kind of network (neurofa list rule); run.json holds it.
    The control has its own, unless an optimizer is given: then both have that.
    [bold]--optimizer auto[/bold] keeps the recommended one and finds its rate: 100
    steps for each rate of a grid, from the same weights; the lowest validation
    loss wins, for the control too. What was tried is printed and kept in run.json.
    Sequences are learned by a spiking network (snn) where none is given.

    [bold]--log[/bold] measures without changing the numbers of the run:
    alignment with backpropagation, norms and conditioning before the first
    step, at steps 1, 2, 3, 4, 6, 8, 11, 16, ... and after every epoch
    (alignment); feedback beside the network's Jacobian (jacobian) and linear
    probes of every layer's features (features) before the first step and after
    every epoch. neurofa diagnose explains them. metrics.jsonl holds the time
    that measuring took (log_seconds); it is no part of the training time.

    [bold]A profile[/bold] chooses device, converters, number format of the error,
    feedback, batch size and learning rate, and where the chip needs it rule
    and network, as far as they are not given: for sequences a spiking network
    and its rule. These choices are told, and the run stores them. Limits that
    are broken nevertheless are named; see: neurofa check

    [bold]Parts[/bold] are specs that read like calls; see: neurofa list. A network or
    data set "module(path=..., name=...)" is made by a function of your own code
    file, which is run because its path stands in the command. A trained model
    becomes a run without training by neurofa wrap.
    """
    import torch

    from experiments.benchmarks.spiking_chip import train_fields
    from experiments.reports.chips import build_profile, chip_findings
    from experiments.runs.default_network import with_network
    from experiments.runs.folder import RunFolder
    from experiments.runs.interrupt import Interrupted
    from experiments.runs.progress import Progress, shown_progress
    from experiments.runs.rate_search import RateSearch, search_rates
    from experiments.runs.recommended import AUTO
    from experiments.runs.run import control_of, train_run
    from experiments.runs.spec import RunSpec
    from hwmodels.errors import NeurofaError

    if resume and overwrite:
        raise NeurofaError("got --resume and --overwrite; expected one of them; leave one out")
    if threads is not None:
        torch.set_num_threads(threads)
    notes: list[str] = []
    chosen = with_weights(chosen, weights)
    if profile is not None:
        chip = build_profile(profile)
        given, chosen = RunSpec(**chosen), train_fields(chip, chosen)
        notes += profile_lines(chip, given, RunSpec(**chosen))
        findings = chip_findings(chip, RunSpec(**chosen))
        warn_of_broken_limits(chip, [] if quiet else findings)
    searches: dict[str, RateSearch] = {}
    if chosen.get("optimizer") == AUTO:
        begun = resume and out is not None and RunFolder(out).run.is_file()
        chosen = {name: value for name, value in chosen.items() if name != "optimizer"}
        if not begun:  # a run that is gone on with has the optimizer that was found for it
            searches = search_rates(RunSpec(**with_network(chosen)), control=control is not False)
            notes += [search.line for search in searches.values()]
            chosen = {**chosen, "optimizer": searches["run"].optimizer}
    filled = with_network(chosen)
    folder = RunFolder(Path("runs", RunSpec(**filled).folder_name) if out is None else out)
    if resume and folder.run.is_file():
        warn_of_folder(folder)
        chosen = folder.spec().to_json() | chosen
        control = folder.about().get("control") if control is None else control
    elif filled != chosen:
        notes.append(f"network {filled['network']}: for the sequences of {filled['data']}")
        chosen = filled
    spec = RunSpec(**chosen)
    notes += recommended_lines([spec] if control is False else [spec, control_of(spec)], chosen)
    if folder.finished and resume and not as_json:
        typer.echo(f"{folder.path} holds a finished run of {spec.epochs} epochs", err=True)
    # the name of the default folder identifies exactly this run
    overwrite = overwrite or (out is None and folder.finished and not resume)
    try:
        with Progress() if quiet else shown_progress(notes) as progress:
            result = train_run(
                spec,
                folder.path,
                progress=progress,
                resume=resume,
                overwrite=overwrite,
                control=control is not False,
                control_optimizer=searches["control"].optimizer if "control" in searches else None,
                search={name: search.to_json() for name, search in searches.items()} or None,
            )
    except Interrupted:
        again = shlex.quote(str(folder.path))
        typer.echo(f"stopped; go on with: neurofa train --resume --out {again}", err=True)
        raise typer.Exit(130) from None
    if as_json:
        print_json(result.to_dict())
    elif not quiet:
        _show(result, folder)


def _show(result: Result, folder: RunFolder) -> None:
    spec = result.spec
    rows = []
    for run in (result, result.control):
        if run is not None:
            measure, form = ("loss", "{:.5g}") if run.test_accuracy is None else ("accuracy", "{:.2%}")
            test = run.test_loss if run.test_accuracy is None else run.test_accuracy
            values = [test, run.row[f"validation_{measure}"], run.row[f"train_{measure}"]]
            cells = ["-" if value is None else form.format(value) for value in values]
            rows.append([run.spec.rule, *cells, f"{run.seconds:.1f}"])
    title = f"{spec.network} on {spec.data}, weights on {spec.device}, {len(result.rows)} epochs"
    print_table(title, ["rule", "test", "validation", "train", "seconds"], rows)
    if result.margin is not None:
        typer.echo(f"margin over the readout-only control: {100 * result.margin:+.2f} points")
    if result.perplexity is not None:
        beside = "" if result.control is None else f", {result.control.perplexity:.4g} of {result.control.spec.rule}"
        typer.echo(f"test perplexity {result.perplexity:.4g}{beside}")
    for name, count in result.row.get("pulses", {}).items():
        worn = f", {count['worn_out']:.1%} worn out" if count["worn_out"] else ""
        typer.echo(f"writes of {name}: {count['mean']:.4g} a device, at most {count['largest']:.4g}{worn}")
    if spec.log != "none":
        seconds = sum(row.get("log_seconds", 0.0) for row in result.rows)
        again = shlex.quote(str(folder.path))
        typer.echo(f"measuring took another {seconds:.1f} s; what it means: neurofa diagnose {again}")
    typer.echo(f"picture: {folder.curves}")
