"""The toy of the rules called GrAPE: the rules' own steps, what they can reach, and what the checks say."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch

from experiments.sweeps.experiment import conduct
from experiments.sweeps.setup import Setup
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.families.jacobian_tracking import cosines
from neurofa.rules.grape import blend, lean, settle, shrink, turn
from neurofa.theory.tracking import (
    FeedbackTracker,
    gradient_estimates,
    original_rule_ceiling,
    original_rule_cosine,
    rows_at_cosine,
    tracking_cosines,
)


def pair(n: int, o: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Generator]:
    gen = torch.Generator().manual_seed(seed)
    b, g = torch.randn(2, n, o, generator=gen, dtype=torch.float64)
    return b, g, gen


def test_steps_are_the_equations_row_by_row() -> None:
    b, g, _ = pair(5, 3)
    eta, cos = 0.2, cosines(b, g)
    for i in range(5):
        length, c = b[i].norm(), (b[i] @ g[i]) / (b[i].norm() * g[i].norm())
        goal = g[i] / g[i].norm() * length
        torch.testing.assert_close(shrink(b, cos, eta)[i], b[i] * (1 - eta * (1 - c)))
        torch.testing.assert_close(lean(b, g, cos, eta)[i], b[i] * (1 - eta * (1 - c)) + eta * c * goal)
        torch.testing.assert_close(blend(b, g, eta)[i], (1 - eta) * b[i] + eta * goal)
        # the step of 2026 is gradient ascent on the row's cosine
        row = b[i].clone().requires_grad_()
        (slope,) = torch.autograd.grad(torch.cosine_similarity(row, g[i], dim=0), row)
        moved = b[i] + eta * slope
        torch.testing.assert_close(turn(b, g, eta)[i], moved / moved.norm())


def test_noise_has_its_size_and_the_norm_comes_back() -> None:
    b, _, gen = pair(400, 50)
    drawn = b.clone()
    settle(drawn, 0.1, None, gen)
    size = (drawn - b).std() / (0.1 * b.norm() / b.numel() ** 0.5)
    assert abs(size.item() - 1) * math.sqrt(2 * b.numel()) < 4
    settle(drawn, 0.0, b.norm(), gen)
    assert drawn.norm().item() == pytest.approx(b.norm().item())


def test_the_original_rule_turns_no_row_without_noise_and_has_a_ceiling() -> None:
    o = 30
    b, g, gen = pair(5000, o)
    path = list(FeedbackTracker(rule="original", eta=0.02).track(b, itertools.repeat(g, 300), gen))
    torch.testing.assert_close(torch.nn.functional.normalize(path[-1]), torch.nn.functional.normalize(b))
    found = tracking_cosines(path[::50], g)[:, 1]
    for index, cos in enumerate(found.tolist()):
        assert cos == pytest.approx(original_rule_cosine(o, 0.02 * 50 * index), abs=0.015)
    assert found.max().item() == pytest.approx(original_rule_ceiling(o), abs=0.015)
    assert original_rule_ceiling(10) == pytest.approx(0.1918, abs=1e-4)
    # control: with noise rows do turn
    b, g, gen = pair(500, o)
    *_, last = FeedbackTracker(rule="original", eta=0.02, noise=0.1).track(b, itertools.repeat(g, 300), gen)
    assert cosines(last, b).min() < 0.9


def test_with_one_cosine_for_the_matrix_the_original_rule_stands_still() -> None:
    b, g, gen = pair(20, 5)
    *_, last = FeedbackTracker(rule="original", eta=0.1, scalar=True).track(b, itertools.repeat(g, 50), gen)
    torch.testing.assert_close(last, b)


@pytest.mark.parametrize("rule", ["alternative 2", "2026"])
def test_the_other_rules_arrive(rule: str) -> None:
    b, g, gen = pair(50, 20)
    path = FeedbackTracker(rule=rule, eta=0.1, decay=0.99).track(b, itertools.repeat(g, 50), gen)
    assert tracking_cosines(path, g)[-1, 0] > 0.99


def test_starts_are_at_their_cosine_and_estimates_are_unbiased() -> None:
    _, g, gen = pair(6, 4)
    torch.testing.assert_close(cosines(rows_at_cosine(g, -0.3, gen), g), torch.full((6, 1), -0.3, dtype=torch.float64))
    single = list(itertools.islice(gradient_estimates(g, gen, averaged=False, terms=1), 4000))
    averages = torch.stack(single).mean(0)
    error = torch.stack(single).std(0) / math.sqrt(4000)
    assert ((averages - g).abs() / error).max() < 4.5
    *_, last = itertools.islice(gradient_estimates(g, gen, averaged=True, terms=1), 4000)
    assert (last - g).norm() < 0.1 * g.norm()
    with pytest.raises(NeurofaError, match="rule '2025'"):
        FeedbackTracker(rule="2025", eta=0.1)


@pytest.mark.long
def test_the_experiment_says_what_is_not_reproduced(tmp_path: Path) -> None:
    made = build("experiment", "grape_toy(rows=40, columns=40, steps=20, long_steps=20)")
    result = conduct(made, Setup(folder=tmp_path, seeds=1, workers=0))
    said = {check["name"]: check["holds"] for check in result["checks"]}
    assert not said["rules: as reported: alternative 2 ends at 0, cosine of the rows, noise 0"]
    assert said["rules: alternative 2 is a running mean and arrives, cosine of the rows, noise 0"]
    assert said["starts: without noise no row turns: largest change of a mean row cosine"]
    for part in ("starts", "rules", "longer"):
        assert (tmp_path / f"{part}.png").read_bytes().startswith(b"\x89PNG")
        assert set(result["columns"][part]) <= set(next(row for row in result["rows"] if row["part"] == part))


def test_checks_follow_the_figures() -> None:
    rows = [
        {"rule": rule, "estimate": "mean so far", "matrix_cosine": cos, "highest_matrix_cosine": cos}
        for rule, cos in (("original", 0.19), ("alternative 2", 0.9), ("2026", 0.97))
    ]
    assert all(check.holds for check in build("experiment", "grape_toy").checks("longer", rows))
    for index, wrong in ((0, 0.3), (0, 0.1), (1, 0.5), (2, 0.5)):
        changed = [dict(row) for row in rows]
        changed[index] |= {"matrix_cosine": wrong, "highest_matrix_cosine": wrong}
        assert (
            len([check for check in build("experiment", "grape_toy").checks("longer", changed) if not check.holds]) == 1
        )
