"""``neurofa bringup``: the whole loop of programming and measuring, without hardware."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(bringup)


def bringup(
    file: Annotated[Path, typer.Argument(help="Exported HDF5 file with conductances (--tile).", show_default=False)],
    device: Annotated[str, typer.Option(help="Memory device that plays the chip; see: neurofa list devices.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Measured file. Default: measured.h5 beside it.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Most rounds of writing and verifying.")] = 20,
    reads: Annotated[int, typer.Option(help="Reads that a measurement averages.")] = 10,
    seed: Annotated[int, typer.Option(help="Of the devices and their noise.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print an object on stdout, and nothing else there.")] = False,
) -> None:
    """Play the chip: program a file's conductances on a device model with write-verify, and measure them.

    The measured file goes back with neurofa import, and neurofa verify names the devices out of tolerance.

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
        how = Programming(rounds=rounds, reads=reads, seed=seed)
        found = simulate_bringup(stored, build("device", device), where, how)
    if json:
        import json as encoder
        from dataclasses import asdict

        typer.echo(
            encoder.dumps({"file": str(where), "device": device, "matrices": [asdict(f) for f in found]}, indent=2)
        )
        return
    for f in found:
        typer.echo(f"{f.path}: {f.within} of {f.devices} devices ({f.share:.2%}) within tolerance, {f.rounds} rounds")
    typer.echo(f"{where}: take it back with neurofa import, look at it with neurofa verify")
