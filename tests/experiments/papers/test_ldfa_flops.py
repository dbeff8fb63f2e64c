"""The experiment ``ldfa_flops``: its count against the hand count, its checks, a small timing."""

import pytest

from experiments.papers.ldfa_flops import BY_HAND, LDFAFlops
from experiments.sweeps.experiment import conduct
from experiments.sweeps.setup import Setup
from hwmodels.errors import NeurofaError


@pytest.mark.long
def test_the_count_agrees_with_the_hand_count_and_the_claim_has_its_ranks(tmp_path):
    result = conduct(LDFAFlops(ranks=(48, 64)), Setup(folder=tmp_path), parts=["count"])
    rows = {row["method"]: row for row in result["rows"]}
    assert rows["bp"]["total/bp"] == 1
    for rank in (48, 64):
        for rule in ("ldfa_normative", "ldfa_local"):
            row = rows[f"{rule}, r={rank}"]
            # the hand count has a class token more, and two digits
            assert row["total/bp"] == pytest.approx(BY_HAND["total"][rank], abs=0.006)
            assert row["backward/bp"] == pytest.approx(BY_HAND["backward of linear maps"][rank], abs=0.006)
            assert row["input/bp"] == pytest.approx(BY_HAND["input gradients"][rank], abs=0.006)
    holds = {check["name"]: check["holds"] for check in result["checks"]}
    assert holds["ldfa_normative, r=48: FLOP saved, %"]
    assert not holds["ldfa_normative, r=64: FLOP saved, %"]
    assert not holds["raf, r=48: FLOP saved, %"]
    assert (tmp_path / "count.png").stat().st_size > 10000


@pytest.mark.long
def test_a_small_timing(tmp_path):
    made = LDFAFlops(timed=(2,), seconds=1e-3, network="vit(width=8, depth=1, heads=2)", batch=2)
    result = conduct(made, Setup(folder=tmp_path), parts=["time"])
    assert [row["rule"] for row in result["rows"]] == ["bp", "ldfa_normative", "ldfa_local", "raf"]
    assert all(row["wall ms"] > 0 and row["flop/bp"] > 0 for row in result["rows"])
    assert len(result["checks"]) == 3
    assert (tmp_path / "time.png").stat().st_size > 5000


def test_sizes_are_refused():
    with pytest.raises(NeurofaError, match="expected positive numbers"):
        LDFAFlops(ranks=(0,))
