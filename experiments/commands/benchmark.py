"""``neurofa benchmark``: a spiking network on a task of the field, and the figures that its benchmarks report."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments.commands._options import AsJson, ChosenFields, Profile, Quiet, Threads, with_run_options
from experiments.commands._output import print_json, print_table

if TYPE_CHECKING:
    from experiments.benchmarks.tasks import Task
    from experiments.runs.spec import RunSpec
    from neurofa.chips.fit import Finding
    from neurofa.core.network import Network

OF_THE_TASK = ("data", "network", "optimizer", "schedule", "loss", "epochs", "batch_size")
"""Fields of a run whose default is that of the task."""


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    defaults = {"rule": "eprop", **dict.fromkeys(OF_THE_TASK, "that of the task")}
    app.command("benchmark")(with_run_options(benchmark_command, without=("seed",), defaults=defaults))


def benchmark_command(
    chosen: ChosenFields,
    task: Annotated[str, typer.Argument(help="Name of the task, such as evidence.")] = "digits",
    profile: Profile = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of runs, with seeds 0, 1, 2, ...")] = 1,
    count_writes: Annotated[
        bool, typer.Option("--count-writes/--no-count-writes", help="Count the writes to every weight.")
    ] = True,
    threads: Threads = None,
    out: Annotated[Path | None, typer.Option(help="Folder. Default: runs/benchmark-TASK-RULE-HASH.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train a spiking network on a task of the field and report what its benchmarks report.

    Accuracy (or sMAPE, %), footprint, connection and activation sparsity,
    synaptic operations and membrane updates of a sample are counted as the
    NeuroBench harness counts them. Beside them are figures that it
    leaves out: memory of neurons and of eligibility traces for one sample, operations of
    learning, counted writes per weight, and energy where a figure was
    published.

    Tasks: digits (the default), mackey_glass and evidence need no files;
    rate_mnist, spoken_digits, nmnist_small, nmnist and shd need theirs in the
    folder that NEUROFA_DATA names. Each is a run with documented settings,
    which options override. Finished runs in the folder are not done again.

    --profile loihi1 or reckon chooses number formats of weights, membranes,
    traces and errors, batch size, learning rate and rule as the chip has them,
    and names the limits that are broken nevertheless.

    [bold]Examples[/bold]

      neurofa benchmark

      neurofa benchmark evidence --rule "eprop(filtered=False)" --seeds 3

      neurofa benchmark digits --profile reckon

      neurofa benchmark digits --device ecram --optimizer "sgd(lr=0.1)" --json
    """
    import torch

    from experiments.benchmarks.report import run_task, task_spec, task_summary
    from experiments.benchmarks.spiking_chip import spiking_chip_fields
    from experiments.benchmarks.tasks import find_task
    from experiments.files import make_folder, write_json
    from experiments.reports.chips import build_profile, chip_findings
    from experiments.runs.interrupt import Interrupted
    from experiments.runs.progress import Progress, shown_progress
    from experiments.runs.spec import CHUNK, canonical
    from hwmodels.spec import parse

    known = find_task(task)
    if threads is not None:
        torch.set_num_threads(threads)
    chip = None if profile is None else build_profile(profile)
    values: dict[str, Any] = {**known.fields, **chosen}
    if chip is not None:
        values = spiking_chip_fields(chip, known.fields, chosen)
    spec = task_spec(values, count_writes=count_writes)
    findings = [] if chip is None else chip_findings(chip, spec)
    if out is None:
        out = Path("runs") / f"benchmark-{task}-{parse(spec.rule).name}-{spec.key[:8]}"
    judged = []
    try:
        with Progress() if quiet else shown_progress() as progress:
            for seed in range(seeds):
                folder = make_folder(out / f"seed-{seed}")
                judged.append(run_task(replace(spec, seed=seed), folder, chip=chip, progress=progress))
    except Interrupted:
        typer.echo("stopped; the same command continues", err=True)
        raise typer.Exit(130) from None
    reused = sum(each.reused for each in judged)
    if reused and not quiet:
        typer.echo(f"{reused} of {seeds} runs reused from {out}", err=True)
    title = task_title(task, known, spec)
    extra: dict[str, Any] = {
        "data": spec.data,
        "title": title,
        "device": canonical(str(values.get("device", "digital"))),
        "chunk": spec.chunk or CHUNK,
    }
    if chip is not None:
        verdict = "broken" if any(f.verdict == "broken" for f in findings) else "holds"
        limits = [asdict(finding) for finding in findings]
        extra["profile"] = {"name": profile, "source": chip.source, "verdict": verdict, "limits": limits}
    result = task_summary(task, spec, [each.figures for each in judged], extra)
    write_json(out / "benchmark.json", result)
    pictures = _draw_first_sample(spec, judged[0].network, out, f"{title}, {spec.rule}")
    if as_json:
        print_json(result)
    elif not quiet:
        _show(result, findings)
        for name in pictures:
            typer.echo(f"picture: {out / name}")


def _draw_first_sample(spec: RunSpec, network: Network, out: Path, title: str) -> list[str]:
    """Draw rasters, membranes and eligibility of the first test sample; return the names of the pictures."""
    from experiments.benchmarks.pictures import draw_sample
    from experiments.data import Sequences
    from experiments.runs.build import build_learner, load_data

    dataset = load_data(spec.data)
    assert isinstance(dataset, Sequences)  # noqa: S101 (narrows a type: run_task refuses other data)
    learner = build_learner(network.to("cpu"), spec)
    xs, _ = next(dataset.batches("test", 1))
    return draw_sample(learner, xs, out, tick=dataset.tick, title=title)


def task_title(name: str, task: Task, spec: RunSpec) -> str:
    """Return what was trained: the task by its description, or what a user has put in the place of its parts.

    Args:
        name: of the task.
        task: with its own data and network.
        spec: the run.
    """
    from experiments.runs.spec import RunSpec

    own = RunSpec(**{**task.fields, "rule": spec.rule})  # type: ignore[arg-type]
    if spec.data != own.data:
        return f"{spec.data} with the settings of {name}"
    return f"{name}: {task.about}" if spec.network == own.network else f"{name} by {spec.network}"


def _show(result: dict[str, Any], findings: list[Finding]) -> None:
    number = len(result["seeds"])
    runs = "1 seed" if number == 1 else f"{number} seeds"
    title = f"{result['title']}; {result['rule']}, weights on {result['device']}, {runs}"
    print_table(title, ["measure", "value"], _lines(result))
    if findings:
        chip = result["profile"]["name"]
        broken = [finding for finding in findings if finding.verdict == "broken"]
        typer.echo(f"{chip}: {len(broken)} of {len(findings)} limits broken")
        for finding in broken:
            typer.echo(f"  {finding.title}: {finding.needed}, the chip has {finding.chip} ({finding.excess})")


def _lines(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the lines of the table: a measure and its value as text."""
    from experiments.tables import percent_text, standard_deviation

    lines = []
    if "accuracy" in result:
        deviation = standard_deviation([seed["accuracy"] for seed in result["seeds"]])
        lines.append(("accuracy, %", percent_text(result["accuracy"], deviation)))
    for key, name in (("smape", "sMAPE of the next value, %"), ("smape_autonomous", "sMAPE on its own, %")):
        if key in result:
            lines.append((name, f"{result[key]:.4g}"))
    operations, learning = result["synaptic_operations"], result["training_operations"]
    written, sparsity = result["writes_per_weight"], result["activation_sparsity"]
    events = "-"
    if learning["update_events"] is not None:
        events = f"{learning['update_events']:,.0f} of {learning['update_dense']:,.0f}"
    writes = "not counted" if written is None else f"{written['mean']:.4g}, at most {written['largest']:.4g}"
    lines += [
        ("footprint, bytes", f"{result['footprint_bytes']:,}"),
        ("the same in the device's words, bytes", f"{result['stored_bytes']:,.0f}"),
        ("connection sparsity", f"{result['connection_sparsity']:.4f}"),
        ("activation sparsity", "-" if sparsity is None else f"{sparsity:.4f}"),
        *[(f"  {name}", f"{value:.4f}") for name, value in result["activation_sparsity_by_layer"].items()],
        ("effective MACs, a sample", f"{operations['effective_macs']:,.0f}"),
        ("effective ACs, a sample", f"{operations['effective_acs']:,.0f}"),
        ("dense operations, a sample", f"{operations['dense']:,.0f}"),
        ("membrane updates, a sample", f"{result['membrane_updates']:,.0f}"),
        ("state of neurons, bytes a sample", _bytes(result, "state_bytes")),
        ("traces of learning, bytes a sample", _bytes(result, "trace_bytes")),
        ("learning, FLOP a sample", f"{sum(learning['flop'].values()):,.0f}"),
        ("updates by events, pairs a sample", events),
        ("writes a weight in the training", writes),
    ]
    for line in result["energy"]:
        bounds = " to ".join("?" if bound is None else f"{bound:.3g}" for bound in (line["low"], line["high"]))
        lines.append((f"energy of {line['what']}, J ({line['sure']})", bounds))
    return [*lines, *[("energy not known", reason) for reason in result["no_energy"]]]


def _bytes(result: dict[str, Any], key: str) -> str:
    return f"{result[key]:,} ({result[f'{key}_stored']:,.0f} in its formats)"
