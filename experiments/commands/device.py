"""``neurofa device show``: one memory device in figures and in a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.commands._options import AsJson
from experiments.commands._output import print_json, print_table

PROVENANCE = ("fitted_from", "verified", "tier")


def register(app: typer.Typer) -> None:
    """Add the group ``device`` with its command to the application."""
    group = typer.Typer(no_args_is_help=True, help="Look at memory devices.")
    group.callback()(_group)
    group.command("show")(device_show_command)
    app.add_typer(group, name="device")


def _group() -> None:
    """Look at memory devices."""


def device_show_command(
    spec: Annotated[str, typer.Argument(help="Device, such as reram_es; see: neurofa list devices.")],
    out: Annotated[Path | None, typer.Option(help="Picture. Default: device-NAME.png in this folder.")] = None,
    pulses: Annotated[
        int | None, typer.Option(min=1, help="Number of pulses up, then down. Default: from -1 to 1.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the devices and their noise.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Print where a device comes from, its constants and its measured moments, and draw its behaviour.

    The picture shows the response to pulses (or to requested changes), the
    error of programming, the noise of a read and the drift over a year, as far
    as the device has them: the median and a band from 5 to 95 % of 1000
    devices. Weights are in units of the largest initial weight.

    [bold]Examples[/bold]

      neurofa device show reram_es

      neurofa device show "pcm(g_max=20)" --out pcm.png

      neurofa device show reram_array_om --json
    """
    from experiments.charts.figure import draw_figure
    from experiments.reports.device import device_constants, device_moments, device_panels
    from hwmodels.device import Device
    from hwmodels.provenance import Provenance
    from hwmodels.registry import build

    device: Device = build("device", spec)
    panels = device_panels(device, pulses=pulses, seed=seed)
    picture = None
    if panels:
        picture = out if out is not None else Path(f"device-{device.name}.png")
        draw_figure(picture, list(panels.values()), title=spec)
    about: dict[str, Any] = {
        "device": spec,
        "source": device.source,
        **{key: getattr(device, key) if isinstance(device, Provenance) else "" for key in PROVENANCE},
        "constants": device_constants(device),
        "moments": device_moments(device, seed=seed),
        "panels": list(panels),
        "picture": None if picture is None else str(picture),
    }
    if as_json:
        print_json(about)
    else:
        _show(about)


def _show(about: dict[str, Any]) -> None:
    for key in ("device", "source", *PROVENANCE):
        if about[key]:
            typer.echo(f"{key.replace('_', ' ')}: {about[key]}")
    lines = [[c["name"], c["value"], c["meaning"]] for c in about["constants"]]
    print_table("constants", ["name", "value", "meaning"], lines, left=3)
    lines = [[key, f"{value:.4g}"] for key, value in about["moments"].items()]
    if lines:
        print_table("measured at weight 0, in units of the largest initial weight", ["what", "value"], lines)
    picture = about["picture"]
    typer.echo("no picture: the device stores exactly what is requested" if picture is None else f"picture: {picture}")
