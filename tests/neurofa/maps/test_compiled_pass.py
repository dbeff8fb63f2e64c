"""A network's evaluation pass as one graph against its layers in turn."""

import copy
import shutil

import pytest
import torch

from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.maps.compiled_pass import compile_evaluation, draw_keys, whole_pass

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ to compile with")
QUIET = "periphery(out_noise=0, bound_management=True)"
DENSE, CONV = ("mlp(hidden=[30], activation=tanh)", (20,)), ("cnn(channels=[3], kernel=3)", (1, 8, 8))


def network(spec, shape, periphery):
    return build("network", spec, input_shape=shape, outputs=4, seed=0, periphery=periphery).eval()


def batch(shape, n=16):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(1))


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def oracle(net, x, source):
    layers = [layer for _, layer in net.items()]
    return whole_pass(layers, x, [layer.synapses.read(source) for layer in layers], draw_keys(layers, source))


def apart(a, b):
    """Share of the outputs that differ by more than rounding."""
    return ((a - b).abs() > 1e-4 * a.abs().max()).double().mean().item()


@pytest.mark.parametrize(("spec", "shape"), [DENSE, CONV])
def test_without_noise_it_is_the_eager_pass_bit_for_bit(spec, shape):
    net, x = network(spec, shape, QUIET), batch(shape)
    assert torch.equal(oracle(net, x, None), net(x))
    assert not torch.equal(oracle(network(spec, shape, "periphery(in_bits=4, out_noise=0)"), x, None), net(x))


@pytest.mark.parametrize(("spec", "shape"), [DENSE, CONV])
def test_noise_follows_from_the_keys_and_differs_between_layers(spec, shape):
    net, x = network(spec, shape, "periphery(in_bits=None, out_bits=None, out_noise=0.1)"), batch(shape)
    assert torch.equal(oracle(net, x, gen(1)), oracle(net, x, gen(1)))
    assert apart(oracle(net, x, gen(1)), oracle(net, x, gen(2))) > 0.9
    keys = draw_keys([layer for _, layer in net.items()], gen(1))
    assert len({tuple(key) for key in keys.tolist()}) == len(net.names)


def test_its_errors_have_the_size_of_those_of_the_eager_pass():
    net, x = network(*DENSE, "periphery(in_bits=None, out_bits=None, out_noise=0.1)"), batch((20,), 2000)
    clean = network(*DENSE, "exact")(x)
    ours, theirs = ((y - clean).double().square().mean(1) for y in (oracle(net, x, gen(1)), net(x, gen(2))))

    def z(a, b):
        return abs((a.mean() - b.mean()) / ((a.var() + b.var()) / len(a)).sqrt()).item()

    assert z(ours, theirs) < 4
    assert z(ours * 1.2, theirs) > 4


def test_noise_needs_a_generator():
    net = network(*DENSE, "training")
    compile_evaluation(net)
    with pytest.raises(NeurofaError, match="no generator"):
        net(batch((20,)))


def test_a_layer_that_waits_for_the_host_is_refused_and_not_run_eagerly(monkeypatch):
    net, x = network(*DENSE, QUIET), batch((20,))
    readout = net.layer(net.readout)
    waits = type(readout).compute

    def compute(self, params, x, state):
        return waits(self, params, x, state) if x.sum().item() > -1e9 else (x, {})

    monkeypatch.setattr(type(readout), "compute", compute)
    assert net(x).shape == (16, 4)
    compile_evaluation(net)
    with pytest.raises(NeurofaError, match="leave out fused"):
        net(x)


@pytest.mark.slow
@needs_compiler
@pytest.mark.filterwarnings("ignore")
def test_compiled_it_is_its_oracle_and_sees_every_change():
    net, x = network(*DENSE, "training"), batch((20,))
    compile_evaluation(net)
    first = net(x, gen(1))
    assert apart(oracle(net, x, gen(1)), first) < 0.05
    assert torch.equal(first, net(x, gen(1)))
    assert apart(first, net(x, gen(2))) > 0.5
    with torch.no_grad():
        net.layer(net.readout).synapses["weight"].weight.data.mul_(-2)
    turned = net(x, gen(1))
    assert apart(oracle(net, x, gen(1)), turned) < 0.05
    assert apart(first, turned) > 0.5
    net.attach(QUIET)
    assert apart(oracle(net, x, None), net(x)) < 0.05
    assert apart(turned, net(x)) > 0.5
    twin = copy.deepcopy(net)
    twin.layer(twin.readout).activation = build("activation", "relu")
    assert apart(oracle(twin, x, None), twin(x)) < 0.05
    assert apart(oracle(net, x, None), net(x)) < 0.05


@pytest.mark.slow
@needs_compiler
@pytest.mark.filterwarnings("ignore")
def test_convolutions_compile_too():
    net, x = network(*CONV, "standard"), batch((1, 8, 8))
    compile_evaluation(net)
    assert apart(oracle(net, x, gen(1)), net(x, gen(1))) < 0.05
