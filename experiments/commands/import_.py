"""``neurofa import``: exported or measured weights back into a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from experiments.exporting.load import Held
    from exports.hdf5.read import HardwareFile
    from exports.restore import MatrixFit


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import")(import_)


def import_(
    file: Annotated[Path, typer.Argument(help="Exported or measured HDF5 file.", show_default=False)],
    into: Annotated[Path, typer.Option(help="Folder of a finished run of the same network and rule.")],
    values: Annotated[
        str | None, typer.Option(help="float, quantized or conductance. Default: float; of measured files conductance.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Matrices to take, such as feedback/matrix. Default: all.")
    ] = None,
    keep_scale: Annotated[
        bool, typer.Option("--keep-scale", help="Take measured numbers as they are, with their common factor.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Leave the run alone, and write a copy of it.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print an object on stdout, and nothing else there.")] = False,
) -> None:
    """Put weights and feedback of a file into a run, and say how they compare with what they replace.

    A whole exported file (float) gives back the exact state, device cells and feedback included. From whole numbers,
    conductances or measured files each matrix is read, a common factor is fitted and taken out, and the matrix is
    programmed in the place of the old one; cosine, error and outliers are told.

    A measured file is what neurofa bringup writes, or any HDF5 file with datasets such as feedback/matrix and
    layers/dense1/weight, shaped as in the export.

    [bold]Examples[/bold]

      neurofa import network.h5 --into runs/my-run

      neurofa import measured.h5 --into runs/my-run --out runs/my-run-measured

      neurofa import measured.h5 --into runs/my-run --only feedback/matrix
    """
    import shutil

    from experiments.exporting.load import load_run
    from exports.hdf5.read import open_hardware_file
    from hwmodels.errors import NeurofaError

    held = load_run(into)
    with open_hardware_file(file, measured=True) as stored:
        fitted = _take(held, stored, values, only, keep_scale=keep_scale)
    if out is not None:
        if out.exists():
            raise NeurofaError(f"got --out {out}, which is there; expected a new folder; choose another")
        shutil.copytree(into, out)
        held.folder = type(held.folder)(out)
    held.save()
    where = out or into
    if json:
        import json as encoder
        from dataclasses import asdict

        typer.echo(
            encoder.dumps({"file": str(file), "run": str(where), "matrices": [asdict(f) for f in fitted]}, indent=2)
        )
        return
    if not fitted:
        typer.echo(f"{where}: exactly the state of {file}")
    for f in fitted:
        worst = f"; worst {f.worst[0]}" if f.worst else ""
        typer.echo(
            f"{f.path}: scale {f.scale:.4g}, cosine {f.cosine:.5f}, error {f.error:.2%}, {f.outliers} outliers{worst}"
        )
    typer.echo(f"see what it is worth: neurofa evaluate {where}")


def _take(
    held: Held, stored: HardwareFile, values: str | None, only: list[str] | None, *, keep_scale: bool
) -> list[MatrixFit]:
    from typing import get_args

    from exports.graph.arrays import Matrix
    from exports.hdf5.read import Source
    from exports.hdf5.write import stored_arrays
    from exports.restore import replace_matrices, restore_learner
    from hwmodels.errors import NeurofaError, did_you_mean

    exported = stored.kind == "network"
    tiled = set(stored.tiled())
    source: Any = values or ("float" if exported or not tiled else "conductance")
    if source not in get_args(Source):
        raise NeurofaError(f"got --values {source}; expected {', '.join(get_args(Source))}; choose one")
    if exported and source == "float" and not only:
        restore_learner(held.learner, stored)
        return []
    known = {path: array.state for path, array in stored_arrays(held.model()) if isinstance(array, Matrix)}
    there = [path for path in known if path in (tiled if source == "conductance" else stored)]
    for path in only or ():
        if path not in there:
            raise NeurofaError(
                f"got --only {path}; expected one of {', '.join(there) or 'none'}{did_you_mean(path, there)}; check"
                " the name"
            )
    chosen = {path: known[path] for path in (only or there)}
    if not chosen:
        raise NeurofaError(
            f"got '{stored.path}' without a matrix of this run; expected some of {', '.join(known)}; check the names"
            " in it"
        )
    return replace_matrices(held.learner, stored, chosen, source=source, keep_scale=keep_scale, seed=held.spec.seed)
