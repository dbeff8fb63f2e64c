"""The end of a network: a readout with weights, or refused by name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from neurofa import AvgPool2d, Block, Conv2d, Dense, Dropout, Learner, Network, NeurofaError, from_sequential

MERGED = [nn.Identity(), nn.BatchNorm1d(4, affine=False)]
"""Modules that become part of the layer before them."""
TAILS = [nn.LogSoftmax(1), nn.Softmax(1), nn.Hardtanh(), nn.GLU(), *MERGED]


@pytest.mark.parametrize("tail", TAILS, ids=lambda t: type(t).__name__)
def test_a_block_without_weights_is_no_readout(tail):
    model = nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 4), tail)
    if tail in MERGED:
        assert from_sequential(model, (8,)).names == ["dense0", "dense1"]
    else:
        with pytest.raises(NeurofaError, match=rf"got {type(tail).__name__} at the end .* in one Block with the layer"):
            from_sequential(model, (8,))
    with pytest.raises(NeurofaError, match=rf"got {type(tail).__name__} at the end"):
        Network([Dense(8, 4), Block(tail)], (8,))


def test_layers_without_weights_are_no_readout():
    with pytest.raises(NeurofaError, match=r"got dropout at the end \(layer 'dropout1'\)"):
        Network([Dense(8, 4), Dropout()], (8,))
    with pytest.raises(NeurofaError, match="got avg_pool2d at the end"):
        Network([Conv2d(1, 2, 3), AvgPool2d(2)], (1, 8, 8))
    with pytest.raises(NeurofaError, match="without layers"):
        Network([], (8,))


@pytest.mark.parametrize("tail", [nn.LogSoftmax(1), nn.LeakyReLU(0.2), nn.Hardtanh()], ids=lambda t: type(t).__name__)
def test_the_same_end_in_one_block_with_its_weights_is_trained_through(tail):
    model = nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Sequential(nn.Linear(6, 4), tail))
    torch.manual_seed(0)
    for weight in model.parameters():
        nn.init.uniform_(weight, -0.5, 0.5)
    network = Network([Dense(8, 6, activation="tanh"), Block(model[2])], (8,))
    for synapses, value in zip(
        (s for _, x in network.items() for s in x.synapses.values()), model.parameters(), strict=True
    ):
        synapses.program(value)
    learner = Learner(network, "bp", optimizer=torch.optim.SGD(network.parameters(), lr=0.5))
    x, labels = torch.randn(16, 8), torch.arange(16) % 4
    learner.step(x, labels)
    before = [w.detach().clone() for w in model.parameters()]
    nn.functional.cross_entropy(model(x), labels).backward()
    for w, old, ours in zip(model.parameters(), before, network.parameters(), strict=True):
        torch.testing.assert_close(ours.detach(), old - 0.5 * w.grad)
        assert not torch.equal(ours, old)
