"""``neurofa wrap``: a trained model as a finished run, without training."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from experiments.commands._options import AsJson, ChosenFields, Weights, with_run_options, with_weights
from experiments.commands._output import print_json

FIELDS = ("data", "network", "rule", "device", "periphery", "batch_size", "loss", "seed", "compute")
DEFAULTS = {"network": "none; give one", "data": "none; give some"}


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command("wrap")(with_run_options(wrap_command, only=FIELDS, defaults=DEFAULTS))


def wrap_command(
    chosen: ChosenFields,
    weights: Weights = None,
    out: Annotated[Path | None, typer.Option(help="Folder. Default: runs/DATA-NETWORK-RULE-SEED-HASH.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin anew in a folder that holds a run.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make the folder of a finished run of a trained model, without training it.

    evaluate, export, bringup, budget, diagnose and import take the folder. The
    model is traced, cut into units of credit and compared with itself; a device
    is programmed with its weights.

    [bold]Examples[/bold]

      neurofa wrap --network "module(path=model.py, name=make_model)" --weights w.safetensors --data cifar10

      neurofa wrap --network "module(path=model.py)" --weights w.safetensors --data mnist --device "fixed(bits=6)"

    The run is that of neurofa train --epochs 0. It stores the digests of code
    and weights, and is refused when these have changed. The code is run because
    its path stands in this command; later commands need --allow-code.
    """
    from experiments.runs.folder import RunFolder
    from experiments.runs.run import train_run
    from experiments.runs.spec import RunSpec
    from hwmodels.errors import NeurofaError

    for name in ("network", "data"):
        if name not in chosen:
            raise NeurofaError(f"got no --{name}; expected that of the trained model; give it")
    spec = RunSpec(**with_weights(chosen, weights), epochs=0)
    folder = RunFolder(Path("runs", spec.folder_name) if out is None else out)
    result = train_run(spec, folder.path, overwrite=overwrite or (out is None and folder.finished))
    if as_json:
        print_json(result.to_dict() | {"run": str(folder.path)})
        return
    accuracy = "" if result.test_accuracy is None else f"accuracy {result.test_accuracy:.2%}, "
    typer.echo(repr(folder.network()))
    typer.echo(f"{folder.path}: test {accuracy}loss {result.test_loss:.5g}")
    allow = " --allow-code" if "module(" in f"{spec.network} {spec.data}" else ""
    typer.echo(f"go on with: neurofa evaluate {shlex.quote(str(folder.path))}{allow}")
