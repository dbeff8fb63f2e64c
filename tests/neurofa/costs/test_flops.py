"""FLOP and bytes of a step: declared counts against torch's counter, bytes against hand counts, refusals."""

import itertools

import pytest
import torch
from torch import nn

from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa import Block, Dense, Learner, Network
from neurofa.costs.flops import step_flops
from neurofa.costs.memory import step_memory
from neurofa.testing.flops import FlopCounter
from neurofa.testing.samples import random_batch, small_learner, small_network
from neurofa.training.learner import forward_pass

RULES = [
    "fdfa(per_layer=True)",
    "fdfa(by=difference)",
    "grape2026(space=weight)",
    "grape2026(feedback=pooled)",
    "forward_gradient(space=weight)",
    "ldfa_local(rank=2, init=svd, error=sign)",
    "ldfa_normative(every=2)",
    "raf(p=identity)",
    "raf(rank=2, p=fixed)",
    "fa(error=sign)",
    "weight_mirror(every=2)",
    "dfa(feedback=shared)",
    "draf(broadcast=output)",
    "draf(broadcast=transported, p=fixed)",
    "pepita(readout=first)",
    "local_loss(probes=2)",
    "local_loss(gradient=random, heads=fixed)",
    "local_guess(space=weight)",
    "local_guess(per_layer=True)",
    "fdfa(program=1)",
]


@pytest.mark.sample(3)
@pytest.mark.parametrize("network", ["cnn", "vit", "resnet20(width=4, blocks=1)"])
@pytest.mark.parametrize("rule", RULES)
def test_options_of_rules_are_declared_to_the_flop(rule, network):
    student = small_learner(rule, network)
    declared = step_flops(student, batch_size=6)
    for step in range(3):
        with FlopCounter() as counted:
            student.step(*random_batch(6, seed=step))
        assert declared.at_step(step) == counted.flop, declared.by_phase()


def test_a_calibrating_step_is_declared_and_shared():
    student = small_learner("grape2026(calibrate=2)", "vit")
    declared = step_flops(student, batch_size=6)
    counts = []
    for step in range(4):
        with FlopCounter() as counted:
            student.step(*random_batch(6, seed=step))
        counts.append(counted.flop)
    assert counts[0] == counts[2] == declared.at_step(0) == declared.at_step(2)
    # in its first step backpropagation inspects the network too
    assert counts[3] == declared.at_step(3) != counts[2]
    assert declared.total == (counts[2] + counts[3]) / 2


@pytest.mark.parametrize("groups", [1, 2])
def test_groups_of_channels_share_their_norm(groups):
    """dW x/|x| with one |x| a group: what dividing by the norm of every channel's own inputs gives."""
    from neurofa.core.view import LocalView
    from neurofa.families.jacobian_tracking import _by_weights
    from neurofa.layers.conv import Conv2d

    layer = Conv2d(4, 6, 3, padding=1, groups=groups)
    gen = torch.Generator().manual_seed(0)
    layer.initialise(build("device", "digital"), gen)
    x = torch.randn(2, 4, 5, 5, generator=gen)
    view = LocalView(x, layer.compute(layer.synapses.stored(), x, {})[0], layer.synapses.stored())
    change = _by_weights(layer, view, torch.Generator().manual_seed(1))
    drawn = torch.randn(layer.map.weight_shape, generator=torch.Generator().manual_seed(1))
    sizes = layer.map.linear(x.square(), torch.ones(layer.map.weight_shape), None).sqrt()
    torch.testing.assert_close(change, layer.map.linear(x, drawn, None) / sizes)


def test_an_mlp_by_hand():
    student = small_learner("dfa", "mlp(hidden=[12, 10])")
    n, widths, o = 6, [64, 12, 10, 5], 5
    product = [2 * n * a * b for a, b in itertools.pairwise(widths)]
    declared = step_flops(student, batch_size=n)
    assert declared.by_phase() == {
        "forward": sum(product),
        "passes": 0,
        "delivery": 2 * n * o * 22,
        "update": sum(product),
        "adaptation": 0,
    }
    bp = step_flops(small_learner("bp", "mlp(hidden=[12, 10])"), batch_size=n).by_phase()
    assert bp["delivery"] == sum(product[1:])
    assert step_memory(student, n) == {
        "weights": 4 * (64 * 12 + 12 * 10 + 10 * 5 + 27),
        "feedback": 4 * 22 * o,
        "activations": 4 * n * sum(widths),
        "gradients": 0,
        "optimizer": 0,
    }


def test_bytes_of_masks_inputs_and_optimizers():
    network = small_network("mlp(hidden=[12], activation=gelu, dropout=0.5)")
    weights = sum(p.numel() for p in network.parameters())
    student = Learner(network, "kp", optimizer=torch.optim.Adam(network.parameters()))
    held = step_memory(student, 6)
    # x, a (gelu needs it), h before and after dropout, the mask, y
    assert held["activations"] == 4 * 6 * (64 + 4 * 12 + 5)
    plastic = sum(s.weight.numel() for name in network.names for s, *_ in student.rule.plastic(name).values())
    assert held["gradients"] == 4 * (weights + plastic)
    assert held["optimizer"] == 2 * held["gradients"]


def test_bytes_of_a_block_are_those_that_autograd_keeps():
    student = small_learner("bp", "vit(patch=4, width=8, depth=1, heads=2)")
    x, _ = random_batch(6)
    kept = {}

    def pack(saved):
        kept[saved.untyped_storage().data_ptr()] = saved.untyped_storage().nbytes()
        return saved

    network = student.network
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        tick = forward_pass(network, x, return_weights=lambda _, params: params)
    for view in tick.views.values():
        for value in (view.x, view.y, *view.before.values()):
            kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
    for weight in network.parameters():
        kept.pop(weight.untyped_storage().data_ptr(), None)
    assert len(kept) > 15
    assert step_memory(student, 6)["activations"] == sum(kept.values())


def test_counting_leaves_the_learner_as_it_was():
    student, twin = small_learner("ldfa_normative", "vit"), small_learner("ldfa_normative", "vit")
    step_flops(student, batch_size=6)
    for run in (student, twin):
        run.step(*random_batch(6))
    for mine, other in zip(student.rule.parameters(), twin.rule.parameters(), strict=True):
        assert torch.equal(mine, other)


class Mixing(nn.Module):
    """Multiplies by a parameter that is no weight of linear or conv2d."""

    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(torch.eye(4))

    def forward(self, x):
        return x @ self.matrix


def test_products_that_cannot_be_declared_are_refused():
    network = Network([Block(Mixing()), Dense(4, 3)], (4,))
    student = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    with pytest.raises(
        NeurofaError, match=r"got a block with products that cannot be attributed .*; expected no others"
    ):
        step_flops(student, batch_size=2)
