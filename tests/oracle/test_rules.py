"""Rules against what their equations say."""

import itertools
import math
from dataclasses import replace

import pytest
import torch

from hwmodels.registry import build
from neurofa import Block, Dense, Learner, Network
from neurofa.maps.asymmetric import asymmetric_linear
from neurofa.maps.convolutions import ConvSizes, conv_correlation, returning_convolution
from neurofa.training.learner import forward_pass
from tests.oracle.test_bp_is_autograd import directions


def linear_chain(widths: list[int], seed: int = 0) -> Network:
    layers = [Dense(a, b, bias=False) for a, b in itertools.pairwise(widths)]
    return Network(layers, (widths[0],), seed=seed).double()


def batch(n: int, shape: tuple[int, ...], classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    gen = torch.Generator().manual_seed(seed)
    return torch.randn(n, *shape, dtype=torch.float64, generator=gen), torch.randint(0, classes, (n,), generator=gen)


def test_dfa_through_the_product_of_transposes_is_bp():
    network = linear_chain([12, 9, 7, 5])
    x, labels = batch(16, (12,), 5)
    wanted = directions(network, "bp", x, labels)
    rule = build("rule", "dfa")
    weights = [layer.synapses["weight"].weight.detach() for _, layer in network.items()]
    learner = Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=1.0))
    # h_1 receives W_2^T W_3^T e and h_2 receives W_3^T e: as rows, e W_3 W_2 and e W_3.
    rule.feedback.matrix().weight.data = torch.cat([weights[2] @ weights[1], weights[2]], 1).t().contiguous()
    before = [w.clone() for w in weights]
    learner.step(x, labels)
    for (name, layer), old in zip(network.items(), before, strict=True):
        change = layer.synapses["weight"].weight.detach() - old
        assert torch.allclose(-change * len(x), wanted[f"{name}.weight"], atol=1e-12)


@pytest.mark.parametrize("rule", ["fa", "kp", "weight_mirror"])
@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        ("mlp(hidden=[9, 7], norm=layer)", (6,)),
        ("vgg(plan=[4, M, 6], norm=batch)", (3, 8, 8)),
        ("resnet20(width=4, blocks=1)", (3, 8, 8)),
        ("vit(width=8, heads=2, depth=2)", (3, 8, 8)),
    ],
)
def test_chained_rules_with_return_weights_equal_to_w_are_bp(rule, spec, shape):
    network = build("network", spec, input_shape=shape, outputs=5).double()
    x, labels = batch(8, shape, 5)
    wanted = directions(network, "bp", x, labels)
    made = build("rule", rule)
    learner = Learner(network, made, optimizer=torch.optim.SGD(network.parameters(), lr=1.0, momentum=0.5))
    made.__dict__["declares"] = replace(made.declares, mirroring=None)
    made.decay = 0.0
    for name, layer in network.items():
        for key in layer.traits.returning:
            made.beside(name)[key].program(layer.synapses[key].weight.detach())
    learner.step(x, labels)
    for name, layer in network.items():
        for key in layer.synapses.read():
            got = layer.synapses[key].weight.grad
            assert torch.allclose(got * len(x), wanted[f"{name}.{key}"], atol=1e-10), (name, key)


def test_asymmetric_linear_with_its_own_weight_is_autograd():
    gen = torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, 5, dtype=torch.float64, generator=gen, requires_grad=True)
    w = torch.randn(6, 5, dtype=torch.float64, generator=gen, requires_grad=True)
    b = torch.randn(6, dtype=torch.float64, generator=gen, requires_grad=True)
    e = torch.randn(3, 4, 6, dtype=torch.float64, generator=gen)
    got = torch.autograd.grad(asymmetric_linear(x, w, b, w.detach()), (x, w, b), e)
    wanted = torch.autograd.grad(torch.nn.functional.linear(x, w, b), (x, w, b), e)
    for mine, other in zip(got, wanted, strict=True):
        assert torch.allclose(mine, other, atol=1e-12)
    other_way = torch.autograd.grad(asymmetric_linear(x, w, b, 2 * w.detach()), x, e)[0]
    assert torch.allclose(other_way, 2 * wanted[0], atol=1e-12)


@pytest.mark.parametrize(("stride", "padding", "groups"), [(1, 0, 1), (2, 1, 1), (1, 1, 2)])
def test_asymmetric_conv_with_its_own_weight_is_autograd(stride, padding, groups):
    gen = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, 7, 7, dtype=torch.float64, generator=gen, requires_grad=True)
    w = torch.randn(6, 4 // groups, 3, 3, dtype=torch.float64, generator=gen, requires_grad=True)
    b = torch.randn(6, dtype=torch.float64, generator=gen, requires_grad=True)
    y = torch.conv2d(x, w, b, stride, padding, 1, groups)
    e = torch.randn(y.shape, dtype=torch.float64, generator=gen)
    sizes = ConvSizes((stride,) * 2, (padding,) * 2, (1, 1), groups)
    mine = returning_convolution(x, w, b, w.detach(), sizes)
    for got, wanted in zip(torch.autograd.grad(mine, (x, w, b), e), torch.autograd.grad(y, (x, w, b), e), strict=True):
        assert torch.allclose(got, wanted, atol=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_kolen_pollack_closes_the_gap_at_its_rate(momentum):
    network = build("network", "mlp(hidden=[16, 16])", input_shape=(8,), outputs=4).double()
    lr, decay = 0.1, 0.05
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=momentum)
    learner = Learner(network, f"kp(decay={decay})", optimizer=optimizer)

    def gap(name: str) -> torch.Tensor:
        return (
            network.layer(name).synapses["weight"].weight.detach() - learner.rule.beside(name)["weight"].weight.detach()
        )

    name = network.names[1]
    expected, velocity = gap(name).clone(), torch.zeros_like(gap(name))
    for step in range(200):
        learner.step(*batch(8, (8,), 4, seed=step))
        velocity = momentum * velocity + decay * expected
        expected = expected - lr * velocity
        assert torch.allclose(gap(name), expected, atol=1e-10)
    if momentum == 0.0:
        assert float(expected.norm()) == pytest.approx(float(gap(name).norm()))
        assert math.isclose((1 - lr * decay) ** 200, 0.3670, abs_tol=1e-3)


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), 0))


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("spec", "shape"), [("mlp(hidden=[24, 24])", (16,)), ("vit(width=16, heads=2, depth=1)", (3, 8, 8))]
)
def test_weight_mirror_turns_return_weights_to_the_weights(spec, shape):
    network = build("network", spec, input_shape=shape, outputs=10)
    learner = Learner(network, "weight_mirror", optimizer=torch.optim.SGD(network.parameters(), lr=0.0))
    x, labels = batch(64, shape, 10)

    def alignment() -> list[float]:
        return [
            cosine(layer.synapses[key].weight.detach(), learner.rule.beside(name)[key].weight.detach())
            for name, layer in network.items()
            for key in layer.traits.returning
            if layer.synapses[key].weight.dim() > 1
        ]

    assert max(map(abs, alignment())) < 0.3
    for _ in range(300):
        learner.step(x.float(), labels)
    assert min(alignment()) > 0.95
    ratio = learner.rule.beside(network.names[-1])
    for key, back in ratio.items():
        if back.weight.dim() > 1:
            w = network.layer(network.names[-1]).synapses[key].weight.detach()
            assert float(back.weight.detach().norm() / w.norm()) == pytest.approx(1.0, abs=0.15)


def test_dkp_feedback_follows_the_readout():
    network = build("network", "mlp(hidden=[16])", input_shape=(8,), outputs=4).double()
    lr, decay = 0.1, 0.05
    learner = Learner(network, f"dkp(decay={decay}, rate=1.0)", optimizer=torch.optim.SGD(network.parameters(), lr=lr))
    readout = network.layer(network.readout).synapses["weight"].weight.detach()
    feedback = learner.rule.feedback.matrix().weight.detach().t()
    start = float((readout - feedback).norm())
    for step in range(100):
        learner.step(*batch(8, (8,), 4, seed=step))
    # With one hidden layer B and the readout get the same change and decay: Kolen-Pollack exactly.
    assert float((readout - feedback).norm()) == pytest.approx(start * (1 - lr * decay) ** 100, rel=1e-9)


@pytest.mark.parametrize("centred", [False, True])
def test_drtp_needs_no_error(centred):
    network = build("network", "mlp(hidden=[6])", input_shape=(5,), outputs=3).double()
    x, labels = batch(4, (5,), 3)
    learner = Learner(network, f"drtp(centred={centred})", optimizer=torch.optim.SGD(network.parameters(), lr=1.0))
    layer = network.layer("dense0")
    before = layer.synapses["weight"].weight.detach().clone()
    h = forward_pass(network, x).views["dense0"].y
    b = learner.rule.feedback.matrix().weight.detach().t().clone()
    learner.step(x, labels)
    shared = 1 / 3 if centred else 0
    wanted = (((torch.eye(3, dtype=torch.float64)[labels] - shared) @ b) * (1 - h**2)).t() @ x / 4
    assert torch.allclose(before - layer.synapses["weight"].weight.detach(), wanted, atol=1e-12)


def test_adfa_puts_g_in_place_of_the_derivative():
    network = build("network", "mlp(hidden=[6])", input_shape=(5,), outputs=3).double()
    x, labels = batch(4, (5,), 3)
    learner = Learner(network, "adfa(g=sin)", optimizer=torch.optim.SGD(network.parameters(), lr=1.0))
    layer = network.layer("dense0")
    before = layer.synapses["weight"].weight.detach().clone()
    a = torch.nn.functional.linear(x, before, layer.synapses["bias"].weight.detach())
    e = torch.softmax(learner.evaluate(x), 1) - torch.eye(3, dtype=torch.float64)[labels]
    wanted = ((e @ learner.rule.feedback.matrix().weight.detach().t()) * torch.sin(a)).t() @ x / 4
    learner.step(x, labels)
    assert torch.allclose(before - layer.synapses["weight"].weight.detach(), wanted, atol=1e-12)


@pytest.mark.parametrize(("rule", "kept"), [("usf", "signs"), ("frsf", "signs"), ("brsf", "signs")])
def test_sign_symmetric_return_weights_have_the_signs_of_w(rule, kept):
    network = build("network", "vit(width=8, heads=2, depth=1)", input_shape=(3, 8, 8), outputs=5)
    x, labels = batch(8, (3, 8, 8), 5)
    learner = Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    assert learner.rule.declares.transports == kept
    for _ in range(3):
        signs = {
            (name, key): layer.synapses[key].weight.detach().sign()
            for name, layer in network.items()
            for key in layer.traits.returning
        }
        learner.step(x.float(), labels)
        for (name, key), wanted in signs.items():
            assert torch.equal(learner.rule.beside(name)[key].weight.detach().sign(), wanted)


def test_a_block_under_a_chained_rule_returns_nothing_through_its_own_weights():
    network = build("network", "vit(width=8, heads=2, depth=2)", input_shape=(3, 8, 8), outputs=5).double()
    x, labels = batch(8, (3, 8, 8), 5)
    first = directions(network, "fa", x, labels)["block0.project.weight"]
    # Other forward weights in the last block that leave its output unchanged leave block 0's direction unchanged too.
    merge = network.layer("block2").synapses["mlp.2.weight"].weight
    hidden = network.layer("block2").synapses["mlp.0.weight"].weight
    assert merge.shape[1] == hidden.shape[0]
    order = torch.randperm(hidden.shape[0], generator=torch.Generator().manual_seed(0))
    bias = network.layer("block2").synapses["mlp.0.bias"].weight
    merge.data, hidden.data, bias.data = merge.data[:, order], hidden.data[order], bias.data[order]
    again = directions(network, "bp", x, labels)["block0.project.weight"]
    before = directions(network, "bp", x, labels)["block0.project.weight"]
    assert torch.allclose(again, before)
    # The hidden units were permuted but the return weights were not: fa now differs, bp does not.
    assert not torch.allclose(directions(network, "fa", x, labels)["block0.project.weight"], first)


def test_a_weight_without_a_return_path_is_refused():
    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.mix = torch.nn.Linear(6, 6), torch.nn.Parameter(torch.ones(6, 6))

        def forward(self, x):
            return self.inner(x) @ self.mix

    network = Network([Dense(4, 6), Block(Scaled()), Dense(6, 3)], (4,))
    with pytest.raises(ValueError, match=r"'block1', where an error crosses 'mix' without a return weight"):
        Learner(network, "fa", optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=0.1))


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups"), [(1, 1, 1, 1), (2, 2, 1, 1), (1, 2, 2, 2), (1, 0, 1, 1)]
)
def test_the_mean_of_a_mirror_pass_is_the_kernel_also_where_it_meets_padding(stride, padding, dilation, groups):
    gen = torch.Generator().manual_seed(0)
    weight = torch.ones(4, 2, 5 if padding == 2 and dilation == 1 else 3, 3, dtype=torch.float64)
    noise = torch.randn(4000, 2 * groups, 6, 6, dtype=torch.float64, generator=gen)
    sizes = [stride] * 2, [padding] * 2, [dilation] * 2
    y = torch.conv2d(noise, weight, None, *sizes, groups)
    mean = conv_correlation(y, noise, weight, ConvSizes(*map(tuple, sizes), groups))
    assert torch.allclose(mean, weight, atol=0.15)
    assert mean.mean().item() == pytest.approx(1, abs=0.02)
    assert mean[..., 0, 0].mean().item() == pytest.approx(1, abs=0.05)


def test_one_bit_of_the_error_is_its_sign_and_a_trit_has_a_zero():
    error = torch.tensor([[0.9, -0.02, -0.88], [0.3, -0.01, -0.29]])
    sent = {name: build("rule", name).encoder.quantize(error) for name in ("sdfa", "tdfa")}
    assert torch.equal(sent["sdfa"].sign(), error.sign())
    assert len(sent["sdfa"].abs().unique()) == 1
    assert (sent["tdfa"] == 0).any()
    assert len(sent["tdfa"].unique()) <= 3
