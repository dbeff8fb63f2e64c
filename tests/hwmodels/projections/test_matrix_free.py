"""The matrix that is never stored equals its stored twin, and its entries are as random as they should be."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hwmodels.numerics.random import lowbias32
from hwmodels.projections import matrix_free
from hwmodels.projections.matrix_free import MatrixFree


def opened(n_in, n_out, seed=0, **options):
    projection = MatrixFree(**options)
    projection.open(n_in, n_out, torch.Generator().manual_seed(seed))
    return projection


def errors(b, n):
    return torch.randn(b, n, generator=torch.Generator().manual_seed(9))


def test_mixing_is_the_reference_in_whole_numbers():
    def reference(x):
        x ^= x >> 16
        x = x * 0x7FEB352D % 2**32
        x ^= x >> 15
        x = x * 0x846CA68B % 2**32
        return x ^ (x >> 16)

    x = torch.randint(-(2**31), 2**31, (1003,), generator=torch.Generator().manual_seed(0)).to(torch.int32)
    ours = [v % 2**32 for v in lowbias32(x.clone()).tolist()]
    assert ours == [reference(v % 2**32) for v in x.tolist()]


@pytest.mark.parametrize("signs", [False, True])
def test_exactly_equal_to_the_stored_twin(signs):
    projection, error = opened(40, 300, signs=signs), errors(8, 40)
    stored = projection.effective()
    assert torch.equal(projection(error), torch.zeros(8, 300).addmm_(error, stored))
    pieces = torch.cat(
        [
            torch.cat([projection.entries(r, r + 8, c, c + 60, error) for c in range(0, 300, 60)], 1)
            for r in range(0, 40, 8)
        ]
    )
    assert torch.equal(pieces, stored)
    assert torch.equal(projection.double().entries(0, 40, 0, 300, error), stored)


def test_blocks_only_change_the_order_of_summation(monkeypatch):
    projection, error = opened(70, 2100), errors(3, 70).double()
    whole = projection(error)
    monkeypatch.setattr(matrix_free, "BLOCK", 7 * 1024)
    torch.testing.assert_close(projection(error), whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(error.float() @ projection.effective(), whole.float(), rtol=1e-5, atol=1e-5)


def test_entries_are_uniform_and_independent():
    n = 600
    b = opened(n, n).effective().double() * math.sqrt(n)  # uniform in +-1
    total = b.numel()
    counts = torch.histc(b.float(), 50, -1, 1).double()
    chi2 = ((counts - total / 50).square() / (total / 50)).sum().item()
    assert abs(chi2 - 49) < 4 * math.sqrt(2 * 49)
    assert b.abs().max() <= 1
    assert len(b.flatten().unique()) > 0.97 * total  # 24 bits: few coincide
    for shifted in (b[1:] * b[:-1], b[:, 1:] * b[:, :-1], b[1:, 1:] * b[:-1, :-1], b * b.t().triu(1)):
        used = shifted[shifted != 0]
        assert abs(used.mean().item()) < 4 / 3 / math.sqrt(used.numel())
    # rows are as nearly orthogonal as random ones: the largest singular value is at the edge of Marchenko and Pastur
    top = torch.linalg.matrix_norm(b / math.sqrt(n / 3), 2).item()
    assert 1.95 < top < 2.05


def test_other_seeds_and_neighbouring_rows_share_nothing():
    a, b = opened(50, 50, 0).effective(), opened(50, 50, 1).effective()
    assert not torch.isin(a, b).any()
    assert not torch.isin(a[0], a[1:]).any()


MEASURE = """
import pathlib, re, sys, torch
from hwmodels.projections.matrix_free import MatrixFree
torch.set_num_threads(1)
n = int(sys.argv[1])
projection = MatrixFree()
projection.open(n, n, torch.Generator().manual_seed(0))
error = torch.randn(8, n, generator=torch.Generator().manual_seed(1))
y = projection(error)
rows = torch.cat([projection.entries(i, min(i + 1000, n), 0, 7, error) for i in range(0, n, 1000)])
off = float((error.double() @ rows.double() - y[:, :7]).abs().max() / y.std())
# not ru_maxrss: a child starts with its parent's
peak = re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1]
print(int(peak) / 1024, float(y.std()), off)
"""


def measured(n):
    """Peak memory of the process (MiB), spread of the projection, and error of its first columns."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(n)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    return [float(word) for word in done.stdout.split()]


def check_large(n):
    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory is read from /proc")
    peak, spread, off = measured(n)
    assert peak < 500
    assert abs(spread - 1 / math.sqrt(3)) < 0.02
    assert off < 1e-3


@pytest.mark.long
def test_a_large_projection_takes_little_memory():
    check_large(12_000)  # 550 MiB if it were stored


@pytest.mark.slow
def test_a_projection_of_a_hundred_thousand_takes_little_memory():
    check_large(100_000)  # 37 GiB if it were stored
