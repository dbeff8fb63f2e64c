"""``neurofa check``, and ``neurofa train --profile``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.benchmarks.spiking_chip import train_fields
from experiments.cli import run_command as command
from experiments.commands.listing import singular
from experiments.reports.chips import build_profile, chip_fields
from experiments.runs.run import RunSpec, train_run
from hwmodels.errors import NeurofaError
from hwmodels.registry import parts

SMALL = ["--data", "digits(subset=64)"]
FITTING = ["--network", "mlp(hidden=[16])", "--rule", "dfa(error=uniform(bits=8))", "--batch-size", "1"]
FITTING += ["--device", "update_engine(device=fixed(bits=9))", "--optimizer", "sgd(lr=0.0625)"]


def checked(capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, dict]:
    code = command(["check", *SMALL, *flags, "--json"])
    return code, json.loads(capsys.readouterr().out)


def broken(found: dict) -> set[str]:
    return {limit["limit"] for limit in found["limits"] if limit["verdict"] == "broken"}


def test_all_holds_is_code_0_and_one_broken_limit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = checked(capsys, "--profile", "loihi1", *FITTING)
    assert (code, found["holds"], broken(found)) == (0, True, set())
    code, found = checked(capsys, "--profile", "loihi1", *FITTING, "--batch-size", "2")
    assert (code, found["holds"], broken(found)) == (1, False, {"batch"})
    (batch,) = (limit for limit in found["limits"] if limit["limit"] == "batch")
    assert (batch["chip"], batch["needed"], batch["excess"], batch["mark"]) == ("1", "2", "2 times", "inferred")
    assert found["source"]
    assert found["verified"] == "read"
    assert found["spec"]["batch_size"] == 2


def test_the_default_run_fits_no_learning_chip(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = checked(capsys, "--profile", "loihi1")
    assert code == 1
    assert broken(found) == {"weight_bits", "rounding", "accumulator_bits", "rate_bits", "batch", "error_bits"}
    assert found["spec"] == RunSpec(data="digits(subset=64)").to_json()


@pytest.mark.parametrize("name", parts("profile"))
def test_what_the_profile_chooses_fits_it(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    if name == "odin":
        assert command(["check", *SMALL, "--profile", name, "--fill"]) == 2
        assert "a chip that takes an error" in capsys.readouterr().err
        return
    code, found = checked(capsys, "--profile", name, "--fill")
    # the default network has more hidden neurons than the bank has outputs; a range for sums of 8 bits was not found
    left = {"microring_bank": {"projection_outputs"}, "brainscales2": {"output_bits"}}
    assert broken(found) == left.get(name, set())
    assert code == (1 if broken(found) else 0)


def test_a_small_network_fits_the_microring_bank(capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(capsys, "--profile", "microring_bank", "--fill", "--network", "mlp(hidden=[25, 25])")[0] == 0
    assert checked(capsys, "--profile", "microring_bank", "--fill", "--network", "mlp(hidden=[25, 26])")[0] == 1


def test_every_rate_of_the_schedule_is_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = checked(capsys, "--profile", "loihi1", *FITTING, "--schedule", "cosine")
    assert (code, broken(found)) == (1, {"rate_bits"})
    assert checked(capsys, "--profile", "loihi1", *FITTING, "--schedule", "step(every=2, factor=0.5)")[0] == 0


def test_the_table_shows_limits_marks_and_the_source(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert command(["check", *SMALL, "--profile", "microring_bank"]) == 1
    said = capsys.readouterr().out
    for words in ("50 (remembered)", "10.24 times", "broken", "arXiv 2111.06862 (remembered)"):
        assert words in said
    assert command(["check", *SMALL, "--profile", "loihi1"]) == 1
    said = capsys.readouterr().out
    for words in (
        "not known",
        "no spiking layer",
        "not applicable",
        "not simulated",
        "direct to every layer (inferred)",
    ):
        assert words in said


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--profile", "loihi"], "did you mean 'loihi1'"),
        (["--profile", "loihi1(weight_bits=1)"], "weight_bits=1"),
        (["--profile", "loihi1", "--rule", "dfaa"], "did you mean 'dfa'"),
        (["--profile", "opu", "--rule", "fa(feedback=opu)"], "chained rule"),
        (["--profile", "rpu", "--device", "pulse_trains", "--optimizer", "adam"], "plain SGD"),
        ([], "--profile"),
    ],
)
def test_wrong_input_is_code_2_and_one_line(flags: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["check", *SMALL, *flags]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert words in said.err


def test_help_says_what_the_codes_mean(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["check", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Exit code 0 when all limits hold, 1 when one is broken, 2 for wrong input" in said
    assert "neurofa check --profile" in said


# training on a chip


@pytest.mark.parametrize(
    ("name", "given", "chosen"),
    [
        (
            "loihi1",
            {},
            {
                "rule": "dfa(error=uniform(bits=8))",
                "batch_size": 1,
                "optimizer": f"sgd(lr={36 / 4096})",
                "device": "update_engine(device=fixed(bits=9, rounding=stochastic), fraction=7, most=None)",
            },
        ),
        (
            "loihi1",
            {"batch_size": 32, "device": "digital", "rule": "fa"},
            {
                "rule": "fa(error=uniform(bits=8))",
                "batch_size": 32,
                "device": "digital",
                "optimizer": "sgd(lr=0.09375)",
            },
        ),
        (
            "loihi1",
            {"rule": "dfa(error=sign)", "optimizer": "sgd(lr=0.1)"},
            {
                "rule": "dfa(error=sign)",
                "optimizer": "sgd(lr=0.1)",
                "batch_size": 1,
                "device": "update_engine(device=fixed(bits=9, rounding=stochastic), fraction=7, most=None)",
            },
        ),
        (
            "reckon",
            {},
            {
                "rule": "bp",
                "network": "mlp(hidden=[256], activation=relu)",
                "batch_size": 1,
                "optimizer": "sgd(lr=0.001953125)",
                "device": "update_engine(device=fixed(bits=8, rounding=stochastic), fraction=None, most=1)",
            },
        ),
        ("opu", {"rule": "drtp"}, {"rule": "drtp(feedback=opu(error=ternary))", "optimizer": "sgd(lr=0.1)"}),
        (
            "microring_bank(sigma=0.202)",
            {},
            {
                "rule": "dfa(feedback=microring(sigma=0.202))",
                "optimizer": "sgd(lr=0.3)",
            },
        ),
        (
            "rpu",
            {"rule": "bp"},
            {
                "rule": "bp",
                "device": "pulse_trains(device=gokmen_vlasov, slots=31)",
                "optimizer": "sgd(lr=0.1)",
            },
        ),
    ],
)
def test_a_profile_chooses_what_is_not_given(name: str, given: dict, chosen: dict) -> None:
    assert chip_fields(build_profile(name), given) == chosen


def test_sequences_get_a_spiking_network_and_its_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--data", "encoded(data=digits(subset=32), ticks=4)", "--epochs", "1", "--no-control"]
    assert command(["train", *small, "--profile", "reckon", "--json", "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr()
    spec = RunSpec.from_json(json.loads(said.out)["spec"])
    assert spec.network.startswith("snn(hidden=[256], neuron=lif(membrane=uniform(")
    assert spec.rule == "eprop_symmetric(filtered=False)"
    for choice in (f"network {spec.network}", f"rule {spec.rule}", "batch_size 1", "optimizer sgd(lr="):
        assert choice in said.err.splitlines()[0]
    assert said.err.startswith("reckon chooses ")


@pytest.mark.parametrize(
    ("name", "given", "rule", "network"),
    [
        ("loihi1", {"network": "mlp(hidden=[8])"}, "dfa(error=uniform(bits=8))", "mlp(hidden=[8])"),
        ("loihi1", {"network": "snn(hidden=[8])", "rule": "bptt"}, "bptt", "snn(hidden=[8], neuron=lif, "),
        ("opu", {}, "eprop(filtered=False, feedback=opu", "snn(hidden=[256]"),
    ],
)
def test_choices_for_sequences_stay(name: str, given: dict, rule: str, network: str) -> None:
    data = "encoded(data=digits(subset=32), ticks=4)"
    fields = train_fields(build_profile(name), {"data": data, **given})
    assert fields["rule"].startswith(rule)
    assert fields["network"].startswith(network)
    static = {key: value for key, value in given.items() if key != "network"} | {"data": "digits(subset=32)"}
    assert train_fields(build_profile(name), static) == chip_fields(build_profile(name), static)


def test_a_chip_without_an_error_path_is_refused() -> None:
    with pytest.raises(NeurofaError, match="see neurofa check --profile odin"):
        chip_fields(build_profile("odin"), {})


def test_a_run_on_a_chip_says_everything_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [*SMALL, "--network", "mlp(hidden=[8])", "--epochs", "1", "--no-control"]
    out = tmp_path / "run"
    assert command(["train", *flags, "--profile", "loihi1", "--json", "--out", str(out)]) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert "limit broken" not in said.err
    spec = RunSpec.from_json(result["spec"])
    assert spec.rule == "dfa(error=uniform(bits=8))"
    assert spec.batch_size == 1
    # the same numbers without the profile, and others where one choice of it is left out
    again = train_run(spec)
    assert again.test_loss == result["test_loss"]
    assert train_run(replace(spec, device="digital")).test_loss != again.test_loss
    assert command(["train", *flags, "--profile", "loihi1", "--resume", "--json", "--out", str(out)]) == 0
    assert json.loads(capsys.readouterr().out) == result


def test_limits_that_are_broken_all_the_same_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["train", *SMALL, "--network", "mlp(hidden=[8, 8])", "--epochs", "1", "--no-control", "--profile", "reckon"]
    assert command([*flags, "--json", "--out", str(tmp_path / "a")]) == 0
    said = capsys.readouterr().err
    assert "limit broken: hidden layers: 2, reckon has 1 (see: neurofa check)" in said
    assert command([*flags, "-q", "--out", str(tmp_path / "b")]) == 0
    assert "limit broken" not in capsys.readouterr().err


# the plural in ``neurofa list``, and what published constants say of themselves


@pytest.mark.parametrize(
    ("plural", "kind"),
    [
        ("devices", "device"),
        ("projections", "projection"),
        ("profiles", "profile"),
        ("losses", "loss"),
        ("speeds", "speed"),
        ("nonlinearities", "nonlinearity"),
        ("data", "data"),
    ],
)
def test_list_takes_the_plural(plural: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["list", plural, "--json"]) == 0
    found = capsys.readouterr().out
    assert command(["list", kind, "--json"]) == 0
    assert found == capsys.readouterr().out
    assert list(json.loads(found)) == [kind]


def test_other_words_stay_what_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    found = [singular(word, ["bus", "device"]) for word in ("bus", "buses", "bu", "devicess")]
    assert found == ["bus", "bus", "bu", "devicess"]
    assert command(["list", "devics"]) == 2
    assert "did you mean 'device'" in capsys.readouterr().err


def test_list_shows_where_published_constants_come_from(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert command(["list", "devices", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["device"]}
    found = [rows["reram_array_om"][key] for key in ("verified", "tier")]
    assert found == ["read", "array measured"]
    assert "Gong" in rows["reram_array_om"]["fitted_from"]
    assert not {"verified", "fitted_from", "tier"} & set(rows["digital"])
    assert command(["list", "devices"]) == 0
    table = capsys.readouterr().out
    assert "tier: array measured" in table
    assert "fitted from: " in table
    assert "(read)" in table
    assert command(["list", "profiles"]) == 0
    table = capsys.readouterr().out
    assert "arXiv 2111.06862 (remembered)" in table
    assert "input_bits remembered" in table
    assert "membrane_bits=None" not in table
