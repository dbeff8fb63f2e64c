"""``neurofa verify``: is a file what it says?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(verify)


def verify(
    file: Annotated[Path, typer.Argument(help="HDF5, ONNX or NIR file.", show_default=False)],
    against: Annotated[Path | None, typer.Option(help="Folder of the run that it should agree with.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print an object on stdout, and nothing else there.")] = False,
) -> None:
    """Check an exported or measured file: schema, checksums, shapes, units, ranges, and what it computes.

    HDF5: everything above, conductances and whole numbers against the weights, probe vectors. Measured files: which
    devices are out of tolerance. ONNX: checker with shape inference, onnxruntime against torch. NIR: types and numbers.
    Exit code 2 if anything fails.

    [bold]Examples[/bold]

      neurofa verify network.h5

      neurofa verify step.onnx --against runs/my-run

      neurofa verify measured.h5 --json
    """
    from experiments.exporting.load import load_run, samples
    from exports.verify import verify_file

    if against is None:
        checks = verify_file(file)
    else:
        held = load_run(against)
        checks = verify_file(file, held.learner, held.model(), samples(held, 64))
    ok = all(c.ok for c in checks)
    if json:
        import json as encoder

        content = {
            "file": str(file), "ok": ok, "checks": [{"name": c.name, "ok": c.ok, "detail": c.detail} for c in checks]
        }  # fmt: skip
        typer.echo(encoder.dumps(content, indent=2))
    else:
        for c in checks:
            typer.echo(f"{'ok  ' if c.ok else 'FAIL'} {c.name}: {c.detail}")
        typer.echo(f"{file}: {'all checks hold' if ok else 'does not hold'}")
    if not ok:
        raise typer.Exit(2)
