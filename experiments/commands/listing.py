"""``neurofa list``: every registered part."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from experiments.commands._options import AsJson
from experiments.commands._output import print_json
from hwmodels.registry import kinds, options, parts
from hwmodels.spec import Spec, render

PROVENANCE = ("verified", "fitted_from", "tier", "marks", "differs")
"""Attributes of published devices (:mod:`hwmodels.provenance`) and profiles that say how sure their constants are."""


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command("list")(list_command)


def list_command(
    kind: Annotated[
        str | None, typer.Argument(help="Kind of part, such as rule or devices.", show_default="every kind")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the parts that specs may name: what each is, where it comes from, its options and their defaults.

    Published devices and chips also say what their constants were fitted to,
    and whether they were read in the source, taken second-hand, or remembered.

    [bold]Examples[/bold]

      neurofa list

      neurofa list rules

      neurofa list device --json
    """
    chosen = [singular(kind, kinds())] if kind is not None else kinds()
    listed = {each: [_describe(each, name, part) for name, part in parts(each).items()] for each in chosen}
    if as_json:
        print_json(listed)
        return
    for each, rows in listed.items():
        if rows:
            _show(each, rows)


def singular(word: str, known: Sequence[str]) -> str:
    """Return the kind of part that a word names in the singular or plural; any other word is returned unchanged.

    >>> singular("devices", ["device", "loss"]), singular("losses", ["device", "loss"])
    ('device', 'loss')
    """
    plurals = {f"{kind}{ending}": kind for kind in known for ending in ("s", "es")}
    plurals |= {f"{kind.removesuffix('y')}ies": kind for kind in known if kind.endswith("y")}
    return word if word in known else plurals.get(word, word)


def _describe(kind: str, name: str, part: Callable[..., Any]) -> dict[str, Any]:
    """Return name, first paragraph of the description, source, options and provenance of a part."""
    description = (inspect.getdoc(part) or "").split("\n\n")[0]
    # what has no default comes from the caller (shapes, seeds), never from a spec; data have no caller but the spec
    known = options(part).items()
    needed = {key: "..." for key, p in known if p.default is p.empty and kind == "data"}
    defaults = {key: p.default for key, p in known if p.default is not p.empty}
    about = {
        "name": name,
        "description": " ".join(description.replace("``", "").split()),
        "source": str(getattr(part, "source", "")),
        "options": needed | {key: str(v) if isinstance(v, Spec) else render(v) for key, v in defaults.items()},
    }
    if recommended := getattr(part, "recommended", None):  # only rules have it
        about["recommended"] = asdict(recommended)
    for key in PROVENANCE:  # only published parts have these; a recipe is a function
        if value := getattr(part, key, ""):
            about[key] = dict(value) if isinstance(value, Mapping) else str(value)
    return about


def _show(kind: str, rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=kind, title_justify="left", title_style="bold", pad_edge=False, box=None, show_header=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column()
    # a profile has an option for every limit that any chip has
    hidden = ("None", "[]") if kind == "profile" else ()
    for row in rows:
        table.add_row(row["name"], Text(row["description"]))
        lines = {
            "options": ", ".join(f"{key}={value}" for key, value in row["options"].items() if value not in hidden),
            "recommended": ", ".join(f"{kind} {optimizer}" for kind, optimizer in row.get("recommended", {}).items()),
            "source": row["source"] + (f" ({row['verified']})" if "verified" in row else ""),
            "fitted from": row.get("fitted_from", ""),
            "tier": row.get("tier", ""),
            "full size": row.get("differs", ""),
            "less sure": ", ".join(f"{key} {mark}" for key, mark in row.get("marks", {}).items()),
        }
        for heading, text in lines.items():
            if text:
                table.add_row("", Text(f"{heading}: {text}", style="dim"))
    console = Console()
    console.print(table)
    console.print()
