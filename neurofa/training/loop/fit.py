"""Training over epochs, on data of any kind, with callbacks and a history."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from hwmodels.errors import NeurofaError
from neurofa.core.events import Events
from neurofa.core.randomness import generator
from neurofa.spiking.sequence import has_memory
from neurofa.training.chunk_size import chunk_size, memory_chunk
from neurofa.training.finite import NotFiniteError
from neurofa.training.loop.batches import Batch, Batches, is_sequence
from neurofa.training.loop.callback import Callback, Course, Trainable
from neurofa.training.loop.epoch import StepHooks, train_epoch
from neurofa.training.loop.history import History, Row
from neurofa.training.loop.progress import EpochBar, shown
from neurofa.training.loop.tally import Score, Tally
from neurofa.training.step_types import StepResult


def fit(
    learner: Trainable,
    data: object,
    *,
    epochs: int = 1,
    validation: object = None,
    callbacks: Sequence[Callback] = (),
    batch_size: int = 32,
    keys: tuple[str, str] | None = None,
    batch_first: bool = False,
    chunk: int | None = None,
    update: str = "end",
    teach: tuple[int, int] | None = None,
    seed: int = 0,
    history: History | None = None,
    progress: bool | None = None,
) -> History:
    """Train for some epochs, and return a history with one row of numbers for each.

    Inputs are converted to the dtype of the network and moved to its device. A batch of sequences is recognised by its
    axis of time, (T, B, *input_shape), and learnt by :meth:`~neurofa.training.learner.Learner.stream`.

    Args:
        learner: that is trained.
        data: batches (x, y) that can be read again: a DataLoader, a list; a function of the epoch (from 1) that returns
            them; or whole arrays or tensors (x, y), which are shuffled and cut into batches here. Batches and whole
            data may be dicts, with ``keys``.
        epochs: of the whole training, those of ``history`` included.
        validation: data of the same kinds, never shuffled; None: none.
        callbacks: called in their order.
        batch_size: samples of a batch that is cut from whole arrays.
        keys: names of inputs and targets in dicts.
        batch_first: whether sequences, and targets of every tick, come as (B, T, ...).
        chunk: ticks of a sequence that are processed together; None: as many as memory allows, at most 100, or more
            where every weight has a trace of its own.
        update: when weights change within a sequence: ``end``, ``chunk`` or ``tick``.
        teach: first taught tick, and the one after the last; None: all.
        seed: of the order of whole arrays, and of the noise of a validation.
        history: of a training that is continued; rows are added to it, so that those of finished epochs are kept when
            an error or Ctrl-C ends the training.
        progress: whether a line shows the progress; None: in a terminal or a notebook.

    Returns:
        ``history``, or a new one: ``rows`` with ``epoch``, ``train_loss``, ``train_accuracy``, ``validation_loss``,
        ``validation_accuracy``, ``lr`` and ``seconds``; training numbers are means over the epoch, before each update.

    Raises:
        NeurofaError: data of another kind, batches that do not fit the network, or an option out of range.
        NotFiniteError: the training diverges.
    """
    if epochs < 1:
        raise NeurofaError(f"got epochs={epochs}; expected 1 or more; raise it")
    history = History() if history is None else history
    reader = partial(Batches, network=learner.network, batch_size=batch_size, keys=keys, batch_first=batch_first)
    train = reader(data=data, what="training", seed=seed)
    held = None if validation is None else reader(data=validation, what="validation", seed=None)
    for batches in (train, held):
        if batches is not None:
            batches.require_again(epochs - len(history))
    if history.rates is None:
        history.rates = [group["lr"] for group in learner.optimizer.param_groups]
    history.stopped = ""
    course = Course(learner, history, epochs=epochs, steps=train.count, validates=held is not None)
    show = shown() if progress is None else progress
    hooks = _CallbackHooks(course, [*callbacks, *([EpochBar()] if show else [])])
    sequences = _SequenceOptions(chunk=chunk, update=update, teach=teach)
    begun: list[Callback] = []
    try:
        for callback in hooks.callbacks:
            begun.append(callback)
            callback.begin(course)
        while len(history) < epochs and not history.stopped:
            course.epoch = len(history) + 1
            row = _train(course, train, sequences, hooks)
            if held is not None:
                row |= _named("validation", _validate(course, held, sequences, seed))
            history.rows.append(row)
            for callback in hooks.callbacks:
                callback.end_epoch(course, row)
    finally:
        for callback in begun:
            callback.end(course)
    return history


@dataclass(frozen=True, kw_only=True)
class _SequenceOptions:
    chunk: int | None
    update: str
    teach: tuple[int, int] | None


class _CallbackHooks(StepHooks):
    """Calls the callbacks around every step."""

    def __init__(self, course: Course, callbacks: Sequence[Callback]) -> None:
        self.course, self.callbacks, self._step = course, callbacks, 0

    def before_step(self, step: int) -> None:
        self._step = step
        for callback in self.callbacks:
            callback.before_step(self.course, step)

    def after_step(self, step: int, result: StepResult) -> None:
        for callback in self.callbacks:
            callback.after_step(self.course, step)

    def report(self, x: Tensor | Events, result: StepResult, score: Score) -> None:
        self.course.learner.check()
        for callback in self.callbacks:
            callback.report(self.course, self._step, _named("train", score))


def _train(course: Course, data: Batches, sequences: _SequenceOptions, hooks: _CallbackHooks) -> Row:
    """Train one epoch, and return its row."""
    learner = course.learner
    for callback in hooks.callbacks:
        callback.begin_epoch(course)
    began = time.perf_counter()
    tally, batches = _tallied(learner, data, course.epoch)
    score = train_epoch(partial(_learn, learner, sequences), batches, tally, hooks)
    row = {"epoch": course.epoch, **_named("train", score)}
    lr = learner.optimizer.param_groups[0]["lr"]
    return row | {"lr": float(lr), "seconds": round(time.perf_counter() - began, 6)}


def _validate(course: Course, data: Batches, sequences: _SequenceOptions, seed: int) -> Score:
    """Return loss and accuracy on validation data; the generators of the learner do not move."""
    learner = course.learner
    gen = generator(seed, "evaluate", "validation", device=next(learner.network.parameters()).device)
    tally, batches = _tallied(learner, data, course.epoch)
    for x, target in batches:
        graded = learner.grade(x, target, chunk=sequences.chunk, teach=sequences.teach, gen=gen)
        tally.add(graded.loss, graded.y, target, graded.mass)
    score = tally.score()
    if score.loss is not None and not math.isfinite(score.loss):
        raise NotFiniteError(
            f"got a validation loss of {score.loss} after epoch {course.epoch}; expected a finite one; lower the"
            " learning rate or the feedback gain"
        )
    return score


def _tallied(learner: Trainable, data: Batches, epoch: int) -> tuple[Tally, Iterable[Batch]]:
    """Return a new tally for the targets of the batches, and the batches.

    Raises:
        NeurofaError: there are none.
    """
    batches = data.of_epoch(epoch)
    first = next(batches, None)
    if first is None:
        raise NeurofaError(
            f"got no {data.what} batches in epoch {epoch}; expected some; check the loader, which may be used up"
        )
    _, target = first
    network = learner.network
    axes = 1 if network.positions is None else 2
    labels = not target.is_floating_point() and target.dim() == axes and network.outputs > 1
    device = next(network.parameters()).device
    tally = Tally(regression=not labels, device=device, ignored=learner.loss.ignore_index)
    return tally, itertools.chain([first], batches)


def _learn(learner: Trainable, sequences: _SequenceOptions, x: Tensor | Events, target: Tensor) -> StepResult:
    """Learn from a batch, or from a batch of sequences."""
    network = learner.network
    if not is_sequence(network, x):
        if has_memory(network):
            raise NeurofaError(
                f"got inputs of shape {tuple(x.shape)} for a network with a memory; expected sequences"
                f" (T, B, {', '.join(map(str, network.input_shape))}); encode them, or repeat them for T ticks"
            )
        assert isinstance(x, Tensor)
        return learner.step(x, target)
    chunk, ticks = sequences.chunk, x.shape[0]
    online = not learner.rule.declares.sequences.through_time and not learner.loss.whole
    if chunk is None and sequences.update == "end" and online:
        batch = x.shape[1]
        chunk = min(chunk_size(network, learner.rule, ticks, batch), memory_chunk(network, ticks, batch))
    return learner.stream(x, target, chunk=chunk, update=sequences.update, teach=sequences.teach)


def _named(where: str, score: Score) -> Row:
    return {f"{where}_loss": score.loss, f"{where}_accuracy": score.accuracy}
