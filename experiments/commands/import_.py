"""``neurofa import``: exported or measured weights back into a run, and graphs of other simulators as runs."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from experiments.commands._options import AsJson, ChosenFields, with_run_options
from experiments.commands._output import print_json, warn_of_folder
from hwmodels.errors import NeurofaError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from experiments.exporting.load import LoadedRun
    from exports.hdf5.read import HardwareFile
    from exports.programming.fit import MatrixFit


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    fields = ("data", "rule", "device", "periphery", "optimizer", "loss", "seed")
    app.command("import")(with_run_options(import_command, only=fields, defaults={"data": "none"}))


def import_command(
    file: Annotated[Path, typer.Argument(help="Exported or measured HDF5 file, or NIR file.", show_default=False)],
    chosen: ChosenFields,
    into: Annotated[
        Path | None, typer.Option(help="HDF5: folder of a finished run of the same network and rule.")
    ] = None,
    values: Annotated[
        str | None, typer.Option(help="float, quantized or conductance. Default: float; of measured files conductance.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Matrices to take, such as feedback/matrix. Default: all.")
    ] = None,
    keep_scale: Annotated[
        bool, typer.Option("--keep-scale", help="Take measured numbers as they are, with their common factor.")
    ] = False,
    least_cosine: Annotated[
        float | None,
        typer.Option(min=-1, max=1, help="Smallest cosine to the matrix that is replaced. Default: 0.7."),
    ] = None,
    dt: Annotated[
        float | None, typer.Option(help="NIR: length of a tick, s. Default: the one that the file states.")
    ] = None,
    method: Annotated[str, typer.Option(help="NIR: step of the neurons, euler or exact.")] = "euler",
    surrogate: Annotated[str, typer.Option(help="NIR: surrogate derivative of a spike.")] = "atan",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="New folder. Default: RUN-imported; of a NIR file as of neurofa train."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put weights and feedback of a file into a copy of a run, or make a run of a network that another simulator wrote.

    [bold]HDF5[/bold], with --into: the weights are compared with what they replace.
    A whole exported file (float) gives back the exact state, device cells and
    feedback included. From whole numbers, conductances or measured files each
    matrix is read, a common factor is fitted and divided out, and the matrix is
    programmed in the place of the old one; cosine, error and outliers are
    printed. A matrix unlike the one that it replaces (transposed, reversed, of
    another run) is refused, unless --least-cosine allows it. The run itself
    stays as it is.

    A measured file is what neurofa bringup writes, or any HDF5 file with
    datasets such as feedback/matrix and layers/dense1/weight, shaped as in the
    export.

    [bold]NIR[/bold], with --data: the network of a graph becomes a run that has not
    trained, which evaluate, export, bringup and the other commands take. Its
    constants are in seconds; --dt says how long a tick is, and is only left out
    where the file states it, as files of neurofa export do. What no neurons of
    neurofa can be (delays, branches of neurons) is refused by name.

    [bold]Examples[/bold]

      neurofa import network.h5 --into runs/my-run

      neurofa import measured.h5 --into runs/my-run --out runs/my-run-measured

      neurofa import measured.h5 --into runs/my-run --only feedback/matrix

      neurofa import graph.nir --data nmnist --dt 1e-4

      neurofa train --data nmnist --rule eprop --network "nir(path='graph.nir', dt=1e-4)"
    """
    if file.suffix.lower() == ".nir":
        _refuse(file, {"--into": into, "--values": values, "--only": only, "--least-cosine": least_cosine})
        _import_graph(file, chosen, dt, method, surrogate, out, as_json=as_json)
        return
    _refuse(file, {f"--{name}": value for name, value in chosen.items()} | {"--dt": dt})
    if into is None:
        raise NeurofaError(
            f"got '{file}' without --into; expected the folder of the run whose weights it replaces; name it"
        )
    from experiments.exporting.load import load_run
    from exports.hdf5.checks import require_intact
    from exports.hdf5.read import open_hardware_file
    from hwmodels.files import file_digest

    where = out if out is not None else into.with_name(f"{into.resolve().name}-imported")
    if where.exists():
        raise NeurofaError(f"got '{where}', which exists; expected a new folder for the result; choose another --out")
    if file.suffix.lower() == ".onnx":
        raise NeurofaError(f"got '{file}'; expected HDF5 or NIR, since ONNX is written and not read; export to HDF5")
    run = load_run(into)
    warn_of_folder(run.folder)
    with open_hardware_file(file, measured=True) as stored:
        require_intact(stored)
        fitted = _replace_state(run, stored, values, only or (), keep_scale=keep_scale, least_cosine=least_cosine)
    origin = {"file": file.name, "sha256": file_digest(file), "matrices": [asdict(f) for f in fitted]}
    run.save_as(where, origin)
    if as_json:
        print_json({"file": str(file), "run": str(where), "matrices": [asdict(f) for f in fitted]})
        return
    if not fitted:
        typer.echo(f"{where}: exactly the state of {file}")
    for f in fitted:
        worst = f"; worst {f.worst[0]}" if f.worst else ""
        quality = f"scale {f.scale:.4g}, cosine {f.cosine:.5f}, error {f.error:.2%}, {f.outliers} outliers"
        typer.echo(f"{f.path}: {quality}{worst}")
    typer.echo(f"see what it is worth: neurofa evaluate {where}")


def _refuse(file: Path, options: dict[str, Any]) -> None:
    """Refuse options that the other kind of files has."""
    given = [name for name, value in options.items() if value]
    if given:
        kinds = ("NIR", "HDF5") if file.suffix.lower() == ".nir" else ("HDF5", "NIR")
        raise NeurofaError(
            f"got {given[0]} for '{file}'; expected it for {kinds[1]} files, this one is taken for {kinds[0]} by its"
            " name; leave it out, or rename the file"
        )


def _import_graph(
    file: Path,
    chosen: ChosenFields,
    dt: float | None,
    method: str,
    surrogate: str,
    out: Path | None,
    *,
    as_json: bool,
) -> None:
    """Make a run of a NIR file, and say what it is worth on the test data."""
    from experiments.exporting.graphs import graph_run, other_tick
    from experiments.runs.folder import RunFolder
    from experiments.runs.run import train_run
    from neurofa.networks.nir import NIR

    recipe = NIR(path=str(file), dt=dt, method=method, surrogate=surrogate)
    spec = graph_run(recipe, chosen)
    where = Path("runs", spec.folder_name) if out is None else out
    if where.exists():
        raise NeurofaError(f"got '{where}', which exists; expected a new folder for the run; choose another --out")
    result = train_run(spec, where)
    if as_json:
        print_json({"file": str(file), "run": str(where), **result.to_dict()})
        return
    typer.echo(repr(RunFolder(where).network()))
    accuracy = "" if result.test_accuracy is None else f"accuracy {result.test_accuracy:.2%}, "
    typer.echo(f"test {accuracy}loss {result.test_loss:.5g}")
    if note := other_tick(recipe, spec.data):
        typer.echo(note, err=True)
    again = shlex.join(["neurofa", "train", "--data", spec.data, "--network", spec.network])
    typer.echo(f"run: {where}; go on with: {again}")


def _replace_state(
    run: LoadedRun,
    stored: HardwareFile,
    values: str | None,
    only: Sequence[str],
    *,
    keep_scale: bool,
    least_cosine: float | None,
) -> list[MatrixFit]:
    """Restore the exact state, or replace matrices; return the fit of each matrix that was replaced."""
    from exports.graph.arrays import Matrix
    from exports.hdf5.read import Source
    from exports.hdf5.write import stored_arrays
    from exports.restore import replace_matrices, restore_learner

    exported = stored.kind == "network"
    tiled = set(stored.tiled())
    source: Any = values or ("float" if exported or not tiled else "conductance")
    if source not in get_args(Source):
        raise NeurofaError(f"got --values {source}; expected {', '.join(get_args(Source))}; choose one")
    if exported and source == "float" and not only:
        restore_learner(run.learner, stored)
        return []
    states = {path: array.state for path, array in stored_arrays(run.model()) if isinstance(array, Matrix)}
    held = [path for path in states if path in (tiled if source == "conductance" else stored)]
    for path in only:
        if path not in held:
            known = f"{', '.join(held) or 'none'}{did_you_mean(path, held)}"
            raise NeurofaError(f"got --only {path}; expected one of {known}; check the name")
    chosen = {path: states[path] for path in (only or held)}
    if not chosen:
        known = ", ".join(states)
        raise NeurofaError(
            f"got '{stored.path}' without a matrix of this run; expected some of {known}; check the names in it"
        )
    how: dict[str, Any] = {"source": source, "keep_scale": keep_scale, "seed": run.spec.seed}
    if least_cosine is not None:
        how["least_cosine"] = least_cosine
    return replace_matrices(run.learner, stored, chosen, **how)
