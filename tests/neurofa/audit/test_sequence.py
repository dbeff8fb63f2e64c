"""The audit of sequences finds what is smuggled into eligibility, traces and time, and nothing in honest rules."""

import json
from dataclasses import replace

import pytest
import torch
import typer
from typer.testing import CliRunner

from experiments.commands import audit as command
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.audit.sequence import audit_sequence
from neurofa.core.dynamics import TRACE
from neurofa.core.randomness import generator
from neurofa.rules.stllr import STLLR

LABELS = torch.tensor([0, 2, 1, 2])


def network(spec="snn(hidden=[7, 6], recurrent=True)"):
    return build("network", spec, input_shape=(6,), outputs=3)


def given(ticks=6):
    return (torch.rand(ticks, 4, 6, generator=generator(0, "spikes")) < 0.4).float()


class InDynamics(STLLR):
    """Its eligibility decays as the readout's weights say."""

    def __init__(self, net):
        super().__init__()
        self.kept = [net]

    def secret(self):
        return self.kept[0].layer("spiking2").synapses["weight"].weight.detach().abs().mean()

    def dynamics(self, name, layer, view):
        own = super().dynamics(name, layer, view)
        return replace(own, out=[own.out[0] * self.secret(), *own.out[1:]])


class InTraces(InDynamics):
    """Lets other weights into what it keeps for the next chunk only."""

    def secret(self):
        return 1.0

    def carried(self, name, layer, view):
        return {TRACE + "secret": super().secret() * torch.ones(4, layer.map.channels)}


@pytest.mark.parametrize("smuggler", [InDynamics, InTraces])
def test_what_is_smuggled_into_eligibility_is_found(smuggler):
    net = network()
    report = audit_sequence(smuggler(net), net, given(), LABELS)
    assert not report.agrees
    assert report.dependencies["spiking0"].other_weights == ("spiking2",)
    assert report.dependencies["spiking1"].other_weights == ("spiking2",)


@pytest.mark.parametrize("rule", ["eprop", "stllr", "erbp", "fa"])
def test_honest_rules_are_local_in_sequences(rule):
    net = network()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    report = audit_sequence(rule, net, given(), LABELS)
    assert report.agrees
    assert report.local
    assert all(d.learns and d.future_ticks == "no" and not d.other_samples for d in report.dependencies.values())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_the_controls_are_found_out():
    for rule, future in (("eprop_symmetric", "no"), ("bptt", "yes")):
        report = audit_sequence(rule, network(), given(), LABELS)
        assert report.agrees
        assert not report.local
        assert report.dependencies["spiking0"].other_weights == ("spiking1", "spiking2")
        assert {d.future_ticks for d in report.dependencies.values()} == {future}


def test_layers_without_a_memory_may_stand_between():
    images = build("network", "conv_snn(channels=[3, 4])", input_shape=(1, 8, 8), outputs=3)
    xs = (torch.rand(4, 4, 1, 8, 8, generator=generator(0, "spikes")) < 0.4).float()
    report = audit_sequence("dfa", images, xs, LABELS)
    assert report.agrees
    assert list(report.dependencies) == ["spiking_conv0", "spiking_conv2", "spiking5"]


def test_what_is_no_sequence_is_refused():
    with pytest.raises(NeurofaError, match="got 5 ticks of 4 samples for an audit; expected an even number"):
        audit_sequence("eprop", network(), given(5), LABELS)
    with pytest.raises(NeurofaError, match=r"got 6 ticks of 1 samples for an audit; expected .* at least 2"):
        audit_sequence("eprop", network(), given()[:, :1], LABELS[:1])
    with pytest.raises(NeurofaError, match="'pepita' for sequences"):
        audit_sequence("pepita", network(), given(), LABELS)


@pytest.mark.parametrize(("rule", "code"), [("eprop", 0), ("bptt", 0)])
def test_the_command_audits_sequences(rule, code):
    app = typer.Typer()
    command.register(app)
    app.callback()(lambda: None)
    spec = "snn(hidden=[7, 6], recurrent=True)"
    found = CliRunner().invoke(app, ["audit", rule, "--network", spec, "--data-shape", "6", "--ticks", "4", "--json"])
    assert found.exit_code == code, found.output
    report = json.loads(found.stdout)
    assert report["dependencies"]["spiking0"]["future_ticks"] == ("yes" if rule == "bptt" else "no")
    assert report["local"] == (rule == "eprop")
