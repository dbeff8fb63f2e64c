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


def test_bp_reaches_the_loss_of_torchs_own_transformer() -> None:
    network = build("network", f"{GPT[:-1]}, ratio=2)", input_shape=(S,), outputs=V).double()
    theirs = TorchGPT(network)
    ours = Learner(network, "bp", optimizer=torch.optim.Adam(network.parameters(), lr=0.01))
    adam = torch.optim.Adam(theirs.parameters(), lr=0.01)
    for step in range(25):
        x, y = _batch(step % 3)
        loss = F.cross_entropy(theirs(x).flatten(0, 1), y.flatten())
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        assert ours.step(x, y).loss.item() == pytest.approx(loss.item(), rel=1e-9)
    assert loss.item() < 2.0  # of log(11) = 2.4


class TorchGPT(nn.Module):
    """A causal transformer of torch's own parts, with the weights of a network ``gpt``."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        table, *blocks, head = [dict(layer.synapses.stored()) for _, layer in network.items()]
        self.tokens = nn.Embedding.from_pretrained(table["weight"].clone(), freeze=False)
        self.position = nn.Parameter(table["position"].clone())
        options = {"dropout": 0.0, "activation": "gelu", "batch_first": True, "norm_first": True}
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(16, 2, 32, **options).double()  # type: ignore[arg-type]
            for _ in blocks
        )
        names = {
            "self_attn.in_proj_": "qkv.",
            "self_attn.out_proj.": "merge.",
            "linear1.": "mlp.0.",
            "linear2.": "mlp.2.",
            "norm1.": "norm1.",
            "norm2.": "norm2.",
        }
        for part, stored in zip(self.blocks, blocks, strict=True):
            kinds = ("weight", "bias")
            part.load_state_dict({a + kind: stored[b + kind].clone() for a, b in names.items() for kind in kinds})
        self.norm, self.read = nn.LayerNorm(16).double(), nn.Linear(16, V).double()
        for name, module in (("norm", self.norm), ("read", self.read)):
            module.load_state_dict({kind: head[f"{name}.{kind}"].clone() for kind in ("weight", "bias")})

    def forward(self, x: Tensor) -> Tensor:
        h = self.tokens(x) + self.position
        mask = nn.Transformer.generate_square_subsequent_mask(S, dtype=torch.float64)
        for block in self.blocks:
            h = block(h, src_mask=mask, is_causal=True)
        y: Tensor = self.read(self.norm(h))
        return y


def _cut(units: str, recipe: str = GPT) -> Network:
    network: Network = build("network", f"{recipe[:-1]}, units={units})", input_shape=(S,), outputs=V)
    return network


def test_all_cuts_of_a_block_compute_and_learn_the_same_by_bp() -> None:
    cuts = [_cut(units).double() for units in ("block", "residual", "finest")]
    learners = [Learner(n, "bp", optimizer=torch.optim.SGD(n.parameters(), lr=0.1)) for n in cuts]
    assert [len(n.names) for n in cuts] == [4, 6, 10]
    for step in range(4):
        losses = [learner.step(*_batch(step)).loss.item() for learner in learners]
        assert losses == pytest.approx([losses[0]] * 3, rel=1e-12)


def test_micro_feedback_reaches_attention_and_hidden_units_without_a_matrix_between() -> None:
    network = _cut("finest")
    learner = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    x, y = _batch()

    def directions() -> dict[str, dict[str, Tensor]]:
        tick = forward_pass(network, x)
        return collect(
            network, learner.rule, tick, loss_and_teaching(learner.loss, tick.y, y)[1], learner.gen
        ).directions

    block = network.names[1:5]
    assert [list(network.layer(name).synapses) for name in block] == [
        ["norm.weight", "norm.bias", "qkv.weight", "qkv.bias"],
        ["down.weight", "down.bias"],
        ["norm.weight", "norm.bias", "up.weight", "up.bias"],
        ["down.weight", "down.bias"],
    ]
    # each of the four learns by the signal of its own rows: without them it stands still, and the others do not
    matrix = learner.rule.feedback.matrix()
    assert matrix is not None
    for name in block:
        kept = matrix.weight.detach().clone()
        matrix.weight.data[learner.rule.feedback.slices[name]] = 0
        found = directions()
        matrix.weight.data.copy_(kept)
        still = [other for other in block if all(not d.any() for d in found[other].values())]
        assert still == [name]


def test_an_unknown_cut_is_refused() -> None:
    with pytest.raises(NeurofaError, match="units=layers\\); expected block, residual, finest"):
        _cut("layers")


@pytest.mark.parametrize("rule", ["dfa", "dkp", "drtp"])
def test_blocks_that_compute_again_learn_the_same(rule: str) -> None:
    networks = [_cut("block", f"{GPT[:-1]}, dropout=0.2)") for _ in range(2)]
    learners = [
        Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=0.1), recompute=again)
        for network, again in zip(networks, (False, True), strict=True)
    ]
    for step in range(3):
        first, second = (learner.step(*_batch(step)) for learner in learners)
        assert torch.equal(first.y, second.y)
    assert all(torch.equal(a, b) for a, b in zip(networks[0].parameters(), networks[1].parameters(), strict=True))


def test_graphs_are_kept_only_where_a_layer_is_not_to_compute_again() -> None:
    network = _gpt()
    kept, again = (forward_pass(network, _batch()[0], graphs=graphs) for graphs in (True, False))
    assert [view.graph is None for view in kept.views.values()] == [True, False, False, False]
    assert all(view.graph is None for view in again.views.values())
    sgd = torch.optim.SGD(network.parameters(), lr=0.1)
    with pytest.raises(NeurofaError, match="recompute for rule 'bp', whose errors go from layer to layer"):
        Learner(network, "bp", optimizer=sgd, recompute=True)


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
