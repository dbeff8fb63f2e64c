"""Which rules declare themselves not local, and that the audit finds it so."""

import pytest
import torch

from hwmodels.registry import build, parts
from neurofa import Dense, Learner, Network
from neurofa.audit.step import audit
from neurofa.core.randomness import generator
from neurofa.rules.pepita import Pepita


def batch(n=6, width=6):
    gen = generator(0, "batch")
    return torch.randn(n, width, generator=gen), torch.randint(4, (n,), generator=gen)


def test_only_the_controls_that_read_weights_are_not_local_by_default():
    found = {name for name in parts("rule") if not build("rule", name).declares.local}
    # for sequences: backpropagation through time, and that at a tick under two names of the field
    assert found == {"bp", "ldfa_normative", "bptt", "eprop_symmetric", "ostl"}


@pytest.mark.sample(5)
@pytest.mark.parametrize(
    ("spec", "local"),
    [
        ("grape2026", True),
        ("grape2026(calibrate=3)", False),
        ("dfa(calibrate=3)", False),
        ("ldfa_local(init=svd)", False),
        ("local_loss(gradient=exact)", True),
        ("local_loss(gradient=random, groups=2)", True),
        ("local_guess(space=weight)", True),
        ("local_guess(per_layer=True)", True),
        ("pepita(readout=first)", True),
        ("fdfa(by=difference)", True),
        ("fdfa(program=1)", True),
        ("raf(p=identity)", True),
    ],
)
def test_options_are_as_local_as_they_say(spec, local):
    network = build("network", "mlp(hidden=[9, 8, 7])", input_shape=(6,), outputs=4)
    report = audit(spec, network, *batch())
    assert report.agrees, report.verdict
    assert report.local is local


def test_a_calibrating_step_is_one_of_backpropagation():
    def made(rule):
        network = build("network", "mlp(hidden=[9, 8])", input_shape=(6,), outputs=4).double()
        return Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=0.1))

    ours, bp = made("grape2026(calibrate=2)"), made("bp")
    x, labels = batch()
    weight = [run.network.layer("dense0").synapses["weight"].weight for run in (ours, bp)]
    ours.step(x.double(), labels)
    b = ours.rule.b.clone()
    bp.network.load_state_dict(ours.network.state_dict())
    for run in (ours, bp):
        run.step(x.double(), labels)
    assert torch.equal(*(w.detach() for w in weight))
    assert torch.equal(b, ours.rule.b)  # backpropagation has no feedback to align
    for run in (ours, bp):
        run.step(x.double(), labels)
    assert not torch.equal(*(w.detach() for w in weight))


class Peeping(Pepita):
    """Scales its modulation by a weight of the network that it was shown."""

    def look(self, network):
        self.shown = [network.layer("dense1").synapses["weight"].weight]

    def deliver(self, name, teaching):
        return super().deliver(name, teaching) * (1 + self.shown[0].detach()[0, 0])


def test_a_rule_of_two_passes_that_looks_elsewhere_is_found_out():
    network = Network([Dense(6, 8, activation="tanh"), Dense(8, 7, activation="tanh"), Dense(7, 4)], (6,))
    rule = Peeping()
    rule.look(network)
    report = audit(rule, network, *batch())
    assert not report.local
    assert not report.agrees
