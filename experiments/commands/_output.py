"""What commands print: JSON, tables, and the limits of a chip that a run breaks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from hwmodels.profile import Profile
    from neurofa.chips.fit import Finding


def print_json(content: Any) -> None:
    """Print a value as JSON on stdout; objects that JSON does not know are printed as text."""
    typer.echo(json.dumps(content, indent=2, default=str))


def print_table(title: str, headers: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> None:
    """Print a table on stdout; arguments as of :func:`experiments.tables.text_table`."""
    from rich.console import Console

    from experiments.tables import text_table

    Console().print(text_table(title, headers, rows, left=left))


def warn_of_broken_limits(chip: Profile, findings: Sequence[Finding]) -> None:
    """Print one line on stderr for every limit of a chip that a run breaks."""
    for finding in findings:
        if finding.verdict == "broken":
            limit = f"{finding.title}: {finding.needed}, {chip.name} has {finding.chip}"
            typer.echo(f"limit broken: {limit} (see: neurofa check)", err=True)
