"""``neurofa list``: every registered part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer

PROVENANCE = ("verified", "fitted_from", "tier", "marks")
"""What published constants say of themselves (:mod:`hwmodels.provenance`), and a profile of single limits."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("list")(listing)


def listing(
    kind: Annotated[
        str | None, typer.Argument(help="Kind of part, such as rule or devices.", show_default="every kind")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print an object on stdout, and nothing else there.")] = False,
) -> None:
    """List the parts that specs may name: what each is, where it comes from, its options and their defaults.

    Published devices and chips also say what their constants were fitted to, and whether they were read in the source,
    taken second-hand, or remembered.

    [bold]Examples[/bold]

      neurofa list

      neurofa list rules

      neurofa list device --json
    """
    from hwmodels.registry import kinds, parts

    wanted = [singular(kind, kinds())] if kind is not None else kinds()
    found = {each: [_about(name, part) for name, part in parts(each).items()] for each in wanted}
    if json:
        import json as encoder

        typer.echo(encoder.dumps(found, indent=2))
        return
    for each, rows in found.items():
        if rows:
            _show(each, rows)


def singular(word: str, known: Sequence[str]) -> str:
    """The kind that a word names, in the singular or the plural; any other word as it is.

    >>> singular("devices", ["device", "loss"]), singular("losses", ["device", "loss"])
    ('device', 'loss')
    """
    plurals = {f"{kind}{ending}": kind for kind in known for ending in ("s", "es")}
    plurals |= {f"{kind.removesuffix('y')}ies": kind for kind in known if kind.endswith("y")}
    return word if word in known else plurals.get(word, word)


def _about(name: str, part: Callable[..., Any]) -> dict[str, Any]:
    """Name, first line of the description, source, options and provenance of a part."""
    import inspect

    from hwmodels.registry import options

    description = (inspect.getdoc(part) or "").split("\n\n")[0]
    about = {
        "name": name,
        "description": " ".join(description.replace("``", "").split()),
        "source": str(getattr(part, "source", "")),
        # what has no default comes from the caller (shapes, seeds), never from a spec
        "options": {key: _text(p.default) for key, p in options(part).items() if p.default is not p.empty},
    }
    for key in PROVENANCE:
        if found := getattr(part, key, ""):
            about[key] = dict(found) if isinstance(found, Mapping) else str(found)
    return about


def _text(value: object) -> str:
    from hwmodels.spec import Spec, render

    return str(value) if isinstance(value, Spec) else render(value)


def _show(kind: str, rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=kind, title_justify="left", title_style="bold", pad_edge=False, box=None, show_header=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column()
    for row in rows:
        table.add_row(row["name"], Text(row["description"]))
        # a profile has an option for every limit that any chip has
        shown = {
            key: value for key, value in row["options"].items() if kind != "profile" or value not in ("None", "[]")
        }
        options = ", ".join(f"{key}={value}" for key, value in shown.items())
        sure = row["source"] + (f" ({row['verified']})" if "verified" in row else "")
        marks = ", ".join(f"{key} {mark}" for key, mark in row.get("marks", {}).items())
        fitted, tier = row.get("fitted_from", ""), row.get("tier", "")
        lines = {"options": options, "source": sure, "fitted from": fitted, "tier": tier, "less sure": marks}
        for heading, text in lines.items():
            if text:
                table.add_row("", Text(f"{heading}: {text}", style="dim"))
    console = Console()
    console.print(table)
    console.print()
