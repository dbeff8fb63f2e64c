"""The command ``neurofa check``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hwmodels.profile import Profile
    from neurofa.chips.fit import Finding

HELP = """Compare a run with a chip: what the chip has, what the run asks for, and by how much that is too much.

Nothing is trained. What is not given has the default of 'neurofa train'; with
--fill the profile chooses it, as in 'neurofa train --profile'. A limit that no
source gave is not known, one of spiking neurons is not applicable to a network
without them, one that nothing here acts on is not simulated: none of these
counts against the run. Figures are read in the source unless marked otherwise.

Exit code 0 when all limits hold, 1 when one is broken, 2 for wrong input.

Examples:

  neurofa check --profile loihi1

  neurofa check --profile loihi1 --device "fixed(bits=9)" --batch-size 1

  neurofa check --profile reckon --fill

  neurofa check --profile opu --data cifar10 --network vgg --rule "dfa(feedback=opu)" --json
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check", help=HELP)(check)


def check(
    profile: Annotated[str, typer.Option(help="Spec of the chip's profile; see: neurofa list profiles.")],
    network: Annotated[str | None, typer.Option(help="Network. Default: mlp.")] = None,
    rule: Annotated[str | None, typer.Option(help="Learning rule. Default: dfa.")] = None,
    data: Annotated[str | None, typer.Option(help="Data set, for its sizes. Default: digits.")] = None,
    device: Annotated[str | None, typer.Option(help="Device that stores the weights. Default: digital.")] = None,
    periphery: Annotated[str | None, typer.Option(help="Converters and noise around weights. Default: exact.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="Optimizer. Default: sgd(lr=0.1).")] = None,
    schedule: Annotated[str | None, typer.Option(help="Course of the learning rate. Default: constant.")] = None,
    loss: Annotated[str | None, typer.Option(help="cross_entropy (default), or mse for regression.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs, for the schedule. Default: 10.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples in a step. Default: 32.")] = None,
    accumulate: Annotated[int | None, typer.Option(help="Batches averaged into an update. Default: 1.")] = None,
    fill: Annotated[bool, typer.Option("--fill", help="Choose what is not given as the chip has it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print an object on stdout, and nothing else there.")] = False,
) -> None:
    """Show every limit, and whether it holds."""
    from experiments.reports.chips import build_profile, chip_fields, chip_findings
    from experiments.runs.spec import RunSpec

    given = {
        "network": network, "rule": rule, "data": data, "device": device, "periphery": periphery,
        "optimizer": optimizer, "schedule": schedule, "loss": loss, "epochs": epochs, "batch_size": batch_size,
        "accumulate": accumulate,
    }  # fmt: skip
    chosen = {key: value for key, value in given.items() if value is not None}
    chip = build_profile(profile)
    spec = RunSpec(**(chip_fields(chip, chosen) if fill else chosen))
    findings = chip_findings(chip, spec)
    broken = [finding for finding in findings if finding.verdict == "broken"]
    if as_json:
        import json

        content = {
            "profile": profile, "source": chip.source, "verified": chip.verified, "holds": not broken,
            "limits": [asdict(finding) for finding in findings], "spec": spec.to_json(),
        }  # fmt: skip
        sys.stdout.write(json.dumps(content, indent=1) + "\n")
    else:
        _show(chip, findings, f"{spec.rule}, {spec.network} on {spec.data}, weights on {spec.device}")
    if broken:
        raise typer.Exit(1)


COLOURS = {"holds": "green", "broken": "red"}


def _show(chip: Profile, findings: list[Finding], run: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"{run}, on {chip.name}"), title_justify="left")
    for heading in ("limit", chip.name, "this run", "broken by", "verdict"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        sure = f" ({finding.mark})" if finding.mark not in ("", "read") else ""
        verdict = Text(finding.verdict, style=COLOURS.get(finding.verdict, "dim"))
        table.add_row(*map(Text, (finding.title, finding.chip + sure, finding.asked, finding.excess)), verdict)
    console = Console()
    console.print(table)
    counts = {verdict: sum(f.verdict == verdict for f in findings) for verdict in (f.verdict for f in findings)}
    console.print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    console.print(Text(f"source: {chip.source} ({chip.verified})", style="dim"))
