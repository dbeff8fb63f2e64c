"""The epochs of one run: order of the data, learning rate, rows, checkpoints, and the reported epoch."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from experiments.data import Dataset, Sequences
from experiments.data.sequences import DrawnSplit
from experiments.runs.build import build_learner, build_network, compute_device, load_data
from experiments.runs.divergence import DivergedError, GrowthWatch, LossWatch, explained
from experiments.runs.evaluate import evaluate_split
from experiments.runs.measurements import RunMeter
from experiments.runs.memory import require_memory
from experiments.runs.progress import Progress
from experiments.runs.result import EpochRow, Result
from experiments.runs.schedules import Schedule
from experiments.runs.spec import CHUNK, RunSpec
from experiments.runs.writer import RunWriter
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.core.events import Events
from neurofa.core.loss import Loss
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.costs.writes import write_counts
from neurofa.diagnostics.firing import SILENT, firing_rates
from neurofa.spiking.sequence import has_memory
from neurofa.training.checkpoint import save_checkpoint, save_network
from neurofa.training.finite import NotFiniteError, check_loss
from neurofa.training.loop.epoch import StepHooks, train_epoch
from neurofa.training.loop.tally import Score, Tally
from neurofa.training.step_types import StepResult
from neurofa.training.summary import feedback_lines

LISTENED = 32
"""Training samples on which is looked whether a spiking network fires."""


class Trainer:
    """Data, network and learner of a run, and how far its training has come.

    Args:
        spec: the run.

    Raises:
        NeurofaError: an unknown or impossible part.
    """

    def __init__(self, spec: RunSpec) -> None:
        spec.check()
        device = compute_device(spec.compute)
        # wrong options are refused before data are loaded
        build("optimizer", spec.optimizer)
        self.schedule: Schedule = build("schedule", spec.schedule)
        self.schedule(0.0, max(1, spec.epochs))
        self.dataset = load_data(spec.data).to(device)
        if spec.select == "best" and not spec.epochs:
            raise NeurofaError("got select=best for no epochs; expected some to choose from; use select=last")
        if spec.select == "best" and not len(self.dataset.validation):
            raise NeurofaError(
                "got select=best without validation data; expected some to choose by; use select=last or hold data out"
            )
        _require_batches(self.dataset, spec)
        self.spec = spec
        self.writer: RunWriter | None = None
        """Keeps finished epochs; None: nobody does."""
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
        _refuse_labels_that_are_values(self.learner.loss, self.dataset)
        self.rates = [group["lr"] for group in self.learner.optimizer.param_groups]
        _refuse_last_of_one(self.network, self.dataset, spec.batch_size, self.steps)
        self.losses = LossWatch()
        self.growth = GrowthWatch(self.network)
        self.rows: list[EpochRow] = []
        self.best = 0
        """The best epoch so far; 0 where the last one is reported."""
        self._best_state: dict[str, Tensor] | None = None

    def continue_in(self, writer: RunWriter) -> None:
        """Keep finished epochs in a folder, and restore the state after the last one that it holds."""
        self.writer, folder = writer, writer.folder
        if not folder.checkpoint.is_file():
            return
        if self.spec.select == "best":
            folder.load_best(self.network)
            self._best_state = _copy_state(self.network)
        extra = folder.load_checkpoint(self.learner)
        self.rows, self.best = extra["rows"], extra["best"]
        # older checkpoints do not hold the first loss
        self.losses = LossWatch(extra.get("first_loss", self.rows[0]["train_loss"] if self.rows else None))
        writer.write_rows(self.rows)

    def train(self, progress: Progress, check_interrupt: Callable[[], None]) -> None:
        """Train the epochs that are left.

        Args:
            progress: receives the loss and accuracy so far.
            check_interrupt: called after every step; may raise.
        """
        spec = self.spec
        if not spec.epochs:  # the state as it is, so that the folder is that of a finished run
            self._store()
            return
        self.meter = RunMeter(spec.log, self.learner, self.dataset, spec.seed)
        progress.note(feedback_lines(self.learner.rule))
        title = f"{spec.rule} on {spec.data}"
        progress.begin(title, epochs=spec.epochs, done=len(self.rows), samples=len(self.dataset.train))
        for epoch in range(len(self.rows) + 1, spec.epochs + 1):
            try:
                row = self._train_epoch(epoch, progress, check_interrupt)
            except (DivergedError, NotFiniteError) as error:
                if self.writer is not None:  # the state of the last finished epoch stays
                    self.writer.write_rows([*self.rows, {"epoch": epoch, "diverged": True}])
                raise explained(error, self.growth.growth(self.learner.steps), self.spec.optimizer) from None
            if silent := self._silent_layers():
                row["silent"] = silent
                if not any("silent" in earlier for earlier in self.rows):
                    progress.notice(_silence(silent, epoch))
            self._keep(row)

    def trial(self, steps: int, samples: int) -> Score:
        """Train some steps, and return loss and accuracy on part of the validation data; no epoch is kept.

        Args:
            steps: of the first epochs, in their order.
            samples: of the validation split, at most.

        Raises:
            NeurofaError: the run diverges.
        """
        spec, learner, data = self.spec, self.learner, self.dataset
        for epoch in itertools.count(1):
            order = generator(spec.seed, "order", str(epoch))
            for x, target in itertools.islice(data.batches("train", spec.batch_size, order), self.steps):
                self._step(x, target)
                if learner.steps >= steps:
                    learner.check()
                    chunk = spec.chunk or CHUNK
                    return evaluate_split(
                        self.network, data, "validation", learner.loss, seed=spec.seed, chunk=chunk, most=samples
                    )
        raise AssertionError

    def _train_epoch(self, epoch: int, progress: Progress, check_interrupt: Callable[[], None]) -> EpochRow:
        spec, learner, data, steps = self.spec, self.learner, self.dataset, self.steps
        tally = Tally(regression=data.regression, device=data.compute, ignored=self.learner.loss.ignore_index)
        self.losses.begin_epoch()
        began = time.perf_counter()
        order = generator(spec.seed, "order", str(epoch))
        batches = itertools.islice(data.batches("train", spec.batch_size, order), steps)
        hooks = _RunHooks(self, epoch, progress, check_interrupt)
        train = train_epoch(self._step, batches, tally, hooks)
        seconds = time.perf_counter() - began - self.meter.seconds
        progress.end_epoch(epoch, train, seconds)
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

    def _silent_layers(self) -> dict[str, float]:
        """Return the spiking layers that hardly fire on the first training samples, with spikes per neuron and tick."""
        if not isinstance(self.dataset, Sequences):
            return {}
        xs, _ = next(iter(self.dataset.batches("train", LISTENED)))
        gen = generator(self.spec.seed, "firing", device=self.dataset.compute)
        rates = firing_rates(self.network, xs, chunk=self.spec.chunk or CHUNK, gen=gen)
        return {name: rate for name, rate in rates.items() if rate < SILENT}

    def set_rate(self, t: float) -> None:
        """Set the learning rate of a time in epochs."""
        multiplier = self.schedule(t, self.spec.epochs)
        for group, rate in zip(self.learner.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * multiplier

    def _keep(self, row: EpochRow) -> None:
        """Store a finished epoch; the folder is consistent after each file, whenever the process ends."""
        self.rows.append(row)
        if self.spec.select == "best" and (not self.best or _better(row, self.rows[self.best - 1])):
            self.best, self._best_state = row["epoch"], _copy_state(self.network)
            if self.writer is not None:
                self.writer.put(self.writer.folder.best, lambda part: save_network(self.network, part))
        self._store()

    def _store(self) -> None:
        """Write the present state of the training, with the rows so far."""
        if self.writer is not None:
            extra = {"rows": self.rows, "best": self.best, "first_loss": self.losses.first}
            self.writer.put(self.writer.folder.checkpoint, lambda part: save_checkpoint(part, self.learner, extra))
            self.writer.write_rows(self.rows)

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


class _RunHooks(StepHooks):
    """What a run does around its steps.

    Args:
        trainer: of the run.
        epoch: its present epoch.
        progress: receives the loss and accuracy so far.
        check_interrupt: called after every step; may raise.
    """

    def __init__(self, trainer: Trainer, epoch: int, progress: Progress, check_interrupt: Callable[[], None]) -> None:
        self.trainer, self.epoch, self.progress, self.check_interrupt = trainer, epoch, progress, check_interrupt
        self._reported = 0

    def before_step(self, step: int) -> None:
        # at the middle of the step, so that a rise from 0 and a fall to 0 both move the weights
        self.trainer.set_rate(self.epoch - 1 + (step - 0.5) / self.trainer.steps)
        self.trainer.meter.before_step()

    def after_step(self, step: int, result: StepResult) -> None:
        if self.trainer.losses.first is None:
            self.trainer.losses.first = result.loss.item()
        self.check_interrupt()

    def report(self, x: Tensor | Events, result: StepResult, score: Score) -> None:
        learner = self.trainer.learner
        if isinstance(x, Tensor) and isinstance(self.trainer.dataset, Dataset):
            check_loss(learner.network, result.loss, x, learner.steps, learner.gen)
        learner.check()
        assert score.loss is not None  # noqa: S101 (narrows a type: there are samples)
        self.trainer.losses.see(score.loss, score.samples, self.epoch)
        self.trainer.growth.see(learner.steps)
        self.progress.step(score.samples - self._reported, score)
        self._reported = score.samples
        self.check_interrupt()


def _require_batches(dataset: Dataset | Sequences, spec: RunSpec) -> None:
    """Refuse sequences whose batches do not fit into memory."""
    if isinstance(dataset, Sequences):
        samples = dataset.ticks * min(spec.batch_size, len(dataset.train))
        # drawn sequences are dense in float32; events take an offset for every tick of a sample
        each = 4 * math.prod(dataset.input_shape) if isinstance(dataset.train, DrawnSplit) else 8
        require_memory(samples * each, f"batches of {spec.batch_size} from {spec.data}")


def _refuse_memory_without_time(network: Network, dataset: Dataset | Sequences) -> None:
    if isinstance(dataset, Dataset) and has_memory(network):
        raise NeurofaError(
            f"got a spiking network for data '{dataset.name}', which have no time; expected sequences; encode them, as"
            f" in --data 'encoded(data={dataset.name})'"
        )


def _refuse_last_of_one(network: Network, dataset: Dataset | Sequences, batch_size: int, steps: int) -> None:
    """Refuse a batch of one sample behind a normalisation over the batch before anything is trained.

    Raises:
        NeurofaError: naming the layer.
    """
    left = len(dataset.train) - (steps - 1) * batch_size
    if isinstance(dataset, Sequences) or min(batch_size, left) > 1:
        return
    for name, layer in network.items():
        shape = network.shapes[name]
        if layer.traits.couples_samples and math.prod(shape[1:]) == 1:
            which = "batches" if batch_size == 1 else "a last batch"
            raise NeurofaError(
                f"got {which} of one sample for the batch normalisation of layer '{name}', which would make all of it"
                f" zero; expected two or more; use another --batch-size than {batch_size}"
            )


def _silence(silent: dict[str, float], epoch: int) -> str:
    layers = ", ".join(f"{name} ({rate:.2g})" for name, rate in silent.items())
    return (
        f"got layers that hardly spike after epoch {epoch}, in spikes per neuron and tick: {layers}; expected"
        f" {SILENT:g} or more, since silent neurons pass nothing on; lower the threshold, or raise the weights or the"
        " rate of the input"
    )


def _refuse_labels_that_are_values(loss: Loss, dataset: Dataset | Sequences) -> None:
    if loss.labels and dataset.regression:
        raise NeurofaError(
            f"got data '{dataset.name}', whose targets are numbers, for loss {loss.name}; expected labels; use loss"
            " mse, or bce"
        )


def _copy_state(network: torch.nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in network.state_dict().items()}


def _better(row: EpochRow, than: EpochRow) -> bool:
    """Return whether an epoch is better by validation accuracy, or by loss where there are no labels."""
    if row["validation_accuracy"] is None:
        return bool(row["validation_loss"] < than["validation_loss"])
    return bool(row["validation_accuracy"] > than["validation_accuracy"])
