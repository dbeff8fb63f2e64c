"""Conductance maps are invertible, stay in range, and tiles put a matrix together again."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

import hwmodels.arrays.conductance  # noqa: F401  (declares the kind)
from hwmodels import NeurofaError, build, parts
from hwmodels.arrays.tiles import Tile, partition, reassemble

MAPS = [*parts("conductance"), "pair(g_min=2.5, g_max=20.0)", "n_pair(pairs=3, significance=4.0, g_min=1.0)"]


def weights(seed=0, shape=(7, 5)):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("spec", MAPS)
@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), size=st.floats(1e-6, 1e6))
def test_conductances_stay_in_range_and_give_the_weights_back(spec, seed, size):
    part, w = build("conductance", spec), weights(seed) * size
    before, scale = w.clone(), part.scale(w)
    planes = part.split(w, scale)
    assert torch.equal(w, before)
    for plane in planes.values():
        assert plane.min() >= part.g_min - 1e-9
        assert plane.max() <= part.g_max + 1e-9
    torch.testing.assert_close(part.join(planes, scale), w)
    assert any(plane.max() > part.g_max - 1e-9 or plane.min() < part.g_min + 1e-9 for plane in planes.values())


@pytest.mark.parametrize("spec", MAPS)
def test_weights_beyond_the_range_are_clipped_and_zeros_are_exact(spec):
    part, w = build("conductance", spec), weights()
    clipped = part.join(part.split(w * 3, part.scale(w)), part.scale(w))
    torch.testing.assert_close(clipped, (w * 3).clamp(-w.abs().max(), w.abs().max()))
    zeros = torch.zeros(3, 2)
    assert torch.equal(part.join(part.split(zeros, part.scale(zeros)), part.scale(zeros)), zeros)


def test_a_pair_uses_one_side_only():
    planes = build("conductance", "pair(g_min=1.0)").split(w := weights(), torch.tensor(2.0, dtype=torch.float64))
    assert torch.equal(planes["minus"][w > 0], torch.ones_like(planes["minus"][w > 0]))
    assert torch.equal(planes["plus"][w < 0], torch.ones_like(planes["plus"][w < 0]))


def test_a_wrong_reference_shifts_its_whole_row():
    part, w = build("conductance", "reference"), weights()
    planes, scale = part.split(w, part.scale(w)), part.scale(w)
    assert planes["reference"].shape == (7, 1)
    planes["reference"][2] += 1.0
    moved = part.join(planes, scale) - w
    torch.testing.assert_close(moved[2], (-1 / scale).expand(5))
    torch.testing.assert_close(moved[:2], torch.zeros(2, 5, dtype=torch.float64))


def test_the_least_significant_pair_is_filled_first():
    part = build("conductance", "n_pair(pairs=2, significance=4.0, g_max=10.0)")
    scale = torch.tensor(1.0)
    planes = part.split(torch.tensor([[5.0, 10.0, 14.0, -50.0]]), scale)
    assert planes["plus0"].tolist() == [[5.0, 10.0, 10.0, 0.0]]
    assert planes["plus1"].tolist() == [[0.0, 0.0, 1.0, 0.0]]
    assert planes["minus1"].tolist() == [[0.0, 0.0, 0.0, 10.0]]


@pytest.mark.parametrize(
    "spec",
    ["pair(g_min=30.0)", "single(g_min=-1.0)", "reference(g_max=1e999)", "n_pair(pairs=1)", "n_pair(significance=0.5)"],
)
def test_wrong_constants_are_refused(spec):
    with pytest.raises(NeurofaError, match="expected"):
        build("conductance", spec)


@settings(max_examples=40)
@given(
    shape=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    rows=st.integers(1, 25),
    columns=st.integers(1, 25),
    order=st.randoms(use_true_random=False),
)
def test_tiles_put_the_matrix_together_again(shape, rows, columns, order):
    w = weights(shape=shape)
    tiles = partition(w, rows, columns)
    assert len(tiles) == -(-shape[0] // rows) * -(-shape[1] // columns)
    assert all(t.values.shape[0] <= rows and t.values.shape[1] <= columns for t in tiles)
    order.shuffle(tiles)
    assert torch.equal(reassemble(tiles, shape), w)


def test_missing_double_and_misplaced_tiles_are_refused():
    tiles = partition(weights(), 4, 4)
    with pytest.raises(NeurofaError, match="exactly once"):
        reassemble(tiles[1:], (7, 5))
    with pytest.raises(NeurofaError, match="exactly once"):
        reassemble([*tiles, tiles[0]], (7, 5))
    with pytest.raises(NeurofaError, match="check its address"):
        reassemble([*tiles[1:], Tile(6, 0, tiles[0].values)], (7, 5))
    with pytest.raises(NeurofaError, match="got no tiles"):
        reassemble([], (7, 5))
    with pytest.raises(NeurofaError, match="expected a matrix"):
        partition(weights(shape=(3, 3, 3)), 2, 2)
