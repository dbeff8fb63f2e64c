"""Optimizers as people use them: after another one, changed on the way, copied, and of kinds that cannot serve."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from neurofa import Learner, Network, NeurofaError, build
from neurofa.training.checkpoint import load_checkpoint, save_checkpoint


def net(device: str = "digital", seed: int = 0) -> Network:
    return build("network", "mlp(hidden=[7])", input_shape=(6,), outputs=3, seed=seed, device=device)


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    gen = torch.Generator().manual_seed(seed)
    return torch.randn(12, 6, generator=gen), torch.randint(0, 3, (12,), generator=gen)


def sgd(network: Network, **options: object) -> torch.optim.Optimizer:
    return torch.optim.SGD(network.parameters(), lr=0.1, **options)  # type: ignore[arg-type]


def leave_gradients(network: Network) -> None:
    for weight in network.parameters():
        weight.grad = torch.ones_like(weight)


@pytest.mark.parametrize("rule", ["dfa", "readout_only", "kp"])
@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"weight_decay": 0.1}])
@pytest.mark.parametrize("device", ["digital", "fixed(bits=6, rounding=nearest)"])
def test_gradients_that_others_left_are_not_applied(rule, options, device):
    results = []
    for stale in (False, True):
        network = net(device)
        learner = Learner(network, rule, optimizer=sgd(network, **options))
        for step in range(3):
            if stale:
                leave_gradients(network)
            learner.step(*batch(step))
        results.append(torch.cat([p.detach().flatten() for p in network.parameters()]))
    assert torch.equal(*results)


def test_a_second_learner_after_adam_and_after_autograd_is_as_the_first_one():
    trained = net()
    adam = Learner(trained, "dfa", optimizer=torch.optim.Adam(trained.parameters()))
    adam.step(*batch())
    fresh = net()
    fresh.load_state_dict(trained.state_dict())
    assert trained.layer("dense0").synapses["weight"].weight.grad is not None
    for network in (trained, fresh):
        learner = Learner(network, "readout_only", optimizer=sgd(network))
        learner.step(*batch(1))
        learner.step(*batch(2))
    assert all(torch.equal(a, b) for a, b in zip(trained.parameters(), fresh.parameters(), strict=True))


def clamp_gradients(optimizer: torch.optim.Optimizer, *_: object) -> None:
    for group in optimizer.param_groups:
        for weight in group["params"]:
            weight.grad.clamp_(-0.001, 0.001)


CHANGES = {
    "one_cycle": lambda o: torch.optim.lr_scheduler.OneCycleLR(o, max_lr=0.3, total_steps=20),
    "cyclic": lambda o: torch.optim.lr_scheduler.CyclicLR(o, 0.05, 0.3, step_size_up=5),
    "set": lambda o: o.param_groups[0].update(momentum=0.9),
    "load": lambda o: o.load_state_dict(
        {"state": {}, "param_groups": [{**o.state_dict()["param_groups"][0], "momentum": 0.9, "nesterov": True}]}
    ),
    "hook": lambda o: o.register_step_pre_hook(clamp_gradients),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_optimizer_that_changes_after_the_learner_was_made_is_followed(change):
    network = net()
    plain = network.module()
    ours, theirs = sgd(network), torch.optim.SGD(plain.parameters(), lr=0.1)
    learner = Learner(network, "bp", optimizer=ours)
    learner.step(*batch())
    nn.functional.cross_entropy(plain(batch()[0]), batch()[1]).backward()
    theirs.step()
    schedules = [CHANGES[change](optimizer) for optimizer in (ours, theirs)]
    for step in range(10):
        learner.step(*batch(step))
        theirs.zero_grad()
        nn.functional.cross_entropy(plain(batch(step)[0]), batch(step)[1]).backward()
        theirs.step()
        for schedule in schedules:
            if hasattr(schedule, "step"):
                schedule.step()
    for a, b in zip(network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("option", ["momentum", "weight_decay"])
def test_options_that_a_device_refuses_are_refused_when_they_are_set_later(option):
    network = net("pulse_trains")
    learner = Learner(network, "dfa", optimizer=sgd(network))
    learner.step(*batch())
    learner.optimizer.param_groups[0][option] = 0.9
    before = [p.detach().clone() for p in network.parameters()]
    with pytest.raises(NeurofaError, match=f"got {option.replace('_', ' ')}.* on device pulse_trains"):
        learner.step(*batch())
    assert all(torch.equal(a, b) for a, b in zip(before[-2:-1], list(network.parameters())[-2:-1], strict=True))


def test_clipping_and_accumulation_can_be_changed_later():
    network = net()
    learner = Learner(network, "dfa", optimizer=sgd(network))
    learner.clip, learner.accumulate = 1e-6, 2
    before = [p.detach().clone() for p in network.parameters()]
    learner.step(*batch(0))
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    learner.step(*batch(1))
    change = torch.cat([(a - b).flatten() for a, b in zip(before, network.parameters(), strict=True)])
    assert 0 < float(change.detach().norm()) < 1e-6
    with pytest.raises(AttributeError):
        learner.optimizer = sgd(network)  # type: ignore[misc]


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
@pytest.mark.parametrize("rule", ["dfa", "kp", "ldfa_local(rank=2)", "grape2026"])
@pytest.mark.parametrize("device", ["digital", "pcm"])
def test_a_copied_learner_goes_on_as_its_original_does(how, rule, device):
    network = net(device)
    learner = Learner(network, rule, optimizer=torch.optim.Adam(network.parameters(), lr=0.01))
    learner.step(*batch())
    twin: Learner = copy.deepcopy(learner) if how == "deepcopy" else pickle.loads(pickle.dumps(learner))
    assert twin.network is not network
    for step in range(1, 4):
        for each in (learner, twin):
            each.step(*batch(step))
    for a, b in zip(network.state_dict().values(), twin.network.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(twin.evaluate(batch()[0]), net(device)(batch()[0], torch.Generator().manual_seed(0)))


def test_assigned_weights_stay_those_of_the_optimizer():
    network, other = net(), net(seed=1)
    learner = Learner(network, "dfa", optimizer=sgd(network))
    tensors = list(network.parameters())
    network.load_state_dict(other.state_dict(), assign=True)
    assert all(a is b for a, b in zip(tensors, network.parameters(), strict=True))
    twin = Learner(other, "dfa", optimizer=sgd(other))
    for each in (learner, twin):
        each.step(*batch())
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters(), strict=True))


def test_a_replaced_weight_is_refused():
    network = net()
    learner = Learner(network, "dfa", optimizer=sgd(network))
    synapses = network.layer("dense1").synapses["weight"]
    synapses.weight = nn.Parameter(torch.zeros_like(synapses.weight))
    with pytest.raises(NeurofaError, match=r"a weight of shape \(3, 7\) that replaced one of the optimizer"):
        learner.step(*batch())


def test_an_optimizer_that_evaluates_the_loss_itself_is_refused():
    network = net()
    with pytest.raises(NeurofaError, match="got optimizer LBFGS, which evaluates the loss several times a step"):
        Learner(network, "dfa", optimizer=torch.optim.LBFGS(network.parameters()))


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_a_learning_rate_in_a_tensor_is_kept_in_a_checkpoint(kind, tmp_path):
    def make() -> Learner:
        network = net()
        return Learner(network, "dfa", optimizer=kind(network.parameters(), lr=torch.tensor(0.03)))

    learner, other = make(), make()
    learner.step(*batch())
    learner.optimizer.param_groups[0]["lr"].mul_(0.5)
    save_checkpoint(tmp_path / "state", learner, {})
    load_checkpoint(tmp_path / "state", other)
    assert torch.equal(other.optimizer.param_groups[0]["lr"], torch.tensor(0.015))
    for each in (learner, other):
        each.step(*batch(1))
    assert all(torch.equal(a, b) for a, b in zip(learner.network.parameters(), other.network.parameters(), strict=True))
