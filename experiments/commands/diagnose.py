"""``neurofa diagnose``: what the measurements of a run mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.commands._options import AsJson
from experiments.commands._output import print_json, print_table, warn_of_folder
from hwmodels.errors import NeurofaError

if TYPE_CHECKING:
    from experiments.diagnosis.diagnosis import Diagnosis
    from neurofa.diagnostics.phases import Phases


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command("diagnose")(diagnose_command)


def diagnose_command(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run, trained with --log all.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Say which layers of a run aligned, what kept the others from it, and whether they learnt anything useful.

    [bold]Examples[/bold]

      neurofa train --log all --out runs/my-run

      neurofa diagnose runs/my-run

    [bold]Causes[/bold] that it tells apart: a feedback gain too small or too large
    (judged for sgd only, since other optimizers rescale every update), feedback
    or alignment matrices that are badly conditioned, convolutions, vanished
    gradients, too little training. [bold]Useful[/bold] is a hidden layer whose features
    a linear probe separates better, on held-out samples, than those of the
    readout-only control (sign test, p < 0.05); the data are read for that. The
    bounds that decide, with their sources, are in --json.

    A picture of alignment, norms, conditioning and probes over training is
    drawn into the folder (diagnosis.png).
    """
    from experiments.diagnosis.diagnosis import diagnose
    from experiments.diagnosis.evidence import collect_evidence
    from experiments.diagnosis.picture import draw_diagnosis
    from experiments.diagnosis.probes import probe_run
    from experiments.diagnosis.report import diagnosis_sentences, diagnosis_to_json
    from experiments.runs.folder import RunFolder
    from experiments.runs.measurements import read_measurements

    folder = RunFolder(run)
    spec = folder.spec()
    folder.require_finished()
    warn_of_folder(folder)
    result = folder.read_result()
    measurements = read_measurements(result.rows)
    if all(measurement.alignment is None for measurement in measurements):
        raise NeurofaError(f"got '{run}' with log={spec.log}; expected measurements of alignment; train with --log all")
    network = folder.network()
    evidence = collect_evidence(spec, result, network, measurements, probe_run(folder))
    diagnosis = diagnose(evidence, network.outputs)
    draw_diagnosis(folder.diagnosis, measurements, result)
    if as_json:
        print_json(diagnosis_to_json(diagnosis, result, folder.diagnosis))
        return
    _show(diagnosis, diagnosis_sentences(diagnosis, result), f"{spec.rule}, {spec.network} on {spec.data}")
    typer.echo(f"picture: {folder.diagnosis}")


def _show(diagnosis: Diagnosis, summary: list[str], title: str) -> None:
    headers = ["layer", "state", "gradient", "weights", "aligned at", "probe", "control"]
    rows = []
    for layer in diagnosis.layers:
        e = layer.evidence
        probe = ("-", "-") if e.probe is None else (f"{e.probe.end:.3f}", f"{e.probe.control:.3f}")
        gradient = e.gradient_alignment
        step = "-" if gradient is None or gradient.align is None else f"{gradient.align:.0f}"
        rows.append([e.name, layer.state, _phases(gradient), _phases(e.weight_alignment), step, *probe])
    print_table(f"{title} (alignment: start, peak, end; time: steps)", headers, rows, left=2)
    for sentence in summary:
        typer.echo(sentence)


def _phases(alignment: Phases | None) -> str:
    return "-" if alignment is None else f"{alignment.start:.2f} {alignment.peak:.2f} {alignment.end:.2f}"
