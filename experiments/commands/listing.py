"""``neurofa list``: every registered part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("list")(listing)


def listing(
    kind: Annotated[
        str | None, typer.Argument(help="Kind of part, such as rule or device.", show_default="every kind")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print an object on stdout, and nothing else there.")] = False,
) -> None:
    """List the parts that specs may name: what each is, where it comes from, its options and their defaults.

    [bold]Examples[/bold]

      neurofa list

      neurofa list rule

      neurofa list device --json
    """
    from experiments.parts import load_all_kinds
    from hwmodels.registry import kinds, parts

    load_all_kinds()
    wanted = [kind] if kind is not None else kinds()
    found = {each: [_about(name, part) for name, part in parts(each).items()] for each in wanted}
    if json:
        import json as encoder

        typer.echo(encoder.dumps(found, indent=2))
        return
    for each, rows in found.items():
        if rows:
            _show(each, rows)


def _about(name: str, part: Callable[..., Any]) -> dict[str, Any]:
    """Name, first line of the description, source and options of a part."""
    import inspect

    from hwmodels.registry import options

    description = (inspect.getdoc(part) or "").split("\n\n")[0]
    return {
        "name": name,
        "description": " ".join(description.split()),
        "source": str(getattr(part, "source", "")),
        # what has no default comes from the caller (shapes, seeds), never from a spec
        "options": {key: _text(p.default) for key, p in options(part).items() if p.default is not p.empty},
    }


def _text(value: object) -> str:
    from hwmodels.spec import Spec, render

    return str(value) if isinstance(value, Spec) else render(value)


def _show(kind: str, rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=kind, title_justify="left", title_style="bold", show_lines=False, pad_edge=False, box=None)
    table.add_column("name", style="cyan", no_wrap=True)
    table.add_column("what it is", ratio=3)
    table.add_column("options", ratio=2)
    table.add_column("source", ratio=2, style="dim")
    for row in rows:
        options = ", ".join(f"{key}={value}" for key, value in row["options"].items())
        table.add_row(row["name"], *(escape(text) for text in (row["description"], options, row["source"])))
    console = Console()
    console.print(table)
    console.print()
