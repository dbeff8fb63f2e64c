"""Does the dimension of the error that a retina receives decide what its receptive fields look like?"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor

from experiments.charts.figure import Axis, Panel, draw_figure
from experiments.charts.marks import HeatMap
from experiments.diagnosis.alignments import mean_std
from experiments.protocols.receptive_fields import receptive_fields, shape_of
from experiments.protocols.tables import mean_known, minus
from experiments.runs.folder import RunFolder
from experiments.runs.run import train_run
from experiments.runs.spec import RunSpec
from experiments.sweeps.experiment import Checks, Experiment, Findings, above
from experiments.sweeps.setup import Setup
from experiments.sweeps.workers import map_processes
from experiments.tables import Record
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from hwmodels.spec import Spec

BP, NARROW = "bp", "bp, narrow optic nerve"
INDICES = ("centre_surround", "opponency", "orientation")


@dataclass(frozen=True, kw_only=True)
class ReceptiveFields(Experiment, name="ldfa_receptive_fields"):
    """Receptive fields of the optic nerve after training with an error of rank r between cortex and retina.

    Only the return path of the first cortical convolution has rank r, so that the error that reaches the retina has r
    dimensions a position; all others have full rank. Controls: backpropagation, and backpropagation through an optic
    nerve of few channels, the forward bottleneck that makes fields centre-surround in the earlier work. The source
    shows pictures; here every field also gets a centre-surround and an orientation index.
    """

    source = "Hanut and Kadmon 2025, arXiv 2502.20580 v1-v3, Fig. 4c, d; after Lindsey et al. 2019, arXiv 1901.00945"
    differs = "images are not turned (source: by 10 degrees); fields get indices, where the source shows pictures"
    question = "Does feedback of low rank make receptive fields centre-surround, and feedback of high rank oriented?"
    parts = ("fields",)

    data: Spec | str | None = None
    """Grey images; None: 6000 of CIFAR-10, mirrored (full: all)."""
    ranks: tuple[int, ...] = ()
    """Ranks r, rising; none: 1, 2 and 8 (full: 1, 4 and 32)."""
    narrow: int | None = None
    """Channels of the narrow optic nerve, instead of 1 (full: 4)."""
    epochs: int | None = None
    """Epochs of all runs, instead of 6 (full: 120)."""

    def run(self, part: str, setup: Setup) -> Findings:
        ranks, nerve, narrow = ((1, 4, 32), 32, 4) if setup.full else ((1, 2, 8), 8, 1)
        methods = {
            f"rank {r}": (f"raf(rank={r}, step=None, only=[conv2d2], clamp=1.0)", nerve) for r in self.ranks or ranks
        }
        methods |= {BP: ("bp", nerve), NARROW: ("bp", self.narrow or narrow)}
        runs = itertools.product(methods, range(setup.seeds))
        specs = {(method, seed): self._spec(*methods[method], seed, setup) for method, seed in runs}
        trained = {key: _fields(folder) for key, folder in _train(specs, setup, part).items()}
        rows = []
        for method in methods:
            seeds = [trained[method, seed] for seed in range(setup.seeds)]
            accuracies, indices = [accuracy for accuracy, _ in seeds], [_indices(fields) for _, fields in seeds]
            row = {"part": part, "method": method, "n": setup.seeds, "test_accuracies": accuracies}
            row |= mean_std("test_accuracy", accuracies)
            for index in INDICES:
                row |= mean_std(index, [seed[index] for seed in indices])
            rows.append(row | {"units": sum(seed["units"] for seed in indices)})
        _draw(setup.folder / "fields.png", {method: trained[method, 0][1] for method in methods})
        columns = ["method", "test_accuracy", *INDICES, "units", "n"]
        return Findings(rows=rows, pictures=["fields.png"], columns=columns)

    def _spec(self, rule: str, nerve: int, seed: int, setup: Setup) -> RunSpec:
        full = setup.full
        size = "channels=32, depth=3, hidden=1024, dropout=0.5" if full else "channels=8, depth=2"
        images = f"cifar10(grey=True, flip=True{'' if full else ', subset=6000'})"
        fields = {"data": str(self.data or images), "network": f"retina({size}, bottleneck={nerve})", "rule": rule}
        training = {"optimizer": "rmsprop(lr=0.0004, weight_decay=0.0001)", "batch_size": 64, "seed": seed}
        epochs = self.epochs or (120 if full else 6)
        return RunSpec.from_json({**fields, **training, "epochs": epochs, "compute": setup.compute})

    def checks(self, part: str, rows: Sequence[Record]) -> Checks:
        low, bp = rows[0], next(row for row in rows if row["method"] == BP)
        rounder = minus(low["centre_surround"], bp["centre_surround"])
        less_oriented = minus(bp["orientation"], low["orientation"])
        yield above(f"fields: centre_surround of {low['method']} over that of bp", rounder, 0)
        yield above(f"fields: orientation of {low['method']} below that of bp", less_oriented, 0)


def _train(specs: Mapping[tuple[str, int], RunSpec], setup: Setup, part: str) -> dict[tuple[str, int], Path]:
    """Train the runs that are not there yet, each in a folder with its network; return the folders."""
    for data in dict.fromkeys(spec.data for spec in specs.values()):
        build("data", data)  # missing data are reported before anything runs
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
    return train_run(spec, folder, resume=True, renew=True).to_dict()


def _fields(folder: Path) -> tuple[float, Tensor]:
    """Return test accuracy, and the receptive fields of the optic nerve."""
    run = RunFolder(folder)
    network = run.network()
    nerve = [name for name, layer in network.items() if layer.name == "conv2d"][1]
    return float(run.read_result().test_accuracy or 0.0), receptive_fields(network, nerve)


def _indices(fields: Tensor) -> Record:
    """Return means of the indices over the units that grey does not leave silent, and the number of these."""
    shapes = [asdict(shape) for field in fields if (shape := shape_of(field)) is not None]
    return {index: mean_known(shape[index] for shape in shapes) for index in INDICES} | {"units": len(shapes)}


def _draw(path: Path, fields: Mapping[str, Tensor]) -> None:
    across = min(8, max(len(units) for units in fields.values()))
    none, panels = Axis(ticks={}), []
    for method, units in fields.items():
        for column, field in enumerate(units[:across]):
            image = HeatMap(values=field.tolist(), colours="RdBu_r", scale=None, upside=True, square=True)
            panels.append(Panel(title="" if column else method, x=none, y=none, marks=[image]))
        panels += [Panel()] * (across - len(units))
    title = "receptive fields of optic-nerve units (seed 0)"
    draw_figure(path, panels, title=title, columns=across, size=(0.95, 1.05))
