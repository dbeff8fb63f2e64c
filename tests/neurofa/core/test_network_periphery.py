"""The network's own products through converters and noise."""

import pytest
import torch

from experiments.runs.run import RunSpec, train_run
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa import Learner, load_network, save_network
from neurofa.training.learner import forward_pass

NOISY = "periphery(in_bits=None, out_bits=None, out_noise=0.1)"
DENSE, CONV = ("mlp(hidden=[6])", (8,)), ("cnn(channels=[3], kernel=3)", (1, 8, 8))


def network(spec, shape, periphery="exact", **options):
    return build("network", spec, input_shape=shape, outputs=3, seed=0, periphery=periphery, **options)


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(shape, n=16):
    return torch.rand(n, *shape, generator=gen(1))


def first(net, x, seed):
    """Output of the first layer before its activation, one draw of noise."""
    _, layer = next(iter(net.items()))
    return layer.preactivation(
        type(
            "View",
            (),
            {"after": {}, "x": x, "params": layer.synapses.stored(), "before": layer.fresh_state(x, gen(seed))},
        )()
    ), layer.synapses.stored()["weight"].abs().max()


@pytest.mark.parametrize(("spec", "shape"), [DENSE, CONV])
def test_exact_is_the_network_without_a_periphery_bit_for_bit(spec, shape):
    plain = build("network", spec, input_shape=shape, outputs=3, seed=0)
    x = batch(shape)
    assert torch.equal(network(spec, shape)(x), plain(x))
    assert torch.equal(network(spec, shape, "exact")(x, gen()), plain(x))


@pytest.mark.parametrize(("spec", "shape"), [DENSE, CONV])
def test_converters_of_many_bits_change_nothing_but_rounding(spec, shape):
    fine = "periphery(in_bits=20, out_bits=20, out_noise=0, out_bound=50)"
    x = batch(shape)
    assert torch.allclose(network(spec, shape, fine)(x), network(spec, shape)(x), atol=1e-3)
    coarse = network(spec, shape, "periphery(in_bits=3, out_bits=20, out_noise=0, out_bound=50)")(x)
    assert (coarse - network(spec, shape)(x)).abs().max() > 1e-3


@pytest.mark.parametrize(("spec", "shape"), [DENSE, CONV])
def test_the_noise_of_an_output_has_its_stated_size(spec, shape):
    net, x = network(spec, shape, NOISY), batch(shape)
    clean = first(network(spec, shape), x, 0)[0]
    drawn, largest = zip(*[first(net, x, seed) for seed in range(400)], strict=True)
    error = torch.stack(list(drawn)) - clean
    # the full scale is the largest input of a sample, of a patch in a convolution
    _, layer = next(iter(net.items()))
    if len(shape) == 1:
        scale = x.abs().amax(1).view(-1, 1)
    else:
        patches = torch.nn.functional.unfold(x, 3, padding=layer.map.sizes.padding)
        scale = patches.abs().amax(1).view(len(x), 1, *clean.shape[2:])
    unit = (error / (0.1 * scale * largest[0])).double()
    n = unit.numel()
    assert abs(unit.mean().item() * n**0.5) < 4
    assert abs((unit.square().mean().item() - 1) * (n / 2) ** 0.5) < 4


def test_a_pass_repeats_with_its_seed_and_needs_one():
    net, x = network(*DENSE, NOISY), batch((8,))
    assert torch.equal(net(x, gen(3)), net(x, gen(3)))
    assert not torch.equal(net(x, gen(3)), net(x, gen(4)))
    with pytest.raises(NeurofaError, match="generator"):
        net(x)
    tick = forward_pass(net, x, gen=gen(3))
    states = {name: view.before for name, view in tick.views.items()}
    assert torch.equal(forward_pass(net, x, gen=gen(9), states=states).y, tick.y)


def test_it_is_saved_and_loaded_and_taken_away(tmp_path):
    net, x = network(*DENSE, NOISY), batch((8,))
    save_network(net, tmp_path / "net")
    again = load_network(tmp_path / "net")
    assert torch.equal(again(x, gen(1)), net(x, gen(1)))
    again.attach("exact")
    assert torch.equal(again(x), network(*DENSE)(x))


def test_weights_inside_blocks_are_refused():
    with pytest.raises(NeurofaError, match=r"got a periphery for layer 'block"):
        network("vit(patch=4, width=8, depth=1)", (1, 8, 8), "training")


@pytest.mark.parametrize("rule", ["bp", "fa", "dfa", "adfa", "weight_mirror"])
def test_every_kind_of_rule_steps_with_it_and_repeats(rule):
    def trained():
        net = network(*CONV, "training")
        learner = Learner(net, rule, optimizer=torch.optim.SGD(net.parameters(), lr=0.1), seed=0)
        for _ in range(2):
            learner.step(batch((1, 8, 8)), torch.arange(16) % 3)
        return torch.cat([p.flatten() for p in net.parameters()])

    once = trained()
    assert once.isfinite().all()
    assert torch.equal(once, trained())


def test_chained_errors_return_through_the_converters():
    """With one bit less than nothing lost (exact) the directions of the lowest layer are others."""
    found = []
    for periphery in ("exact", "periphery(in_bits=2, out_bits=None, out_noise=0)"):
        net = network(*DENSE)
        learner = Learner(net, "bp", optimizer=torch.optim.SGD(net.parameters(), lr=1.0))
        net.attach(periphery)
        before = net.layer(net.names[0]).synapses["weight"].weight.detach().clone()
        learner.step(batch((8,)), torch.arange(16) % 3)
        found.append(net.layer(net.names[0]).synapses["weight"].weight.detach() - before)
    assert not torch.allclose(*found, rtol=1e-2)
    assert torch.cosine_similarity(found[0].flatten(), found[1].flatten(), dim=0) > 0.3


@pytest.mark.long
def test_digits_are_learnt_through_noisy_converters():
    spec = RunSpec(data="digits", network="mlp(hidden=[64])", periphery="training", epochs=4)
    result = train_run(spec, control=True)
    assert result.margin is not None
    assert result.margin > 0.01
    assert spec.key != RunSpec(data="digits", network="mlp(hidden=[64])", epochs=4).key


def test_a_fused_learner_fuses_products_and_writes():
    net = network(*DENSE, "training", device="constant_step")
    for fused in (True, False):
        Learner(net, "bp", optimizer=torch.optim.SGD(net.parameters(), lr=0.1), fused=fused)
        layers = [layer for _, layer in net.items()]
        assert all(layer.arrays.fused is fused and layer.synapses["weight"].fused is fused for layer in layers)
