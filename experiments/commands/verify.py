"""``neurofa verify``: whether a file holds what it claims."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from experiments.commands._options import AsJson
from experiments.commands._output import print_json, warn_of_folder


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command("verify")(verify_command)


def verify_command(
    file: Annotated[Path, typer.Argument(help="HDF5, ONNX or NIR file.", show_default=False)],
    against: Annotated[Path | None, typer.Option(help="Folder of the run that it should agree with.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check an exported or measured file: schema, checksums, shapes, units, ranges, and what it computes.

    HDF5: everything above, conductances and whole numbers against the weights,
    probe vectors. Measured files: which devices are out of tolerance. ONNX:
    checker with shape inference, onnxruntime against torch. NIR: types and
    numbers. Exit code 2 if a check fails.

    [bold]Examples[/bold]

      neurofa verify network.h5

      neurofa verify step.onnx --against runs/my-run

      neurofa verify measured.h5 --json
    """
    from experiments.exporting.load import load_run
    from exports.verify import verify_file

    if against is None:
        checks = verify_file(file)
    else:
        run = load_run(against)
        warn_of_folder(run.folder)
        checks = verify_file(file, run.learner, run.model(), run.sample_inputs(64))
    ok = all(c.ok for c in checks)
    if as_json:
        lines = [{"name": c.name, "ok": c.ok, "detail": c.detail} for c in checks]
        print_json({"file": str(file), "ok": ok, "checks": lines})
    else:
        for c in checks:
            typer.echo(f"{'ok  ' if c.ok else 'FAIL'} {c.name}: {c.detail}")
        typer.echo(f"{file}: {'all checks hold' if ok else 'does not hold'}")
    if not ok:
        raise typer.Exit(2)
