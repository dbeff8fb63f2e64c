"""Weights to conductances on tiles and back, for every map and for sizes that do not divide."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from exports.graph.arrays import Matrix
from exports.hdf5.read import open_hardware_file
from exports.programming.conductances import MICRO, TileMapping, conductances_to_weights, map_matrix
from exports.programming.integers import NumberFormat, quantization_of
from exports.tables import write_tables
from hwmodels.arrays.tiles import Tile, reassemble
from hwmodels.errors import NeurofaError
from hwmodels.registry import parts
from tests.exports.learners import exported

MAPS = [f"{name}(g_min=2.0, g_max=30.0)" for name in parts("conductance")]


def test_all_maps_are_here():
    assert {m.partition("(")[0] for m in MAPS} == {"single", "reference", "pair", "n_pair"}


@pytest.mark.parametrize("spec", MAPS)
@pytest.mark.parametrize("tile", [(7, 5), (64, 3), (1, 1), (256, 256)])
def test_weights_come_back_within_the_tolerance(spec, tile):
    w = torch.randn(13, 4, 2, 3, generator=torch.Generator().manual_seed(0))
    chart = map_matrix(Matrix(values=w, meaning="kernels"), TileMapping(tile=tile, conductance=spec, tolerance=0.001))
    pieces = []
    for one in chart.tiles():
        for g in one.planes.values():
            assert float(g.min()) >= 2e-6 * (1 - 1e-6)
            assert float(g.max()) <= 30e-6 * (1 + 1e-6)
        pieces.append(Tile(one.row, one.column, conductances_to_weights(spec, chart.scale * MICRO, one.planes)))
    back = reassemble(pieces, (24, 13)).t().reshape(w.shape)
    assert float((back - w).abs().max()) * chart.scale * MICRO < chart.tolerance


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 17), st.integers(1, 17), st.sampled_from(MAPS))
def test_tiles_of_any_size_reassemble(rows, columns, height, width, spec):
    w = torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows))
    chart = map_matrix(Matrix(values=w, meaning="w"), TileMapping(tile=(height, width), conductance=spec))
    pieces = [
        Tile(t.row, t.column, conductances_to_weights(spec, chart.scale * MICRO, t.planes)) for t in chart.tiles()
    ]
    assert torch.allclose(reassemble(pieces, (columns, rows)).t(), w, atol=1e-5 * float(w.abs().max()))


def test_the_range_is_that_of_the_device():
    matrix = Matrix(values=torch.ones(2, 2), meaning="w", conductance=(1e-6, 20.7e-6))
    assert TileMapping().conductance_map(matrix).g_max == pytest.approx(20.7)
    assert TileMapping(conductance="single(g_max=3.0)").conductance_map(matrix).g_max == 3


@pytest.mark.parametrize("wrong", [{"tile": (0, 3)}, {"tolerance": 0.0}, {"conductance": "pear"}])
def test_impossible_mappings_are_refused(wrong):
    with pytest.raises(NeurofaError, match="expected"):
        TileMapping(**wrong)


@pytest.mark.parametrize("per", ["tensor", "channel"])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 4, 8, 12])
def test_whole_numbers_are_half_a_step_off(bits, symmetric, per):
    w = torch.randn(9, 30, generator=torch.Generator().manual_seed(bits)) + 0.3
    found = quantization_of(Matrix(values=w, meaning="w"), NumberFormat(bits=bits, per=per, symmetric=symmetric))
    codes = found.codes(w, slice(None))
    low, high = found.format.ends
    assert low <= int(codes.min()) <= int(codes.max()) <= high
    off = (found.weights(codes, slice(None)) - w).abs() / found.scale.view(-1, 1)
    assert float(off.max()) <= 0.5 + 1e-4


@pytest.mark.long
def test_tables_hold_what_the_file_holds(tmp_path):
    exported(tmp_path / "x.h5", device="stuck(device=pcm)", mapping=TileMapping(tile=(16, 8)))
    with open_hardware_file(tmp_path / "x.h5") as stored:
        files = write_tables(stored, tmp_path / "tiles")
        for name, own, planes in stored.tiles("layers/dense1/weight"):
            stem = tmp_path / "tiles" / f"layers.dense1.weight-{name}"
            loaded = np.load(stem.with_name(stem.name + ".npz"))
            assert all(np.array_equal(loaded[key], g.numpy()) for key, g in planes.items())
            lines = [line for line in stem.with_name(stem.name + ".csv").read_text().splitlines() if line[0] != "#"]
            rows = list(csv.DictReader(lines))
            assert len(rows) == planes["plus"].numel()
            r = rows[5]
            at = int(r["row"]), int(r["column"])
            assert float(r["plus_S"]) == pytest.approx(float(planes["plus"][at]), rel=1e-6)
            assert int(r["faults"]) == int(planes["faults"][at])
            assert int(r["input"]) == own["first_input"] + at[0]
    assert any(int(f.suffix == ".csv") for f in files)
