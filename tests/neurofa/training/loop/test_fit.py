"""``learner.fit``: the same numbers as a loop by hand, data of every kind, sequences, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from hwmodels.errors import NeurofaError
from neurofa import Events, History, Learner, build, from_sequential
from neurofa.core.randomness import generator
from neurofa.training.finite import NotFiniteError
from neurofa.training.loop.batches import Batches
from neurofa.training.loop.fit import _SequenceOptions

GEN = torch.Generator().manual_seed(0)
X = torch.randn(60, 5, generator=GEN)
Y = (X[:, 0] > 0).long()


def learner(loss="cross_entropy", rule="dfa", lr=0.2, outputs=2, **options):
    model = torch.nn.Sequential(torch.nn.Linear(5, 12), torch.nn.Tanh(), torch.nn.Linear(12, outputs))
    with torch.no_grad():
        for i, weight in enumerate(model.parameters()):
            weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(i)) * 0.3)
    network = from_sequential(model, (5,))
    return Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=lr), loss=loss, **options)


def spiking(rule="eprop", loss="cross_entropy"):
    network = build("network", "snn(hidden=[10])", input_shape=(5,), outputs=2, seed=0)
    return Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=0.05), loss=loss)


def spikes(ticks=6, samples=20):
    y = torch.arange(samples) % 2
    xs = (torch.rand(ticks, samples, 5, generator=torch.Generator().manual_seed(2)) < 0.2 + 0.5 * y[:, None]).float()
    return xs, y


def weights(of):
    return torch.cat([value.flatten() for value in of.network.state_dict().values()])


BATCHES = [(X[i : i + 16], Y[i : i + 16]) for i in range(0, 60, 16)]


# ---------------------------------------------------------------------- numbers


def test_fit_does_what_a_loop_by_hand_does():
    fitted, by_hand = learner(), learner()
    history = fitted.fit(BATCHES, validation=(X, Y), epochs=3, progress=False)
    for row in history.rows:
        losses, hits = 0.0, 0
        for x, y in BATCHES:
            result = by_hand.step(x, y)
            losses += float(result.loss) * len(x)
            hits += int((result.y.argmax(1) == y).sum())
        assert row["train_loss"] == pytest.approx(losses / 60, rel=1e-6)
        assert row["train_accuracy"] == hits / 60
        outputs = by_hand.evaluate(X)
        assert row["validation_loss"] == pytest.approx(float(torch.nn.functional.cross_entropy(outputs, Y)), rel=1e-5)
        assert row["validation_accuracy"] == float((outputs.argmax(1) == Y).double().mean())
        assert row["lr"] == 0.2
    assert torch.equal(weights(fitted), weights(by_hand))
    assert history["epoch"] == [1, 2, 3]
    assert history["train_loss"][2] < history["train_loss"][0]


def test_whole_arrays_are_shuffled_anew_in_every_epoch():
    order = [torch.randperm(60, generator=generator(7, "order", str(epoch))) for epoch in (1, 2)]
    fitted, by_hand = learner(), learner()
    fitted.fit((X.double().numpy(), Y.numpy()), epochs=2, batch_size=25, seed=7, progress=False)
    for index in order:
        for part in index.split(25):
            by_hand.step(X[part], Y[part])
    assert torch.equal(weights(fitted), weights(by_hand))
    assert not torch.equal(*order)


KINDS = {
    "list": BATCHES,
    "tuple": tuple(BATCHES),
    "numpy": [(x.numpy().astype(np.float64), y.numpy().astype(np.uint8)) for x, y in BATCHES],
    "big-endian, read-only": [(x.numpy().astype(">f4"), np.broadcast_to(y.numpy(), y.shape)) for x, y in BATCHES],
    "numbers": [(x.tolist(), y.tolist()) for x, y in BATCHES],
    "tensors in a list": [(list(x), list(y)) for x, y in BATCHES],
    "lists": [[x, y] for x, y in BATCHES],
    "dicts": [{"image": x, "label": y, "name": "a"} for x, y in BATCHES],
    "loader": DataLoader(TensorDataset(X, Y), batch_size=16),
    "dict loader": DataLoader(
        [{"image": x, "label": y} for x, y in zip(X, Y, strict=True)],  # type: ignore[arg-type]
        batch_size=16,
    ),
    "function": lambda epoch: iter(BATCHES),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_batches_in_any_form_teach_the_same(kind):
    plain, other = learner(), learner()
    plain.fit(BATCHES, epochs=2, progress=False)
    keys = ("image", "label") if "dict" in kind else None
    history = other.fit(KINDS[kind], epochs=2, keys=keys, validation=KINDS[kind], progress=False)
    assert torch.equal(weights(plain), weights(other))
    assert len(history) == 2


def test_whole_data_may_be_a_dict():
    plain, other = learner(), learner()
    plain.fit((X, Y), progress=False)
    other.fit({"image": X.numpy(), "label": Y}, keys=("image", "label"), progress=False)
    assert torch.equal(weights(plain), weights(other))


def test_numbers_to_predict_have_no_accuracy():
    trained = learner("mse", outputs=1, lr=0.05)
    history = trained.fit((X, X[:, :1] * 2), validation=(X, X[:, :1] * 2), epochs=5, progress=False)
    assert history["train_accuracy"] == [None] * 5
    assert history["validation_loss"][-1] < history["validation_loss"][0]


def test_weights_of_classes_weigh_in_the_validation():
    trained = learner("cross_entropy(weight=[1, 3])")
    history = trained.fit(BATCHES, validation=BATCHES, progress=False)
    expected = torch.nn.functional.cross_entropy(trained.evaluate(X), Y, weight=torch.tensor([1.0, 3.0]))
    assert history["validation_loss"][0] == pytest.approx(float(expected), rel=1e-5)


def test_validation_draws_nothing_from_the_learner():
    make = "mlp(hidden=[8])"
    plain, other = (
        Learner(
            (net := build("network", make, input_shape=(5,), outputs=2, device="pcm", seed=0)),
            "dfa",
            optimizer=torch.optim.SGD(net.parameters(), lr=0.1),
        )
        for _ in range(2)
    )
    plain.fit(BATCHES, epochs=2, progress=False)
    other.fit(BATCHES, epochs=2, validation=(X, Y), progress=False)
    assert torch.equal(weights(plain), weights(other))


# ---------------------------------------------------------------------- sequences


def test_sequences_are_streamed_whole():
    xs, y = spikes()
    fitted, by_hand = spiking(), spiking()
    history = fitted.fit([(xs, y)] * 3, validation=[(xs, y)], epochs=2, progress=False)
    for _ in range(6):
        by_hand.stream(xs, y)
    assert torch.equal(weights(fitted), weights(by_hand))
    assert history["validation_accuracy"][-1] == float((by_hand.evaluate(xs).argmax(1) == y).double().mean())


def test_sequences_may_come_batch_first_and_whole():
    xs, y = spikes()
    plain, other = spiking(), spiking()
    plain.fit((xs, y), batch_size=7, progress=False)
    first = xs.transpose(0, 1).contiguous()
    other.fit((first, y), batch_size=7, batch_first=True, progress=False)
    assert torch.equal(weights(plain), weights(other))
    assert torch.equal(plain.evaluate(xs), plain.evaluate(first, batch_first=True))


def test_outputs_of_every_tick_and_of_taught_ticks():
    xs, _ = spikes()
    trained = spiking()
    every = trained.evaluate(xs, every_tick=True)
    assert every.shape == (6, 20, 2)
    assert torch.allclose(trained.evaluate(xs), every.mean(0))
    assert torch.allclose(trained.evaluate(xs, teach=(2, 5), chunk=4), every[2:5].mean(0))
    assert torch.equal(trained.evaluate(xs.transpose(0, 1), batch_first=True, every_tick=True), every.transpose(0, 1))
    assert torch.allclose(trained.evaluate(Events.from_dense(xs)), every.mean(0), atol=1e-6)


def test_events_and_a_loss_of_the_rate():
    xs, y = spikes()
    trained = spiking(loss="rate(mean=True)")
    history = trained.fit([(Events.from_dense(xs), y)], epochs=8, validation=[(xs, y)], progress=False)
    assert history["validation_loss"][-1] < history["validation_loss"][0]


def test_the_chunk_is_as_long_as_memory_allows(monkeypatch):
    from neurofa.training import chunk_size
    from neurofa.training.loop import fit

    seen = []
    trained = spiking()
    monkeypatch.setattr(trained, "stream", lambda x, target, **options: seen.append(options["chunk"]))
    xs, y = spikes()
    fit._learn(trained, _SequenceOptions(chunk=None, update="end", teach=None), xs, y)
    units = 5 + 10 * (10 + 2)
    monkeypatch.setattr(chunk_size, "MEMORY", 4 * 20 * units * 3)
    fit._learn(trained, _SequenceOptions(chunk=None, update="end", teach=None), xs, y)
    fit._learn(trained, _SequenceOptions(chunk=5, update="end", teach=None), xs, y)
    fit._learn(trained, _SequenceOptions(chunk=None, update="chunk", teach=None), xs, y)
    assert seen == [6, 3, 5, None]


# ---------------------------------------------------------------------- what goes on, ends, or is refused


def test_a_training_is_continued_with_its_history():
    whole, parts = learner(), learner()
    expected = whole.fit((X, Y), epochs=4, progress=False)
    history = History()
    parts.fit((X, Y), epochs=1, history=history, progress=False)
    parts.fit((X, Y), epochs=4, history=history, progress=False)
    assert history["train_loss"] == expected["train_loss"]
    assert torch.equal(weights(whole), weights(parts))


def test_finished_epochs_are_kept_when_training_diverges():
    history = History()
    trained = learner("mse", lr=0.1)

    def data(epoch):
        return BATCHES if epoch < 3 else [(X, torch.full((60, 2), float("inf")))]

    with pytest.raises(NotFiniteError):
        trained.fit(data, epochs=5, history=history, progress=False)
    assert history["epoch"] == [1, 2]


def test_a_history_is_a_table():
    history = learner().fit(BATCHES, epochs=2, validation=(X, Y), progress=False)
    assert repr(history).count("\n") == 2
    assert history.best()["validation_accuracy"] == max(history["validation_accuracy"])
    assert history.best("train_loss")["epoch"] == 2
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(history.rows)
    assert list(table["epoch"]) == [1, 2]
    assert table["validation_loss"].notna().all()


class NoBatches:
    def __iter__(self):
        return iter(())


WRONG = {
    "a number": (3, {}, "got training data of type int; expected a DataLoader"),
    "a Dataset": (TensorDataset(X, Y), {}, "got training data of type TensorDataset"),
    "a generator": ((pair for pair in BATCHES), {"epochs": 2}, "that can be read once"),
    "nothing": (NoBatches(), {}, "got no training batches in epoch 1"),
    "three parts": ([(X, Y, Y)], {}, r"a tuple of 3 parts; expected \(x, y\)"),
    "inputs alone": ([X], {}, r"is a Tensor.*; expected \(x, y\)"),
    "a dict without keys": ([{"a": X, "b": Y}], {}, r"with a, b; .* keys=\(inputs, targets\)"),
    "another key": ([{"a": X, "b": Y}], {"keys": ("a", "c")}, "expected 'c'"),
    "whole numbers": ([((X * 100).to(torch.uint8), Y)], {}, "such as x / 255"),
    "words": ([(X, ["a"] * 60)], {}, "got training targets of type <U1"),
    "ragged lists": ([([[1.0], [2.0, 3.0]], [0, 1])], {}, "numbers of one shape"),
    "complex numbers": ([(X * 1j, Y)], {}, "expected dense real numbers"),
    "labels out of range": ([(X, Y + 1)], {}, "got label 2"),
    "another shape": ([(X[:, :4], Y)], {}, r"\(60, 4\)"),
    "fewer targets": ((X, Y[:3]), {}, "got 60 inputs with 3 targets"),
    "no epochs": (BATCHES, {"epochs": 0}, "got epochs=0"),
    "no samples in a batch": ((X, Y), {"batch_size": 0}, "got batch_size=0"),
    "NaN": ([(X * float("nan"), Y)], {}, "NaN or infinity"),
    "validation of another kind": (BATCHES, {"validation": [(X, Y, Y)]}, "a validation batch"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_data_are_refused_in_one_line(case):
    data, options, said = WRONG[case]
    with pytest.raises(NeurofaError, match=said) as caught:
        learner().fit(data, progress=False, **options)
    assert "\n" not in str(caught.value)
    assert "; expected " in str(caught.value)


def test_a_network_with_a_memory_needs_sequences():
    with pytest.raises(NeurofaError, match=r"expected sequences \(T, B, 5\)"):
        spiking().fit(BATCHES, progress=False)


def test_a_loader_that_is_used_up_is_noticed():
    class Once:
        def __init__(self):
            self.batches = iter(BATCHES)

        def __iter__(self):
            return self.batches

    history = History()
    with pytest.raises(NeurofaError, match="in epoch 2; expected some; check the loader"):
        learner().fit(Once(), epochs=2, history=history, progress=False)
    assert len(history) == 1


def test_the_number_of_batches_is_known_where_it_can_be():
    def count(data):
        made = Batches(
            data=data, network=learner().network, what="training", batch_size=25, keys=None, batch_first=False, seed=0
        )
        return made.count

    assert count((X, Y)) == 3
    assert count(BATCHES) == 4
    assert count(KINDS["loader"]) == 4
    assert count(KINDS["function"]) is None
