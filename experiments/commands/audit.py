"""The command ``neurofa audit``."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from hwmodels.errors import NeurofaError

if TYPE_CHECKING:
    from neurofa.audit.step import AuditReport

HELP = """Find out by poisoning what a rule's update depends on, and compare it with what the rule declares.

Other layers' weights are overwritten with NaN: the update of a local rule stays the same, bit for bit. The pathway is
asked for its return weights again, with NaN and with other magnitudes of the same signs beside it, and the other
samples of the batch are changed. Exit code 0 when the rule is as declared, 1 when it is not.

Examples:

  neurofa audit dfa

  neurofa audit bp --network "vgg(plan=[8, M, 8, M])" --json

  neurofa audit eprop --network "snn(hidden=[32, 32], recurrent=True)" --ticks 8

  neurofa audit "fa(error=ternary)" --network vit --data-shape 3,32,32 --device "fixed(bits=4)"
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("audit", help=HELP)(audit)


def audit(
    rule: Annotated[str, typer.Argument(help="Spec of the rule.")],
    network: Annotated[str, typer.Option(help="Spec of the network.")] = "mlp(hidden=[32, 32])",
    device: Annotated[str, typer.Option(help="Spec of the device on which the weights live.")] = "digital",
    data_shape: Annotated[str, typer.Option(help="Shape of one sample; samples are random numbers.")] = "1,8,8",
    outputs: Annotated[int, typer.Option(min=1, help="Width of the readout.")] = 10,
    ticks: Annotated[int, typer.Option(min=1, help="Ticks of a sequence of spikes (even); 1: one static tick.")] = 1,
    batch_size: Annotated[int, typer.Option(min=2, help="Samples in the batch.")] = 8,
    seed: Annotated[int, typer.Option(help="Of weights, feedback and samples.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, nothing else, on stdout.")] = False,
) -> None:
    """Audit one rule on random samples."""
    import torch

    from hwmodels.registry import build
    from neurofa.audit.sequence import audit_sequence
    from neurofa.audit.step import audit as find_out
    from neurofa.core.randomness import generator

    shape = _shape(data_shape)
    net = build("network", network, input_shape=shape, outputs=outputs, seed=seed, device=device)
    gen = generator(seed, "samples")
    x = torch.randn(ticks, batch_size, *shape, generator=gen)
    labels = torch.randint(outputs, (batch_size,), generator=gen)
    if ticks > 1:
        report = audit_sequence(rule, net, (x > 0.5).float(), labels, seed=seed)  # three spikes in ten ticks
    else:
        report = find_out(rule, net, x[0], labels, seed=seed)
    if as_json:
        sys.stdout.write(json.dumps(report.to_dict() | {"network": network, "device": device}, indent=1) + "\n")
    else:
        _show(report, network)
    if not report.agrees:
        raise typer.Exit(1)


def _shape(text: str) -> tuple[int, ...]:
    """``"3,32,32"`` as numbers.

    Raises:
        NeurofaError: not whole numbers above 0.
    """
    words = text.replace("x", ",").split(",")
    if not all(word.strip().isdecimal() and int(word) > 0 for word in words):
        raise NeurofaError(f"got --data-shape '{text}'; expected whole numbers such as 3,32,32; change it")
    return tuple(int(word) for word in words)


def _show(report: AuditReport, network: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"What an update of {report.rule} depends on ({network})")
    for head in ("layer", "learns", "other layers' weights", "pathway copies", "other samples", "future ticks"):
        table.add_column(head)
    for name, found in report.dependencies.items():
        table.add_row(
            name,
            "yes" if found.learns else "no",
            ", ".join(found.other_weights) or "no",
            found.transports,
            "yes" if found.other_samples else "no",
            found.future_ticks,
        )
    console = Console()
    console.print(table)
    console.print(("[green]" if report.agrees else "[red]") + report.verdict)
