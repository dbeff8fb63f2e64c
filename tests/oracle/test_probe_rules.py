"""Rules that follow probes, against their equations written out."""

import pytest
import torch

from hwmodels.registry import build
from neurofa.testing.samples import random_batch, small_learner


def drawn(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("window", [0, 2])
def test_the_estimate_is_a_running_mean_of_outer_products(window):
    ours = small_learner(f"grape2025(window={window})", "mlp(hidden=[12, 10])", double=True).rule
    wanted = torch.zeros_like(ours.estimate)
    for step in range(4):
        share = 1 / min(step + 1, window or step + 1)
        u = drawn(6, 5, seed=step)
        changes = {name: drawn(6, part.stop - part.start, seed=9) for name, part in ours.feedback.slices.items()}
        ours.observe_probe(changes, {}, u, None)
        ours.steps += 1
        for name, part in ours.feedback.slices.items():
            found = torch.stack([torch.outer(d, v) for d, v in zip(changes[name], u, strict=True)]).mean(0)
            wanted[part] = (1 - share) * wanted[part] + share * found
    torch.testing.assert_close(ours.estimate, wanted)


def test_grape2026_turns_each_row_by_its_gradient():
    """B_i + eta grad cos(B_i, g_i) at length 1, the gradient by autograd."""
    rule = build("rule", "grape2026(eta=0.3)")
    b, g = drawn(7, 5, seed=0).requires_grad_(), drawn(7, 5, seed=1)
    torch.nn.functional.cosine_similarity(b, g).sum().backward()
    turned = b.detach() + 0.3 * b.grad
    torch.testing.assert_close(rule.update_feedback(b.detach(), g, None), turned / turned.norm(dim=1, keepdim=True))


def test_a_row_without_an_estimate_stays():
    rule = build("rule", "grape2026")
    b, g = drawn(3, 5, seed=0), torch.zeros(3, 5, dtype=torch.float64)
    torch.testing.assert_close(rule.update_feedback(b, g, None), b / b.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("rule", ["fdfa", "grape2025", "grape2026", "forward_gradient"])
def test_layer_normalisation_lets_tangents_pass(rule):
    ours = small_learner(rule, "mlp(hidden=[12, 10], norm=layer)")
    assert ours.step(*random_batch(6)).y.isfinite().all()
