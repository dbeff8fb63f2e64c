"""Any torch module becomes a network that computes and learns the same, or is refused by name."""

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from neurofa import Learner, NeurofaError, from_module
from neurofa.core.summary import exact_credit
from neurofa.interop.module import UncutModel
from neurofa.layers import Block, Conv2d, Dense
from tests.neurofa.interop.module_models import (
    MODELS,
    VECTOR,
    Branching,
    FrozenBackbone,
    ResNet,
    UNet,
    pruned_and_normed,
)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UncutModel)
        yield


def made(name, n=6, dtype=torch.float32):
    make, shape = MODELS[name]
    model = make().to(dtype)
    if shape is None:
        ids = torch.randint(0, 7, (n, 6))
        return model, ids, ids.roll(-1, 1)
    return model, torch.randn(n, *shape, dtype=dtype), torch.arange(n) % 3


def learnt(model, network, x, labels, steps=2):
    """Train a model by autograd and its network by bp, with the same plain steps."""
    plain = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    learner = Learner(network.train(), "bp", optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    model.train()
    for _ in range(steps):
        plain.zero_grad()
        F.cross_entropy(model(x).flatten(0, -2), labels.flatten()).backward()
        plain.step()
        learner.step(x, labels)


@pytest.mark.parametrize("name", MODELS)
def test_bp_trains_a_network_as_autograd_trains_its_model(name):
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-10)):
        model, x, labels = made(name, dtype=dtype)
        network = from_module(model, x)
        assert torch.allclose(network.eval()(x), model.eval()(x), atol=tolerance)
        learnt(model, network, x, labels)
        theirs = model.eval()(x)
        assert torch.allclose(
            network.eval()(x), theirs, rtol=tolerance, atol=tolerance * float(theirs.detach().abs().max())
        )


@pytest.mark.parametrize("name", [name for name in MODELS if name != "gpt"])
def test_dfa_lowers_the_loss_of_every_model_that_is_cut(name):
    model, x, labels = made(name, n=12)
    if x.is_floating_point():  # whether the mean of a sample is positive
        x = x + 2 * torch.randn(12, *[1] * (x.dim() - 1))
        labels = (x.flatten(1).mean(1) > 0).long()
    else:
        labels = x
    network = from_module(model, x)
    learner = Learner(network.train(), "dfa", optimizer=torch.optim.Adam(network.parameters(), lr=0.05))
    losses = [float(learner.step(x, labels).loss) for _ in range(25)]
    assert sum(bool(len(layer.synapses)) for _, layer in network.items()) > 1
    assert losses[-1] < 0.8 * losses[0]


def test_blocks_of_a_residual_net_are_units_and_its_first_convolution_is_a_layer_of_this_package():
    model = ResNet(widths=(3, 4), blocks=2)
    network = from_module(model, torch.randn(2, 3, 8, 8))
    kinds = [layer.name for _, layer in network.items()]
    assert kinds == ["conv2d", "block", "block", "block", "block", "block", "flatten", "dense"]
    first, *blocks = (layer for _, layer in network.items() if len(layer.synapses))
    assert (first.activation.name, first.norm.name) == ("relu", "batch")
    assert set(blocks[0].synapses) == {n for n, _ in model.named_parameters() if n.startswith("res1.0.")}


@pytest.mark.parametrize(("images", "right"), [(200, None), pytest.param(10_000, 9062, marks=pytest.mark.slow)])
def test_a_residual_net_that_others_trained_keeps_its_accuracy(real_data, images, right):
    weights, test = real_data / "pretrained" / "resnet20_cifar10.safetensors", real_data / "cifar-10-batches-bin"
    if not weights.exists() or not (test / "test_batch.bin").exists():
        pytest.skip("no pretrained ResNet-20, or no CIFAR-10, in the folder of real data")
    model = ResNet(widths=(16, 32, 64), blocks=3, classes=10)
    model.bn1.eps = 1e-3
    model.load_state_dict(load_file(weights))
    rows = torch.frombuffer(bytearray((test / "test_batch.bin").read_bytes()), dtype=torch.uint8)
    rows = rows.view(-1, 3073)[:images]
    mean, std = (torch.tensor(t).view(3, 1, 1) for t in ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)))
    x = (rows[:, 1:].view(-1, 3, 32, 32) / 255 - mean) / std
    network = from_module(model.eval(), x[:4])
    answers = torch.cat([network(part).argmax(1) for part in x.split(200)])
    if right is None:
        assert torch.allclose(network(x[:20]), model(x[:20]), atol=1e-4)
        assert int((answers == rows[:, 0]).sum()) > 0.85 * images
    else:
        assert int((answers == rows[:, 0]).sum()) == right


def test_what_a_skip_spans_is_one_unit():
    network = from_module(UNet(), torch.randn(2, 3, 8, 8))
    weights = [set(layer.synapses) for _, layer in network.items() if len(layer.synapses)]
    assert weights[1] == {"down.weight", "down.bias", "up.weight", "up.bias"}
    assert len(weights) == 4


def test_transformer_layers_are_units_and_the_finest_cut_divides_them():
    model, ids, _ = made("gpt of its own readout")
    coarse, fine = (from_module(model, ids, units=units) for units in ("blocks", "finest"))
    assert len(coarse.names) == 4  # embedding, two layers, readout with its norm
    assert len(fine.names) == 7  # attention and mlp of each layer apart, and the norm
    assert coarse.vocabulary == 7
    assert coarse.positions == 6


def test_a_tied_weight_stays_one_weight_or_becomes_two_when_asked():
    model, ids, labels = made("gpt")
    with pytest.warns(UncutModel, match="'wte.weight' is used in several places"):
        network = from_module(model, ids)
    assert len(network.names) == 1
    assert sum(p.numel() for p in network.parameters()) == sum(p.numel() for p in model.parameters())
    apart = from_module(model, ids, tied="copies")
    assert sum(p.numel() for p in apart.parameters()) == sum(p.numel() for p in model.parameters()) + 7 * 4
    assert torch.allclose(apart.eval()(ids), model.eval()(ids), atol=1e-5)
    before = model.wte.weight.clone()
    Learner(apart.train(), "dfa", optimizer=torch.optim.SGD(apart.parameters(), lr=0.1)).step(ids, labels)
    assert torch.equal(model.wte.weight, before)


@pytest.mark.parametrize("rule", ["bp", "dfa"])
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_a_frozen_backbone_stays_as_it_is(rule, optimizer):
    model = FrozenBackbone()
    x = torch.randn(6, 3, 8, 8)
    network = from_module(model, x)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    learner = Learner(network.train(), rule, optimizer=optimizer(network.parameters(), lr=0.1))
    learner.step(x, torch.arange(6) % 3)
    moved = {k.split(".")[1] for k, v in network.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == {"dense1", "dense2"}


def test_pruned_weights_stay_pruned():
    model = pruned_and_normed()
    x = torch.randn(6, *VECTOR)
    network = from_module(model, x)
    Learner(network.train(), "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=0.1)).step(
        x, torch.arange(6) % 3
    )
    plain = network.module()
    first = next(m for m in plain.modules() if isinstance(m, nn.Linear))
    first(torch.randn(1, 4))  # pruning computes the weight in every pass
    assert torch.equal(first.weight == 0, model[0].weight == 0)


def test_a_module_that_branches_on_numbers_is_called_as_it_is_and_said():
    model, x, _ = made("branching")
    with pytest.warns(UncutModel, match="'0' is called as it is .*branches on"):
        network = from_module(model, x)
    for sign in (1, -1):
        assert torch.allclose(network.eval()(sign * x.abs()), model.eval()(sign * x.abs()), atol=1e-6)
    with pytest.warns(UncutModel, match="'the model' is called as it is"):
        assert len(from_module(Branching(), x).names) == 1


def test_a_model_is_cut_where_it_is_said():
    model = ResNet(widths=(3, 4), blocks=2)
    network = from_module(model, torch.randn(2, 3, 8, 8), cut=["res1", "res2"])
    assert [len(layer.synapses) > 0 for _, layer in network.items()] == [True, True, True]
    assert len(from_module(model, torch.randn(2, 3, 8, 8), cut=[]).names) == 1
    with pytest.raises(NeurofaError, match=r"behind 'res1.0.conv1', where 2 values \(.*\) cross"):
        from_module(model, torch.randn(2, 3, 8, 8), cut=["res1.0.conv1"])
    with pytest.raises(NeurofaError, match="behind 'res5'; expected the name of a module"):
        from_module(model, torch.randn(2, 3, 8, 8), cut=["res5"])


def test_a_device_is_under_every_matrix_and_the_weights_keep_its_grid():
    network = from_module(ResNet(), torch.randn(2, 3, 8, 8), device="fixed(bits=4, range=1.0)")
    for _, layer in network.chain:
        for key in layer.synapses:
            synapses = layer.synapses[key]
            assert (synapses.weight.dim() > 1) == (not synapses.exact)


def test_the_model_stays_as_it_was():
    model = ResNet()
    model.res1.eval()
    before, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    state = torch.get_rng_state()
    network = from_module(model, torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert modes == [m.training for m in model.modules()]
    assert torch.equal(state, torch.get_rng_state())
    assert [layer.training for _, layer in network.items()][:2] == [True, True]
    kept = {name: m.training for name, m in network.layer("block1").skeleton.named_modules()}
    assert not kept["res1.0.bn1"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, x: (3, x), "got a int; expected an nn.Module"),
        (lambda m, x: (m, x[0, 0]), r"got a tensor of shape \(8,\)|expected"),
        (lambda m, x: (m, x[:, :2]), "does not run on batches of shape"),
        (lambda m, x: (Pair(), x), "returns a tuple; expected one tensor"),
        (lambda m, x: (Noisy(), x), "got outputs of the model that differ|differ by up to"),
        (lambda m, x: (Remembering(), x), "differ|branches|changes"),
    ],
)
def test_what_cannot_be_a_network_is_refused_by_name(change, message):
    with pytest.raises(NeurofaError, match=message):
        from_module(*change(ResNet(), torch.randn(4, 3, 8, 8)))


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.read = nn.Linear(8, 3)

    def forward(self, x):
        return self.read(x.mean((1, 2))), x


class Noisy(nn.Module):
    """A constant of the trace: a tensor that another call would draw again."""

    def __init__(self):
        super().__init__()
        self.read = nn.Linear(8, 3)

    def forward(self, x):
        return self.read(x.mean((1, 2)) + torch.randn(8, dtype=x.dtype))


class Remembering(nn.Module):
    """A state outside of parameters and buffers."""

    def __init__(self):
        super().__init__()
        self.read, self.calls = nn.Linear(8, 3), 0

    def forward(self, x):
        self.calls += 1
        return self.read(x.mean((1, 2))) * self.calls


def test_hooks_are_kept():
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    model[0].register_forward_hook(lambda m, i, y: 3 * y)
    x = torch.randn(4, 4)
    network = from_module(model, x)
    assert isinstance(network.layer(network.names[0]), Block)
    assert torch.allclose(network.eval()(x), model(x), atol=1e-6)


def test_weights_of_other_formats_keep_theirs():
    model, x, _ = made("vit", dtype=torch.float64)
    assert from_module(model, x).dtype == torch.float64
    half = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).to(torch.bfloat16)
    assert from_module(half, torch.randn(4, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_a_chain_becomes_the_layers_that_from_sequential_makes():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3)
    )
    network = from_module(model, torch.randn(2, 3, 8, 8))
    assert [layer.name for _, layer in network.items()] == ["conv2d", "max_pool2d", "flatten", "dense"]
    assert isinstance(network.layer("conv2d0"), Conv2d)
    assert isinstance(network.layer("dense3"), Dense)


def test_the_network_says_how_many_weights_lie_inside_of_units():
    model, ids, _ = made("gpt of its own readout")
    coarse, fine = (from_module(model, ids, units=units) for units in ("blocks", "finest"))
    weights = sum(p.numel() for p in model.parameters())
    layers = sum(p.numel() for p in model.h.parameters())
    inside, known = exact_credit(layer for _, layer in coarse.items())
    assert (inside, known) == (layers, weights)
    assert f"credit inside a unit is exact: {inside:,} of {weights:,} weights" in repr(coarse)
    assert exact_credit(layer for _, layer in fine.items())[0] <= inside
    plain = from_module(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)), torch.randn(3, 4))
    assert "credit inside" not in repr(plain)
