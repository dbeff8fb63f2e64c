"""The size of backpropagated errors at initialisation, and feedback that delivers it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from hwmodels.registry import build
from neurofa import Learner, from_sequential
from neurofa.core.directions import Directions
from neurofa.core.error_sizes import error_sizes
from neurofa.core.layer import Layer
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.core.view import LocalView
from neurofa.layers import Block, Dense
from neurofa.training.learner import assign, forward_pass, loss_and_teaching

CASES = [
    ("mlp(hidden=[64, 48], activation=tanh)", (8,), 10),
    ("cnn(channels=[4, 8], kernel=3, hidden=16)", (1, 8, 8), 10),
    ("vit(patch=4, width=16, depth=2, heads=2)", (1, 8, 8), 10),
    ("gpt(width=16, depth=1, heads=2)", (6,), 11),
    ("snn(hidden=[64, 64])", (20,), 10),
]


def network_of(spec: str, shape: tuple[int, ...], outputs: int, seed: int = 3) -> Network:
    network: Network = build("network", spec, input_shape=shape, outputs=outputs, seed=seed)
    return network


def learner_of(network: Network, rule: str = "dfa", **more: Any) -> Learner:
    return Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=0.1), **more)


def test_below_a_linear_readout_the_size_follows_from_its_weights() -> None:
    network = network_of("mlp(hidden=[400])", (5,), 30)
    # the readout's weights are uniform in +-1/sqrt(n)
    assert error_sizes(network)["dense0"] == pytest.approx(math.sqrt(30 / (3 * 400)), rel=0.1)


@pytest.mark.parametrize(("spec", "shape", "outputs"), [case for case in CASES if case[0][:3] != "snn"])
def test_it_is_that_of_backpropagation_in_a_network_of_another_seed(
    spec: str, shape: tuple[int, ...], outputs: int
) -> None:
    network = network_of(spec, shape, outputs)
    learner, gen = learner_of(network, "bp"), generator(1, "inputs")
    x = network.example(64, gen)
    tick = forward_pass(network, x, gen=learner.gen, return_weights=learner.return_weights_of(learner.rule))
    target = torch.randint(outputs, tick.y.shape[:-1], generator=gen)
    teaching = loss_and_teaching(learner.loss, tick.y, target)[1]
    teaching = replace(teaching, error=torch.randn(teaching.error.shape, generator=gen))
    found: dict[str, torch.Tensor] = {}

    def keep(name: str, layer: Layer, view: LocalView, directions: Directions) -> None:
        assert view.error is not None
        found[name] = view.error

    assign(network, learner.rule, tick, teaching, keep)
    for name, size in error_sizes(network).items():
        assert float(found[name].square().mean().sqrt()) == pytest.approx(size, rel=0.5), name


@pytest.mark.parametrize(("spec", "shape", "outputs"), CASES)
def test_no_weight_of_the_network_enters(spec: str, shape: tuple[int, ...], outputs: int) -> None:
    network = network_of(spec, shape, outputs)
    sizes = error_sizes(network)
    assert sizes
    assert all(0 < size < math.inf for size in sizes.values())
    for again in (network, network_of(spec, shape, outputs, seed=8)):
        again.spec += " "  # so that nothing is remembered
        with torch.no_grad():
            for weight in again.parameters():
                weight.fill_(math.nan)
        assert error_sizes(again) == sizes


def test_a_network_without_a_recipe_is_drawn_again_by_its_parts() -> None:
    def model(seed: int) -> nn.Sequential:
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(6, 200), nn.ReLU(), nn.LayerNorm(200), nn.Linear(200, 100))

    def sizes(seed: int) -> dict[str, float]:
        return error_sizes(from_sequential(model(seed), (6,)))

    first = sizes(0)
    assert first
    assert first == sizes(1)
    network = from_sequential(model(3), (6,))
    state = torch.get_rng_state()
    error_sizes(network)
    assert torch.equal(torch.get_rng_state(), state), "the global generator is the user's"


def test_parameters_without_an_initialiser_are_drawn_as_torch_draws_most() -> None:
    class Written(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.full((60, 80), 1e6))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.w.t()

    def sizes(second: nn.Module) -> dict[str, float]:
        parts = [nn.Linear(40, 80), nn.Tanh(), second, nn.Linear(60, 10)]
        return error_sizes(from_sequential(nn.Sequential(*parts), (40,)))

    mine, torchs = sizes(Written()), sizes(nn.Linear(80, 60, bias=False))
    assert list(mine.values()) == pytest.approx(list(torchs.values()), rel=0.1)


def test_errors_stop_at_parts_without_a_gradient() -> None:
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(6, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                return torch.relu(self.inner(x))

    network = Network([Block(Frozen()), Block(nn.Sequential(nn.Linear(5, 5), nn.Tanh())), Dense(5, 3)], (6,))
    learner_of(network)
    assert all(0 < size < 10 for size in error_sizes(network).values())


def test_the_scale_is_the_pathway_s_own_else_the_learner_s() -> None:
    network = network_of("mlp(hidden=[30])", (8,), 10)

    def factor(rule: str, **more: Any) -> float:
        return learner_of(network, rule, **more).rule.feedback.factors["dense0"]

    assert factor("dfa") == pytest.approx(math.sqrt(3) * error_sizes(network)["dense0"])
    assert factor("dfa", feedback_scale="fixed") == 1
    assert factor("dfa(feedback=opu(scale=fixed))") == 1
    assert factor("dfa(feedback=shared(scale=backprop))", feedback_scale="fixed") == factor("dfa")
    assert "errors of 0.577 of the output error" in repr(learner_of(network, feedback_scale="fixed"))
    with pytest.raises(ValueError, match="expected backprop or fixed"):
        factor("dfa", feedback_scale="large")
