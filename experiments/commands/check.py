"""``neurofa check``: which limits of a chip a run breaks."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.commands._options import AsJson, ChosenFields, with_run_options
from experiments.commands._output import print_json

if TYPE_CHECKING:
    from hwmodels.profile import Profile
    from neurofa.chips.fit import Finding

COLOURS = {"holds": "blue", "broken": "bold red"}


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command("check")(with_run_options(check_command))


def check_command(
    profile: Annotated[str, typer.Option(help="Profile of the chip; see: neurofa list profiles.")],
    chosen: ChosenFields,
    fill: Annotated[bool, typer.Option("--fill", help="Choose what is not given as the chip has it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare a run with a chip: what the chip has, what the run needs, and by how much that is too much.

    Nothing is trained. What is not given has the default of 'neurofa train';
    with --fill the profile chooses it, as in 'neurofa train --profile'. A limit
    that no source gave is not known, one of spiking neurons is not applicable
    to a network without them, one that nothing here acts on is not simulated:
    none of these counts against the run. Figures were read in the source
    unless they are marked otherwise.

    Exit code 0 when all limits hold, 1 when one is broken, 2 for wrong input.

    [bold]Examples[/bold]

      neurofa check --profile loihi1

      neurofa check --profile loihi1 --device "fixed(bits=9)" --batch-size 1

      neurofa check --profile reckon --fill

      neurofa check --profile opu --data cifar10 --network vgg --rule "dfa(feedback=opu)" --json
    """
    from experiments.benchmarks.spiking_chip import train_fields
    from experiments.reports.chips import build_profile, chip_findings
    from experiments.runs.spec import RunSpec

    chip = build_profile(profile)
    spec = RunSpec(**(train_fields(chip, chosen) if fill else chosen))
    findings = chip_findings(chip, spec)
    holds = all(finding.verdict != "broken" for finding in findings)
    if as_json:
        about = {"profile": profile, "source": chip.source, "verified": chip.verified, "holds": holds}
        print_json({**about, "limits": [asdict(finding) for finding in findings], "spec": spec.to_json()})
    else:
        _show(chip, findings, f"{spec.rule}, {spec.network} on {spec.data}, weights on {spec.device}")
    if not holds:
        raise typer.Exit(1)


def _show(chip: Profile, findings: list[Finding], run: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"{run}, on {chip.name}"), title_justify="left")
    for heading in ("limit", chip.name, "this run", "broken by", "verdict"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        mark = f" ({finding.mark})" if finding.mark not in ("", "read") else ""
        verdict = Text(finding.verdict, style=COLOURS.get(finding.verdict, "dim"))
        table.add_row(*map(Text, (finding.title, finding.chip + mark, finding.needed, finding.excess)), verdict)
    console = Console()
    console.print(table)
    counts = Counter(finding.verdict for finding in findings)
    console.print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    console.print(Text(f"source: {chip.source} ({chip.verified})", style="dim"))
