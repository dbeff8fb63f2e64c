"""``neurofa evaluate``: loss and accuracy of a trained network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from experiments.commands._options import AsJson, ChosenFields, with_run_options
from experiments.commands._output import print_json, warn_of_folder


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    fields = ("periphery", "compute")
    app.command("evaluate")(with_run_options(evaluate_command, only=fields, defaults={"periphery": "that of the run"}))


def evaluate_command(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.", show_default=False)],
    chosen: ChosenFields,
    split: Annotated[str, typer.Option(help="Data to evaluate on: train, validation or test.")] = "test",
    as_json: AsJson = False,
) -> None:
    """Evaluate the network of a finished run.

    [bold]Examples[/bold]

      neurofa evaluate runs/digits-mlp-dfa-0-2dc47b25

      neurofa evaluate runs/my-run --split validation --json

      neurofa evaluate runs/my-run --periphery inference
    """
    from experiments.runs.build import compute_device, load_data
    from experiments.runs.evaluate import evaluate_split
    from experiments.runs.folder import RunFolder
    from hwmodels.registry import build

    folder = RunFolder(run)
    folder.require_finished()
    warn_of_folder(folder)
    spec = replace(folder.spec(), **{"compute": "cpu", **chosen})
    device = compute_device(spec.compute)
    spec.check()
    network = folder.network().to(device)
    network.attach(spec.periphery)
    score = evaluate_split(network, load_data(spec.data).to(device), split, build("loss", spec.loss), seed=spec.seed)
    if as_json:
        figures = {"accuracy": score.accuracy, "loss": score.loss, "samples": score.samples}
        print_json({"run": str(run), "split": split, **figures, "spec": spec.to_json()})
        return
    accuracy = "" if score.accuracy is None else f"accuracy {score.accuracy:.2%}, "
    loss = "no samples" if score.loss is None else f"loss {score.loss:.5g}"
    typer.echo(f"{spec.rule}, {spec.network}, {spec.data}: {split} {accuracy}{loss}, {score.samples} samples")
