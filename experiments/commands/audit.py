"""``neurofa audit``: what an update of a rule depends on, found out by poisoning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from experiments.commands._options import AsJson
from experiments.commands._output import print_json, print_table
from hwmodels.errors import NeurofaError

if TYPE_CHECKING:
    from neurofa.audit.step import AuditReport


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command("audit")(audit_command)


def audit_command(
    rule: Annotated[str, typer.Argument(help="Rule, such as dfa.")],
    network: Annotated[str, typer.Option(help="Network, such as vit.")] = "mlp(hidden=[32, 32])",
    device: Annotated[str, typer.Option(help='Device that stores the weights, such as "fixed(bits=4)".')] = "digital",
    data_shape: Annotated[str, typer.Option(help="Shape of one sample; samples are random numbers.")] = "1,8,8",
    outputs: Annotated[int, typer.Option(min=1, help="Width of the readout.")] = 10,
    ticks: Annotated[int, typer.Option(min=1, help="Ticks of a sequence of spikes (even); 1: one static tick.")] = 1,
    batch_size: Annotated[int, typer.Option(min=2, help="Samples in the batch.")] = 8,
    seed: Annotated[int, typer.Option(help="Seed of weights, feedback and samples.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Find out by poisoning what a rule's update depends on, and compare it with what the rule declares.

    Other layers' weights are overwritten with NaN: the update of a local rule
    stays the same, bit for bit. The return weights of the pathway are read
    again, with NaN and with other magnitudes of the same signs beside them, and
    the other samples of the batch are changed.

    Exit code 0 when the rule is as declared, 1 when it is not, 2 for wrong
    input.

    [bold]Examples[/bold]

      neurofa audit dfa

      neurofa audit bp --network "vgg(plan=[8, M, 8, M])" --json

      neurofa audit eprop --network "snn(hidden=[32, 32], recurrent=True)" --ticks 8

      neurofa audit "fa(error=ternary)" --network vit --data-shape 3,32,32 --device "fixed(bits=4)"
    """
    import torch

    from hwmodels.registry import build
    from neurofa.audit.sequence import audit_sequence
    from neurofa.audit.step import audit
    from neurofa.core.randomness import generator

    shape = _shape(data_shape)
    built = build("network", network, input_shape=shape, outputs=outputs, seed=seed, device=device)
    gen = generator(seed, "samples")
    x = torch.randn(ticks, batch_size, *shape, generator=gen)
    labels = torch.randint(outputs, (batch_size,), generator=gen)
    if ticks > 1:
        report = audit_sequence(rule, built, (x > 0.5).float(), labels, seed=seed)  # three spikes in ten ticks
    else:
        report = audit(rule, built, x[0], labels, seed=seed)
    if as_json:
        print_json(report.to_dict() | {"network": network, "device": device})
    else:
        _show(report, network)
    if not report.agrees:
        raise typer.Exit(1)


def _shape(text: str) -> tuple[int, ...]:
    """Return ``"3,32,32"`` as numbers.

    Raises:
        NeurofaError: not whole numbers above 0.
    """
    words = text.replace("x", ",").split(",")
    if not all(word.strip().isdecimal() and int(word) > 0 for word in words):
        raise NeurofaError(f"got --data-shape '{text}'; expected whole numbers such as 3,32,32; change it")
    return tuple(int(word) for word in words)


def _show(report: AuditReport, network: str) -> None:
    headers = ["layer", "learns", "other layers' weights", "pathway copies", "other samples", "future ticks"]
    rows = []
    for name, found in report.dependencies.items():
        learns, samples, ticks = (
            "yes" if value else "no" for value in (found.learns, found.other_samples, found.future_ticks)
        )
        rows.append([name, learns, ", ".join(found.other_weights) or "no", found.transports, samples, ticks])
    print_table(f"What an update of {report.rule} depends on ({network})", headers, rows, left=len(headers))
    from neurofa.core.summary import exact_text

    typer.secho(report.verdict, fg="blue" if report.agrees else "red")
    typer.echo(exact_text(report.exact_inside, report.weights))
