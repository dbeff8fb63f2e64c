"""The epochs of one run: order of the data, learning rate, rows, checkpoints, and the reported epoch."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from experiments.data import Dataset, Sequences
from experiments.runs.build import build_learner, build_network, compute_device, load_data
from experiments.runs.evaluate import Tally, evaluate_split
from experiments.runs.folder import RunFolder
from experiments.runs.measurements import RunMeter
from experiments.runs.progress import Progress
from experiments.runs.result import EpochRow, Result
from experiments.runs.schedules import Schedule
from experiments.runs.spec import CHUNK, RunSpec
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.core.events import Events
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.costs.writes import write_counts
from neurofa.spiking.sequence import has_memory
from neurofa.training.checkpoint import load_checkpoint, load_network, save_checkpoint, save_network
from neurofa.training.finite import check_loss
from neurofa.training.step_types import StepResult

REPORT_EVERY = 20
"""Steps between two reports of the loss: reading it waits for the compute device."""


class Trainer:
    """Data, network and learner of a run, and how far its training has come.

    Args:
        spec: the run.
        folder: where finished epochs are kept; None: nowhere.

    Raises:
        NeurofaError: an unknown or impossible part.
    """

    def __init__(self, spec: RunSpec, folder: RunFolder | None) -> None:
        spec.check()
        device = compute_device(spec.compute)
        # wrong options are refused before data are loaded
        build("optimizer", spec.optimizer)
        self.schedule: Schedule = build("schedule", spec.schedule)
        self.schedule(0.0, spec.epochs)
        self.dataset = load_data(spec.data).to(device)
        if spec.select == "best" and not len(self.dataset.validation):
            raise NeurofaError(
                "got select=best without validation data; expected some to choose by; use select=last or hold data out"
            )
        self.spec, self.folder = spec, folder
        # an update never spans two epochs, so that the state at the end of an epoch is complete
        batches = math.ceil(len(self.dataset.train) / spec.batch_size)
        self.steps = batches // spec.accumulate * spec.accumulate
        if not self.steps:
            raise NeurofaError(
                f"got accumulate={spec.accumulate} for {batches} batches an epoch; expected at most that many; lower"
                " accumulate or the batch size"
            )
        self.network = build_network(spec, self.dataset)
        _refuse_memory_without_time(self.network, self.dataset)
        self.learner = build_learner(self.network, spec)
        self.rates = [group["lr"] for group in self.learner.optimizer.param_groups]
        self.rows: list[EpochRow] = []
        self.best = 0
        """The best epoch so far; 0 where the last one is reported."""
        self._best_state: dict[str, Tensor] | None = None

    def restore(self, folder: RunFolder) -> None:
        """Restore the state after the last finished epoch, where the folder holds one."""
        if not folder.checkpoint.is_file():
            return
        if self.spec.select == "best":
            load_network(folder.best, self.network)
            self._best_state = _copy_state(self.network)
        extra = load_checkpoint(folder.checkpoint, self.learner)
        self.rows, self.best = list(extra["rows"]), extra["best"]
        folder.write_rows(self.rows)

    def train(self, progress: Progress, check_interrupt: Callable[[], None]) -> None:
        """Train the epochs that are left.

        Args:
            progress: receives the loss and accuracy so far.
            check_interrupt: called after every step; may raise.
        """
        spec = self.spec
        self.meter = RunMeter(spec.log, self.learner, self.dataset, spec.seed)
        title = f"{spec.rule} on {spec.data}"
        progress.begin(title, epochs=spec.epochs, done=len(self.rows), samples=len(self.dataset.train))
        for epoch in range(len(self.rows) + 1, spec.epochs + 1):
            self._keep(self._train_epoch(epoch, progress, check_interrupt))

    def _train_epoch(self, epoch: int, progress: Progress, check_interrupt: Callable[[], None]) -> EpochRow:
        spec, learner, data, steps = self.spec, self.learner, self.dataset, self.steps
        tally = Tally(regression=data.regression, device=data.compute)
        reported, began = 0, time.perf_counter()
        order = generator(spec.seed, "order", str(epoch))
        batches = itertools.islice(data.batches("train", spec.batch_size, order), steps)
        for step, (x, target) in enumerate(batches, start=1):
            # at the middle of the step, so that a rise from 0 and a fall to 0 both move the weights
            self._set_rate(epoch - 1 + (step - 0.5) / steps)
            self.meter.before_step()
            result = self._step(x, target)
            tally.add(result.loss, result.y, target)
            if step % REPORT_EVERY == 0 or step == steps:
                if isinstance(x, Tensor) and isinstance(data, Dataset):
                    check_loss(self.network, result.loss, x, learner.steps, learner.gen)
                progress.step(tally.samples - reported, tally.score())
                reported = tally.samples
            check_interrupt()
        seconds = time.perf_counter() - began - self.meter.seconds
        train = tally.score()
        validation = evaluate_split(
            self.network, data, "validation", learner.loss, seed=spec.seed, chunk=spec.chunk or CHUNK
        )
        row: EpochRow = {
            "epoch": epoch,
            "train_loss": train.loss,
            "train_accuracy": train.accuracy,
            "validation_loss": validation.loss,
            "validation_accuracy": validation.accuracy,
            "lr": learner.optimizer.param_groups[0]["lr"],
            "seconds": round(seconds, 6),
        }
        if counts := write_counts(self.network):
            row["pulses"] = {name: count._asdict() for name, count in counts.items()}
        return row | self.meter.after_epoch()

    def _step(self, x: Tensor | Events, target: Tensor) -> StepResult:
        """Learn from a batch, or from a batch of sequences."""
        if isinstance(self.dataset, Sequences):
            spec = self.spec
            return self.learner.stream(x, target, chunk=spec.chunk, update=spec.update, teach=self.dataset.teach)
        assert isinstance(x, Tensor)  # noqa: S101 (narrows a type: a static data set delivers tensors)
        return self.learner.step(x, target)

    def _set_rate(self, t: float) -> None:
        multiplier = self.schedule(t, self.spec.epochs)
        for group, rate in zip(self.learner.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * multiplier

    def _keep(self, row: EpochRow) -> None:
        """Store a finished epoch; the folder is consistent after each file, whenever the process ends."""
        self.rows.append(row)
        if self.spec.select == "best" and (not self.best or _better(row, self.rows[self.best - 1])):
            self.best, self._best_state = row["epoch"], _copy_state(self.network)
            if self.folder is not None:
                save_network(self.network, self.folder.best)
        if self.folder is not None:
            save_checkpoint(self.folder.checkpoint, self.learner, {"rows": self.rows, "best": self.best})
            self.folder.write_rows(self.rows)

    def report(self) -> Result:
        """Return the result of the run, with the reported epoch's network evaluated on the test split."""
        spec = self.spec
        if self._best_state is not None:
            self.network.load_state_dict(self._best_state)
        score = evaluate_split(
            self.network, self.dataset, "test", self.learner.loss, seed=spec.seed, chunk=spec.chunk or CHUNK
        )
        return Result(
            spec=spec,
            test_accuracy=score.accuracy,
            test_loss=score.loss,
            epoch=self.best or len(self.rows),
            rows=tuple(self.rows),
            samples=len(self.dataset.train),
        )


def _refuse_memory_without_time(network: Network, dataset: Dataset | Sequences) -> None:
    if isinstance(dataset, Dataset) and has_memory(network):
        raise NeurofaError(
            f"got a spiking network for data '{dataset.name}', which have no time; expected sequences; encode them, as"
            f" in --data 'encoded(data={dataset.name})'"
        )


def _copy_state(network: torch.nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in network.state_dict().items()}


def _better(row: EpochRow, than: EpochRow) -> bool:
    """Return whether an epoch is better by validation accuracy, or by loss where there are no labels."""
    if row["validation_accuracy"] is None:
        return bool(row["validation_loss"] < than["validation_loss"])
    return bool(row["validation_accuracy"] > than["validation_accuracy"])
