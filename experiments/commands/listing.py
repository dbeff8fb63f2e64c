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
        "description": " ".join(description.replace("``", "").split()),
        "source": str(getattr(part, "source", "")),
        # what has no default comes from the caller (shapes, seeds), never from a spec
        "options": {key: _text(p.default) for key, p in options(part).items() if p.default is not p.empty},
    }


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
        options = ", ".join(f"{key}={value}" for key, value in row["options"].items())
        for heading, text in (("options", options), ("source", row["source"])):
            if text:
                table.add_row("", Text(f"{heading}: {text}", style="dim"))
    console = Console()
    console.print(table)
    console.print()
