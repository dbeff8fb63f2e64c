"""``neurofa export``: a run as files for hardware and for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.commands._options import AsJson
from experiments.commands._output import print_json, warn_of_broken_limits, warn_of_folder


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command("export")(export_command)


def export_command(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.", show_default=False)],
    format: Annotated[str, typer.Option(help="hdf5, onnx, nir, tables (CSV and npz of each tile), or all.")] = "hdf5",  # noqa: A002
    part: Annotated[str, typer.Option(help="forward, feedback, learning or all; HDF5 holds all.")] = "all",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File or folder. Default: RUN/export.")] = None,
    tile: Annotated[
        str | None, typer.Option(help="Inputs x outputs of one array, such as 256x256: adds conductances.")
    ] = None,
    conductance: Annotated[
        str | None,
        typer.Option("--map", help="How weights become conductances. Default: a pair over the device's range."),
    ] = None,
    tolerance: Annotated[float, typer.Option(help="Tolerance of a conductance, as a share of its range.")] = 0.02,
    bits: Annotated[int | None, typer.Option(help="Adds whole numbers of so many bits, 2 to 16.")] = None,
    profile: Annotated[str | None, typer.Option(help="Chip that chooses bits and conductances.")] = None,
    convert_reset: Annotated[
        bool, typer.Option("--convert-reset", help="NIR: let neurons reset to zero, and measure the change.")
    ] = False,
    dt: Annotated[float | None, typer.Option(help="NIR: seconds a tick. Default: those of the neurons.")] = None,
    compression: Annotated[int, typer.Option(min=0, max=9, help="Level of gzip in HDF5.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Write a trained network, its feedback and its learning rule to files for hardware and other tools.

    HDF5 holds everything: weights, feedback, conductances in siemens tile by
    tile, whole numbers, error encoding, learning constants, probe vectors with
    pass bands, checksums. ONNX: inference (float and int8), feedback (error in,
    teaching signals out) and one learning step (weights in, new weights out).
    NIR: spiking networks; Norse ignores the resistance r = tau / dt of its
    neurons, so that their weights have to be multiplied by it there.

    [bold]Examples[/bold]

      neurofa export runs/my-run -o network.h5

      neurofa export runs/my-run --tile 256x256 --bits 8 -o network.h5

      neurofa export runs/my-run --format onnx --part learning -o step.onnx

      neurofa export runs/my-run --format all --tile 128x128 --map "pair(g_max=40)" -o files

    What a format cannot hold is refused with the reason. See also: neurofa verify, neurofa inspect
    """
    from experiments.exporting.files import ExportRequest, write_export
    from experiments.exporting.load import chip_formats, load_run
    from experiments.reports.chips import build_profile, chip_findings
    from exports.programming.conductances import TileMapping
    from exports.programming.integers import NumberFormat

    loaded = load_run(run)
    warn_of_folder(loaded.folder)
    more: dict[str, Any] = {}
    if profile is not None:
        chip = build_profile(profile)
        chosen = chip_formats(chip)
        bits, conductance = bits or chosen.get("bits"), conductance or chosen.get("conductance")
        findings = chip_findings(chip, loaded.spec)
        keys = {"limit": "title", "asked": "needed", "chip": "chip", "verdict": "verdict"}
        limits = [{key: getattr(finding, name) for key, name in keys.items()} for finding in findings]
        more = {"profile": profile, "profile_findings": limits}
        warn_of_broken_limits(chip, findings)
    request = ExportRequest(
        format=format,
        part=part,
        compression=compression,
        convert_reset=convert_reset,
        dt=dt,
        mapping=None if tile is None else TileMapping(tile=_tile(tile), conductance=conductance, tolerance=tolerance),
        numbers=None if bits is None else NumberFormat(bits=bits),
        inputs=loaded.sample_inputs(64),
    )
    written = write_export(loaded, loaded.model(**more), request, out if out is not None else run / "export")
    sizes = {path: _bytes(path) for path in written.files}
    if as_json:
        files = [{"file": str(path), "bytes": size} for path, size in sizes.items()]
        print_json({"run": str(run), "files": files, "refused": written.refused, "notes": written.notes})
        return
    for path, size in sizes.items():
        typer.echo(f"{path}: {size / 1e6:.2f} MB")
    for note in written.notes:
        typer.echo(note, err=True)
    for name, reason in written.refused.items():
        typer.echo(f"not written: {name}: {reason}", err=True)


def _bytes(path: Path) -> int:
    """Return the size of a file, or of all that a folder holds."""
    return sum(f.stat().st_size for f in path.rglob("*")) if path.is_dir() else path.stat().st_size


def _tile(text: str) -> tuple[int, int]:
    from hwmodels.errors import NeurofaError

    rows, cross, columns = text.lower().partition("x")
    if not (cross and rows.isdigit() and columns.isdigit()):
        raise NeurofaError(f"got --tile {text}; expected inputs x outputs, such as 256x256; write it like that")
    return int(rows), int(columns)
