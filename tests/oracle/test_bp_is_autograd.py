"""The engine's own backpropagation equals torch.autograd on every network of the package."""

import pytest
import torch
from torch.nn import functional

from hwmodels.registry import build
from neurofa import Conv2d, Dense, Flatten, Learner, Network
from neurofa.core.directions import Outer
from neurofa.core.randomness import generator
from neurofa.core.rule import bind_rule
from neurofa.training.learner import assign, forward_pass, loss_and_teaching

NETWORKS = {
    "mlp": ("mlp(hidden=[30, 20])", (20,)),
    "mlp_batch": ("mlp(hidden=[30, 20], norm=batch, activation=gelu)", (20,)),
    "mlp_layer": ("mlp(hidden=[30, 20], norm=layer, activation=silu)", (20,)),
    "cnn": ("cnn(channels=[4, 6], hidden=16)", (1, 8, 8)),
    "vgg_batch": ("vgg(plan=[8, M, 12, M])", (3, 8, 8)),
    "vgg_batch_not_affine": ("vgg(plan=[8, M, 12], norm='batch(affine=False)', hidden=[20])", (3, 8, 8)),
    "resnet20": ("resnet20(width=4)", (3, 8, 8)),
    "vit": ("vit(width=16, heads=2, depth=2)", (3, 8, 8)),
}


def directions(network: Network, rule_spec: str, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Directions of every weight, by layer and name, of one rule on one batch."""
    rule = build("rule", rule_spec)
    bind_rule(rule, network.plan(), generator(0, "feedback"))
    gen = generator(0, "pass")
    path = rule.declares.return_path
    asked = None if path is None else lambda name, params: path.return_weights(name, params, gen)
    tick = forward_pass(network, x, gen=gen, return_weights=asked)
    found: dict[str, torch.Tensor] = {}

    def emit(name, layer, view, got):
        for key, value in got.items():
            found[f"{name}.{key}"] = value.dense() if isinstance(value, Outer) else value

    assign(network, rule, tick, loss_and_teaching(build("loss", "cross_entropy"), tick.y, labels)[1], emit, gen)
    return found


def by_autograd(network: Network, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """The same directions by autograd through all layers' ``compute``."""
    leaves = {
        name: {k: v.clone().requires_grad_() for k, v in layer.synapses.read().items()}
        for name, layer in network.items()
    }
    y = x
    for name, layer in network.items():
        y = layer.compute(leaves[name], y, {})[0]
    functional.cross_entropy(y, labels, reduction="sum").backward()
    return {f"{name}.{k}": v.grad for name, own in leaves.items() for k, v in own.items() if v.grad is not None}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("which", NETWORKS)
def test_bp_equals_autograd(which, dtype, tolerance):
    spec, shape = NETWORKS[which]
    network = build("network", spec, input_shape=shape, outputs=10, seed=3).to(dtype)
    x = torch.randn(16, *shape, dtype=dtype, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(16) % 10
    got, wanted = directions(network, "bp", x, labels), by_autograd(network, x, labels)
    assert got.keys() == wanted.keys()
    scale = max(float(g.norm()) for g in wanted.values())
    for key, gradient in wanted.items():
        # The bias in front of a batch norm has gradient zero: its rounding is judged against the whole gradient.
        size = max(float(gradient.norm()), 0.05 * scale)
        assert float((got[key] - gradient).norm()) <= tolerance * size, key


def test_strided_convolutions_of_one_pixel_behind_others_equal_autograd():
    # with the channel innermost these kernels write past their workspace in oneDNN (uxlfoundation/oneDNN issue 6035)
    layers = [Conv2d(3, 4, 3, padding=1, activation="relu"), Conv2d(4, 8, 1, stride=2), Flatten(), Dense(128, 10)]
    network = Network(layers, (3, 8, 8)).float()
    x = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(16) % 10
    for _ in range(20):
        got = directions(network, "bp", x, labels)
    for key, gradient in by_autograd(network, x, labels).items():
        assert torch.allclose(got[key], gradient, rtol=1e-4, atol=1e-5), key


@pytest.mark.parametrize("which", NETWORKS)
def test_plain_module_is_the_same_map(which):
    spec, shape = NETWORKS[which]
    network = build("network", spec, input_shape=shape, outputs=10, seed=3).double()
    x = torch.randn(8, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=0.01)).step(x, torch.arange(8))
    network.eval()
    assert torch.allclose(network.module()(x), network(x), atol=1e-10)


def test_training_follows_torch_step_by_step():
    network = build("network", "cnn(channels=[4], hidden=16, norm=batch)", input_shape=(1, 8, 8), outputs=10).double()
    module = network.module()
    sgd = {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3, "nesterov": True}
    learner = Learner(network, "bp", optimizer=torch.optim.SGD(network.parameters(), **sgd))
    optimizer = torch.optim.SGD(module.parameters(), **sgd)
    gen = torch.Generator().manual_seed(0)
    for _ in range(10):
        x = torch.randn(16, 1, 8, 8, dtype=torch.float64, generator=gen)
        labels = torch.randint(0, 10, (16,), generator=gen)
        result = learner.step(x, labels)
        optimizer.zero_grad()
        loss = functional.cross_entropy(module(x), labels)
        loss.backward()
        optimizer.step()
        assert abs(float(result.loss) - float(loss.detach())) < 1e-9
    x = torch.randn(4, 1, 8, 8, dtype=torch.float64, generator=gen)
    assert torch.allclose(learner.evaluate(x), module.eval()(x), atol=1e-9)
