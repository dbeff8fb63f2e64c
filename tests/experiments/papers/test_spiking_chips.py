"""The experiment on chips: what each target is given, which limits are lifted, and what the table says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.papers import spiking_chips
from experiments.reports.chips import build_profile, chip_findings
from experiments.runs.spec import RunSpec
from experiments.sweeps.experiment import conduct, margin_checks
from experiments.sweeps.setup import Setup
from experiments.tables import Record
from hwmodels.registry import build
from hwmodels.spec import parse

TINY = "encoded(data=digits(subset=32), ticks=4)"
BASE = {"data": TINY, "network": "snn(hidden=[6])", "epochs": 1}


@pytest.mark.parametrize("name", spiking_chips.CHIPS)
def test_what_runs_on_a_chip_fits_it(name: str) -> None:
    chip = build_profile(name)
    for settings in spiking_chips.on_chip(chip, BASE).values():
        for fields in settings:
            found = chip_findings(chip, RunSpec.from_json({**BASE, **fields}))
            # nobody says how the readout's error is rounded
            assert {f.title for f in found if f.verdict == "broken"} <= {"width of the error at the readout, bit"}


def test_lifted_limits_are_those_that_floats_break_and_that_decide_something() -> None:
    chip = build_profile("loihi1")
    floats = {"rule": "eprop(filtered=False)", "optimizer": "adam(lr=0.003)"}
    broken = spiking_chips.broken_limits(chip, BASE, floats)
    assert {"weight_bits", "batch", "trace_bits", "rounding"} <= set(broken)
    lifted = spiking_chips.lifted_chip(chip, broken, BASE)
    assert set(lifted) == set(broken) - {"rounding"}  # left open, it is stochastic as on the chip
    assert all("readout_only" not in methods for methods in lifted.values())

    def first(limit: str) -> dict[str, str]:
        return {key: str(value) for key, value in next(iter(lifted[limit].values()))[0].items()}

    assert "device" not in first("weight_bits")
    assert "batch_size" not in first("batch")
    assert "traces" in first("batch")["network"]
    assert "traces" not in first("trace_bits")["network"]
    assert first("synapse_state")["optimizer"].startswith("adam")


def test_imperfections_of_devices_are_lifted_one_at_a_time() -> None:
    bounded, linear = (spiking_chips.lifted_device(name) for name in spiking_chips.MEMRISTIVE)
    assert "curvature" not in bounded
    assert "curvature" in linear
    (methods,) = linear["curvature"].values()
    inner = parse(str(methods[0]["device"])).options["device"]
    assert str(inner) == "ecram(gamma_up=0.0, gamma_down=0.0)"
    ((quiet, *_),) = bounded["noise of writes"].values()
    device = build("device", quiet["device"]).device
    assert (device.dw_min_std, device.write_noise_std) == (0, 0)
    assert device.dw_min_dtod > 0


def test_the_limit_that_gains_most_is_to_blame() -> None:
    assert spiking_chips.blame({"a": 0.02, "b": 0.125}) == "b (+12.5 points)"
    assert spiking_chips.blame({"a": -0.01, "b": 0.004}) == "none alone; at most b (+0.4 points)"
    assert "no limit" in spiking_chips.blame({})
    rows: list[Record] = [
        {"method": "x", "margin": -0.1},
        {"method": "y", "margin": 0.1},
        {"method": "z", "margin": None},
    ]
    assert [check.holds for check in margin_checks("mnist", rows, "readout_only")] == [False, True]


@pytest.mark.slow
def test_chips_and_devices_run(tmp_path: Path) -> None:
    made = build("experiment", "spiking_chips(data='encoded(data=digits(subset=200), ticks=4)', epochs=1)")
    found = conduct(made, Setup(folder=tmp_path, seeds=1, workers=0), parts=["digits"])
    rows = {row["method"]: row for row in found["rows"]}
    targets = ("floats", *spiking_chips.CHIPS, *spiking_chips.MEMRISTIVE)
    assert {method.partition(" without ")[0].partition(",")[0] for method in rows} == set(targets)
    for target in targets[1:]:
        fallen = rows[target]
        assert fallen["margin"] == pytest.approx(
            fallen["test_accuracy"] - rows[f"{target}, readout_only"]["test_accuracy"]
        )
        assert (fallen["behind"] > spiking_chips.BEHIND) == bool(fallen.get("blame"))
    assert "weight_bits" in rows["loihi1"]["limits"]
    assert (tmp_path / "digits.png").is_file()


def test_a_lifted_limit_keeps_the_rate_where_it_can() -> None:
    chip = build_profile("loihi1")
    lifted = spiking_chips.lifted_chip(chip, ["trace_bits", "rate_bits", "synapse_state", "batch"], BASE)
    (own, _) = spiking_chips.on_chip(chip, BASE).values()
    chosen = {key: own[1][key] for key in ("rule", "optimizer")}
    (settings,) = spiking_chips.at_rate(lifted["trace_bits"], own, chosen).values()
    assert [fields["optimizer"] for fields in settings] == [own[1]["optimizer"]]
    (settings,) = spiking_chips.at_rate(lifted["rate_bits"], own, chosen).values()
    assert [fields["optimizer"] for fields in settings] == ["sgd(lr=0.001)"]
    for form in ("synapse_state", "batch"):
        (settings,) = spiking_chips.at_rate(lifted[form], own, chosen).values()
        assert len(settings) > 1
