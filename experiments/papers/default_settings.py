"""Does every rule learn on every kind of network with the settings that it recommends?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from experiments.charts.accuracies import strips_panel
from experiments.charts.figure import draw_figure
from experiments.data import Dataset, Sequences
from experiments.diagnosis.alignments import mean_std
from experiments.runs.build import build_learner, build_network, compute_device, load_data
from experiments.runs.spec import RunSpec
from experiments.sweeps.experiment import Checks, Experiment, Findings, above
from experiments.sweeps.setup import Setup
from experiments.tables import Record
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from hwmodels.registry import parts as registered
from neurofa.core.randomness import generator
from neurofa.training.finite import NotFiniteError

IMAGES = "digits"
SPIKES = "encoded(data=digits, encoder=rate, ticks=10)"
TEXT = "shakespeare(context=16, subset=50000, validation=0.02, test=0.02)"
CELLS = {
    "mlp": ("mlp(hidden=[64, 64])", IMAGES),
    "cnn": ("cnn(channels=[8, 8], kernel=3, hidden=32)", IMAGES),
    "vgg": ("vgg(plan=[8, 8, M, 16, M])", IMAGES),
    "resnet20": ("resnet20(width=4)", IMAGES),
    "vit": ("vit(width=32, depth=2)", IMAGES),
    "gpt": ("gpt(width=32, depth=2)", TEXT),
    "snn": ("snn(hidden=[64])", SPIKES),
    "conv_snn": ("conv_snn(channels=[4, 8], kernel=3)", SPIKES),
}
"""Network and data by part."""
BATCH = 32
FIRST, LAST = 5, 30
"""Steps whose mean losses are compared."""
REFUSED, DIVERGED = "refused", "diverges"


@dataclass(frozen=True, kw_only=True)
class DefaultSettings(Experiment, name="default_settings"):
    """Training loss of every rule at the start and after some steps, with the optimizer that it recommends.

    One part for each network, all of them small: ``mlp``, ``cnn``, ``vgg``, ``resnet20`` and ``vit`` on digits of 8x8,
    ``gpt`` on characters, ``snn`` and ``conv_snn`` on digits as spikes. Nothing is tuned. A rule that does not serve a
    network refuses it, and its row says why. A loss that is no number ends a run.
    """

    source = "our own table of the recommended settings"
    differs = "the networks and steps are the same in both sizes"
    question = "Does every rule learn on every kind of network that it serves, with the settings that it recommends?"
    parts = tuple(CELLS)

    steps: int = 300
    """Training steps of 32 samples, at least 10."""
    rules: tuple[str, ...] = ()
    """Names or specs of rules; none: all that are registered."""

    def __post_init__(self) -> None:
        if self.steps < 2 * FIRST:
            raise NeurofaError(
                f"got default_settings(steps={self.steps}); expected at least {2 * FIRST}, a start and an end; take"
                " more steps"
            )
        for rule in self.rules:  # a wrong name or option is no refusal by a rule
            build("rule", rule)

    def run(self, part: str, setup: Setup) -> Findings:
        network, data = CELLS[part]
        dataset = load_data(data).to(compute_device(setup.compute))
        rows = []
        for rule in self.rules or sorted(registered("rule")):
            runs = [
                RunSpec(data=data, network=network, rule=rule, batch_size=BATCH, seed=seed, compute=setup.compute)
                for seed in range(setup.seeds)
            ]
            rows.append({"part": part, **self._row(runs, dataset)})
        served = {row["rule"]: row for row in rows if row["outcome"] not in (REFUSED, DIVERGED)}
        found = Findings(rows=rows, columns=["rule", "optimizer", "start", "end", "outcome", "why", "n"])
        if served:
            series = {f"first {FIRST} steps": "starts", f"last {LAST} steps": "ends"}
            groups = {rule: {label: row[key] for label, key in series.items()} for rule, row in served.items()}
            title = f"{network} on {dataset.name}, {self.steps} steps as recommended"
            panel = strips_panel(groups, x_label="mean training loss (nat); a dot a seed, a bar at the mean")
            draw_figure(setup.folder / f"{part}.png", [panel], title=title, size=(6.7, 0.6 + 0.3 * len(groups)))
            found.pictures = [f"{part}.png"]
        return found

    def _row(self, runs: Sequence[RunSpec], dataset: Dataset | Sequences) -> Record:
        """Return the row of one rule from a run for each seed; the first that ends early is the last."""
        starts: list[float] = []
        ends: list[float] = []
        outcome = why = ""
        for spec in runs:
            try:
                losses = list(itertools.islice(losses_of_run(spec, dataset), self.steps))
            except NeurofaError as error:
                outcome, why = DIVERGED if isinstance(error, NotFiniteError) else REFUSED, str(error)
                break
            late = losses[-min(LAST, self.steps // 2) :]
            starts.append(math.fsum(losses[:FIRST]) / FIRST)
            ends.append(math.fsum(late) / len(late))
        if not outcome:
            falls = all(end < start for start, end in zip(starts, ends, strict=True))
            outcome = "learns" if falls else "does not fall"
        settings = {key: getattr(runs[0], key) for key in ("rule", "network", "data", "optimizer")}
        means = mean_std("start", starts) | mean_std("end", ends)
        return settings | means | {"starts": starts, "ends": ends, "outcome": outcome, "why": why, "n": len(ends)}

    def checks(self, part: str, rows: Sequence[Record]) -> Checks:
        for row in rows:
            if row["outcome"] != REFUSED:
                falls = [start - end for start, end in zip(row["starts"], row["ends"], strict=True)]
                smallest = None if row["outcome"] == DIVERGED else min(falls)
                yield above(f"{part}: {row['rule']}: smallest fall of the training loss, nat", smallest, 0)


def losses_of_run(spec: RunSpec, dataset: Dataset | Sequences) -> Iterator[float]:
    """Train, and yield the loss of every step before its update, epoch after epoch, without an end.

    Args:
        spec: network, rule, optimizer, batch size and seed; its epochs do not count.
        dataset: on the compute device of the run.

    Raises:
        NotFiniteError: the training diverges.
        NeurofaError: a rule that does not serve the network.
    """
    learner = build_learner(build_network(spec, dataset), spec)
    for epoch in itertools.count(1):
        batches = dataset.batches("train", spec.batch_size, generator(spec.seed, "order", str(epoch)))
        # the few samples of a last batch would count as much as a whole one in the means
        for x, target in itertools.islice(batches, len(dataset.train) // spec.batch_size):
            if isinstance(dataset, Sequences):
                result = learner.stream(x, target, teach=dataset.teach)
            else:
                assert isinstance(x, Tensor)  # noqa: S101 (narrows a type: a static data set delivers tensors)
                result = learner.step(x, target)
            yield result.loss.item()
            learner.check()
