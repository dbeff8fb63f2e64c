"""Does the dimension of the error that a retina receives decide what its receptive fields look like?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from experiments.charts.figure import Axis, Panel, draw_figure
from experiments.charts.marks import HeatMap
from experiments.papers._receptive_fields import Shape, receptive_fields, shape_of
from experiments.runs.run import train_run
from experiments.runs.spec import RunSpec
from experiments.sweeps.experiment import Experiment, ExperimentCheck, Findings, above
from experiments.sweeps.setup import Setup
from experiments.sweeps.workers import map_processes
from experiments.tables import Record, mean, standard_deviation
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from hwmodels.spec import Spec

BP, NARROW = "bp", "bp, narrow optic nerve"
INDICES = ("centre_surround", "opponency", "orientation")


class ReceptiveFields(Experiment, name="ldfa_receptive_fields"):
    """Receptive fields of the optic nerve after training with an error of rank r between cortex and retina.

    Only the return path of the first cortical convolution has rank r, so that the error that reaches the retina has r
    dimensions a position; all others have full rank. Controls: backpropagation, and backpropagation through an optic
    nerve of few channels, the forward bottleneck that makes fields centre-surround in the earlier work. The source
    shows pictures; here every field also gets a centre-surround and an orientation index.

    Args:
        data: grey images.
        ranks: r.
        narrow: channels of the narrow optic nerve.
        epochs: of all runs, instead of 6 (full: 120).
    """

    source = "Hanut and Kadmon 2025, arXiv 2502.20580 v1-v3, Fig. 4c, d; after Lindsey et al. 2019, arXiv 1901.00945"
    question = "Does feedback of low rank make receptive fields centre-surround, and feedback of high rank oriented?"
    parts = ("fields",)

    def __init__(
        self, *, data: Spec | str | None = None, ranks: list[int] | None = None, narrow: int | None = None,
        epochs: int | None = None,
    ) -> None:  # fmt: skip
        self.data, self.ranks, self.narrow, self.epochs = data, ranks, narrow, epochs

    def run(self, part: str, setup: Setup) -> Findings:
        ranks = self.ranks or ([1, 4, 32] if setup.full else [1, 2, 8])
        specs = {(m, s): self._spec(rule, width, s, setup) for m, rule, width in self._methods(ranks, setup.full)
                 for s in range(setup.seeds)}  # fmt: skip
        folders = _train(specs, setup, part)
        fields = {key: _fields(folder) for key, folder in folders.items()}
        rows = []
        for method in dict.fromkeys(method for method, _ in specs):
            seeds = [_indices(fields[method, seed][1]) for seed in range(setup.seeds)]
            accuracies = [fields[method, seed][0] for seed in range(setup.seeds)]
            row: Record = {
                "part": part, "method": method, "n": setup.seeds, "test_accuracy": mean(accuracies),
                "test_accuracy_std": standard_deviation(accuracies), "test_accuracies": accuracies,
            }  # fmt: skip
            for index in INDICES:
                known = [value for found in seeds if (value := found[index]) is not None]
                row |= {index: mean(known), f"{index}_std": standard_deviation(known)}
            row["units"] = sum(int(found["units"] or 0) for found in seeds)
            rows.append(row)
        _draw(
            setup.folder / "fields.png", {method: fields[method, 0][1] for method in dict.fromkeys(m for m, _ in specs)}
        )
        return Findings(
            rows=rows, checks=checks(rows), pictures=["fields.png"],
            columns=["method", "test_accuracy", *INDICES, "units", "n"],
        )  # fmt: skip

    def _methods(self, ranks: Sequence[int], full: bool) -> list[tuple[str, str, int]]:
        nerve = 32 if full else 8
        only = "only=[conv2d2]"
        made = [(f"rank {r}", f"raf(rank={r}, {only}, clamp=1.0)", nerve) for r in ranks]
        return [*made, (BP, "bp", nerve), (NARROW, "bp", self.narrow or (4 if full else 1))]

    def _spec(self, rule: str, nerve: int, seed: int, setup: Setup) -> RunSpec:
        full = setup.full
        size = "channels=32, depth=3, hidden=1024, dropout=0.5" if full else "channels=8, depth=2"
        images = "cifar10(grey=True, flip=True)" if full else "cifar10(grey=True, flip=True, subset=6000)"
        return RunSpec(
            data=str(self.data or images), network=f"retina({size}, bottleneck={nerve})", rule=rule, seed=seed,
            optimizer="rmsprop(lr=0.0004, weight_decay=0.0001)", batch_size=64,
            epochs=self.epochs or (120 if full else 6), compute=setup.compute,
        )  # fmt: skip


def _train(specs: dict[tuple[str, int], RunSpec], setup: Setup, part: str) -> dict[tuple[str, int], Path]:
    """Train what is not there yet; every run keeps its network."""
    for data in dict.fromkeys(spec.data for spec in specs.values()):
        build("data", data)  # what is missing is told before anything runs
    folders = {key: setup.folder / "runs" / spec.folder_name for key, spec in specs.items()}
    setup.progress.begin(len(specs), part)
    jobs = [(spec, folders[key]) for key, spec in specs.items()]
    for (spec, _), answer in map_processes(_work, jobs, workers=setup.workers, threads=setup.threads):
        if isinstance(answer, Exception):
            raise NeurofaError(
                f"got a failed run ({spec.rule}, seed {spec.seed}: {answer}); expected all to finish; start the"
                " experiment again"
            )
        setup.progress.finish_run()
    return folders


def _work(job: tuple[RunSpec, Path]) -> Record:
    spec, folder = job
    return train_run(spec, folder, resume=True).to_dict()


def _fields(folder: Path) -> tuple[float, Tensor]:
    """Test accuracy, and the receptive fields of the optic nerve."""
    from experiments.runs.folder import RunFolder
    from neurofa.training.checkpoint import load_network

    run = RunFolder(folder)
    network = load_network(run.model)
    nerve = [name for name, layer in network.items() if layer.name == "conv2d"][1]
    return float(run.read_result().test_accuracy or 0.0), receptive_fields(network, nerve)


def _indices(fields: Tensor) -> dict[str, float | None]:
    """Means of the indices over the units that grey does not leave silent."""
    shapes: list[Shape] = [shape for field in fields if (shape := shape_of(field)) is not None]
    found: dict[str, float | None] = {index: mean([getattr(s, index) for s in shapes]) for index in INDICES}
    return {**found, "units": float(len(shapes))}


def _draw(path: Path, fields: dict[str, Tensor]) -> None:
    across = min(8, max(len(found) for found in fields.values()))
    none = Axis(ticks={})
    panels = []
    for method, found in fields.items():
        for column, field in enumerate(found[:across]):
            image = HeatMap(values=field.tolist(), colours="RdBu_r", scale=None, upside=True, square=True)
            panels.append(Panel(title="" if column else method, x=none, y=none, marks=[image]))
        panels += [Panel()] * (across - len(found))
    title = "receptive fields of optic-nerve units (seed 0)"
    draw_figure(path, panels, title=title, columns=across, size=(0.95, 1.05))


def checks(rows: Sequence[Record]) -> list[ExperimentCheck]:
    """Whether the lowest rank makes fields rounder and less oriented than backpropagation does.

    Args:
        rows: one a method, ranks in rising order first.
    """
    at = {row["method"]: row for row in rows}
    ranked = [row for row in rows if row["method"].startswith("rank ")]
    if not ranked or BP not in at:
        return []
    low, bp = ranked[0], at[BP]
    made = []
    for index, sign in (("centre_surround", 1), ("orientation", -1)):
        known = low[index] is not None and bp[index] is not None
        apart = sign * (low[index] - bp[index]) if known else None
        direction = "over" if sign > 0 else "below"
        made.append(above(f"fields: {index} of {low['method']} {direction} that of bp", apart, 0))
    return made
