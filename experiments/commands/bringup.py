"""``neurofa bringup``: program and measure an exported file on a device model, without hardware."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from experiments.commands._options import AsJson
from experiments.commands._output import print_json


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command("bringup")(bringup_command)


def bringup_command(
    file: Annotated[Path, typer.Argument(help="Exported HDF5 file with conductances (--tile).", show_default=False)],
    device: Annotated[str, typer.Option(help="Memory device that plays the chip; see: neurofa list devices.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Measured file. Default: measured.h5 beside it.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Largest number of rounds of writing and verifying.")] = 20,
    reads: Annotated[int, typer.Option(help="Reads that one measurement averages.")] = 10,
    seed: Annotated[int, typer.Option(help="Seed of the devices and their noise.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Play the chip: program a file's conductances on a device model with write-verify, and measure them.

    The measured file goes back with neurofa import; neurofa verify names the
    devices that are out of tolerance.

    [bold]Examples[/bold]

      neurofa bringup network.h5 --device pcm -o measured.h5

      neurofa bringup network.h5 --device "stuck(device=reram_wan)" --rounds 5
    """
    from exports.bringup import simulate_bringup
    from exports.hdf5.read import open_hardware_file
    from exports.programming.chip import Programming
    from hwmodels.registry import build

    where = out if out is not None else file.with_name("measured.h5")
    with open_hardware_file(file) as stored:
        matrices = simulate_bringup(
            stored, build("device", device), where, Programming(rounds=rounds, reads=reads, seed=seed)
        )
    if as_json:
        print_json({"file": str(where), "device": device, "matrices": [asdict(m) for m in matrices]})
        return
    for m in matrices:
        typer.echo(f"{m.path}: {m.within} of {m.devices} devices ({m.share:.2%}) within tolerance, {m.rounds} rounds")
    typer.echo(f"{where}: take it back with neurofa import, look at it with neurofa verify")
