"""``neurofa budget``: what will the noise of the feedback hardware cost?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("budget")(budget)


def budget(
    rule: Annotated[str, typer.Option(help="Direct rule with its projection.")] = "dfa(feedback=microring)",
    data: Annotated[str, typer.Option(help="Data whose errors are projected.")] = "digits",
    network: Annotated[str, typer.Option(help="Network, as it begins.")] = "mlp",
    run: Annotated[Path | None, typer.Option(help="Finished run: its network, rule and data instead.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Validation or training samples whose errors are taken.")] = 256,
    seed: Annotated[int, typer.Option(help="Of network, feedback and measured noise.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print an object on stdout, and nothing else there.")] = False,
) -> None:
    """Predict how much of the teaching signal's direction each source of noise leaves, and measure it beside.

    Dynamic noise is another at every use: cos = 1/sqrt(1 + NSR^2), from the constants of the hardware and the errors
    of the network alone. Static errors (programming, faults, crosstalk) only make another feedback matrix, which
    learning absorbs: they are in the clean signal. A line says where the formula does not hold.

    [bold]Examples[/bold]

      neurofa budget

      neurofa budget --rule "dfa(feedback=crossbar(device=pcm))" --network "mlp(hidden=[800, 800])"

      neurofa budget --run runs/my-run --json
    """
    from experiments.folder import RunFolder
    from experiments.parts import load_all_kinds
    from experiments.run import load_data
    from hwmodels.errors import NeurofaError
    from hwmodels.registry import build
    from neurofa.checkpoint import load_network
    from neurofa.feedbacks.projection import Projected
    from neurofa.learner import Learner
    from neurofa.network import Network
    from neurofa.randomness import generator
    from neurofa.theory import budget as theory

    load_all_kinds()
    loss = "cross_entropy"
    if run is not None:
        folder = RunFolder(run)
        spec = folder.spec()
        rule, data, seed, loss = spec.rule, spec.data, spec.seed, spec.loss
    dataset = load_data(data)
    made: Network = (
        load_network(folder.model)
        if run is not None
        else build("network", network, input_shape=dataset.input_shape, outputs=dataset.classes, seed=seed)
    )
    import torch

    learner = Learner(made, rule, optimizer=torch.optim.SGD(made.parameters(), lr=0.1), loss=loss, seed=seed)
    feedback = getattr(learner.rule, "feedback", None)
    if not isinstance(feedback, Projected):
        raise NeurofaError(
            f"got rule {rule}, whose feedback is no projection in hardware; expected one with noise; use"
            ' --rule "dfa(feedback=microring)"'
        )
    x, target = next(dataset.batches("train", samples))
    tick = made.step(x, gen=generator(seed, "budget"))
    error = learner.loss.outcome(tick.y, target).error
    lines = theory.budget(feedback.projection, error, generator(seed, "budget noise"))
    about: dict[str, Any] = {
        "rule": rule, "data": data, "network": made.spec, "samples": samples,
        "modelled": lines is not None, "lines": [asdict(line) for line in lines or []],
    }  # fmt: skip
    if json:
        import json as encoder

        typer.echo(encoder.dumps(about, indent=2))
    else:
        _print(about)


def _print(about: dict[str, Any]) -> None:
    from rich.console import Console

    from experiments.tables import table

    console = Console()
    if not about["modelled"]:
        console.print("the noise of this projection is not modelled in closed form", markup=False)
        return
    if not about["lines"]:
        console.print("this projection has no dynamic noise: the teaching signal keeps its direction")
        return
    rows = [
        [line["source"], f"{line['predicted']:.4f}", f"{line['measured']:.4f}", line["formula"], line["outside"]]
        for line in about["lines"]
    ]
    headers = ["source", "cos predicted", "cos measured", "NSR²", "formula does not hold"]
    console.print(table(f"{about['rule']} on {about['data']}: alignment that is left", headers, rows))
    single = [line for line in about["lines"] if line["source"] != "all together"]
    worst = min(single, key=lambda line: line["measured"])
    console.print(f"largest loss: {worst['source']}", markup=False, highlight=False)
