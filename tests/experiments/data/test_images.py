"""Embedded and synthetic data, splits, batches, augmentation."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.data import Augment, Dataset, Split, batches
from experiments.data._images import image_dataset, moments
from experiments.data.digits import stratified_order
from hwmodels.errors import NeurofaError
from hwmodels.registry import build, parts


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int, *shape: int, levels: int = 256) -> torch.Tensor:
    return torch.randint(levels, (n, *shape), generator=seeded(1), dtype=torch.uint8)


def one_line(error: pytest.ExceptionInfo[NeurofaError]) -> bool:
    text = str(error.value)
    return text.startswith("got ") and "; expected " in text and "\n" not in text


# ---------------------------------------------------------------------- embedded and synthetic


def test_digits_are_stratified_and_disjoint():
    data = build("data", "digits")
    assert [len(split) for split in data.splits().values()] == [1257, 180, 360]
    counts = data.test.y.bincount()
    assert counts.min() >= 34
    assert counts.max() <= 38
    assert data.train.x.mean().abs() < 1e-5
    assert data.input_shape == (1, 8, 8)


@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=6), share=st.floats(0, 1), seed=st.integers(0, 9))
@settings(max_examples=50)
def test_every_beginning_of_a_stratified_order_holds_the_overall_shares(sizes, share, seed):
    labels = torch.cat([torch.full((size,), k) for k, size in enumerate(sizes)])
    order = stratified_order(labels, seeded(seed))
    assert torch.equal(order.sort().values, torch.arange(len(labels)))
    n = round(share * len(labels))
    got = labels[order[:n]].bincount(minlength=len(sizes))
    # each class is off by at most one element, plus what rounding of all the others can shift
    assert all(abs(int(g) - size * n / len(labels)) <= 1 + len(sizes) / 2 for g, size in zip(got, sizes, strict=True))


def test_teacher_labels_follow_the_seed_and_the_noise():
    one, two = (build("data", "teacher(n_in=20, samples=500, seed=3)") for _ in range(2))
    other = build("data", "teacher(n_in=20, samples=500, seed=4)")
    noisy = build("data", "teacher(n_in=20, samples=500, seed=3, noise=1.0)")
    assert torch.equal(one.train.y, two.train.y)
    assert not torch.equal(one.train.x, other.train.x)
    assert torch.equal(one.train.x, noisy.train.x)
    assert 0.2 < (one.train.y != noisy.train.y).float().mean() < 0.9
    assert one.train.y.bincount(minlength=10).min() > 0


def test_a_linear_teacher_is_solved_by_least_squares_and_noise_is_what_remains():
    data = build("data", "teacher(n_in=20, hidden=[], classes=3, samples=4000, task=regression, noise=0.5)")
    assert data.regression
    assert data.train.y.shape == (4000, 3)
    weights = torch.linalg.lstsq(data.train.x, data.train.y).solution
    rest = data.test.y - data.test.x @ weights
    assert rest.std() == pytest.approx(0.5, rel=0.05)
    clean = build("data", "teacher(n_in=20, hidden=[], classes=3, samples=4000, task=regression)")
    solution = torch.linalg.lstsq(clean.train.x, clean.train.y).solution
    assert torch.allclose(clean.test.x @ solution, clean.test.y, atol=1e-4)


@pytest.mark.parametrize(
    "options", ["n_in=0", "classes=1", "samples=0", "test=0", "hidden=[5, 0]", "noise=-0.1", "validation=-1"]
)
def test_teacher_refuses_what_makes_no_sense(options):
    with pytest.raises(NeurofaError, match=r"got teacher\(") as error:
        build("data", f"teacher({options})")
    assert one_line(error)


@pytest.mark.parametrize("spec", ["teacher(task=clustering)", "mnist(validation=many)", "minst"])
def test_specs_are_checked(spec):
    with pytest.raises(NeurofaError, match="expected"):
        build("data", spec)


def test_all_data_sets_are_registered_with_a_source():
    known = parts("data")
    assert set(known) >= {"cifar10", "cifar100", "digits", "fashion_mnist", "mnist", "teacher"}
    assert all(getattr(part, "source", "") and part.__doc__ for part in known.values())


# ---------------------------------------------------------------------- splits and batches


def split_of(n: int) -> Split:
    return Split(torch.arange(n * 4, dtype=torch.float32).reshape(n, 1, 2, 2), torch.arange(n))


@given(n=st.integers(1, 40), size=st.integers(1, 50), seed=st.none() | st.integers(0, 5))
@settings(max_examples=60)
def test_batches_hold_every_sample_once(n, size, seed):
    split = split_of(n)
    got = list(batches(split, size, None if seed is None else seeded(seed)))
    assert [len(y) for _, y in got] == [size] * (n // size) + [n % size] * (n % size > 0)
    y = torch.cat([y for _, y in got])
    assert torch.equal(torch.cat([x for x, _ in got]), split.x[y])
    assert torch.equal(y if seed is None else y.sort().values, torch.arange(n))


def test_the_order_is_the_generators_and_only_its():
    def order(gen):
        return torch.cat([y for _, y in batches(split_of(30), 7, gen)])

    gen = seeded(2)
    first, second = order(gen), order(gen)
    assert not torch.equal(first, second)
    state = torch.get_rng_state()
    assert torch.equal(first, order(seeded(2)))
    assert torch.equal(state, torch.get_rng_state())


def test_flatten_and_drop_last():
    got = list(batches(split_of(10), 4, seeded(), flatten=True, drop_last=True))
    assert [x.shape for x, _ in got] == [(4, 4), (4, 4)]


def test_impossible_batches_are_refused_before_the_first():
    with pytest.raises(NeurofaError, match="got batch size 0"):
        batches(split_of(3), 0)
    with pytest.raises(NeurofaError, match="drop_last for 3 samples"):
        batches(split_of(3), 4, drop_last=True)
    with pytest.raises(NeurofaError, match="without a generator"):
        batches(split_of(3), 2, augment=Augment(flip=True))


def test_a_split_refuses_bad_values():
    with pytest.raises(NeurofaError, match="3 inputs with 2 targets"):
        Split(torch.zeros(3, 1), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(NeurofaError, match="NaN or infinite inputs"):
        Split(torch.tensor([[0.0], [float("nan")]]), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(NeurofaError, match="NaN or infinite targets"):
        Split(torch.zeros(2, 1), torch.tensor([[0.0], [float("inf")]]))
    with pytest.raises(NeurofaError, match=r"targets of torch.uint8"):
        Split(torch.zeros(2, 1), torch.zeros(2, dtype=torch.uint8))


def data_of(split: Split, classes: int, shape: tuple[int, ...]) -> Dataset:
    return Dataset(
        name="x", train=split, validation=split, test=split, classes=classes, input_shape=shape, provenance={}
    )


def test_a_data_set_refuses_what_does_not_fit_its_description():
    with pytest.raises(NeurofaError, match=r"labels from 0 to 4 .*expected 0 to 3"):
        data_of(split_of(5), 4, (1, 2, 2))
    with pytest.raises(NeurofaError, match=r"labels from -1 to"):
        data_of(Split(torch.zeros(1, 1), torch.tensor([-1])), 4, (1,))
    with pytest.raises(NeurofaError, match=r"inputs of shape \(1, 2, 2\)"):
        data_of(split_of(5), 5, (4,))
    with pytest.raises(NeurofaError, match=r"targets of shape \(2, 3\)"):
        data_of(Split(torch.zeros(2, 1), torch.zeros(2, 3)), 2, (1,))
    with pytest.raises(NeurofaError, match="got split 'tain'"):
        data_of(split_of(5), 5, (1, 2, 2)).batches("tain", 2)


def test_only_shuffled_training_batches_are_augmented():
    data = replace(data_of(split_of(6), 6, (1, 2, 2)), augment=Augment(crop=2)).to("cpu")

    def inputs(where, gen):
        return torch.cat([x for x, _ in data.batches(where, 6, gen)])

    assert torch.equal(inputs("train", None), data.train.x)
    shuffled = inputs("validation", seeded())
    assert torch.equal(shuffled.flatten(1).sum(1).sort().values, data.train.x.flatten(1).sum(1))
    assert not torch.isin(inputs("train", seeded()).flatten(1).sum(1), data.train.x.flatten(1).sum(1)).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_batches_on_a_gpu_equal_those_of_the_cpu(monkeypatch):
    cpu = replace(data_of(split_of(9), 9, (1, 2, 2)), augment=Augment(flip=True, crop=1))
    wanted = list(cpu.batches("train", 4, seeded()))
    gpu = cpu.to("cuda")
    assert gpu.train.x.is_cuda
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 0))
    hosted = cpu.to("cuda")
    assert hosted.train.x.is_pinned()
    for data in (gpu, hosted):
        for (x, y), (a, b) in zip(data.batches("train", 4, seeded()), wanted, strict=True):
            assert x.is_cuda
            assert y.is_cuda
            assert torch.equal(x.cpu(), a)
            assert torch.equal(y.cpu(), b)


# ---------------------------------------------------------------------- images


def test_moments_equal_the_plain_ones_per_channel():
    raw = torch.stack([images(50, 4, 4), images(50, 4, 4, levels=9), torch.full((50, 4, 4), 7, dtype=torch.uint8)], 1)
    mean, std = moments(raw)
    plain = raw.double().transpose(0, 1).flatten(1)
    assert torch.allclose(mean.flatten().double(), plain.mean(1))
    assert torch.allclose(std.flatten()[:2].double(), plain.std(1, correction=0)[:2])
    assert std.flatten()[2] == 1


def test_statistics_come_from_the_images_that_are_trained_on():
    raw, labels = images(40, 1, 3, 3), torch.zeros(40, dtype=torch.uint8)
    sets = [
        image_dataset("x", (raw, labels), (other, labels), classes=1, validation=10, subset=7, provenance={})
        for other in (raw, raw // 2)
    ]
    assert torch.equal(sets[0].train.x, sets[1].train.x)
    assert sets[0].train.x.mean().abs() < 1e-6


def slow_augment(x, crop, draws):
    """One image and one pixel at a time."""
    height, width = x.shape[2:]
    out = torch.zeros_like(x)
    for i, (dy, dx, mirrored) in enumerate(draws.tolist()):
        for row in range(height):
            for column in range(width):
                source_row = row + dy - crop
                source_column = (width - 1 - column if mirrored else column) + dx - crop
                if 0 <= source_row < height and 0 <= source_column < width:
                    out[i, :, row, column] = x[i, :, source_row, source_column]
    return out


@pytest.mark.parametrize(("flip", "crop"), [(True, 0), (False, 2), (True, 3)])
def test_augmentation_equals_a_slow_one(flip, crop):
    x = torch.randn(6, 2, 5, 7, generator=seeded())
    gen = seeded(1)
    draws = torch.zeros(6, 3, dtype=torch.int64)
    if crop:
        draws[:, :2] = torch.randint(2 * crop + 1, (6, 2), generator=gen)
    if flip:
        draws[:, 2] = torch.randint(2, (6,), generator=gen)
    got = Augment(flip=flip, crop=crop)(x, seeded(1))
    assert torch.equal(got, slow_augment(x, crop, draws))
    assert not torch.equal(got, x)


def test_flips_and_shifts_are_as_frequent_as_they_should_be():
    x = torch.zeros(4000, 1, 5, 5)
    x[:, 0, 2, 1] = 1
    seen = Augment(flip=True, crop=1)(x, seeded()).mean(0)[0]
    # rows 1 to 3 equally often; columns: 1 -> {0, 1, 2} unmirrored, {2, 3, 4} mirrored
    wanted = torch.zeros(5, 5)
    wanted[1:4] = torch.tensor([1, 1, 2, 1, 1]) / 18
    assert torch.allclose(seen, wanted, atol=0.02)


def test_augmentation_refuses_what_it_cannot_do():
    with pytest.raises(NeurofaError, match="got crop=-1"):
        Augment(crop=-1)
    with pytest.raises(NeurofaError, match=r"shape \(2, 4\) to augment"):
        Augment(flip=True)(torch.zeros(2, 4), seeded())
    x = torch.zeros(2, 4)
    assert Augment()(x, seeded()) is x
