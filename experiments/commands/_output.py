"""What commands print: JSON, tables, and the limits of a chip that a run breaks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from experiments.runs.folder import RunFolder
    from experiments.runs.spec import RunSpec
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


def warn_of_folder(folder: RunFolder) -> None:
    """Print on stderr what a reader of a run's folder should know of it."""
    if folder.remark:
        typer.echo(folder.remark, err=True)


def recommended_lines(specs: Iterable[RunSpec], chosen: Mapping[str, object]) -> list[str]:
    """Return which optimizers runs have because their rules recommend them, one line for each.

    Args:
        specs: the runs.
        chosen: fields that the user chose, one value each or a list of values.
    """
    from experiments.runs.recommended import RECOMMENDED, recommended_optimizer
    from hwmodels.spec import parse

    optimizers = chosen.get("optimizer", RECOMMENDED)
    if RECOMMENDED not in (optimizers if isinstance(optimizers, list) else [optimizers]):
        return []
    lines = [
        f"optimizer {spec.optimizer}: recommended for {parse(spec.rule).name} on {parse(spec.network).name}"
        for spec in specs
        if spec.optimizer == recommended_optimizer(spec.rule, spec.network)
    ]
    return list(dict.fromkeys(lines))


def profile_lines(chip: Profile, given: RunSpec, run: RunSpec) -> list[str]:
    """Return the line that says which fields of a run a chip has chosen; none where it chose nothing.

    Args:
        chip: the profile.
        given: the run without the chip.
        run: the run on the chip.
    """
    before, fields = given.to_json(), run.to_json()
    choices = [f"{name} {value}" for name, value in fields.items() if value != before[name]]
    return [f"{chip.name} chooses {', '.join(choices)}"] if choices else []


def warn_of_broken_limits(chip: Profile, findings: Sequence[Finding]) -> None:
    """Print one line on stderr for every limit of a chip that a run breaks."""
    for finding in findings:
        if finding.verdict == "broken":
            limit = f"{finding.title}: {finding.needed}, {chip.name} has {finding.chip}"
            typer.echo(f"limit broken: {limit} (see: neurofa check)", err=True)
