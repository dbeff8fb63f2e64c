"""``neurofa export``: a run for hardware and for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from experiments.exporting.files import Wanted
    from experiments.exporting.load import Held


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(export)


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.", show_default=False)],
    format: Annotated[str, typer.Option(help="hdf5, onnx, nir, tables (CSV and npz a tile), or all.")] = "hdf5",  # noqa: A002
    part: Annotated[str, typer.Option(help="forward, feedback, learning or all; HDF5 holds all.")] = "all",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File or folder. Default: RUN/export.")] = None,
    tile: Annotated[
        str | None, typer.Option(help="Inputs x outputs of one array, such as 256x256: adds conductances.")
    ] = None,
    map: Annotated[  # noqa: A002
        str | None, typer.Option(help="How weights become conductances. Default: a pair over the device's range.")
    ] = None,
    tolerance: Annotated[float, typer.Option(help="Of a conductance, as a share of its range.")] = 0.02,
    bits: Annotated[int | None, typer.Option(help="Adds whole numbers of so many bits, 2 to 16.")] = None,
    profile: Annotated[str | None, typer.Option(help="Chip that chooses bits and conductances.")] = None,
    convert_reset: Annotated[
        bool, typer.Option("--convert-reset", help="NIR: let neurons reset to zero, and measure the change.")
    ] = False,
    dt: Annotated[float | None, typer.Option(help="NIR: seconds a tick. Default: those of the neurons.")] = None,
    compression: Annotated[int, typer.Option(min=0, max=9, help="Level of gzip in HDF5.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print an object on stdout, and nothing else there.")] = False,
) -> None:
    """Write a trained network, its feedback and its learning rule to files for hardware and other tools.

    HDF5 holds everything: weights, feedback, conductances in siemens tile by tile, whole numbers, error encoding,
    learning constants, probe vectors with pass bands, checksums. ONNX: inference (float and int8), feedback (error in,
    teaching signals out) and one learning step (weights in, new weights out). NIR: spiking networks.

    [bold]Examples[/bold]

      neurofa export runs/my-run -o network.h5

      neurofa export runs/my-run --tile 256x256 --bits 8 -o network.h5

      neurofa export runs/my-run --format onnx --part learning -o step.onnx

      neurofa export runs/my-run --format all --tile 128x128 --map "pair(g_max=40)" -o files

    What a format cannot say is refused with the reason. See also: neurofa verify, neurofa inspect
    """
    from experiments.exporting.files import export as write
    from experiments.exporting.load import load_run

    held = load_run(run)
    wanted, more = _wanted(
        held, format=format, part=part, tile=tile, map=map, tolerance=tolerance, bits=bits, profile=profile,
        convert_reset=convert_reset, dt=dt, compression=compression,
    )  # fmt: skip
    where = out if out is not None else run / "export"
    written = write(held, held.model(**more), wanted, where)
    sizes = [sum(f.stat().st_size for f in p.rglob("*")) if p.is_dir() else p.stat().st_size for p in written.files]
    if json:
        import json as encoder

        content = {
            "run": str(run), "files": [{"file": str(p), "bytes": n} for p, n in zip(written.files, sizes, strict=True)],
            "refused": written.refused, "notes": written.notes,
        }  # fmt: skip
        typer.echo(encoder.dumps(content, indent=2))
        return
    for path, size in zip(written.files, sizes, strict=True):
        typer.echo(f"{path}: {size / 1e6:.2f} MB")
    for note in written.notes:
        typer.echo(note, err=True)
    for name, reason in written.refused.items():
        typer.echo(f"not written: {name}: {reason}", err=True)


def _wanted(
    held: Held, *, tile: str | None, map: str | None, tolerance: float, bits: int | None,  # noqa: A002
    profile: str | None, **rest: Any,
) -> tuple[Wanted, dict[str, Any]]:  # fmt: skip
    """What to write, and what joins the provenance."""
    from experiments.exporting.files import Wanted
    from experiments.exporting.load import profile_content, samples
    from experiments.reports.chips import build_profile, chip_findings
    from exports.programming.conductances import Mapping
    from exports.programming.integers import NumberFormat

    more: dict[str, Any] = {}
    if profile is not None:
        chip = build_profile(profile)
        chosen = profile_content(chip)
        bits, map = bits or chosen.get("bits"), map or chosen.get("conductance")  # noqa: A001
        findings = chip_findings(chip, held.spec)
        more["profile"] = profile
        more["profile_findings"] = [
            {"limit": f.title, "asked": f.asked, "chip": f.chip, "verdict": f.verdict} for f in findings
        ]
        for finding in findings:
            if finding.verdict == "broken":
                said = f"{finding.title}: {finding.asked}, {chip.name} has {finding.chip}"
                typer.echo(f"limit broken: {said} (see: neurofa check)", err=True)
    mapping = None if tile is None else Mapping(tile=_tile(tile), conductance=map, tolerance=tolerance)
    numbers = None if bits is None else NumberFormat(bits=bits)
    return Wanted(mapping=mapping, numbers=numbers, inputs=samples(held, 64), **rest), more


def _tile(text: str) -> tuple[int, int]:
    from hwmodels.errors import NeurofaError

    rows, cross, columns = text.lower().partition("x")
    if not (cross and rows.isdigit() and columns.isdigit()):
        raise NeurofaError(f"got --tile {text}; expected inputs x outputs, such as 256x256; write it like that")
    return int(rows), int(columns)
