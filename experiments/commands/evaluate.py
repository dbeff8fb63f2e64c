"""``neurofa evaluate``: a trained network on the test data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(evaluate)


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.", show_default=False)],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    periphery: Annotated[
        str | None, typer.Option(help="Converters and noise around the weights. Default: those of the run.")
    ] = None,
    compute: Annotated[str, typer.Option(help="Where to compute: cpu, cuda or auto.")] = "cpu",
    json: Annotated[bool, typer.Option("--json", help="Print an object on stdout, and nothing else there.")] = False,
) -> None:
    """Evaluate the network of a finished run.

    [bold]Examples[/bold]

      neurofa evaluate runs/digits-mlp-dfa-0-11038bd3

      neurofa evaluate runs/my-run --split validation --json

      neurofa evaluate runs/my-run --periphery inference
    """
    from dataclasses import replace

    from experiments.runs.evaluate import evaluate as score_of
    from experiments.runs.folder import RunFolder
    from experiments.runs.trainer import compute_device, load_data
    from hwmodels.registry import build
    from neurofa.training.checkpoint import load_network

    folder = RunFolder(run)
    spec = replace(folder.spec(), compute=compute)
    spec = spec if periphery is None else replace(spec, periphery=periphery)
    where = compute_device(spec.compute)
    spec.check()
    network = load_network(folder.model).to(where)
    network.attach(spec.periphery)
    score = score_of(network, load_data(spec.data).to(where), split, build("loss", spec.loss), seed=spec.seed)
    if json:
        import json as encoder

        content = {
            "run": str(run), "split": split, "accuracy": score.accuracy, "loss": score.loss, "samples": score.samples,
            "spec": spec.to_json(),
        }  # fmt: skip
        typer.echo(encoder.dumps(content, indent=2, allow_nan=False))
        return
    accuracy = "" if score.accuracy is None else f"accuracy {score.accuracy:.2%}, "
    loss = "no samples" if score.loss is None else f"loss {score.loss:.5g}"
    typer.echo(f"{spec.rule}, {spec.network}, {spec.data}: {split} {accuracy}{loss}, {score.samples} samples")
