"""Feedback beside the Jacobian: the matrices by autograd, and rules whose alignment is known."""

import math

import pytest
import torch

from neurofa import Learner, build
from neurofa.core.randomness import generator
from neurofa.diagnostics.jacobian import descent_share, effective_rows, feedback_alignment, mean_jacobians, to_record
from neurofa.training.replay import record


def learner_of(rule, network="mlp(hidden=[7, 5])", shape=(6,), **options):
    made = build("network", network, input_shape=shape, outputs=3, seed=1, **options).double()
    return Learner(made, rule, optimizer=torch.optim.SGD(made.parameters(), lr=0.1))


def batch(shape=(6,), n=4):
    gen = torch.Generator().manual_seed(0)
    return torch.randn(n, *shape, generator=gen, dtype=torch.float64), torch.arange(n) % 3


@pytest.mark.parametrize(
    ("network", "shape"), [("mlp(hidden=[7, 5])", (6,)), ("cnn(channels=[2], kernel=3)", (1, 8, 8))]
)
def test_mean_jacobians_are_those_of_autograd(network, shape):
    learner = learner_of("dfa", network, shape)
    x, _ = batch(shape)
    found = mean_jacobians(learner.network, learner.rule, record(learner.network, learner.rule, x, generator(0)))
    layers = list(learner.network.items())
    for at, (name, _) in enumerate(layers):
        if name not in found:
            continue
        h = x
        for _, layer in layers[: at + 1]:
            h = layer.compute(layer.synapses.stored(), h, {})[0]

        def above(h, rest=layers[at + 1 :]):
            for _, layer in rest:
                h = layer.compute(layer.synapses.stored(), h, {})[0]
            return h

        each = [torch.autograd.functional.jacobian(above, row[None])[0, :, 0].flatten(1) for row in h.detach()]
        torch.testing.assert_close(found[name], torch.stack(each).mean(0).t(), atol=1e-10, rtol=0)


def test_feedback_set_to_the_jacobian_is_aligned_and_random_feedback_is_not():
    learner = learner_of("dfa", "mlp(hidden=[7, 5], activation=identity)")
    x, target = batch()
    before = feedback_alignment(learner, x, target)
    tick = record(learner.network, learner.rule, x, generator(0))
    jacobians = mean_jacobians(learner.network, learner.rule, tick)
    for name, rows in learner.rule.feedback.slices.items():
        learner.rule.feedback.b.weight.data[rows] = 2 * jacobians[name]
    after = feedback_alignment(learner, x, target)
    for name, row in after.items():
        assert row.matrix_cosine == pytest.approx(1)
        assert row.row_cosine == pytest.approx(1)
        assert row.delivered_cosine == pytest.approx(1)
        assert row.matrix_norm == pytest.approx(2 * row.jacobian_norm)
        assert abs(before[name].matrix_cosine) < 0.9
    assert descent_share(learner, [batch()]) == 1
    learner.rule.feedback.b.weight.data.neg_()
    assert descent_share(learner, [batch()]) == 0
    assert math.isnan(descent_share(learner_of("readout_only"), [batch()]))


def test_measuring_changes_nothing_and_chained_rules_have_no_matrix():
    learner = learner_of("raf(rank=2)")
    x, target = batch()
    before = {k: v.clone() for k, v in learner.network.state_dict().items()}
    found = to_record(feedback_alignment(learner, x, target))
    assert all(torch.equal(v, before[k]) for k, v in learner.network.state_dict().items())
    assert all(row["matrix_cosine"] is None and row["delivered_cosine"] is not None for row in found.values())


def test_effective_rows_count_rows_of_one_length():
    assert effective_rows(torch.eye(4)) == pytest.approx(4)
    assert effective_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0]])) == pytest.approx(1)
    assert math.isnan(effective_rows(torch.zeros(2, 2)))
