"""Convolutions of one to three dimensions and transposed ones: torch's numbers, on arrays and by factors too."""

import pytest
import torch
from torch import nn

from hwmodels.registry import build
from neurofa import Dense, Flatten, Learner, Network, NeurofaError, from_sequential
from neurofa.maps.conv_map import ConvMap

SIZES = [
    {"n": 1, "kernel": 3, "stride": 2, "padding": 1},
    {"n": 1, "kernel": 2, "dilation": 3, "groups": 2},
    {"n": 2, "kernel": [3, 2], "stride": [1, 2], "padding": [0, 1]},
    {"n": 2, "kernel": 3, "dilation": 2, "padding": 2, "groups": 2},
    {"n": 3, "kernel": [1, 2, 3], "stride": [1, 2, 1], "padding": 1},
]
PLAIN = [(sizes, False) for sizes in SIZES]
TRANSPOSED = [(sizes, True) for sizes in SIZES] + [
    ({"n": 1, "kernel": 3, "stride": 2, "padding": 1, "output_padding": 1}, True),
    ({"n": 2, "kernel": 2, "stride": [3, 1], "dilation": [1, 3], "output_padding": [2, 2]}, True),
    ({"n": 3, "kernel": 2, "stride": 2, "output_padding": [1, 0, 1], "groups": 2}, True),
]


def case(sizes, transposed):
    gen = torch.Generator().manual_seed(0)
    own = ConvMap(4, 6, transposed=transposed, **sizes)
    x = torch.randn(3, 4, *(5, 6, 4)[: sizes["n"]], dtype=torch.float64, generator=gen)
    weight = torch.randn(own.weight_shape, dtype=torch.float64, generator=gen)
    y = own.linear(x, weight, None)
    return own, x, weight, y, torch.randn(y.shape, dtype=torch.float64, generator=gen)


@pytest.mark.parametrize(("sizes", "transposed"), PLAIN + TRANSPOSED)
def test_products_on_arrays_and_factors_are_the_exact_ones(sizes, transposed):
    own, x, weight, y, delta = case(sizes, transposed)
    assert tuple(y.shape) == own.out_shape(x.shape)

    def product(rows, matrix):
        return rows @ matrix

    assert torch.allclose(own.on_arrays(product, x, weight), y)
    below = own.transposed(delta, x, weight)
    assert torch.allclose(own.transposed_on_arrays(product, delta, x, weight), below)
    # <delta, W x> = <W^T delta, x> = <dW, W>
    assert torch.allclose((delta * y).sum(), (below * x).sum())
    direction = own.direction(delta, x)
    assert torch.allclose((delta * y).sum(), (direction * weight).sum())
    if own.groups == 1:
        assert torch.allclose(own.outer(delta, x).dense().view(weight.shape), direction)
    plain = own.module(weight, None)
    assert torch.allclose(plain(x), y)


@pytest.mark.parametrize(("sizes", "transposed"), PLAIN + TRANSPOSED)
def test_connections_are_products_of_one_sample(sizes, transposed):
    own, x, weight, y, _ = case(sizes, transposed)
    assert own.connections(tuple(y.shape[1:])) * len(x) == own.rows(tuple(x.shape)) * weight.numel()


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"kernel": [3, 3, 3]}, "images of 2 axes"),
        ({"kernel": 0}, "kernel, stride and dilation >= 1"),
        ({"kernel": 3, "padding": [0, -1]}, "padding >= 0"),
        ({"kernel": 3, "groups": 3}, "expected a divisor of both"),
        ({"kernel": 3, "output_padding": 1, "transposed": True}, "less than the stride or the dilation"),
    ],
)
def test_wrong_sizes_are_refused(sizes, words):
    with pytest.raises(NeurofaError, match=words):
        ConvMap(4, 6, **sizes)


MODELS = {
    "conv1d": (lambda: nn.Conv1d(2, 4, 3, dilation=2), lambda: nn.BatchNorm1d(4), (2, 9), "conv1d"),
    "conv2d": (lambda: nn.Conv2d(2, 4, (3, 1)), lambda: nn.GroupNorm(2, 4), (2, 4, 3), "conv2d"),
    "conv3d": (lambda: nn.Conv3d(2, 4, 2), lambda: nn.BatchNorm3d(4), (2, 3, 3, 3), "conv3d"),
    "transposed": (
        lambda: nn.ConvTranspose2d(2, 4, 3, stride=2, output_padding=1),
        lambda: nn.BatchNorm2d(4),
        (2, 3, 3),
        "conv_transpose2d",
    ),
    "dense": (lambda: nn.Linear(5, 4), lambda: nn.RMSNorm(4, eps=1e-3), (5,), "dense"),
}


@pytest.mark.parametrize("which", MODELS)
def test_models_become_one_layer_with_norm_and_activation(which):
    head, norm, shape, kind = MODELS[which]
    torch.manual_seed(0)
    body = nn.Sequential(head(), norm(), nn.ReLU(), nn.Flatten())
    width = body(torch.randn(2, *shape)).shape[1]
    network = from_sequential(nn.Sequential(*body, nn.Linear(width, 3)), shape)

    assert network.chain[0][1].name == kind
    assert "norm=" in repr(network.chain[0][1])


@pytest.mark.sample(2)
@pytest.mark.parametrize("device", ["pcm", "pulse_trains(device=reram_es)"])
@pytest.mark.parametrize("layer", ["conv1d", "conv3d", "conv_transpose1d"])
def test_they_learn_on_devices_behind_converters(layer, device):
    shape = (2, 5) if layer.endswith("1d") else (2, 3, 3, 3)
    own = build("layer", f"{layer}(c_in=2, c_out=3, kernel=2, norm=rms, activation=tanh)")
    width = 3 * {"conv1d": 4, "conv3d": 8, "conv_transpose1d": 6}[layer]
    network = Network([own, Flatten(), Dense(width, 3)], shape, device=device, periphery="training")
    learner = Learner(network, "fa", optimizer=torch.optim.SGD(network.parameters(), lr=0.3))
    before = network.chain[0][1].synapses["weight"].weight.detach().clone()
    for _ in range(2):
        loss = learner.step(torch.randn(4, *shape), torch.tensor([0, 1, 2, 1])).loss
    assert torch.isfinite(loss)
    assert not torch.equal(network.chain[0][1].synapses["weight"].weight, before)
