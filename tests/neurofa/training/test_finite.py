"""No NaN and no infinity reaches a weight, a cell, a statistic or a gradient."""

from __future__ import annotations

import pytest
import torch

from neurofa import Events, Learner, Network, NeurofaError, build
from neurofa.core.directions import Outer, Sum
from neurofa.training.learner import finite_direction

BAD = [float("inf"), float("-inf"), float("nan")]


def states(learner: Learner) -> dict[str, torch.Tensor]:
    held = learner.network.state_dict() | {f"rule.{k}": v for k, v in learner.rule.state_dict().items()}
    return {key: value.clone() for key, value in held.items()}


def unchanged(learner: Learner, before: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(before[key], value) for key, value in states(learner).items())


def make(spec: str, rule: str, shape: tuple[int, ...] = (6,), *, momentum: float = 0.0, device="digital") -> Learner:
    network: Network = build("network", spec, input_shape=shape, outputs=3, device=device)
    return Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=0.1, momentum=momentum))


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu", "gelu"])
@pytest.mark.parametrize("rule", ["dfa", "bp", "kp", "readout_only"])
def test_an_input_that_is_not_finite_is_refused_before_anything_changes(bad, activation, rule):
    learner = make(f"mlp(hidden=[5], activation={activation})", rule)
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    x[1, 2] = bad
    before = states(learner)
    with pytest.raises(NeurofaError, match="NaN or infinity in the input of layer 'dense0'"):
        learner.step(x, torch.tensor([0, 1, 2, 0]))
    assert unchanged(learner, before)
    learner.step(x.nan_to_num(0, 1, -1), torch.tensor([0, 1, 2, 0]))
    assert not unchanged(learner, before)


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("update", ["end", "chunk"])
@pytest.mark.parametrize("rule", ["eprop", "bptt", "dfa"])
def test_a_sequence_that_is_not_finite_is_refused_before_anything_changes(bad, update, rule):
    learner = make("snn(hidden=[5])", rule)
    xs = (torch.rand(9, 4, 6, generator=torch.Generator().manual_seed(0)) < 0.4).float()
    xs[1, 1, 2] = bad
    before = states(learner)
    with pytest.raises(NeurofaError, match="got NaN or infinity in"):
        learner.stream(xs, torch.tensor([0, 1, 2, 0]), chunk=3, update=update)
    assert unchanged(learner, before)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("device", ["digital", "fixed(bits=6)"])
def test_directions_that_are_not_finite_do_not_reach_the_weights_of_their_layer(momentum, device):
    learner = make("mlp(hidden=[5, 4])", "dfa", momentum=momentum, device=device)
    gen = torch.Generator().manual_seed(0)
    x, labels = torch.randn(4, 6, generator=gen), torch.tensor([0, 1, 2, 0])
    learner.step(x, labels)
    good = {key: value.clone() for key, value in learner.rule.state_dict().items()}
    for value in learner.rule.parameters():
        value.data[:4].fill_(torch.inf)  # the rows of dense0
    before = states(learner)
    with pytest.raises(NeurofaError, match=r"got directions of 'weight' of layer 'dense0' at step 1 that are NaN"):
        learner.step(x, labels)
    after = states(learner)
    touched = {key for key, value in after.items() if not torch.equal(value, before[key])}
    assert not any("dense0" in key for key in touched)
    assert all(bool(value.isfinite().all()) for key, value in after.items() if key.startswith("layers"))
    # only sgd on floats writes layer by layer, and biases are floats
    floats = momentum == 0
    assert all(floats and (device == "digital" or "bias" in key) for key in touched), touched
    # what was requested or gathered is gone: the next step is one of its own
    learner.rule.load_state_dict(good)
    learner.network.load_state_dict({key: value for key, value in before.items() if key.startswith("layers")})
    twin = make("mlp(hidden=[5, 4])", "dfa", momentum=momentum, device=device)
    twin.step(x, labels)
    twin.gen.set_state(learner.gen.get_state())
    for each in (learner, twin):
        each.step(x, labels)
    for key, value in twin.network.state_dict().items():
        assert torch.equal(value, learner.network.state_dict()[key]), key


def test_statistics_stay_finite():
    learner = make("cnn(channels=[3], hidden=6, norm=batch)", "dfa", (1, 8, 8))
    x = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    x[0, 0, 0, 0] = torch.inf
    before = states(learner)
    with pytest.raises(NeurofaError, match="NaN or infinity"):
        learner.step(x, torch.tensor([0, 1, 2, 0]))
    assert unchanged(learner, before)


def test_finite_directions_are_told_from_others_without_a_product():
    one = torch.ones(3, 4)
    for bad in BAD:
        spoilt = one.clone()
        spoilt[1, 2] = bad
        assert not finite_direction(spoilt, {})
        assert not finite_direction(Outer(spoilt, one), {})
        assert not finite_direction(Outer(one, spoilt), {})
        assert not finite_direction(Sum((one, Outer(one, spoilt))), {})
        assert not finite_direction(Outer(torch.zeros(3, 4), spoilt), {})
    assert finite_direction(Outer(one, one), {})
    assert finite_direction(Sum((one, Outer(one, one))), {})
    assert finite_direction(torch.full((4,), 3e38), {})  # whose sum is not
    assert not finite_direction(Outer(one * 1e19, one * 1e19), {})
    assert finite_direction(Outer(one.double() * 1e19, one.double() * 1e19), {})
    events = Events.from_dense(one.view(3, 1, 4)).to_csr()
    assert finite_direction(Outer(one, events), {})
    assert not finite_direction(Outer(one * torch.nan, events), {})


def test_where_a_step_may_not_wait_the_numbers_are_looked_at_later():
    learner = make("mlp(hidden=[5])", "dfa")
    learner.defers = True  # as on an accelerator
    x, labels = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0])
    learner.step(x, labels)
    learner.check()
    for spoil in (x * torch.inf, x.masked_fill(x > 1, torch.nan)):
        learner.step(spoil, labels)
        with pytest.raises(NeurofaError, match=r"got NaN or infinity in an input, a loss or a direction before step"):
            learner.check()


@pytest.mark.parametrize("rule", ["dfa", "kp", "raf(rank=2)"])
def test_no_tensor_is_looked_at_twice_in_a_step(rule, monkeypatch):
    learner = make("mlp(hidden=[5, 4])", rule)
    looked: list[torch.Tensor] = []  # kept, so that no two have one place in memory

    def norm(x: torch.Tensor) -> torch.Tensor:
        looked.append(x)
        return torch.linalg.vector_norm(x)

    monkeypatch.setattr("neurofa.training.learner.vector_norm", norm)
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    for step in range(3):
        looked.clear()
        learner.step(x, torch.tensor([0, 1, 2, 0]))
        places = [(part.data_ptr(), tuple(part.shape)) for part in looked]
        assert len(set(places)) == len(places), step
        assert sum(part is x for part in looked) == 1


def test_a_factor_is_not_taken_for_another_one_that_had_its_place():
    learner = make("mlp(hidden=[5, 5, 5])", "dfa")
    x, labels = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0])
    for layer in range(3):  # every layer has factors of one shape, which are released one after the other
        before = {key: value.clone() for key, value in learner.rule.state_dict().items()}
        for value in learner.rule.parameters():
            value.data[5 * layer : 5 * layer + 5].fill_(torch.nan)
        with pytest.raises(NeurofaError, match=f"got directions of 'weight' of layer 'dense{layer}'"):
            learner.step(x, labels)
        learner.rule.load_state_dict(before)
