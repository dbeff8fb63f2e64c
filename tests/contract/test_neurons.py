"""Every registered neuron and surrogate derivative holds its contract, and a broken one is refused."""

import pytest
import torch

from hwmodels.registry import parts, shelves
from neurofa.core.dynamics import Dynamics
from neurofa.neurons.lif import LIF
from neurofa.spiking.surrogate import SigmoidSurrogate
from neurofa.testing import neuron_checks, run_check, surrogate_checks

NEURONS, SURROGATES = dict(neuron_checks()), dict(surrogate_checks())


@pytest.mark.parametrize("check", NEURONS)
@pytest.mark.parametrize("name", parts("neuron"))
def test_neuron(name, check):
    run_check("neuron", name, check, NEURONS[check])


@pytest.mark.parametrize("check", SURROGATES)
@pytest.mark.parametrize("name", parts("surrogate"))
def test_surrogate(name, check):
    run_check("surrogate", name, check, SURROGATES[check])


class Undecayed(LIF):
    """Forgets that an eligibility decays."""

    def dynamics(self, left, psi=None):
        return Dynamics([[1.0]], [1.0], [self.psi(left) if psi is None else psi])


class Restless(LIF):
    """Begins above the threshold."""

    def initial_state(self, like):
        return {"mem": torch.full_like(like, 2.0)}


class Hasty(LIF):
    """Its fast path decays otherwise than its ticks."""

    def run(self, currents, state, recurrent=None):
        return super().run(currents * 1.5, state, recurrent)


class Lax(LIF):
    """Takes any threshold."""

    def _threshold(self, threshold):
        pass


class Negative(SigmoidSurrogate):
    """Goes down where it should go up."""

    def derivative(self, v):
        return -super().derivative(v)


class Deaf(SigmoidSurrogate):
    """Hides its derivative from autograd."""

    def fire(self, v):
        return (v > 0).to(v.dtype) + 0 * v


@pytest.mark.parametrize(
    ("kind", "part", "check"),
    [
        ("neuron", Undecayed, "dynamics_are_the_derivative"),
        ("neuron", Restless, "starts_at_rest"),
        ("neuron", Hasty, "run_equals_ticks"),
        ("neuron", Lax, "refuses_bad_options"),
        ("surrogate", Negative, "psi_is_a_derivative"),
        ("surrogate", Deaf, "fires_and_learns"),
    ],
)
def test_controls_fail(kind, part, check, monkeypatch):
    parts(kind)
    monkeypatch.setitem(shelves._PARTS[kind], "broken", part)
    with pytest.raises(AssertionError):
        (NEURONS if kind == "neuron" else SURROGATES)[check]("broken")
