"""What is told of a spiking network is told of one tick of it."""

import pytest
import torch

from hwmodels.registry import build, parts
from neurofa import Learner
from neurofa.chips.requirements import constant_pieces, requirements_of
from neurofa.costs.flops import step_flops
from neurofa.costs.memory import step_memory
from neurofa.testing.flops import FlopCounter

LABELS = torch.tensor([0, 2, 1, 2])


def small_learner(rule, spec, shape=(6,)):
    network = build("network", spec, input_shape=shape, outputs=3)
    return Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=0.1))


@pytest.mark.parametrize("rule", ["dfa", "eprop", "eprop_symmetric", "erbp", "stllr", "kp", "fdfa", "local_loss"])
@pytest.mark.parametrize("ticks", [1, 5])
def test_a_chunk_takes_as_many_products_as_it_has_ticks(rule, ticks):
    made = small_learner(rule, "snn(hidden=[7, 6], recurrent=True)")
    told = step_flops(made, batch_size=4)
    with FlopCounter() as counted:
        made.stream(torch.ones(ticks, 4, 6), LABELS, chunk=ticks)
    assert counted.flop == ticks * told.at_step(0)


@pytest.mark.sample(8)
@pytest.mark.parametrize("neuron", [*parts("neuron"), "'lif(reset=zero, delay=False)'"])
@pytest.mark.parametrize("rule", ["eprop", "bptt", "stllr", "fa"])
def test_memory_and_footprint_of_every_neuron(rule, neuron):
    made = small_learner(rule, f"snn(hidden=[7, 5], neuron={neuron}, recurrent=True)")
    one, two = (step_memory(made, n) for n in (1, 2))
    assert one["weights"] == 4 * sum(p.numel() for p in made.network.parameters())
    assert two["activations"] == 2 * one["activations"] > 0
    found = requirements_of(made, batch_size=4)
    assert found.synapses == 7 * (6 + 7) + 5 * (7 + 5) + 3 * 5
    assert found.fan_in == 13


def test_derivatives_are_those_of_the_spikes():
    grid = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    for surrogate in ("boxcar", "table", "atan"):
        made = small_learner("dfa", f"snn(hidden=[7], neuron=lif(surrogate={surrogate}))")
        wanted = constant_pieces(build("surrogate", surrogate).derivative(grid))
        assert requirements_of(made).derivatives == {surrogate: wanted}
    assert wanted == float("inf")


def test_convolutions_tell_their_tick():
    made = small_learner("dfa", "conv_snn(channels=[3, 4], kernel=3)", (2, 8, 8))
    told = step_flops(made, batch_size=4)
    with FlopCounter() as counted:
        made.stream(torch.ones(5, 4, 2, 8, 8), LABELS, chunk=5)
    assert counted.flop == 5 * told.at_step(0)
    assert step_memory(made, 4)["activations"] > 0
