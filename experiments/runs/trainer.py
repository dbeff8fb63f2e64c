"""The epochs of one run: data in a seeded order, the rate on its course, rows, checkpoints, and the reported epoch."""

from __future__ import annotations

import functools
import itertools
import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from experiments.data import Dataset, Sequences
from experiments.runs.evaluate import Tally, evaluate
from experiments.runs.folder import RunFolder
from experiments.runs.observer import Observer
from experiments.runs.progress import Progress
from experiments.runs.result import Result, Row
from experiments.runs.schedules import Schedule
from experiments.runs.spec import RunSpec
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.core.events import Events
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.costs.writes import ledger
from neurofa.spiking.sequence import has_memory
from neurofa.training.checkpoint import load_checkpoint, load_network, save_checkpoint, save_network
from neurofa.training.finite import check_loss
from neurofa.training.learner import Learner
from neurofa.training.step_types import StepResult

DESCENTS = 20
"""Batches that are looked at for whether a step descends."""
GLANCE = 20
"""Steps between two looks at the loss: a look waits for the device."""


@functools.lru_cache(maxsize=1)
def load_data(text: str) -> Dataset | Sequences:
    """A data set by its spec; the last one is kept, since the runs of a sweep share it."""
    dataset: Dataset | Sequences = build("data", text)
    return dataset


def compute_device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        NeurofaError: there is no GPU.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise NeurofaError(
            "got compute=cuda on a machine without a usable GPU; expected a CUDA build of torch and its driver; use"
            " --compute cpu"
        )
    return torch.device(name)


class Trainer:
    """Everything that a run needs, and how far it has come.

    Args:
        spec: the run.
        folder: where finished epochs are kept; None: nowhere.

    Raises:
        NeurofaError: an unknown or impossible part.
    """

    def __init__(self, spec: RunSpec, folder: RunFolder | None) -> None:
        spec.check()
        where = compute_device(spec.compute)
        optimizer = build("optimizer", spec.optimizer)
        self.schedule: Schedule = build("schedule", spec.schedule)
        self.schedule(0.0, spec.epochs)
        self.dataset = load_data(spec.data).to(where)
        if spec.select == "best" and not len(self.dataset.validation):
            raise NeurofaError(
                "got select=best without validation data; expected some to choose by; use select=last or hold data out"
            )
        self.spec, self.folder, self.rows, self.best = spec, folder, list[Row](), 0
        self.network = build(
            "network", spec.network, input_shape=self.dataset.input_shape, outputs=self.dataset.classes,
            seed=spec.seed, device=spec.device, periphery=spec.periphery,
        ).to(where)  # fmt: skip
        self.optimizer: torch.optim.Optimizer = optimizer(self.network.parameters())
        # an update never spans two epochs, so that the state at the end of an epoch is whole
        batches = math.ceil(len(self.dataset.train) / spec.batch_size)
        self.steps = batches // spec.accumulate * spec.accumulate
        if not self.steps:
            raise NeurofaError(
                f"got accumulate={spec.accumulate} for {batches} batches an epoch; expected at most that many; lower"
                " accumulate or the batch size"
            )
        _match(self.network, self.dataset)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.learner = Learner(
            self.network, spec.rule, optimizer=self.optimizer, loss=spec.loss, seed=spec.seed,
            accumulate=spec.accumulate, clip=spec.clip, fused=spec.fused, feedback_seed=spec.feedback_seed,
        )  # fmt: skip
        self._best_state: dict[str, Tensor] | None = None

    def restore(self, folder: RunFolder) -> None:
        """Go back to the last finished epoch, where there is one."""
        if not folder.checkpoint.is_file():
            return
        if self.spec.select == "best":
            load_network(folder.best, self.network)
            self._best_state = _copy(self.network)
        extra = load_checkpoint(folder.checkpoint, self.learner)
        self.rows, self.best = list(extra["rows"]), extra["best"]
        folder.write_rows(self.rows)

    def train(self, progress: Progress, check: Callable[[], None]) -> None:
        """Train the epochs that are left."""
        self.observer = Observer(self.spec.log, self.learner, self.dataset, self.spec.seed)
        samples = len(self.dataset.train)
        title = f"{self.spec.rule} on {self.spec.data}"
        progress.begin(title, epochs=self.spec.epochs, done=len(self.rows), samples=samples)
        for epoch in range(len(self.rows) + 1, self.spec.epochs + 1):
            self._keep(self._epoch(epoch, progress, check))

    def _epoch(self, epoch: int, progress: Progress, check: Callable[[], None]) -> Row:
        spec, learner, data, steps = self.spec, self.learner, self.dataset, self.steps
        tally = Tally(regression=data.regression, device=data.compute)
        shown, began = 0, time.perf_counter()
        order = generator(spec.seed, "order", str(epoch))
        batches = itertools.islice(data.batches("train", spec.batch_size, order), steps)
        for step, (x, target) in enumerate(batches, start=1):
            # the middle of the step, so that a rise from 0 and a fall to 0 both move the weights
            self._set_rate(epoch - 1 + (step - 0.5) / steps)
            self.observer.before()
            result = self._step(x, target)
            tally.add(result.loss, result.y, target)
            if step % GLANCE == 0 or step == steps:
                if isinstance(x, Tensor) and isinstance(data, Dataset):
                    check_loss(self.network, result.loss, x, learner.steps, learner.gen)
                progress.step(tally.samples - shown, tally.score())
                shown = tally.samples
            check()
        seconds = time.perf_counter() - began - self.observer.seconds
        score = tally.score()
        validation = evaluate(self.network, data, "validation", learner.loss, seed=spec.seed, chunk=spec.chunk)
        row: Row = {
            "epoch": epoch, "train_loss": score.loss, "train_accuracy": score.accuracy,
            "validation_loss": validation.loss, "validation_accuracy": validation.accuracy,
            "lr": self.optimizer.param_groups[0]["lr"], "seconds": round(seconds, 6),
        }  # fmt: skip
        if counts := ledger(self.network):
            row["pulses"] = {name: count._asdict() for name, count in counts.items()}
        return row | self.observer.close()

    def _step(self, x: Tensor | Events, target: Tensor) -> StepResult:
        """Learn from a batch, or from a batch of sequences."""
        if isinstance(x, Tensor) and isinstance(self.dataset, Dataset):
            return self.learner.step(x, target)
        spec, teach = self.spec, getattr(self.dataset, "teach", None)
        return self.learner.stream(x, target, chunk=spec.chunk, update=spec.update, teach=teach)

    def _set_rate(self, t: float) -> None:
        multiplier = self.schedule(t, self.spec.epochs)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * multiplier

    def _keep(self, row: Row) -> None:
        """Take a finished epoch; the folder is consistent after each file, whenever the process ends."""
        self.rows.append(row)
        if self.spec.select == "best" and (not self.best or _better(row, self.rows[self.best - 1])):
            self.best, self._best_state = row["epoch"], _copy(self.network)
            if self.folder is not None:
                save_network(self.network, self.folder.best)
        if self.folder is not None:
            save_checkpoint(self.folder.checkpoint, self.learner, {"rows": self.rows, "best": self.best})
            self.folder.write_rows(self.rows)

    def report(self) -> Result:
        """Evaluate the reported epoch's network on the test split."""
        if self._best_state is not None:
            self.network.load_state_dict(self._best_state)
        score = evaluate(
            self.network, self.dataset, "test", self.learner.loss, seed=self.spec.seed, chunk=self.spec.chunk
        )
        return Result(
            spec=self.spec, test_accuracy=score.accuracy, test_loss=score.loss, epoch=self.best or len(self.rows),
            rows=tuple(self.rows), samples=len(self.dataset.train),
        )  # fmt: skip


def _match(network: Network, dataset: Dataset | Sequences) -> None:
    """Refuse a network with a memory for data without time."""
    if isinstance(dataset, Dataset) and has_memory(network):
        raise NeurofaError(
            f"got a spiking network for data '{dataset.name}', which have no time; expected sequences; encode them, as"
            f" in --data 'encoded(data={dataset.name})'"
        )


def _copy(network: torch.nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in network.state_dict().items()}


def _better(row: Row, than: Row) -> bool:
    """Whether an epoch is better by validation accuracy, or by loss where there are no labels."""
    if row["validation_accuracy"] is None:
        return bool(row["validation_loss"] < than["validation_loss"])
    return bool(row["validation_accuracy"] > than["validation_accuracy"])
