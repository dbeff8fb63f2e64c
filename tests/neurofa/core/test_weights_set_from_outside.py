"""Weights that something other than the device changes in place: weight and cells never part; clipping is said."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from neurofa import Block, Dense, Learner, Network, build, from_sequential
from neurofa.core.programming import ClippedWeights
from neurofa.core.synapses import Synapses, synapses_of
from neurofa.training.checkpoint import load_network, save_network

DEVICES = ["fixed(bits=6)", "pcm", "reram_es", "tiki_taka", "one_sided", "wear", "mixed_precision"]


def net(device: str = "digital", seed: int = 0) -> Network:
    return build("network", "mlp(hidden=[7])", input_shape=(6,), outputs=3, seed=seed, device=device)


def gen() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def together(network: nn.Module) -> bool:
    """Whether every weight is what its cells say, as they are stored at this moment."""
    return all(
        torch.equal(s.weight.detach(), s.device.value({key: s.get_buffer(f"cell_{key}") for key in s._cells}))
        for s in synapses_of(network).values()
        if not s.exact
    )


def matrices(network: nn.Module) -> list[Synapses]:
    return [s for s in synapses_of(network).values() if not s.exact]


def load_floats(network: Network) -> None:
    network.load_state_dict(net(seed=1).state_dict(), strict=False)


def initialise(network: Network) -> None:
    for weight in network.parameters():
        if weight.dim() > 1:
            nn.init.xavier_uniform_(weight, gain=0.5)


def load_cells(network: Network) -> None:
    """Load cells without the weights that they are."""
    other = net(str(matrices(network)[0].device), seed=1).state_dict()
    network.load_state_dict({key: value for key, value in other.items() if "cell_" in key}, strict=False)


def step_by_hand(network: Network) -> None:
    for weight in network.parameters():
        weight.grad = torch.full_like(weight, 0.1)
    torch.optim.SGD(network.parameters(), lr=0.5).step()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("change", [load_floats, initialise, step_by_hand])
@pytest.mark.filterwarnings("ignore::neurofa.core.programming.ClippedWeights")
def test_changed_weights_are_programmed_before_they_are_used(device, change):
    for use in ("forward", "state", "learn", "stored"):
        network = net(device)
        before = [s.weight.detach().clone() for s in matrices(network)]
        change(network)
        wanted = [s.weight.detach().clone() for s in matrices(network)]
        assert not together(network)
        if use == "forward":
            network(torch.ones(2, 6), gen())
        elif use == "state":
            network.state_dict()
        elif use == "stored":
            network.module()
        else:
            learner = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=1e-9))
            learner.step(torch.ones(2, 6), torch.tensor([0, 1]))
        assert together(network), use
        for s, old, new in zip(matrices(network), before, wanted, strict=True):
            # a step by hand is smaller than the noise of programming on some devices
            assert change is step_by_hand or float((s.weight.detach() - new).norm()) < float((old - new).norm()), use


def test_what_is_programmed_is_kept_by_the_next_update():
    network = net("fixed(bits=8)")
    load_floats(network)
    wanted = matrices(network)[0].weight.detach().clone()
    learner = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=1e-6))
    for _ in range(3):
        learner.step(torch.ones(2, 6), torch.tensor([0, 1]))
    assert float((matrices(network)[0].weight.detach() - wanted).abs().max()) < 0.02


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.filterwarnings("ignore::neurofa.core.programming.ClippedWeights")
def test_cells_that_are_loaded_alone_do_not_part_from_their_weights(device):
    network = net(device)
    load_cells(network)
    assert not together(network)
    network(torch.ones(2, 6), gen())
    assert together(network)


@pytest.mark.parametrize("device", ["fixed(bits=6)", "pcm"])
def test_an_average_of_networks_is_programmed_when_it_is_used(device):
    network = net(device)
    learner = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=0.5), seed=1)
    average = AveragedModel(network)
    seen = []
    for step in range(4):
        learner.step(torch.randn(8, 6, generator=torch.Generator().manual_seed(step)), torch.arange(8) % 3)
        average.update_parameters(network)
        seen.append(matrices(network)[0].weight.detach().clone())
    mean = torch.stack(seen).mean(0)
    held = matrices(average.module)[0]
    torch.testing.assert_close(held.weight.detach(), mean)
    average.module(torch.ones(2, 6), gen())
    assert together(average.module)
    assert float((held.weight.detach() - mean).norm()) < 0.5 * float(mean.norm())


@pytest.mark.parametrize("device", DEVICES)
def test_copies_and_other_formats_are_not_programmed_again(device, tmp_path):
    network = net(device)
    network(torch.ones(2, 6), gen())
    state = network.state_dict()
    save_network(network, tmp_path / "net")
    filled = net(device, seed=3)
    filled.load_state_dict(state)
    for twin in (copy.deepcopy(network), filled, load_network(tmp_path / "net")):
        twin(torch.ones(2, 6), gen())
        assert all(torch.equal(value, twin.state_dict()[key]) for key, value in state.items())
    twin = copy.deepcopy(network).double()
    before = [s.weight.detach().clone() for s in matrices(twin)]
    twin(torch.ones(2, 6, dtype=torch.float64), gen())
    assert all(torch.equal(s.weight.detach(), old) for s, old in zip(matrices(twin), before, strict=True))


def test_clipped_weights_are_said_with_their_share_and_the_range():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 4))
    nn.init.normal_(model[0].weight, std=0.375)
    clipped = float((model[0].weight.abs() > 0.75).float().mean())  # headroom 3 / sqrt(16)
    assert 0.02 < clipped < 0.1
    told = (
        rf"device fixed\(bits=8\), which clips them: {clipped:.1%} of 'weight' of layer 'dense0' \(beyond \+-0\.75\);"
    )
    with pytest.warns(ClippedWeights, match=told):
        from_sequential(model, (16,), device="fixed(bits=8)")
    with pytest.warns(ClippedWeights, match=rf"{clipped:.1%} of '0\.weight' of layer 'block0'"):
        Network([Block(model[:2]), Dense(8, 4)], (16,), device="fixed(bits=8)")
    network = Network([Dense(16, 8), Dense(8, 4)], (16,), device="fixed(bits=8)")
    with torch.no_grad():
        network.layer("dense0").synapses["weight"].weight.copy_(model[0].weight)
    with pytest.warns(ClippedWeights, match=rf"{clipped:.1%} of weights of shape \(8, 16\)"):
        network(torch.ones(2, 16))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_sequential(model, (16,), device="fixed(bits=8, range=2.0)")
        Network([Block(model[:2]), Dense(8, 4)], (16,), device="pcm")  # whose range follows from the weights


def test_first_weights_and_feedback_beyond_a_chosen_range_are_said():
    with pytest.warns(ClippedWeights, match=r"of 'weight' of layer 'dense0' .* of 'weight' of layer 'dense1'"):
        network = net("fixed(bits=4, range=0.1)")
    pathway = "dense(device='fixed(bits=4, range=0.01)')"
    with pytest.warns(ClippedWeights, match=r"of feedback 'feedback\.b' \(beyond \+-0\.01\)"):
        Learner(network, f'dfa(feedback="{pathway}")', optimizer=torch.optim.SGD(network.parameters(), lr=0.1))


@pytest.mark.parametrize("device", DEVICES)
def test_first_weights_fit_their_device(device):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net(device)
