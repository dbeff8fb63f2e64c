"""The audit finds what it should: every style of smuggling, and nothing in honest rules."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import typer
from typer.testing import CliRunner

from experiments.commands import audit as command
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.audit.step import audit
from neurofa.core.directions import Directions, Outer
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.core.rule import Chained, Direct, Rule
from neurofa.rules.dfa import DFA
from neurofa.rules.kp import KolenPollack


def net(spec: str = "mlp(hidden=[12, 10])", device: str = "digital") -> Network:
    return build("network", spec, input_shape=(1, 8, 8), outputs=5, seed=0, device=device)


def batch(n: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    gen = generator(0, "batch")
    return torch.randn(n, 1, 8, 8, generator=gen), torch.randint(5, (n,), generator=gen)


def above(network: Network, name: str) -> torch.Tensor:
    """The weights of the layer above, which no local rule may know."""
    return network.layer(network.names[network.names.index(name) + 1]).synapses["weight"].weight


class ByAttribute(DFA):
    """Keeps the network as a submodule and sends the error through the weights above (two hidden layers)."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def deliver(self, name, teaching):
        below = super().deliver(name, teaching)
        return below + 0 * above(self.network, name).sum() if name != "dense3" else below


class ByList(DFA):
    """Hides the network from nn.Module in a list; reads the norm of the weights above."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.hidden = [network]

    def deliver(self, name, teaching):
        return super().deliver(name, teaching) * above(self.hidden[0], name).norm()


class ByClosure(DFA):
    """Closes over the network."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.scale = lambda name: above(network, name).abs().mean()

    def deliver(self, name, teaching):
        return super().deliver(name, teaching) * self.scale(name)


class ByUpdate(DFA):
    """Decides the size of the update in update(), by name of the layer."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.of = {id(layer): name for name, layer in network.items()}
        self.top = [network]

    def update(self, name, layer, view):
        own, directions = super().update(name, layer, view)
        if self.of[id(layer)] == "dense1":
            size = self.top[0].layer("dense2").synapses["weight"].weight.mean()
            directions["bias"] = directions["bias"] + size
        return own, directions


class ByNanSafe(DFA):
    """Clears NaN away before it uses the stolen weights."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.top = [network]

    def deliver(self, name, teaching):
        stolen = above(self.top[0], name)
        return super().deliver(name, teaching) * (1 + stolen.nan_to_num().sum())


class ByViews(DFA):
    """Keeps what it was shown of the layer above, and uses it one layer further down."""

    def update(self, name, layer, view):
        own, directions = super().update(name, layer, view)
        if hasattr(self, "kept"):
            directions["bias"] = directions["bias"] + self.kept.params["weight"].mean()
        self.kept = view
        return own, directions


class ByCopies(DFA):
    """Copies the weights that it was shown; the copy survives what happens to the original."""

    def update(self, name, layer, view):
        own, directions = super().update(name, layer, view)
        if hasattr(self, "kept"):
            directions["bias"] = directions["bias"] + self.kept.mean()
        self.kept = view.params["weight"].clone()
        return own, directions


class ByReturns(Chained):
    """Notes each layer's weights when asked for return weights, and uses them in another layer's update."""

    def return_weights(self, name, params, gen):
        self.noted = {**getattr(self, "noted", {}), name: params["weight"].clone()}
        return super().return_weights(name, params, gen)

    def deliver(self, name, teaching):
        return teaching.error_above * self.noted["dense3"].mean()


class ByMemory(DFA):
    """Steals in one step what it uses in the next."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.top, self.size = [network], 1.0

    def begin(self, teaching, gen):
        self.now, self.size = self.size, float(self.top[0].layer("dense3").synapses["weight"].weight.mean())
        super().begin(teaching, gen)

    def deliver(self, name, teaching):
        return super().deliver(name, teaching) * self.now


class BySynapses(DFA):
    """Keeps only the device's cells or parameters, not the network."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.cells = [network.layer(name).synapses["weight"] for name in ("dense2", "dense3")]

    def deliver(self, name, teaching):
        return super().deliver(name, teaching) * sum(s.device.value(s.cells).mean() for s in self.cells)


class ByAdapt(KolenPollack):
    """Steals in the plasticity of the pathway."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.top = [network]

    def adapt(self, name, view, directions):
        found = super().adapt(name, view, directions)
        if name == "dense1":
            stolen = above(self.top[0], name).mean()
            found = {k: (d.dense() if isinstance(d, Outer) else d) + stolen for k, d in found.items()}
        return found


SMUGGLERS = [
    ByAttribute,
    ByList,
    ByClosure,
    ByUpdate,
    ByNanSafe,
    ByViews,
    ByCopies,
    ByReturns,
    ByMemory,
    BySynapses,
    ByAdapt,
]


def make(kind: Callable[..., Rule], network: Network) -> Rule:
    return kind() if kind in (ByViews, ByCopies, ByReturns) else kind(network)


@pytest.mark.sample(10)
@pytest.mark.parametrize("device", ["digital", "fixed(bits=6)"])
@pytest.mark.parametrize("kind", SMUGGLERS, ids=lambda k: k.__name__)
def test_smuggler_is_caught(kind, device):
    network = net(device=device)
    report = audit(make(kind, network), network, *batch())
    assert report.declared_local
    assert not report.local
    assert not report.agrees
    assert any(d.other_weights for d in report.dependencies.values())


def test_smuggler_is_named_with_the_layer_it_reads():
    network = net()
    report = audit(ByUpdate(network), network, *batch())
    assert report.dependencies["dense1"].other_weights == ("dense2",)
    assert report.dependencies["dense2"].other_weights == ()
    assert "not as declared" in report.verdict


class Copier(Chained):
    """ReturnWeights a copy of the forward weights: backpropagation that calls itself local."""

    def return_weights(self, name, params, gen):
        return {key: params[key].clone() for key in self.beside(name)}


class OwnReader(Chained):
    """The same, but reads the weights behind the learner's back."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.top = [network]

    def return_weights(self, name, params, gen):
        layer = self.top[0].layer(name)
        return {key: layer.synapses[key].weight.detach().clone() for key in self.beside(name)}


class SlowCopier(Chained):
    """Lets its return weights drift to the forward weights in adapt()."""

    def adapt(self, name, view, directions) -> Directions:
        return {key: s.weight.detach() - view.params[key] for key, s in self.beside(name).items()}

    def plastic(self, name):
        return {key: (s, None) for key, s in self.beside(name).items()}


class SilentCopier(Chained):
    """Overwrites its return weights in adapt() without a word."""

    def adapt(self, name, view, directions) -> Directions:
        for key, s in self.beside(name).items():
            s.weight.data.copy_(view.params[key])
        return {}


@pytest.mark.parametrize("kind", [Copier, OwnReader, SlowCopier, SilentCopier])
def test_weight_transport_beside_the_layer_is_found(kind):
    network = net()
    report = audit(kind(network) if kind is OwnReader else kind(), network, *batch())
    assert report.transports == "weights"
    assert not report.local
    assert not report.agrees


class Liar(Chained):
    """Copies signs and says that it copies nothing."""

    def return_weights(self, name, params, gen):
        return {key: params[key].sign() * 0.1 for key in self.beside(name)}


def test_signs_are_told_from_weights_and_from_nothing():
    report = audit(Liar(), net(), *batch())
    assert (report.transports, report.local, report.agrees) == ("signs", True, False)
    honest = audit("usf", net(), *batch())
    assert (honest.transports, honest.local, honest.agrees) == ("signs", True, True)
    assert audit("fa", net(), *batch()).transports == "nothing"


def test_bp_fails_and_names_every_layer_above():
    report = audit("bp", net(), *batch())
    assert not report.local
    assert report.agrees
    assert report.dependencies["dense1"].other_weights == ("dense2", "dense3")
    assert report.dependencies["dense3"].other_weights == ()


@pytest.mark.parametrize("rule", ["dfa", "fa"])
def test_batch_norm_is_reported(rule):
    plain = audit(rule, net(), *batch())
    assert not plain.couples_samples
    normed = audit(rule, net("mlp(hidden=[12, 10], norm=batch)"), *batch())
    assert normed.couples_samples
    assert "samples of a batch are coupled" in normed.verdict
    assert normed.agrees


def test_coupling_through_the_error_is_found():
    class Rescaled(Direct):
        def signal(self, teaching):
            return teaching.error / teaching.error.abs().max()

    report = audit(Rescaled(), net(), *batch())
    coarse = audit("dfa(error=uniform(bits=4))", net(), *batch())
    assert coarse.dependencies == report.dependencies
    assert [d.other_samples for d in report.dependencies.values()] == [True, True, False]


@pytest.mark.sample(3)
@pytest.mark.parametrize("rule", ["fa", "brsf", "dkp", "bp"])
@pytest.mark.parametrize(
    "spec", ["cnn(channels=[3, 4], kernel=3, hidden=10, norm=batch, dropout=0.5)", "vit(width=8, depth=1)"]
)
def test_network_is_left_as_it_was(rule, spec):
    network = net(spec, device="fixed(bits=6)").eval()
    before = copy.deepcopy(network.state_dict())
    audit(rule, network, *batch())
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[k], v) for k, v in before.items())
    assert not any(m.training for m in network.modules())


def test_readout_only_freezes_hidden_layers():
    report = audit("readout_only", net(), *batch())
    assert [d.learns for d in report.dependencies.values()] == [False, False, True]


def test_one_sample_is_refused():
    with pytest.raises(NeurofaError, match="got 1 samples"):
        audit("dfa", net(), *batch(1))


def test_hidden_randomness_is_refused():
    class Drunk(DFA):
        def deliver(self, name, teaching):
            return torch.rand(()) * super().deliver(name, teaching)

    with pytest.raises(NeurofaError, match="two different updates"):
        audit(Drunk(), net(), *batch())


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.callback()(lambda: None)
    command.register(app)
    return app


def test_command_prints_json(app):
    done = CliRunner().invoke(app, ["audit", "bp", "--json", "--network", "vgg(plan=[4, M], hidden=[6])"])
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert (found["rule"], found["declared_local"], found["local"]) == ("bp", False, False)
    assert found["dependencies"]["conv2d0"]["other_weights"] == ["dense3", "dense4"]
    assert found["couples_samples"]


def test_command_prints_a_verdict(app):
    done = CliRunner().invoke(app, ["audit", "dfa", "--data-shape", "20"])
    assert done.exit_code == 0
    assert "is as declared" in done.stdout


def test_command_fails_for_a_rule_that_lies(app, monkeypatch):
    declared = replace(DFA().declares, local=False)
    monkeypatch.setattr(DFA, "declares", property(lambda rule: declared))
    assert CliRunner().invoke(app, ["audit", "dfa"]).exit_code == 1


def test_command_refuses_a_shape_that_is_none(app):
    done = CliRunner().invoke(app, ["audit", "dfa", "--data-shape", "3,-1"])
    assert isinstance(done.exception, NeurofaError)


@pytest.mark.parametrize(
    ("rule", "spec", "inside"),
    [
        ("dfa", "resnet20(width=4, blocks=1)", "blocks"),
        ("kp", "resnet20(width=4, blocks=1)", "none"),
        ("dfa", "mlp(hidden=[12])", "none"),
        ("bp", "mlp(hidden=[12])", "all"),
    ],
)
def test_the_report_says_how_many_weights_exact_transposes_serve(rule: str, spec: str, inside: str) -> None:
    network = net(spec)
    sizes = dict.fromkeys((layer.name for _, layer in network.chain), 0)
    for _, layer in network.chain:
        sizes[layer.name] += sum(p.numel() for p in layer.parameters())
    weights = sum(sizes.values())
    report = audit(rule, network, *batch())
    wanted = {"blocks": sizes.get("block", 0), "none": 0, "all": weights}[inside]
    assert (report.exact_inside, report.weights) == (wanted, weights)
    assert report.to_dict()["exact_inside"] == wanted
