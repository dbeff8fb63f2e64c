"""Networks that answer at every token, against plain torch."""

from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from exports.describe.learners import describe_learner
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.core.network import Network
from neurofa.layers import Block, Dense, Flatten
from neurofa.training.learner import Learner, forward_pass, loss_and_teaching
from neurofa.training.replay import collect

V, S, B = 11, 6, 4
GPT = "gpt(width=16, depth=2, heads=2)"
Optimizers = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


def _gpt(device: str = "digital") -> Network:
    network: Network = build("network", GPT, input_shape=(S,), outputs=V, device=device)
    return network


def _batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    gen = torch.Generator().manual_seed(seed)
    return torch.randint(V, (B, S), generator=gen), torch.randint(V, (B, S), generator=gen)


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: torch.optim.SGD(p, lr=0.1),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-3),
        lambda p: torch.optim.Adam(p, lr=0.01),
    ],
    ids=["sgd", "momentum", "adam"],
)
def test_bp_trains_as_plain_torch_does(optimizer: Optimizers) -> None:
    network = _gpt().double()
    plain = network.module()
    ours, theirs = Learner(network, "bp", optimizer=optimizer(network.parameters())), optimizer(plain.parameters())
    for step in range(12):
        x, y = _batch(step)
        loss = F.cross_entropy(plain(x).flatten(0, 1), y.flatten())
        theirs.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        theirs.step()
        assert ours.step(x, y).loss.item() == pytest.approx(loss.item(), rel=1e-12)


def test_a_token_sees_earlier_tokens_only() -> None:
    network = _gpt().eval()
    x, _ = _batch()
    later = x.clone()
    later[:, 3:] = (later[:, 3:] + 1) % V
    assert torch.equal(network(x)[:, :3], network(later)[:, :3])
    assert not torch.equal(network(x)[:, 3:], network(later)[:, 3:])


def test_dfa_sends_the_error_of_a_token_to_the_same_token() -> None:
    network = _gpt()
    learner = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    x, y = _batch()
    tick = forward_pass(network, x)
    credit = collect(network, learner.rule, tick, loss_and_teaching(learner.loss, tick.y, y)[1], learner.gen)
    error = torch.softmax(tick.y, 2) - F.one_hot(y, V)
    matrix = learner.rule.feedback.matrix()
    assert matrix is not None
    assert matrix.weight.shape == (3 * 16, V)  # one row for each feature, whatever the token
    for index, name in enumerate(network.names[:-1]):
        sent = error @ matrix.weight[16 * index : 16 * index + 16].t()
        torch.testing.assert_close(credit.errors[name], sent)
    # the rows of the embedding that the batch names, and no others
    expected = torch.zeros(V, 16).index_add_(0, x.flatten(), credit.errors["embedding0"].flatten(0, 1))
    torch.testing.assert_close(credit.directions["embedding0"]["weight"], expected)


@pytest.mark.parametrize("device", ["fixed(bits=8)", "reram_es", "pcm"])
def test_an_embedding_lives_on_a_device(device: str) -> None:
    network = _gpt(device)
    learner = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=0.5))
    before = network.layer("embedding0").synapses["weight"].weight.clone()
    learner.step(*_batch())
    synapses = network.layer("embedding0").synapses["weight"]
    assert not torch.equal(synapses.weight, before)
    assert torch.equal(synapses.weight, synapses.device.value(synapses.cells))


def test_wrong_tokens_and_targets_are_refused_before_any_weight_changes() -> None:
    network = _gpt()
    learner = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    x, y = _batch()
    wrong = [
        (x.float(), y, "expected ids of tokens, int64"),
        (x + 1, y, f"expected 0 to {V - 1}"),
        (x[:, :-1], y[:, :-1], "expected \\(B, 6\\)"),
        (x, y[:, 0], "one target a position"),
        (x, y + V, f"expected labels 0 to {V - 1}"),
    ]
    for inputs, targets, message in wrong:
        with pytest.raises(NeurofaError, match=message):
            learner.step(inputs, targets)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_layer_without_the_positions_is_refused_by_direct_rules_alone() -> None:
    class Unflatten(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.read = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.read(x.view(len(x), 2, 4))
            return y

    network = Network([Flatten(), Dense(6, 8), Block(Unflatten())], (2, 3))
    assert network.positions == 2
    sgd = torch.optim.SGD(network.parameters(), lr=0.1)
    with pytest.raises(NeurofaError, match="'dense1' with outputs of shape \\(8,\\)"):
        Learner(network, "dfa", optimizer=sgd)
    result = Learner(network, "bp", optimizer=sgd).step(torch.randn(5, 2, 3), torch.randint(3, (5, 2)))
    assert result.y.shape == (5, 2, 3)


def test_an_export_refuses_tokens_by_name() -> None:
    network = _gpt()
    learner = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    with pytest.raises(NeurofaError, match="whose input are ids of tokens, for export; expected numbers"):
        describe_learner(learner, "", {})
