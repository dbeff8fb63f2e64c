"""Diagnostics against closed forms, and against autograd; measuring leaves a run as it was."""

from __future__ import annotations

import itertools
import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hwmodels.registry import build, parts
from neurofa.core.capabilities import Teaching
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.diagnostics.gradient_alignment import backprop_credit, gradient_alignment
from neurofa.diagnostics.measure import measure_alignment
from neurofa.diagnostics.weight_alignment import (
    alignment_matrices,
    feedback_matrices,
    feedback_spectra,
    weight_alignment,
)
from neurofa.layers.dense import Dense
from neurofa.linalg.spectra import condition_number, cosine_similarity, isotropy, mean_row_cosine, orthogonality, ranks
from neurofa.training.learner import Learner
from neurofa.training.replay import collect, record


def learner(rule: str, spec: str = "mlp(hidden=[12, 10])", loss: str = "cross_entropy", double: bool = False, lr=0.1):
    network = build("network", spec, input_shape=(1, 8, 8), outputs=5, seed=0)
    if double:
        network.double()
    return Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=lr), loss=loss)


def batch(seed: int = 0, n: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    gen = generator(seed, "batch")
    return torch.randn(n, 1, 8, 8, generator=gen), torch.randint(5, (n,), generator=gen)


def linear_net(widths: list[int], rule: str = "dfa", lr: float = 0.02) -> Learner:
    """A deep linear net that starts from zero, with a pathway whose F_l have orthonormal columns."""
    layers = [Dense(a, b, bias=False) for a, b in itertools.pairwise(widths)]
    network = Network(layers, (widths[0],)).double()
    for p in network.parameters():
        p.data.zero_()
    made = Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=lr), loss="mse")
    feedback = made.rule.feedback
    matrix = feedback.matrix()
    assert matrix is not None
    b = matrix.weight.data
    for part in feedback.slices.values():
        b[part] = torch.linalg.qr(b[part])[0]
    return made


def looked_at(made: Learner, x: torch.Tensor, target: torch.Tensor):
    gen = generator(0, "look")
    tick = record(made.network, made.rule, x, gen)
    outcome = made.loss.evaluate(tick.y, target)
    teaching = Teaching(outcome.error, outcome.target)
    ours = collect(made.network, made.rule, tick, teaching, gen)
    return tick, teaching, ours, backprop_credit(made.network, tick, teaching, made.rule)


def test_weak_weight_alignment_is_exact_in_a_deep_linear_net_from_zero():
    made = linear_net([8, 30, 40, 30, 4])
    gen = generator(0, "data")
    for _ in range(60):
        x = torch.randn(16, 8, generator=gen, dtype=torch.float64)
        made.step(x, torch.randn(16, 4, generator=gen, dtype=torch.float64))
    tick = looked_at(made, x, torch.zeros(16, 4))[0]
    feedback = feedback_matrices(made.rule, gen)
    found = alignment_matrices(made.network, made.rule, tick, feedback)
    assert list(found) == made.network.names
    assert all(a.residual < 1e-10 for a in found.values())
    # The exact link for orthonormal columns: weight alignment is the isotropy of A_l.
    weights = weight_alignment(made.network, made.rule, tick, feedback)
    assert list(weights) == made.network.names[1:]
    for name, value in weights.items():
        assert found[name].isotropy == pytest.approx(value, abs=1e-9)
    assert math.isnan(found[made.network.names[0]].isotropy)


def test_alignment_matrices_follow_their_recursion():
    """A_1 <- A_1 - eta e x^T and A_2 <- A_2 - eta e (A_1 x)^T, batch means."""
    made = linear_net([6, 20, 25, 3], lr=0.05)
    gen = generator(1, "data")
    a1, a2 = torch.zeros(3, 6, dtype=torch.float64), torch.zeros(3, 3, dtype=torch.float64)
    for _ in range(40):
        x = torch.randn(10, 6, generator=gen, dtype=torch.float64)
        target = torch.randn(10, 3, generator=gen, dtype=torch.float64)
        tick, teaching, _, _ = looked_at(made, x, target)
        e, u1 = teaching.error, x @ a1.t()
        a1, a2 = a1 - 0.05 * e.t() @ x / 10, a2 - 0.05 * e.t() @ u1 / 10
        made.step(x, target)
    tick = looked_at(made, x, target)[0]
    found = list(alignment_matrices(made.network, made.rule, tick, feedback_matrices(made.rule, gen)).values())
    assert torch.allclose(found[0].matrix, a1, atol=1e-12)
    assert torch.allclose(found[1].matrix, a2, atol=1e-12)


def test_a_random_net_is_not_weakly_aligned():
    made = learner("dfa", "mlp(hidden=[40, 30])")
    tick = looked_at(made, *batch())[0]
    found = alignment_matrices(made.network, made.rule, tick, feedback_matrices(made.rule, generator(0)))
    assert all(a.residual > 0.5 for a in found.values())


def test_feedback_equal_to_the_transposes_gives_full_gradient_alignment():
    made = linear_net([8, 12, 10, 4])
    network = made.network
    for index, p in enumerate(network.parameters()):
        p.data.copy_(torch.randn(p.shape, generator=generator(index, "w"), dtype=torch.float64))
    w2, w3 = (network.layer(name).synapses["weight"].weight.detach() for name in network.names[1:])
    made.rule.feedback.matrix().weight.data.copy_(torch.cat([w3 @ w2, w3], 1).t())
    gen = generator(0, "data")
    _, _, ours, bp = looked_at(made, torch.randn(5, 8, generator=gen).double(), torch.randn(5, 4, generator=gen))
    for found in gradient_alignment(network, ours, bp).values():
        assert found.cosine == pytest.approx(1, abs=1e-12)
        assert found.delta_cosine == pytest.approx(1, abs=1e-12)
        assert found.delivered_cosine == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("rule", ["dfa", "fa", "drtp"])
@pytest.mark.parametrize("spec", ["mlp(hidden=[12, 10])", "cnn(channels=[3, 4], kernel=3, hidden=10, norm=batch)"])
def test_gradient_alignment_equals_autograd(rule, spec):
    made = learner(rule, spec)
    x, labels = batch()
    _, _, ours, bp = looked_at(made, x, labels)
    plain = made.network.module()
    torch.nn.functional.cross_entropy(plain(x), labels, reduction="sum").backward()
    gradients = [p.grad for p in plain.parameters()]
    names = [(name, key) for name in made.network.names for key in bp.directions.get(name, {})]
    by_name = dict(zip(names, gradients, strict=True))
    found = gradient_alignment(made.network, ours, bp)
    for name in [n for n in ours.directions if n != made.network.readout]:
        wanted = cosine_similarity(ours.directions[name]["weight"], by_name[name, "weight"])
        assert found[name].cosine == pytest.approx(wanted, abs=1e-5)


def test_bp_is_its_own_shadow_even_with_dropout():
    for spec in ("mlp(hidden=[12, 10], dropout=0.5)", "vit(width=8, depth=2, dropout=0.5)"):
        found = measure_alignment(learner("bp", spec), *batch())
        assert found["total"]["cosine"] == pytest.approx(1, abs=1e-6)
        assert found["total"]["delivered_cosine"] == pytest.approx(1, abs=1e-6)
        for row in found["layers"].values():
            assert row["update_norm"] == pytest.approx(row["gradient_norm"], rel=1e-5)


@pytest.mark.long
def test_chained_weight_alignment_rises_under_kolen_pollack():
    made = learner("kp(decay=0.05)", lr=0.2)
    x, labels = batch(n=32)
    start = measure_alignment(made, x, labels)
    for _ in range(300):
        made.step(x, labels)
    end = measure_alignment(made, x, labels)
    for name in ("dense2", "dense3"):
        assert end["layers"][name]["weight_alignment"] > max(0.9, start["layers"][name]["weight_alignment"])
    assert "weight_alignment" not in end["layers"]["dense1"]
    assert end["total"]["cosine"] > start["total"]["cosine"]


def test_sign_symmetric_weight_alignment_is_that_of_signs():
    made = learner("usf")
    found = measure_alignment(made, *batch())["layers"]["dense2"]["weight_alignment"]
    w = made.network.layer("dense2").synapses["weight"].weight.detach()
    assert found == pytest.approx(cosine_similarity(w, w.sign()), abs=1e-6)


def test_layers_of_unlike_width_have_no_weight_alignment():
    found = measure_alignment(learner("dfa", "cnn(channels=[3, 4], kernel=3, hidden=10)"), *batch())["layers"]
    assert [name for name, row in found.items() if "weight_alignment" in row] == ["dense6"]


@pytest.mark.sample(4)
@pytest.mark.parametrize(
    "spec", ["cnn(channels=[3, 4], kernel=3, hidden=10, norm=batch, dropout=0.3)", "vit(width=8, depth=1)"]
)
@pytest.mark.parametrize("rule", parts("rule"))
def test_measuring_leaves_the_run_as_it_was(rule, spec):
    if rule == "adfa" and spec.startswith("vit"):
        spec = "mlp(norm=layer)"
    runs = [learner(rule, spec) for _ in range(2)]
    for step in range(3):
        for measured, run in enumerate(runs):
            if measured:
                found = measure_alignment(run, *batch(9))
                json.dumps(found, allow_nan=False)
            run.step(*batch(step))
    for part in ("network", "rule"):
        ours, theirs = (getattr(run, part).state_dict() for run in runs)
        assert list(ours) == list(theirs)
        assert all(torch.equal(v, theirs[k]) for k, v in ours.items())
    for gens in ((r.gen for r in runs), (r.rule.gen for r in runs)):
        assert torch.equal(*(g.get_state() for g in gens))


def test_measure_says_none_where_nothing_is_defined():
    found = measure_alignment(learner("readout_only"), *batch())
    assert found["total"] == {}
    assert found["layers"]["dense1"]["update_norm"] == 0
    assert "cosine" not in found["layers"]["dense1"]
    made = learner("dfa", loss="mse")
    x = batch()[0]
    found = measure_alignment(made, x, made.evaluate(x))
    assert found["error"] == {"stable_rank": None, "effective_rank": None}
    assert found["total"]["cosine"] is None


def test_delivered_errors_of_a_direct_rule_have_at_most_the_rank_of_the_error():
    found = measure_alignment(learner("dfa", "mlp(hidden=[100, 80])"), *batch(n=64))["layers"]
    assert all(row["error_stable_rank"] <= 5 and row["error_effective_rank"] <= 5.01 for row in found.values())


def test_spectra_of_known_matrices():
    eye = torch.eye(4)
    assert (*ranks(eye), condition_number(eye), isotropy(eye)) == pytest.approx((4, 4, 1, 1))
    one = torch.outer(torch.arange(1.0, 4), torch.arange(1.0, 6))
    assert ranks(one) == pytest.approx((1, 1), abs=1e-6)
    assert condition_number(one) > 1e6
    d = torch.diag(torch.tensor([3.0, 1.0]))
    assert ranks(d)[0] == pytest.approx(10 / 9)
    assert ranks(d)[1] == pytest.approx(math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25))))
    assert condition_number(d) == pytest.approx(3)
    assert isotropy(d) == pytest.approx(4 / (math.sqrt(2) * math.sqrt(10)))
    assert isotropy(-eye) == pytest.approx(-1)
    zero = torch.zeros(3, 3)
    assert all(map(math.isnan, (*ranks(zero), condition_number(zero), isotropy(zero))))
    assert math.isinf(condition_number(torch.diag(torch.tensor([1.0, 0.0]))))


def test_cosines():
    a = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    b = torch.tensor([[1.0, 1.0], [0.0, -1.0], [1.0, 0.0]])
    assert cosine_similarity(a, a) == pytest.approx(1)
    assert cosine_similarity(a, -a) == pytest.approx(-1)
    assert mean_row_cosine(a, b) == pytest.approx((1 / math.sqrt(2) - 1) / 3)
    assert math.isnan(cosine_similarity(a, 0 * a))
    assert math.isnan(mean_row_cosine(a, 0 * a))


def test_samples_without_an_error_count_as_0_here_and_as_1_in_the_source():
    a = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0], [0.0, 0.0]])
    b = torch.tensor([[1.0, 1.0], [0.0, 2.0], [0.0, 0.0], [1.0, 0.0]])
    ours, theirs = (1 / math.sqrt(2) + 1) / 4, (1 / math.sqrt(2) + 1 + 1) / 4
    assert (mean_row_cosine(a, b), mean_row_cosine(a, b, silent=1.0)) == (pytest.approx(ours), pytest.approx(theirs))
    made = learner("dfa")
    x, labels = batch()
    _, _, credit, bp = looked_at(made, x, labels)
    for side in (credit, bp):
        side.deltas["dense1"][:4] = 0.0
    found = gradient_alignment(made.network, credit, bp)["dense1"]
    assert found.silent_share == pytest.approx(4 / len(x))
    source = mean_row_cosine(credit.deltas["dense1"], bp.deltas["dense1"], silent=1.0)
    assert found.delta_cosine + found.silent_share == pytest.approx(source)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 10**6))
@settings(max_examples=40)
def test_ranks_lie_between_one_and_the_rank(rows, columns, seed):
    m = torch.randn(rows, columns, generator=generator(seed, "matrix"))
    for rank in ranks(m):
        assert 1 - 1e-9 <= rank <= min(rows, columns) + 1e-9
    assert ranks(m)[0] == pytest.approx(ranks(7 * m.t())[0], rel=1e-5)


def test_pathways_are_as_their_matrices_are():
    eye = torch.eye(4)
    found = feedback_spectra(
        {"even": torch.cat([eye, eye]), "narrow": torch.eye(3, 4), "blind": torch.diag(torch.ones(4)) * eye[0]}
    )
    assert (found["even"].conditioning, found["even"].orthogonality) == pytest.approx((1, 0), abs=1e-12)
    assert found["even"].norm == pytest.approx(math.sqrt(8))
    assert math.isinf(found["narrow"].conditioning)
    assert math.isinf(found["blind"].conditioning)
    skewed = torch.diag(torch.tensor([2.0, 1.0]))
    # F^T F / c = diag(4, 1) / 2.5
    assert orthogonality(skewed) == pytest.approx(math.hypot(0.6, 0.6))
    assert math.isnan(orthogonality(torch.zeros(3, 2)))


def test_norms_beside_cosines_are_those_of_what_is_compared():
    made = learner("dfa")
    x, labels = batch()
    _, _, ours, bp = looked_at(made, x, labels)
    found = gradient_alignment(made.network, ours, bp)
    for name in ("dense1", "dense2"):
        assert found[name].update_norm == pytest.approx(
            float(ours.directions[name]["weight"].norm()) / len(x), rel=1e-5
        )
        assert found[name].gradient_norm == pytest.approx(
            float(bp.directions[name]["weight"].norm()) / len(x), rel=1e-5
        )
        assert found[name].delta_norm == pytest.approx(float(ours.deltas[name].square().sum(1).mean().sqrt()), rel=1e-5)
        rms = float(bp.errors[name].square().sum(1).mean().sqrt())
        assert found[name].delivered_gradient_norm == pytest.approx(rms, rel=1e-5)
    whole = math.hypot(found["dense1"].delta_norm, found["dense2"].delta_norm)
    assert found["total"].delta_norm == pytest.approx(whole)
