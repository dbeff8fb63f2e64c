"""The command ``neurofa benchmark``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from neurofa.chips.fit import Finding

HELP = """Train a spiking network on a task of the field and report what its benchmarks report.

Accuracy (or sMAPE, %), footprint, connection and activation sparsity, synaptic operations and membrane updates of a
sample are counted as the NeuroBench harness counts them. Beside them stands what it leaves out: memory of neurons and
of eligibility traces for one sample, operations of learning, writes per weight from the devices' ledgers, and energy
where a figure was published.

Tasks: digits (the default), mackey_glass and evidence need no files; rate_mnist, spoken_digits, nmnist_small, nmnist
and shd need theirs in the folder that NEUROFA_DATA names. Each is a run with documented settings, which options
override; finished runs in the folder are not done again.

--profile loihi1 or reckon chooses number formats of weights, membranes, traces and errors, batch, rate and rule as the
chip has them, and says which of its limits are broken all the same.

Examples:

  neurofa benchmark

  neurofa benchmark evidence --rule "eprop(filtered=False)" --seeds 3

  neurofa benchmark digits --profile reckon

  neurofa benchmark digits --device ecram --optimizer "sgd(lr=0.1)" --json
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("benchmark", help=HELP)(benchmark)


def benchmark(
    task: Annotated[str, typer.Argument(help="Name of the task.")] = "digits",
    rule: Annotated[str | None, typer.Option(help="Learning rule. Default: eprop.")] = None,
    network: Annotated[str | None, typer.Option(help="Network. Default: that of the task.")] = None,
    data: Annotated[str | None, typer.Option(help="Data set of sequences. Default: that of the task.")] = None,
    device: Annotated[str | None, typer.Option(help="Device that stores the weights. Default: digital.")] = None,
    profile: Annotated[str | None, typer.Option(help="Chip that chooses what is not given. Default: none.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="Optimizer. Default: that of the task.")] = None,
    schedule: Annotated[str | None, typer.Option(help="Course of the learning rate. Default: cosine.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training data.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples in a step.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs, with seeds 0, 1, 2, ...")] = 1,
    chunk: Annotated[int | None, typer.Option(help="Ticks that are worked on at once. Default: 100.")] = None,
    update: Annotated[str | None, typer.Option(help="When weights change: end (default), chunk, tick.")] = None,
    count_writes: Annotated[
        bool, typer.Option("--count-writes/--no-count-writes", help="Keep a ledger of writes to the weights.")
    ] = True,
    compute: Annotated[str | None, typer.Option(help="Where to compute: cpu (default), cuda or auto.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads. Default: torch's choice.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder. Default: runs/benchmark-TASK-RULE-HASH.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print an object on stdout, and nothing else there.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no table.")] = False,
) -> None:
    """Train, measure and show."""
    import json
    from dataclasses import replace

    import torch

    from experiments.benchmarks.report import run_task, task_spec, task_summary
    from experiments.benchmarks.tasks import find_task
    from experiments.files import make_folder, write_json
    from experiments.reports.chips import build_profile, chip_findings
    from experiments.runs.interrupt import Interrupted
    from experiments.runs.progress import Bar, Progress
    from experiments.runs.spec import canonical
    from hwmodels.spec import parse

    known = find_task(task)
    options = {
        "data": data, "network": network, "rule": rule, "device": device, "optimizer": optimizer, "schedule": schedule,
        "epochs": epochs, "batch_size": batch_size, "chunk": chunk, "update": update, "compute": compute,
    }  # fmt: skip
    given = {key: value for key, value in options.items() if value is not None}
    if threads is not None:
        torch.set_num_threads(threads)
    chip, findings = None, []
    fields: dict[str, Any] = {**known.fields, **given}
    if profile is not None:
        from experiments.benchmarks.spiking_chip import spiking_chip_fields

        chip = build_profile(profile)
        fields = spiking_chip_fields(chip, known.fields, given)
    spec = task_spec(fields, count_writes=count_writes)
    if chip is not None:
        findings = chip_findings(chip, spec)
    if out is None:
        out = Path("runs") / f"benchmark-{task}-{parse(canonical(spec.rule)).name}-{spec.key[:8]}"
    judged = []
    try:
        with Progress() if quiet else Bar() as progress:
            for seed in range(seeds):
                one = replace(spec, seed=seed)
                judged.append(run_task(one, make_folder(out / f"seed-{seed}"), chip=chip, progress=progress))
    except Interrupted:
        typer.echo("stopped; the same command goes on", err=True)
        raise typer.Exit(130) from None
    extra: dict[str, Any] = {"device": canonical(str(fields.get("device", "digital"))), "chunk": spec.chunk}
    if chip is not None:
        extra["profile"] = {
            "name": profile, "source": chip.source,
            "verdict": "broken" if any(f.verdict == "broken" for f in findings) else "holds",
            "limits": [
                {"limit": f.limit, "title": f.title, "chip": f.chip, "asked": f.asked, "excess": f.excess,
                 "verdict": f.verdict, "mark": f.mark}
                for f in findings
            ],
        }  # fmt: skip
    result = task_summary(task, spec, [each.figures for each in judged], extra)
    write_json(out / "benchmark.json", result)
    pictures = _pictures(spec, judged[0].network, out, f"{task}, {spec.rule}")
    if as_json:
        sys.stdout.write(json.dumps(result, indent=1, allow_nan=False) + "\n")
    elif not quiet:
        _show(result, known.about, findings, [out / name for name in pictures])


def _pictures(spec: Any, network: Any, out: Path, title: str) -> list[str]:
    """Pictures of the first test sample."""
    from experiments.benchmarks.pictures import draw_sample
    from experiments.data import Sequences
    from experiments.runs.trainer import load_data
    from hwmodels.registry import build
    from neurofa.training.learner import Learner

    dataset = load_data(spec.data)
    assert isinstance(dataset, Sequences)  # noqa: S101 (the runs have been made on it)
    network = network.to("cpu")
    learner = Learner(
        network, spec.rule, optimizer=build("optimizer", spec.optimizer)(network.parameters()), loss=spec.loss,
        seed=spec.seed, feedback_seed=spec.feedback_seed,
    )  # fmt: skip
    xs, _ = next(dataset.batches("test", 1))
    return draw_sample(learner, xs, out, tick=dataset.tick, title=title)


def _show(result: dict[str, Any], about: str, findings: list[Finding], pictures: list[Path]) -> None:
    from rich.console import Console

    from experiments.tables import percent_text, standard_deviation, text_table

    console = Console()
    seeds = result["seeds"]
    rows = []
    if "accuracy" in result:
        rows.append(
            ["accuracy, %", percent_text(result["accuracy"], standard_deviation([s["accuracy"] for s in seeds]))]
        )
    for key, words in (("smape", "sMAPE of the next value, %"), ("smape_autonomous", "sMAPE on its own, %")):
        if key in result:
            rows.append([words, f"{result[key]:.4g}"])
    operations = result["synaptic_operations"]
    learning = result["training_operations"]
    written = result["writes_per_weight"]
    sparsity = result["activation_sparsity"]
    rows += [
        ["footprint, bytes", f"{result['footprint_bytes']:,}"],
        ["the same in the device's words, bytes", f"{result['stored_bytes']:,.0f}"],
        ["connection sparsity", f"{result['connection_sparsity']:.4f}"],
        ["activation sparsity", "-" if sparsity is None else f"{sparsity:.4f}"],
        *[[f"  {name}", f"{value:.4f}"] for name, value in result["activation_sparsity_by_layer"].items()],
        ["effective MACs, a sample", f"{operations['effective_macs']:,.0f}"],
        ["effective ACs, a sample", f"{operations['effective_acs']:,.0f}"],
        ["dense operations, a sample", f"{operations['dense']:,.0f}"],
        ["membrane updates, a sample", f"{result['membrane_updates']:,.0f}"],
        ["state of neurons, bytes a sample", _bytes(result, "state_bytes")],
        ["traces of learning, bytes a sample", _bytes(result, "trace_bytes")],
        ["learning, FLOP a sample", f"{sum(learning['flop'].values()):,.0f}"],
        [
            "updates by events, pairs a sample",
            "-" if learning["update_events"] is None
            else f"{learning['update_events']:,.0f} of {learning['update_dense']:,.0f}",
        ],
        [
            "writes a weight in the training",
            "not counted" if written is None else f"{written['mean']:.4g}, at most {written['largest']:.4g}",
        ],
    ]  # fmt: skip
    for each in result["energy"]:
        bounds = " to ".join("?" if bound is None else f"{bound:.3g}" for bound in (each["low"], each["high"]))
        rows.append([f"energy of {each['what']}, J ({each['sure']})", bounds])
    rows += [["energy not known", words] for words in result["no_energy"]]
    runs = "1 seed" if len(seeds) == 1 else f"{len(seeds)} seeds"
    title = f"{result['task']}: {about}; {result['rule']}, weights on {result['device']}, {runs}"
    console.print(text_table(title, ["measure", "value"], rows))
    broken = [finding for finding in findings if finding.verdict == "broken"]
    if findings:
        chip = result["profile"]["name"]
        console.print(f"{chip}: {len(broken)} of {len(findings)} limits broken", highlight=False)
        for finding in broken:
            console.print(f"  {finding.title}: {finding.asked}, the chip has {finding.chip} ({finding.excess})")
    for picture in pictures:
        console.print(f"picture: {picture}", highlight=False)


def _bytes(result: dict[str, Any], key: str) -> str:
    return f"{result[key]:,} ({result[f'{key}_stored']:,.0f} in its formats)"
