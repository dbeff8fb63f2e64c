"""When a run measures, what it logs, and runs that share their feedback."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from experiments.runs.measurements import measurement_series, measurement_steps, read_measurements
from experiments.runs.run import RunSpec, train_run
from hwmodels.registry import build
from neurofa.training.learner import Learner

SMALL = RunSpec(data="digits(subset=200)", network="mlp(hidden=[12, 10])", epochs=2)


def test_measurements_stand_evenly_on_a_logarithmic_axis():
    steps = list(itertools.islice(measurement_steps(), 30))
    assert steps == sorted(set(steps))
    assert all(1.3 < b / a < 1.5 for a, b in itertools.pairwise(steps[8:]))


def test_a_run_measures_before_its_first_step_inside_and_at_the_end_of_every_epoch():
    rows = train_run(replace(SMALL, log="all")).rows  # 7 steps an epoch
    found = read_measurements(rows)
    assert [each.step for each in found] == [0, 1, 2, 3, 4, 6, 7, 8, 11, 14]
    assert [each.step for each in found if each.features is not None] == [0, 7, 14]
    assert set(found[0].features["layers"]) == {"input", "dense1", "dense2"}
    assert set(found[-1].features["layers"]) == {"dense1", "dense2"}
    steps, values = measurement_series(found, "dense2", "delta_cosine")
    assert steps == [each.step for each in found]
    assert all(-1 <= v <= 1 for v in values)
    assert measurement_series(found, "dense3", "delta_cosine")[1] == [None] * len(found)
    assert measurement_series(found, None, "cosine")[1][-1] == rows[-1]["alignment"]["total"]["cosine"]
    inside = measurement_series(found, "dense2", "alignment_matrix.isotropy")[1]
    assert inside[-1] == rows[-1]["alignment"]["layers"]["dense2"]["alignment_matrix"]["isotropy"]
    assert all(row["log_seconds"] > 0 for row in rows)
    # rows of earlier versions have another name for the list
    earlier = [{"looks" if key == "measurements" else key: value for key, value in row.items()} for row in rows]
    assert read_measurements(earlier) == found


@pytest.mark.parametrize(("log", "keys"), [("none", set()), ("features", {"features"}), ("alignment", {"alignment"})])
def test_only_what_is_asked_for_is_logged(log, keys):
    row = train_run(replace(SMALL, epochs=1, log=log)).rows[0]
    assert {"alignment", "features"} & set(row) == keys
    assert ("measurements" in row) == bool(keys)


def test_measuring_changes_no_number():
    spec = replace(SMALL, network="mlp(hidden=[12], norm=batch, dropout=0.2)", device="fixed(bits=6)")
    measured, without = (train_run(replace(spec, log=log)) for log in ("all", "none"))
    for ours, theirs in zip(measured.rows, without.rows, strict=True):
        assert all(ours[key] == theirs[key] for key in theirs if key != "seconds")


def test_norms_stand_beside_every_cosine():
    last = read_measurements(train_run(replace(SMALL, epochs=1, log="alignment")).rows)[-1].alignment
    hidden = [row for row in (*last["layers"].values(), last["total"]) if "cosine" in row]
    assert len(hidden) == 3
    for row in hidden:
        for cosine, norms in (
            ("cosine", ("update_norm", "gradient_norm")),
            ("delta_cosine", ("delta_norm", "delta_gradient_norm")),
            ("delivered_cosine", ("delivered_norm", "delivered_gradient_norm")),
        ):
            assert row[cosine] is not None
            assert all(row[norm] > 0 for norm in norms)


def learner(seed: int, feedback_seed: int | None) -> Learner:
    network = build("network", "mlp(hidden=[12])", input_shape=(1, 8, 8), outputs=10, seed=seed)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    return Learner(network, "dfa", optimizer=optimizer, seed=seed, feedback_seed=feedback_seed)


def test_runs_of_several_seeds_can_share_their_feedback(tmp_path: Path):
    def b(seed: int, feedback_seed: int | None) -> torch.Tensor:
        matrix = learner(seed, feedback_seed).rule.feedback.matrix()
        assert matrix is not None
        return matrix.weight

    assert torch.equal(b(0, 7), b(1, 7))
    assert torch.equal(b(3, None), b(0, 3))
    assert not torch.equal(b(0, None), b(1, None))
    assert replace(SMALL, feedback_seed=None).key == SMALL.key
    assert replace(SMALL, feedback_seed=0).key != SMALL.key
    # the feedback of seed 0, everything else of seed 1
    one, shared = train_run(replace(SMALL, seed=1)), train_run(replace(SMALL, seed=1, feedback_seed=0))
    assert one.rows[0]["train_loss"] != shared.rows[0]["train_loss"]
    assert train_run(replace(SMALL, seed=1, feedback_seed=1)).test_loss == one.test_loss
