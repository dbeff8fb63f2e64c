"""Callbacks: early stopping, schedules, checkpoints, logs, progress, and what they refuse before the first step."""

from __future__ import annotations

import csv
import io
import sys
from types import SimpleNamespace

import pytest
import torch

from hwmodels.errors import NeurofaError
from neurofa import (
    Callback,
    Checkpoint,
    CSVLog,
    EarlyStop,
    Learner,
    RateSchedule,
    TensorBoardLog,
    WandbLog,
    build,
)
from neurofa.training.loop import progress
from neurofa.training.loop.progress import EpochBar

GEN = torch.Generator().manual_seed(0)
X = torch.randn(40, 5, generator=GEN)
Y = (X[:, 0] > 0).long()


def learner(lr=0.2, rule="dfa", optimizer=torch.optim.SGD, **options):
    network = build("network", "mlp(hidden=[12])", input_shape=(5,), outputs=2, seed=0)
    return Learner(network, rule, optimizer=optimizer(network.parameters(), lr=lr), **options)


def weights(of):
    return torch.cat([value.flatten() for value in of.network.state_dict().values()])


def misled(epoch):
    """Right labels for four epochs, then wrong ones: the fourth epoch is the best."""
    return [(X, Y if epoch <= 4 else 1 - Y)]


class Told(Callback):
    """Writes down which method was called."""

    def __init__(self, fails_in=None):
        self.calls, self.fails_in = [], fails_in

    def __getattribute__(self, name):
        method = object.__getattribute__(self, name)
        if name not in vars(Callback) or name.startswith("_"):
            return method

        def call(*arguments):
            self.calls.append(name)
            if name == self.fails_in:
                raise KeyboardInterrupt
            return method(*arguments)

        return call


def test_callbacks_are_called_in_order():
    told = Told()
    learner().fit((X, Y), epochs=2, batch_size=20, callbacks=[told], progress=False)
    epoch = ["begin_epoch", *["before_step", "after_step"] * 2, "report", "end_epoch"]
    assert told.calls == ["begin", *epoch, *epoch, "end"]


@pytest.mark.parametrize("where", ["begin", "after_step", "end_epoch"])
def test_callbacks_that_have_begun_end_whatever_happens(where):
    first, broken, later = Told(), Told(where), Told()
    with pytest.raises(KeyboardInterrupt):
        learner().fit((X, Y), epochs=2, callbacks=[first, broken, later], progress=False)
    assert first.calls[-1] == broken.calls[-1] == "end"
    assert (later.calls == []) == (where == "begin")


# ---------------------------------------------------------------------- early stopping


def test_training_stops_and_keeps_the_best_weights():
    trained = learner(lr=1.0)
    states = []

    class Keep(Callback):
        def end_epoch(self, course, row):
            states.append(weights(course.learner))

    history = trained.fit(
        misled, validation=(X, Y), epochs=50, callbacks=[EarlyStop(patience=2), Keep()], progress=False
    )
    best = history.best("validation_loss")["epoch"]
    assert best == 4
    assert len(history) == best + 2
    assert history.stopped.startswith("no better validation_loss than")
    assert torch.equal(weights(trained), states[best - 1])
    assert "stopped: no better" in repr(history)


def test_an_accuracy_improves_upwards():
    stop = EarlyStop("train_accuracy", patience=1, restore=False)
    history = learner(lr=1e-9).fit((X, Y), epochs=9, callbacks=[stop], progress=False)
    assert len(history) == 2


def test_early_stopping_without_its_column_is_refused_before_training():
    trained = learner()
    before = weights(trained)
    with pytest.raises(NeurofaError, match="without validation data"):
        trained.fit((X, Y), callbacks=[EarlyStop()], progress=False)
    assert torch.equal(weights(trained), before)
    with pytest.raises(NeurofaError, match="expected train_loss, train_accuracy, lr, seconds"):
        trained.fit((X, Y), callbacks=[EarlyStop("loss")], progress=False)
    with pytest.raises(NeurofaError, match="got patience=0"):
        EarlyStop(patience=0)


# ---------------------------------------------------------------------- learning rates


def test_a_function_of_the_time_sets_the_rate_and_gives_it_back():
    trained = learner(lr=0.2)
    schedule = RateSchedule(lambda t, epochs: 1 - t / epochs)
    history = trained.fit((X, Y), epochs=4, callbacks=[schedule], progress=False)
    assert history["lr"] == pytest.approx([0.175, 0.125, 0.075, 0.025])
    assert trained.optimizer.param_groups[0]["lr"] == 0.2
    by_step = learner(lr=0.2).fit((X, Y), batch_size=20, callbacks=[RateSchedule(lambda t, _: t, each="step")])
    assert by_step["lr"] == pytest.approx([0.2 * 0.75])


def test_schedulers_of_torch_advance_by_epoch_or_step():
    trained = learner(lr=0.8)
    schedule = RateSchedule(torch.optim.lr_scheduler.StepLR(trained.optimizer, 1, gamma=0.5))
    assert trained.fit((X, Y), epochs=3, callbacks=[schedule], progress=False)["lr"] == [0.8, 0.4, 0.2]
    trained = learner(lr=0.8)
    schedule = RateSchedule(torch.optim.lr_scheduler.StepLR(trained.optimizer, 1, gamma=0.5), each="step")
    assert trained.fit((X, Y), epochs=2, batch_size=20, callbacks=[schedule])["lr"] == [0.2, 0.05]
    trained = learner(lr=0.8)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(trained.optimizer, patience=0, threshold=1e9)
    rows = trained.fit((X, Y), validation=(X, Y), epochs=3, callbacks=[RateSchedule(plateau)], progress=False)
    assert rows["lr"][-1] < 0.8


def test_wrong_schedules_are_refused():
    other = torch.optim.lr_scheduler.StepLR(learner().optimizer, 1)
    with pytest.raises(NeurofaError, match="of another optimizer"):
        learner().fit((X, Y), callbacks=[RateSchedule(other)], progress=False)
    with pytest.raises(NeurofaError, match="without a length"):
        learner().fit(lambda _: [(X, Y)], callbacks=[RateSchedule(lambda t, _: t, each="step")], progress=False)
    with pytest.raises(NeurofaError, match="expected step or epoch"):
        RateSchedule(lambda t, _: t, each="tick")
    trained = learner()
    plateau = RateSchedule(torch.optim.lr_scheduler.ReduceLROnPlateau(trained.optimizer))
    with pytest.raises(NeurofaError, match="ReduceLROnPlateau without 'validation_loss'"):
        trained.fit((X, Y), callbacks=[plateau], progress=False)


# ---------------------------------------------------------------------- checkpoints


@pytest.mark.parametrize("rule", ["dfa", "kp"])
def test_a_training_goes_on_from_its_checkpoint_as_if_it_had_never_stopped(tmp_path, rule):
    def fall(t, epochs):
        return 1 - t / epochs

    def options():
        return {"rule": rule, "optimizer": torch.optim.Adam, "lr": 0.01}

    whole = learner(**options())
    expected = whole.fit((X, Y), epochs=5, callbacks=[RateSchedule(fall)], progress=False)

    class Crash(Callback):
        def before_step(self, course, step):
            if course.epoch == 3 and step == 2:
                raise RuntimeError("power cut")

    path = tmp_path / "state.ckpt"
    with pytest.raises(RuntimeError, match="power cut"):
        learner(**options()).fit(
            (X, Y), epochs=5, callbacks=[RateSchedule(fall), Checkpoint(path), Crash()], progress=False
        )
    again = learner(**options())
    history = Checkpoint.resume(path, again)
    assert history["epoch"] == [1, 2]
    again.fit((X, Y), epochs=5, history=history, callbacks=[RateSchedule(fall), Checkpoint(path)], progress=False)
    for name in ("train_loss", "lr"):
        assert history[name] == expected[name]
    assert torch.equal(weights(again), weights(whole))


def test_the_best_epoch_is_stored(tmp_path):
    path = tmp_path / "best.ckpt"
    trained = learner(lr=1.0)
    store = Checkpoint(path, best="validation_loss")
    history = trained.fit(misled, validation=(X, Y), epochs=7, callbacks=[store], progress=False)
    stored = Checkpoint.resume(path, learner(lr=1.0))
    assert stored["epoch"][-1] == history.best("validation_loss")["epoch"] == 4


def test_files_of_another_training_are_kept(tmp_path):
    for make in (Checkpoint, CSVLog):
        path = tmp_path / make.__name__
        path.write_text("mine")
        with pytest.raises(NeurofaError, match=r"which holds another training; expected a new file"):
            learner().fit((X, Y), callbacks=[make(path)], progress=False)
        assert path.read_text() == "mine"
        learner().fit((X, Y), callbacks=[make(path, overwrite=True)], progress=False)
        assert path.read_bytes() != b"mine"


def test_checkpoints_that_would_not_be_whole_are_refused(tmp_path):
    with pytest.raises(NeurofaError, match="got accumulate=3 for 2 batches an epoch"):
        learner(accumulate=3).fit((X, Y), batch_size=20, callbacks=[Checkpoint(tmp_path / "a")], progress=False)
    with pytest.raises(NeurofaError, match="without validation data"):
        learner().fit((X, Y), callbacks=[Checkpoint(tmp_path / "a", best="validation_loss")], progress=False)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------- logs


def test_rows_are_written_as_csv(tmp_path):
    path = tmp_path / "rows.csv"
    history = learner().fit((X, Y), validation=(X, Y), epochs=3, callbacks=[CSVLog(path)], progress=False)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [{key: float(value) for key, value in row.items()} for row in rows] == history.rows


@pytest.mark.parametrize(("make", "library"), [(TensorBoardLog, "tensorboard"), (WandbLog, "wandb")])
def test_a_missing_library_is_named_before_training(make, library, monkeypatch, tmp_path):
    for name in ("wandb", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    trained = learner()
    before = weights(trained)
    log = make(tmp_path) if make is TensorBoardLog else make()
    with pytest.raises(NeurofaError, match=f"run: pip install {library}$"):
        trained.fit((X, Y), callbacks=[log], progress=False)
    assert torch.equal(weights(trained), before)


def test_scalars_go_to_tensorboard(tmp_path, monkeypatch):
    written = []

    class Writer:
        def __init__(self, folder):
            written.append(folder)

        def add_scalar(self, name, value, epoch):
            written.append((name, value, epoch))

        def flush(self):
            written.append("flush")

        def close(self):
            written.append("close")

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    history = learner().fit((X, Y), callbacks=[TensorBoardLog(tmp_path)], progress=False)
    row = history.rows[0]
    scalars = [(key, row[key], 1) for key in ("train_loss", "train_accuracy", "lr", "seconds")]
    assert written == [str(tmp_path), *scalars, "flush", "close"]


def test_rows_go_to_weights_and_biases(monkeypatch):
    sent = []
    run = SimpleNamespace(log=lambda row, step: sent.append((step, row)), finish=lambda: sent.append("finish"))
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda **options: sent.append(options) or run))
    learner().fit((X, Y), callbacks=[WandbLog(project="a", mode="offline")], progress=False)
    assert sent[0] == {"project": "a", "mode": "offline"}
    assert sent[1][0] == 1
    assert set(sent[1][1]) == {"train_loss", "train_accuracy", "lr", "seconds"}
    assert sent[2] == "finish"
    sent.clear()
    learner().fit((X, Y), callbacks=[WandbLog(run)], progress=False)
    assert len(sent) == 1  # a run of the user's own stays open
    with pytest.raises(NeurofaError, match="got a run and project"):
        WandbLog(run, project="a")


# ---------------------------------------------------------------------- progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_without_a_terminal_an_epoch_is_a_line():
    stream = io.StringIO()
    learner().fit((X, Y), validation=(X, Y), epochs=2, callbacks=[EpochBar(stream)], progress=False)
    first, second = stream.getvalue().splitlines()
    assert first.startswith("epoch 1/2 loss ")
    assert "validation loss" in second
    assert "\r" not in stream.getvalue()


def test_in_a_terminal_the_line_is_written_over(monkeypatch):
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    stream = Terminal()
    data = [(X, Y)] * 45
    learner().fit(data, epochs=1, callbacks=[EpochBar(stream)], progress=False)
    pieces = stream.getvalue().split("\r")
    assert [piece.count("#") for piece in pieces[1:4]] == [8, 17, 20]
    assert stream.getvalue().rstrip(" \n").endswith(" s")
    assert stream.getvalue().count("\n") == 1


def test_an_open_line_is_closed_when_training_ends_early(monkeypatch):
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    stream = Terminal()

    def data(epoch):
        yield from [(X, Y)] * 20
        raise RuntimeError("no more data")

    with pytest.raises(RuntimeError):
        learner().fit(data, callbacks=[EpochBar(stream)], progress=False)
    assert stream.getvalue().endswith("\n")
    assert "step 20" in stream.getvalue()


def test_a_notebook_is_shown_progress_on_stdout(monkeypatch, capsys):
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert progress.shown()
    learner().fit((X, Y), epochs=1)
    out, err = capsys.readouterr()
    assert "epoch 1/1 loss" in out
    assert err == ""


def test_nobody_is_shown_nothing(capsys):
    learner().fit((X, Y), epochs=1)
    assert capsys.readouterr() == ("", "")
