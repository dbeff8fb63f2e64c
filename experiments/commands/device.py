"""``neurofa device show``: one memory device in figures and in a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    group = typer.Typer(no_args_is_help=True, help="Look at memory devices.")
    group.callback()(_group)
    group.command("show")(show)
    app.add_typer(group, name="device")


def _group() -> None:
    """Look at memory devices."""


def show(
    spec: Annotated[str, typer.Argument(help="Device, such as reram_es; see: neurofa list devices.")],
    out: Annotated[Path | None, typer.Option(help="Picture. Default: device-NAME.png in this folder.")] = None,
    pulses: Annotated[int | None, typer.Option(min=1, help="Pulses up, then down. Default: from -1 to 1.")] = None,
    seed: Annotated[int, typer.Option(help="Of the devices and their noise.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print an object on stdout, and nothing else there.")] = False,
) -> None:
    """Print where a device comes from, its constants and its measured moments, and draw what it does.

    The picture shows the response to pulses (or to changes that are asked for), the error of programming, the noise of
    a read and the drift over a year, as far as the device has them: the median and a band from 5 to 95 % of 1000
    devices. Weights are in units of the largest initial weight.

    [bold]Examples[/bold]

      neurofa device show reram_es

      neurofa device show "pcm(g_max=20)" --out pcm.png

      neurofa device show reram_array_om --json
    """
    from experiments.reports.device import device_constants, device_moments, device_panels
    from hwmodels.device import Device
    from hwmodels.registry import build

    device: Device = build("device", spec)
    panels = device_panels(device, pulses=pulses, seed=seed)
    path = (out if out is not None else Path(f"device-{device.name}.png")) if panels else None
    if path is not None:
        from experiments.charts.figure import draw_figure

        draw_figure(path, list(panels.values()), title=spec)
    about: dict[str, Any] = {
        "device": spec,
        **{key: getattr(device, key, "") for key in ("source", "fitted_from", "verified", "tier")},
        "constants": device_constants(device),
        "moments": device_moments(device, seed=seed),
        "panels": list(panels),
        "picture": None if path is None else str(path),
    }
    if json:
        import json as encoder

        typer.echo(encoder.dumps(about, indent=2))
    else:
        _print(about)


def _print(about: dict[str, Any]) -> None:
    from rich.console import Console

    from experiments.tables import text_table

    console = Console()
    for key in ("device", "source", "fitted_from", "verified", "tier"):
        if about[key]:
            console.print(f"{key.replace('_', ' ')}: {about[key]}", markup=False, highlight=False)
    lines = [[c["name"], c["value"], c["meaning"]] for c in about["constants"]]
    console.print(text_table("constants", ["name", "value", "meaning"], lines, left=3))
    lines = [[key, f"{value:.4g}"] for key, value in about["moments"].items()]
    if lines:
        console.print(
            text_table("measured at weight 0, in units of the largest initial weight", ["what", "value"], lines)
        )
    if about["picture"] is None:
        console.print("no picture: the device does exactly what it is asked for")
    else:
        console.print(f"picture: {about['picture']}", markup=False, soft_wrap=True)
