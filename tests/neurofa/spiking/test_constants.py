"""Neurons with constants of their own hold the contract of neurons, and equal neurons of one constant each."""

import copy

import pytest
import torch

from hwmodels.registry import parts, shelves
from neurofa.neurons import LIF, LeakyIntegrator, Synaptic
from neurofa.testing import neuron_checks
from neurofa.testing.neurons import WIDTH

CHECKS = dict(neuron_checks())
DECAYS = torch.linspace(0.2, 0.98, WIDTH, dtype=torch.float64)
THRESHOLDS = torch.linspace(0.4, 1.2, WIDTH, dtype=torch.float64)


class VariedLIF(LIF):
    def __init__(self, *, reset="subtract", delay=True, gated=False):
        super().__init__(beta=DECAYS, threshold=THRESHOLDS, reset=reset, delay=delay, gated=gated)


class VariedSynaptic(Synaptic):
    def __init__(self, *, reset="subtract", delay=True):
        super().__init__(alpha=DECAYS.flip(0), beta=DECAYS, threshold=THRESHOLDS, reset=reset, delay=delay)


class VariedLeaky(LeakyIntegrator):
    def __init__(self):
        super().__init__(kappa=DECAYS)


@pytest.mark.parametrize(
    "check", ["starts_at_rest", "spikes_are_spikes", "run_equals_ticks", "dynamics_are_the_derivative"]
)
@pytest.mark.parametrize("part", [VariedLIF, VariedSynaptic, VariedLeaky])
def test_the_contract_of_neurons_holds(part, check, monkeypatch):
    parts("neuron")
    monkeypatch.setitem(shelves._PARTS["neuron"], "varied", part)
    CHECKS[check]("varied")


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("kind", [LIF, Synaptic])
def test_every_neuron_is_one_with_that_constant(kind, reset):
    gen = torch.Generator().manual_seed(0)
    currents = torch.randn(20, 2, WIDTH, generator=gen).add_(0.2)
    decays = {"beta": DECAYS} | ({"alpha": DECAYS.flip(0)} if kind is Synaptic else {})
    varied = copy.deepcopy(kind(threshold=THRESHOLDS, reset=reset, **decays))
    spikes = varied.run(currents.clone(), varied.initial_state(currents[0]))[0]
    for n in range(WIDTH):
        one = kind(
            threshold=float(THRESHOLDS[n]), reset=reset, **{key: float(value[n]) for key, value in decays.items()}
        )
        own = currents[..., n : n + 1]
        assert torch.equal(one.run(own.clone(), one.initial_state(own[0]))[0], spikes[..., n : n + 1])
