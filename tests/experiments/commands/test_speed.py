"""The measuring machinery and ``neurofa speed``; no time is asserted."""

import gc
import json
import re
import statistics
from pathlib import Path

import pytest
import torch

from experiments.cli import run_command as run
from experiments.speed import suite, timing, workloads
from experiments.speed.peak_memory import method_peak, peak_bytes
from experiments.speed.suites import depth as depth_suite
from experiments.speed.suites import rules as rules_suite
from experiments.speed.suites import step as step_suite
from hwmodels.errors import NeurofaError
from hwmodels.registry import build, parts
from neurofa.core.network import Network
from neurofa.training.learner import Learner

CPU = torch.device("cpu")


def tiny_case(name="tiny"):
    return step_suite.step_case(name, workloads.mlp_workload([6, 5], n_in=8, batch=4))


def tiny_cnn():
    return workloads.cnn_workload((2, 3), side=8, hidden=4, batch=2)


def tiny_images():
    return workloads.vgg_workload([4, "M", 6], input_shape=(3, 8, 8), batch=2)


def test_every_case_has_a_baseline_floors_that_exist_and_unique_methods():
    cases = build("speed", "step").cases()
    assert len({c.name for c in cases}) == len(cases)
    for case in cases:
        names = [m.name for m in case.methods]
        assert names[0] == "torch"
        assert len(set(names)) == len(names)
        assert {m.floor for m in case.methods} <= {*names, ""}


def test_all_rules_that_are_named_exist():
    assert {*step_suite.RULES, *step_suite.MORE_RULES, *step_suite.DIRECT, *step_suite.CHAINED} <= set(parts("rule"))


@pytest.mark.parametrize(
    "work",
    [
        workloads.mlp_workload([6, 5], n_in=8, batch=4),
        tiny_images(),
        workloads.cnn_workload((2, 3), side=8, hidden=4, batch=2),
    ],
    ids=["mlp", "vgg", "cnn"],
)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_both_sides_do_the_same_work(work, momentum):
    """The learner with bp takes the step that plain torch takes, from the same weights, on the same batches."""
    model = torch.nn.Sequential(*work.modules())
    network: Network = build("network", work.spec, input_shape=work.input_shape, outputs=workloads.CLASSES)
    with torch.no_grad():
        for ours, theirs in zip(network.parameters(), model.parameters(), strict=True):
            theirs.copy_(ours)
    learner = Learner(network, "bp", optimizer=torch.optim.SGD(network.parameters(), lr=0.1, momentum=momentum))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=momentum)
    batches = work.batches(CPU, torch.contiguous_format)
    for _ in range(3):
        x, y = next(batches)
        learner.step(x, y)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    for ours, theirs in zip(network.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_batches_are_the_same_for_every_method():
    first, second = (tiny_images().batches(CPU, f) for f in (torch.contiguous_format, torch.channels_last))
    for (x, y), (x2, y2) in zip((next(first) for _ in range(3)), (next(second) for _ in range(3)), strict=True):
        assert torch.equal(x, x2)
        assert torch.equal(y, y2)


def test_methods_take_turns_without_collection():
    calls, collecting = [], []

    def method(name):
        def step():
            calls.append(name)
            collecting.append(gc.isenabled())

        return step

    times, repeats = timing.sample_times({"a": method("a"), "b": method("b")}, seconds=1e-3, device=CPU)
    assert gc.isenabled()
    assert len(times["a"]) == len(times["b"]) >= timing.MIN_ROUNDS
    turn = ["a"] * repeats["a"] + ["b"] * repeats["b"]
    sampled = len(times["a"]) * len(turn)
    assert calls[-sampled:] == turn * len(times["a"])
    assert not any(collecting[-sampled:])


def test_collection_and_threads_come_back_after_a_failure():
    before = torch.get_num_threads()

    def fail():
        assert torch.get_num_threads() == before + 1
        assert not gc.isenabled()
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"), timing.garbage_collection_off(), timing.torch_threads(before + 1):
        fail()
    assert gc.isenabled()
    assert torch.get_num_threads() == before


def test_rows_follow_from_the_samples(monkeypatch):
    samples = {"torch": [4.0, 1.0, 2.0, 3.0, 9.0], "dfa": [1.5, 1.5, 1.0, 2.0, 7.0], "floor-direct": [1.0] * 5}
    methods = tuple(
        suite.SpeedMethod(name=n, build=lambda _: list, floor="floor-direct" * (n == "dfa")) for n in samples
    )
    monkeypatch.setattr(suite, "sample_times", lambda *_, **__: (samples, dict.fromkeys(samples, 3)))
    case = suite.SpeedCase(name="c", methods=methods)
    torch_row, dfa, floor = suite.measure_case("s", case, device=CPU, threads=1, seconds=1.0, memory=False)
    assert (torch_row.median_s, torch_row.ratio, torch_row.floor_fraction) == (3.0, 1.0, None)
    assert (dfa.median_s, dfa.ratio, dfa.floor_fraction) == (1.5, 2.0, pytest.approx(2 / 3))
    low, _, high = statistics.quantiles(samples["torch"], n=4)
    assert torch_row.spread_s == high - low
    assert {r.baseline for r in (torch_row, dfa, floor)} == {"torch"}
    assert (dfa.samples, dfa.steps_per_sample, dfa.peak_bytes) == (5, 3, None)


def test_the_second_baseline_has_a_ratio_of_its_own(monkeypatch):
    samples = {"dfa": [2.0] * 5, "bp": [3.0] * 5, "x": [6.0] * 5}
    monkeypatch.setattr(suite, "sample_times", lambda *_, **__: (samples, dict.fromkeys(samples, 1)))
    methods = tuple(suite.SpeedMethod(name=n, build=lambda _: list) for n in samples)
    case = suite.SpeedCase(name="c", methods=methods, beside="bp")
    rows = suite.measure_case("s", case, device=CPU, threads=1, seconds=1.0, memory=False, clock="cpu")
    assert [(r.ratio, r.beside_ratio, r.clock) for r in rows][2] == (pytest.approx(1 / 3), 0.5, "cpu")


def test_an_unknown_clock_is_refused():
    with pytest.raises(NeurofaError, match="got clock 'sun'"):
        suite.measure_case("step", tiny_case(), device=CPU, threads=1, seconds=1e-3, memory=False, clock="sun")


def test_every_registered_rule_is_timed_and_runs():
    for case in build("speed", "rules").cases():
        assert {m.name for m in case.methods} == {*parts("rule"), "torch"}
        assert [m.name for m in case.methods][:2] == ["dfa", "bp"]
    for method in rules_suite.rules_case("tiny", tiny_cnn()).methods:
        step = method.build(CPU)
        step()
        step()


def test_methods_of_a_depth_make_the_same_steps():
    assert [case.name for case in build("speed", "depth").cases()] == [f"gpt-{d}" for d in depth_suite.DEPTHS]
    for method in depth_suite.depth_case(1).methods:
        step = method.build(CPU)
        step()
        step()


def test_tiny_case_runs_every_method():
    rows = suite.measure_case("step", tiny_case(), device=CPU, threads=1, seconds=1e-3, memory=False)
    assert [r.method for r in rows] == ["torch", "torch-fused", "dfa", "fa", "bp", "floor-direct", "floor-chained"]
    assert all(r.median_s > 0 and r.machine["threads"] == 1 for r in rows)


def test_convolutional_methods_run():
    methods = step_suite.step_case("tiny", tiny_images(), momentum=0.9).methods
    assert {"torch", "torch-channels-last", "dfa", "fa", "bp"} <= {method.name for method in methods}
    for method in methods:
        step = method.build(CPU)
        step()
        step()  # a second step on what the first one left


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_is_measured():
    rows = suite.measure_case("step", tiny_case(), device=torch.device("cuda"), threads=1, seconds=1e-3, memory=False)
    assert all(r.median_s > 0 for r in rows)


@pytest.mark.parametrize(("threads", "seconds"), [(0, 1.0), (1, 0.0)])
def test_bad_numbers_are_refused(threads, seconds):
    with pytest.raises(NeurofaError, match="expected positive numbers"):
        suite.measure_case("step", tiny_case(), device=CPU, threads=threads, seconds=seconds, memory=False)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the high-water mark cannot be lowered")
def test_peak_counts_what_is_kept_and_what_a_step_needs_but_not_what_building_needs():
    mib = 2**18  # floats; tensors above 32 MiB are never kept back by the C library

    def make(_device):
        torch.zeros(256 * mib).sum()
        kept = torch.ones(40 * mib)

        def step():
            return (torch.ones(48 * mib) + 1).sum() + kept[0]

        return step

    assert 136 - 8 < peak_bytes(make, CPU) / 2**20 < 136 + 8


@pytest.mark.long
def test_memory_is_measured_in_a_process_of_its_own():
    weights = 4 * (784 * 256 + 2 * 256**2 + 256 * 10)
    assert weights < method_peak("step", "mlp-256", "dfa", CPU, 1) < 40 * weights


@pytest.mark.long
def test_memory_that_cannot_be_measured_is_one_line():
    with pytest.raises(NeurofaError, match=r"got no memory peak of 'dfa' in case 'mlp'.*--no-memory"):
        method_peak("step", "mlp", "dfa", CPU, 1)


def test_command_prints_rows_and_nothing_else(capsys):
    words = ["speed", "step", "--case", "mlp-256", "--seconds", "0.01", "--threads", "1", "--no-memory", "--json"]
    assert run(words) == 0
    rows = json.loads(capsys.readouterr().out)
    columns = {"suite", "case", "method", "baseline", "median_s", "spread_s", "ratio", "floor_fraction", "peak_bytes"}
    assert columns <= set(rows[0])
    by_name = {r["method"]: r for r in rows}
    ours, theirs, floor = by_name["bp"], by_name["torch"], by_name["floor-chained"]
    assert theirs["ratio"] == 1
    assert ours["ratio"] == pytest.approx(theirs["median_s"] / ours["median_s"])
    assert ours["floor_fraction"] == pytest.approx(floor["median_s"] / ours["median_s"])


class Breaking(suite.SpeedSuite):
    """Three cases, the second of which fails."""

    def cases(self):
        def fail(_device):
            raise NeurofaError("got NaN; expected numbers; change the rate")

        broken = suite.SpeedCase(name="broken", methods=(suite.SpeedMethod(name="torch", build=fail),))
        return (tiny_case("first"), broken, tiny_case("last"))


@pytest.mark.sample(1)
@pytest.mark.parametrize("as_json", [True, False])
def test_a_case_that_fails_loses_no_other(as_json, capsys, monkeypatch):
    monkeypatch.setattr(timing, "SAMPLE_S", 1e-4)
    words = ["speed", "step", "--seconds", "0.001", "--no-memory", *(["--json"] if as_json else [])]
    with monkeypatch.context() as patch:
        patch.setattr(suite, "select_cases", lambda *_: Breaking().cases())
        assert run(words) == 1
    said = capsys.readouterr()
    assert said.err.strip().endswith("failed: step broken: got NaN; expected numbers; change the rate")
    if as_json:
        assert {row["case"] for row in json.loads(said.out)} == {"first", "last"}
    else:
        assert "step first" in said.out
        assert "step last" in said.out


@pytest.mark.long
def test_no_rule_diverges_while_it_is_timed():
    work = tiny_cnn()
    for rule in (*step_suite.RULES, *step_suite.MORE_RULES):
        step = workloads.learner_step(work, rule, CPU)
        for _ in range(40):
            step()
    assert workloads.LR < 1e-5, "hours of steps"


def test_command_shows_a_table(capsys):
    assert run(["speed", "step", "--case", "mlp-256", "--seconds", "0.01", "--threads", "1", "--no-memory"]) == 0
    shown = capsys.readouterr().out
    assert "threads 1" in shown
    assert "floor-chained" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["speed", "stpe"], "got speed 'stpe'; .*did you mean 'step'"),
        (["speed", "step", "--case", "mlp-1025"], "got case 'mlp-1025'; .*did you mean 'mlp-1024'"),
        (["speed", "step", "--compute", "tpu"], "got compute 'tpu'; "),
        (["speed", "step", "--threads", "0"], "got threads=0"),
    ],
)
def test_wrong_words_are_refused_in_one_line(words, message, capsys):
    assert run(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert re.search(message, said.err)
