"""The experiment ``devices``: its methods, its checks, and one small run."""

import pytest

from experiments.papers.devices import DEVICES, RESCUED, Devices, plain, rescued
from experiments.sweeps.experiment import conduct
from experiments.sweeps.setup import Setup
from hwmodels.errors import NeurofaError
from hwmodels.registry import build


def test_every_device_of_the_table_can_be_built_plain_and_rescued():
    for name in DEVICES:
        found = [plain(name)] + ([rescued(name)] if name in RESCUED else [])
        for methods in found:
            assert "readout_only" in methods
            for candidates in methods.values():
                assert all(build("device", c["device"]) for c in candidates)


def line(variant, accuracy, margin=None, group="PCM"):
    return {
        "group": group,
        "variant": variant,
        "method": f"{group}: {variant}",
        "test_accuracy": accuracy,
        "margin": margin,
    }


def test_checks_compare_with_the_control_and_with_the_bare_device():
    lines = [
        line("dfa", 0.80, -0.05),
        line("dfa, mixed precision", 0.95, 0.10),
        line("dfa, Tiki-Taka v2", 0.7, -0.15),
        line("readout_only", 0.85),
    ]
    made = {check.name: check for check in Devices().checks("rescued", lines)}
    assert [check.holds for check in made.values()] == [False, True, False, True]
    assert made["rescued: PCM: the better composition over dfa as it is, points"].value == pytest.approx(15)
    assert [check.holds for check in Devices().checks("plain", [line("dfa", 0.8, 0.0), line("readout_only", 0.8)])] == [
        False
    ]


def test_a_small_run_gives_rows_checks_and_a_picture(tmp_path):
    made = Devices(data="teacher(samples=64, classes=3)", network="mlp(hidden=[4])", epochs=1, only=("fixed 4 bit",))
    result = conduct(made, Setup(folder=tmp_path, seeds=1, workers=0), parts=["plain"])
    assert [row["variant"] for row in result["rows"]] == ["bp", "dfa", "readout_only"]
    assert {row["part"] for row in result["rows"]} == {"plain"}
    assert len(result["checks"]) == 2
    assert (tmp_path / "plain.png").stat().st_size > 5000
    assert conduct(made, Setup(folder=tmp_path, seeds=1, workers=0), parts=["rescued"])["rows"] == []


def test_an_unknown_device_is_refused():
    with pytest.raises(NeurofaError, match=r"got device 'pcm'.*did you mean 'PCM'|got device 'pcm'"):
        Devices(only=("pcm",))
