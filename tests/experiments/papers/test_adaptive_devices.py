"""Experiments on feedback that learns: a small run of each, and checks that can fail."""

import json

import pytest

from experiments.papers import bpfree_table, ldfa_classes_vs_rank
from experiments.papers import ldfa_fc_cifar10 as fc
from experiments.papers import ldfa_q_vs_qp as q_vs_qp
from experiments.papers import ldfa_vit as vit
from experiments.protocols.aliases import group_aliases
from experiments.sweeps.edges import rate_edge
from experiments.sweeps.experiment import conduct
from experiments.sweeps.setup import Setup
from hwmodels.errors import NeurofaError
from hwmodels.registry import build

POINTS = "teacher(samples=96, validation=32, test=32, classes=3, n_in=8)"
SMALL = {
    "ldfa_fc_cifar10(data='digits(subset=64)', hidden=6, narrow=2, ranks=[4, 10], epochs=1)": ("all", "one"),
    "ldfa_q_vs_qp(data='digits(subset=64)', ranks=[1], epochs=1)": ("ranks",),
    "ldfa_receptive_fields(data='digits(subset=64)', ranks=[1], epochs=1)": ("fields",),
    "ldfa_vit(data='digits(subset=64)', ranks=[1], local=[1], epochs=1, tuning_epochs=1)": ("ranks",),
    f"adaptive_devices(data='{POINTS}', network='mlp(hidden=[4])', only=['EcRam'], epochs=1)": ("devices", "photonic"),
    f"bpfree_table(digits='{POINTS}', only=[bp, dfa], epochs=1, tuning_epochs=1)": ("mnist_mlp",),
    f"grape_alignment(digits='{POINTS}', noises=[0.0, 0.1], epochs=1, tuning_epochs=1)": ("mlp", "noise"),
}


@pytest.mark.sample(2)
@pytest.mark.parametrize(("spec", "part"), [(spec, part) for spec, parts in SMALL.items() for part in parts])
def test_a_small_run_leaves_rows_checks_and_a_picture(tmp_path, spec, part):
    result = conduct(build("experiment", spec), Setup(folder=tmp_path, seeds=2, workers=0), parts=[part])
    assert result["rows"]
    assert result["checks"]
    assert all((tmp_path / name).stat().st_size > 5000 for name in result["pictures"])
    assert json.loads((tmp_path / "result.json").read_text())["rows"] == json.loads(json.dumps(result["rows"]))
    for column in result["columns"].get(part, []):
        assert any(row.get(column) is not None for row in result["rows"]), column


def test_classes_against_rank_runs_on_a_data_set_with_classes(tmp_path, monkeypatch):
    def few(self, classes):
        return POINTS.replace("classes=3", f"classes={classes}")

    monkeypatch.setattr(ldfa_classes_vs_rank.ClassesAgainstRank, "_data", few)
    made = build("experiment", "ldfa_classes_vs_rank(classes=[3, 4], ranks=[1, 2], hidden=4, epochs=1)")
    result = conduct(made, Setup(folder=tmp_path, seeds=1, workers=0))
    assert {row.get("classes") for row in result["rows"]} == {3, 4}
    assert (tmp_path / "classes.png").stat().st_size > 5000


def line(series, x, accuracy, std=0.001):
    return {"series": series, "x": x, "method": f"{series}, {x}", "test_accuracy": accuracy, "test_accuracy_std": std}


def test_the_checks_of_the_rank_table_hold_for_the_source_and_not_for_a_flat_curve():
    then = [line(fc.LEARNT, r, v / 100) for r, v in {4: 60.0, **fc.ALL_THEN}.items()]
    then += [line(fc.Q_ONLY, 4, 0.55), line(fc.Q_ONLY, 10, 0.57), line(fc.BP, None, 0.6276)]
    then += [line("bp, 64 units", None, 0.581), line(fc.CONTROL, None, 0.4)]
    assert all(check.holds for check in build("experiment", "ldfa_fc_cifar10").checks("all", then))
    flat = [{**other, "test_accuracy": 0.5} if other["series"] == fc.LEARNT else other for other in then]
    assert [check.holds for check in build("experiment", "ldfa_fc_cifar10").checks("all", flat)] == [
        True,
        False,
        False,
        False,
        False,
        True,
    ]
    falling = [line(fc.DIRECT, 1, 0.6), line(fc.DIRECT, 10, 0.5), line(fc.CONTROL, None, 0.4)]
    assert [check.holds for check in build("experiment", "ldfa_fc_cifar10").checks("direct", falling)] == [False, True]


def test_the_needed_rank_is_read_off_the_curve():
    curve = [{"x": x, "s": s} for x, s in ((2, 0.5), (4, 0.9), (16, 1.1), (64, 1.0), (None, 0.0))]
    assert ldfa_classes_vs_rank.needed_rank(curve, "s", 1.0) == pytest.approx(8)
    assert ldfa_classes_vs_rank.needed_rank(curve, "s", 0.3) == 2
    assert ldfa_classes_vs_rank.needed_rank(curve, "s", 1.05) is None

    def needed(*ranks):
        names = [f"needed_rank_{where}_{x:g}" for where in ("test", "train") for x in ldfa_classes_vs_rank.LEVELS]
        return [
            {"part": "needed rank", "classes": c, **dict.fromkeys(names, r)}
            for c, r in zip((10, 20, 40), ranks, strict=False)
        ]

    def holds(*ranks):
        return [check.holds for check in build("experiment", "ldfa_classes_vs_rank").checks("classes", needed(*ranks))]

    assert all(holds(8.0, 16.0))
    assert not any(holds(8.0, 8.0)[:8])
    assert not any(holds(None, None))
    # a rank that is not reached is no rise
    assert holds(8.0, None) == [False] * 8 + [True, False]
    assert holds(None, 8.0)[:8] == [False] * 8
    assert not any(holds(8.0, 16.0, None)[:8])


def test_alignment_checks_follow_the_order_that_the_texts_suggest():
    def row(method, cosine, accuracy=0.9):
        return {"method": method, "matrix_cosine": cosine, "test_accuracy": accuracy, "margin": 0.1}

    rows = [row("dfa", 0.0), row("grape2025", 0.1), row("fdfa", 0.5), row("grape2026", 0.6, 0.95)]
    made = {check.name: check.holds for check in build("experiment", "grape_alignment").checks("mlp", rows)}
    assert made["mlp: cos(B, J), grape2026 over fdfa"]
    assert made["mlp: grape2026 over dfa, points of accuracy"]
    assert not made["mlp: fdfa over dfa, points of accuracy"]
    rows[1]["matrix_cosine"] = 0.55
    assert not {c.name: c.holds for c in build("experiment", "grape_alignment").checks("mlp", rows)}[
        "mlp: cos(B, J), fdfa over grape2025"
    ]


def test_other_checks_can_fail():
    one = [line(q_vs_qp.LEARNT, 1, 0.5), line(q_vs_qp.Q_ONLY, 1, 0.6), line(q_vs_qp.CONTROL, None, 0.55)]
    assert [check.holds for check in build("experiment", "ldfa_q_vs_qp").checks("ranks", one)] == [False, False, True]
    some = [
        line(vit.NORMATIVE, 16, 0.5) | {"flop_over_bp": 1.2},
        line(vit.BP, None, 0.55),
        line(vit.CONTROL, None, 0.52),
    ]
    assert [check.holds for check in build("experiment", "ldfa_vit").checks("ranks", some)] == [
        False,
        False,
        False,
        True,
    ]
    shapes = [
        {"method": "rank 1", "centre_surround": 0.2, "orientation": 0.2},
        {"method": "bp", "centre_surround": 0.3, "orientation": 0.3},
    ]
    assert [check.holds for check in build("experiment", "ldfa_receptive_fields").checks("fields", shapes)] == [
        False,
        True,
    ]
    rows = [
        {"group": "x", "variant": v, "test_accuracy": a, "margin": a - 0.5} for v, a in (("dfa", 0.6), ("raf", 0.4))
    ]
    assert [check.holds for check in build("experiment", "adaptive_devices").checks("devices", rows)] == [
        True,
        False,
        False,
    ]
    table = [{"method": "dfa", "margin": -0.1}, {"method": "readout_only", "margin": None}]
    assert [check.holds for check in build("experiment", "bpfree_table").checks("mnist_mlp", table)] == [
        False,
        False,
        True,
    ]
    table[1]["rate_edge"] = "highest"
    assert not list(build("experiment", "bpfree_table").checks("mnist_mlp", table))[-1].holds


def test_names_of_one_rule_are_one_row_of_the_table():
    names = ["bp", "bptt", "dfa", "eprop", "fa", "ostl", "readout_only", "sdfa", "tdfa"]
    groups = group_aliases(names, "mlp(hidden=[6, 5])")
    assert groups == {
        "bp": ["bptt", "ostl"],
        "dfa": ["eprop"],
        "fa": [],
        "readout_only": [],
        "sdfa": [],
        "tdfa": [],
    }


def test_a_winner_at_the_end_of_its_rates_is_marked():
    tried = [{"optimizer": f"sgd(lr={lr}, momentum=0.9)"} for lr in (0.01, 0.1, 1)] + [{"optimizer": "adam(lr=0.001)"}]
    assert [rate_edge(setting, tried) for setting in tried] == ["lowest", None, "highest", None]
    assert rate_edge({"rule": "dfa"}, [{"rule": "dfa"}]) is None
    control = [{"optimizer": optimizer} for optimizer in bpfree_table.optimizers("readout_only")]
    assert rate_edge({"optimizer": "sgd(lr=1, momentum=0.9)"}, control) is None


def test_an_unknown_rule_of_the_table_is_refused():
    with pytest.raises(NeurofaError, match=r"got bpfree_table\(only=\[dfaa\]\)"):
        build("experiment", "bpfree_table(only=[dfaa])")
