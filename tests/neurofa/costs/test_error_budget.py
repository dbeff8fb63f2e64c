"""The budget: predicted alignment against the measured one, static errors apart, and what it cannot know."""

import dataclasses
import json

import pytest
import torch

from experiments.cli import run_command as run
from hwmodels.registry import build
from neurofa.costs.error_budget import drift_errors, dynamic_errors, static_errors
from neurofa.linalg.spectra import cosine_similarity, mean_row_cosine, row_cosines

PROJECTIONS = [
    "microring(sigma=0.098)",
    "microring(sigma=0.618, mu=0.03, full_scale=batch)",
    "crossbar(periphery=training)",
    "crossbar(device=gaussian(read_noise=0.3), periphery=exact)",
    "crossbar(device=hermes, periphery=inference)",
    "crossbar(rows=3, device=stuck(device=pcm))",
    "crossbar(rows=4, periphery=periphery(out_noise=0.5, out_bits=6))",
    "mzi(sigma=0.3)",
    "opu",
    "opu(detection=phase_shifting)",
    "opu(detection=anchors)",
    "opu(detection=intensity)",
    "opu(error=sign)",
    "opu(camera=camera(full_well=50, thermal=3, bits=6))",
    "opu(detection=anchors, camera=camera(exposure=0.05, full_well=300))",
]

AGEING = [
    "crossbar(device=pcm)",
    "crossbar(device=hermes)",
    "crossbar(device=state_independent)",
    "crossbar(device=reram_wan)",
    "crossbar(device=reram_cmo)",
    "crossbar(device=stuck(device=wear(device=pcm)))",
    "mzi(drift=0.001)",
    "mzi(drift=0.003, modes=4, loss=0.2)",
    "opu(decorrelation=7200)",
    "opu(decorrelation=7200, error=sign)",
    "opu(decorrelation=7200, detection=anchors)",
    "opu(decorrelation=7200, detection=anchors, error=sign)",
    "opu(decorrelation=7200, detection=intensity)",
]


def gen(seed=1):
    return torch.Generator().manual_seed(seed)


def start(spec, size=1.0):
    source = gen(0)
    projection = build("projection", spec)
    projection.open(10, 1200, source)
    return projection, (torch.randn(64, 10, generator=source) * size).softmax(1) - torch.eye(10)[torch.arange(64) % 10]


@pytest.mark.sample(5)
@pytest.mark.parametrize("size", [0.1, 5.0])
@pytest.mark.parametrize("spec", PROJECTIONS)
def test_predicted_and_measured_alignment_agree(spec, size):
    projection, error = start(spec, size)
    lines = dynamic_errors(projection, error, gen())
    assert lines
    for line in lines:
        assert line.predicted == pytest.approx(line.measured, abs=0.02), line
        assert not line.outside, line


@pytest.mark.parametrize("scale", [1e-9, 1e-15])
@pytest.mark.parametrize("spec", ["microring(sigma=0.098)", "crossbar(periphery=training)", "mzi(sigma=0.3)"])
def test_the_errors_of_a_confident_network_are_no_less_aligned(spec, scale):
    projection, error = start(spec)
    whole, small = (dynamic_errors(projection, error * s, gen()) for s in (1.0, scale))
    for line, other in zip(whole, small, strict=True):
        assert other.measured == pytest.approx(line.measured, abs=1e-4), line
        assert other.predicted == pytest.approx(line.predicted, abs=1e-4), line
    assert all(torch.isfinite(torch.tensor(line.measured)) for line in dynamic_errors(projection, error * 1e-25, gen()))


def test_cosines_of_rows_have_no_floor():
    a = torch.randn(6, 9, generator=gen())
    b = a + torch.randn(6, 9, generator=gen(2))
    wanted = torch.cosine_similarity(a.double(), b.double(), dim=1)
    for scale in (1.0, 1e-9, 1e-30, 1e30):
        torch.testing.assert_close(row_cosines(a * scale, b), wanted, atol=1e-6, rtol=0)
        assert cosine_similarity(a * scale, b) == pytest.approx(cosine_similarity(a, b), abs=1e-6)
        assert mean_row_cosine(a * scale, b * 1e-12) == pytest.approx(float(wanted.mean()), abs=1e-6)
    assert float(row_cosines(a * 0, b).abs().max()) == 0
    drift = [drift_errors(start("crossbar(device=pcm)")[0], start("mzi")[1] * s, gen(), [60.0])[0] for s in (1, 1e-12)]
    assert drift[0].measured == pytest.approx(drift[1].measured, abs=1e-6)
    assert drift[0].gain == pytest.approx(drift[1].gain, abs=1e-6)


@pytest.mark.sample(5)
@pytest.mark.parametrize("spec", AGEING)
def test_predicted_and_measured_drift_agree(spec):
    projection, error = start(spec)
    before = {key: value.clone() for key, value in projection.state_dict().items()}
    for line in drift_errors(projection, error, gen(), [60.0, 3600.0]):
        assert line.predicted == pytest.approx(line.measured, abs=0.02), line
    assert all(torch.equal(before[key], value) for key, value in projection.state_dict().items())


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("spec", "source", "wrong"),
    [
        ("microring(sigma=0.618)", "noise of an inner product", {"sigma": 0.4}),
        ("mzi(sigma=0.5)", "detection noise", {"sigma": 0.25}),
        ("opu(camera=camera(full_well=50, bits=None, thermal=0))", "shot noise", {"full_well": 200.0}),
        ("opu(camera=camera(full_well=200, bits=None, thermal=30))", "thermal noise", {"thermal": 15.0}),
        ("opu(camera=camera(bits=3))", "camera rounding", {"bits": 5}),
        ("opu(camera=camera(exposure=0.5), detection=anchors)", "saturation", {"exposure": 0.2}),
    ],
)
def test_another_constant_is_told_apart(spec, source, wrong):
    """The control: a prediction from a wrong constant is further from the measurement than the tolerance."""
    projection, error = start(spec)
    right = {line.source: line for line in dynamic_errors(projection, error, gen())}[source]
    assert right.predicted == pytest.approx(right.measured, abs=0.02)
    if hasattr(projection, "camera"):
        projection.camera = dataclasses.replace(projection.camera, **wrong)
    else:
        for key, value in wrong.items():
            setattr(projection, key, value)
    other = {line.source: line for line in dynamic_errors(projection, error, gen())}[source]
    assert abs(other.predicted - right.measured) > 0.03


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("spec", "other"),
    [
        ("opu(decorrelation=7200)", "opu(decorrelation=3600)"),
        ("mzi(drift=0.001)", "mzi(drift=0.002)"),
        ("crossbar(device=state_independent(nu_std=0.1))", "crossbar(device=state_independent)"),
    ],
)
def test_another_drift_is_told_apart(spec, other):
    drifts = [drift_errors(*start(each), gen(), [3600.0])[0] for each in (spec, other)]
    assert abs(drifts[0].measured - drifts[1].predicted) > 0.03


def test_what_all_cells_lose_is_a_gain_and_turns_nothing():
    projection, error = start("crossbar(device=state_independent(nu_std=0, prog_std=0), periphery=exact)")
    (line,) = drift_errors(projection, error, gen(), [86400.0])
    assert line.gain == pytest.approx((86420 / 20) ** -0.1, rel=1e-4)
    assert line.predicted == pytest.approx(1, abs=1e-6)
    assert line.measured == pytest.approx(1, abs=1e-6)


def test_nothing_is_said_of_time_where_it_changes_nothing():
    for spec in ("crossbar", "microring", "mzi", "opu", "matrix_free"):
        assert drift_errors(*start(spec), gen(), [3600.0]) == []


def test_what_is_not_modelled_is_said():
    projection, error = start("crossbar(device=pcm)")
    projection.relax(10.0)  # has drifted already: its fates show
    (line,) = drift_errors(projection, error, gen(), [3600.0])
    assert line.predicted is None
    assert 0.9 < line.measured < 1

    class Unknown(type(projection)):
        def dynamics(self, error):
            return None

    projection.__class__ = Unknown
    assert dynamic_errors(projection, error, gen()) is None


def test_static_errors_are_no_noise():
    for spec in ("matrix_free", "microring(sigma=0, spacing=3)", "mzi", "crossbar(device=stuck, periphery=exact)"):
        projection, error = start(spec)
        assert dynamic_errors(projection, error, gen()) == []


def test_errors_that_are_lost_leave_nothing():
    projection, _ = start("crossbar(periphery=inference)")
    tiny = torch.full((8, 10), 1e-5)
    lines = {line.source: line for line in dynamic_errors(projection, tiny, gen())}
    assert lines["input rounding (DAC)"].predicted == pytest.approx(0, abs=1e-6)
    assert lines["input rounding (DAC)"].measured == pytest.approx(0, abs=1e-6)
    projection, _ = start("opu")
    lines = {line.source: line for line in dynamic_errors(projection, tiny, gen())}
    assert lines["encoding of the error"].predicted == lines["encoding of the error"].measured == 0
    assert lines["all together"].predicted == 0


def test_a_camera_of_two_bits_says_that_its_levels_are_too_coarse():
    projection, error = start("opu(camera=camera(bits=2))")
    lines = {line.source: line for line in dynamic_errors(projection, error, gen())}
    assert "too coarse" in lines["camera rounding"].outside
    assert "too coarse" in lines["all together"].outside
    assert not lines["shot noise"].outside


# static errors


def test_static_errors_alone_and_together():
    lines = {line.source: line for line in static_errors(start("crossbar(device=stuck(device=pcm))")[0], gen())}
    assert list(lines) == ["stuck devices", "programming of pcm", "all together"]
    for line in lines.values():
        assert line.rank == 10
        assert line.lowest_row <= line.cosine + 1e-3
        assert line.spread < 10
    assert lines["stuck devices"].cosine == pytest.approx(0.84, abs=0.03)  # 0.5 % and 10 % of each side
    assert lines["programming of pcm"].cosine > 0.995
    assert lines["all together"].cosine == pytest.approx(lines["stuck devices"].cosine, abs=0.02)


def test_programming_error_is_that_of_its_constant():
    """Weights uniform in +-1; noise s on both sides of a pair, of which the idle one is cut at 0: s^2/2 (1 - 1/pi)."""
    line = "crossbar(device=state_independent(prog_std={}))"
    (result,) = static_errors(start(line.format(2.0))[0], gen())
    x = 2.0 / 25
    active, idle = x**2, x**2 * (0.5 - 1 / (2 * torch.pi))
    assert result.cosine == pytest.approx((1 + (active + idle) * 3) ** -0.5, abs=0.002)
    (other,) = static_errors(start(line.format(4.0))[0], gen())
    assert abs(other.cosine - result.cosine) > 0.005


def test_each_static_error_has_its_row():
    def names(spec):
        return [line.source for line in static_errors(start(spec)[0], gen())]

    assert names("microring(spacing=3, heat=0.05)") == [
        "crosstalk between channels",
        "heat of the neighbours",
        "all together",
    ]
    assert names("mzi(loss=0.1)") == [
        "phases of 8 bits",
        "crosstalk of the heaters",
        "loss of the cells",
        "all together",
    ]
    assert names("microring") == names("crossbar") == ["none"]
    assert names("opu") == ["none is wanted: B as it is"]
    assert names("opu(detection=intensity)") == []
    exact = static_errors(start("microring")[0], gen())[0]
    assert (exact.cosine, exact.gain, exact.lowest_row) == pytest.approx((1, 1, 1), abs=1e-6)


def test_memory_behind_a_dense_pathway_is_hardware_too():
    feedback = build("feedback", "dense(device=pcm)")
    network = build("network", "mlp(hidden=[1200])", input_shape=(4,), outputs=10)
    feedback.open(network.plan().hidden, 10, gen())
    array, error = feedback.hardware(), start("opu")[1]
    (line,) = dynamic_errors(array, error, gen())
    assert line.source == "read noise of the cells"
    assert line.predicted == pytest.approx(line.measured, abs=0.005)
    torch.testing.assert_close(array.clean(error), error @ feedback.b.weight.t())
    plain = build("feedback", "dense")
    plain.open(network.plan().hidden, 10, gen())
    assert plain.hardware() is None


# the command


def test_the_command(capsys):
    assert run(["budget", "--json", "--network", "mlp(hidden=[300])", "--samples", "64", "--after", "60"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["dynamic"][0]["predicted"] == pytest.approx(result["dynamic"][0]["measured"], abs=0.02)
    assert result["static"][0]["source"] == "none"
    assert {cost["part"] for cost in result["costs"]} == {"forward", "feedback"}
    assert result["not_modelled"]


def test_the_command_for_people(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    rule = "dfa(feedback=crossbar(device=stuck(device=pcm), rows=4))"
    assert run(["budget", "--rule", rule, "--network", "mlp(hidden=[100])", "--device", "reram_es"]) == 0
    said = capsys.readouterr().out
    for words in (
        "largest loss: output noise",
        "1 d",
        "stuck devices",
        "which learning absorbs",
        "remembered [2]",
        "not modelled:",
        "pulses of the busiest weight",
    ):
        assert words in said


def test_networks_without_a_projection_get_their_costs(capsys):
    assert run(["budget", "--rule", "dfa", "--device", "reram_es", "--network", "mlp(hidden=[30])", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["hardware"], result["dynamic"], result["drift"], result["static"]) == (None, [], [], [])
    assert "energy of the writes" in {cost["what"] for cost in result["costs"]}
    assert run(["budget", "--rule", "fa", "--network", "mlp(hidden=[30, 20])"]) == 0
    assert "return weights are not modelled" in capsys.readouterr().out


@pytest.mark.long
def test_a_finished_run_speaks_for_itself_but_for_the_rule(tmp_path, capsys):
    flags = ["--data", "digits(subset=64)", "--network", "mlp(hidden=[20])", "--epochs", "1", "--no-control", "-q"]
    assert run(["train", *flags, "--rule", "dfa", "--device", "reram_es", "--out", str(tmp_path / "x")]) == 0
    capsys.readouterr()
    assert run(["budget", "--run", str(tmp_path / "x"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["rule"], result["device"], result["hardware"]) == ("dfa", "reram_es", None)
    assert run(["budget", "--run", str(tmp_path / "x"), "--rule", "dfa(feedback=opu)", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["hardware"] == "opu"


@pytest.mark.sample(4)
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--rule", "dfa(feedback=opus)"], "did you mean 'opu'"),
        (["--device", "reram"], "reram"),
        (["--profile", "loihi"], "did you mean 'loihi1'"),
        (["--after", "-1"], "--after"),
        (["--after", "inf"], "expected seconds"),
        (["--run", "nowhere"], "nowhere"),
        (["--run", "nowhere", "--batch-size", "8"], "leave out --batch-size"),
        (["--rule", "fa(feedback=opu)"], "chained rule"),
    ],
)
def test_wrong_input_is_code_2_and_one_line(flags, words, capsys):
    assert run(["budget", *flags]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert words in said.err
