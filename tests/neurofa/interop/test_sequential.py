"""Torch models become networks that compute and learn the same, keep what was set in them, or are refused by name."""

import copy
import warnings
from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, prune

from hwmodels.registry import parts
from neurofa import Block, Dense, Learner, Network, NeurofaError, build, from_sequential
from neurofa.core.programming import ClippedWeights
from neurofa.maps.wrapped import independent_copy
from tests.neurofa.interop.drawn_modules import Attention, Recurrent, Scaled, Skip


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def trained(network, x, labels, rule="bp", **options):
    weights = [p for p in network.parameters() if p.requires_grad]
    learner = Learner(network, rule, optimizer=torch.optim.SGD(weights, lr=0.1, **options))
    learner.step(x, labels)
    return network


def data(*shape, n=6, dtype=torch.float32):
    return torch.randn(n, *shape, dtype=dtype), torch.randint(0, 3, (n,))


class OwnForward(nn.Sequential):
    def forward(self, x):
        return super().forward(x) + 1


def hooked():
    module = nn.Linear(6, 6)
    module.register_forward_hook(lambda m, i, y: 3 * y)
    return module


def patched():
    module = nn.Linear(6, 6)
    own = module.forward
    module.forward = lambda x: 2 * own(x)
    return module


@pytest.mark.parametrize(
    "make",
    [lambda: Scaled(6, 6), lambda: OwnForward(nn.Linear(6, 6)), hooked],
    ids=["subclass", "sequence with a forward", "hook"],
)
def test_modules_that_compute_something_else_become_blocks(make):
    model = nn.Sequential(make(), nn.ReLU(), nn.Linear(6, 3))
    network = from_sequential(model, (6,))
    assert network.names[0] == "block0"
    x, _ = data(6)
    torch.testing.assert_close(network(x), model(x))


def test_options_without_a_counterpart_are_kept():
    model = nn.Sequential(nn.AvgPool2d(2, divisor_override=1), nn.Flatten(), nn.Linear(8, 3))
    x, _ = data(2, 4, 4)
    torch.testing.assert_close(from_sequential(model, (2, 4, 4))(x), model(x))


def test_modules_that_still_use_the_models_own_weights_are_refused():
    with pytest.raises(NeurofaError, match=r"modules '0' \(Linear\)"):
        from_sequential(nn.Sequential(patched(), nn.Linear(6, 3)), (6,))


def test_top_level_forwards_and_hooks_are_refused():
    model = OwnForward(nn.Linear(6, 3))
    with pytest.raises(NeurofaError, match="forward, hooks or weights of its own"):
        from_sequential(model, (6,))
    model = nn.Sequential(nn.Linear(6, 3))
    model.register_forward_pre_hook(lambda m, i: (2 * i[0],))
    with pytest.raises(NeurofaError, match="forward, hooks or weights of its own"):
        from_sequential(model, (6,))


def test_shared_weights_are_refused_or_stay_shared_in_a_block():
    shared = nn.Linear(6, 6)
    model = nn.Sequential(shared, nn.Tanh(), shared, nn.Linear(6, 3))
    with pytest.raises(NeurofaError, match="'weight' of module '0' and 'weight' of module '2'"):
        from_sequential(model, (6,))

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, x):
            return self.inner(x)

    network = Network([Block(Whole())], (6,))
    assert sum(p.numel() for p in network.parameters()) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("optimizer", [{}, {"momentum": 0.9}])
def test_frozen_layers_stay_frozen(optimizer):
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), Skip(nn.Linear(5, 5)), nn.Linear(5, 3))
    model[0].requires_grad_(False)
    model[2].inner.weight.requires_grad_(False)
    network = trained(from_sequential(model, (6,)), *data(6), **optimizer, weight_decay=0.1)
    changed = [not torch.equal(p, q) for p, q in zip(network.parameters(), model.parameters(), strict=True)]
    assert changed == [p.requires_grad for p in model.parameters()] == [False, False, False, True, True, True]
    assert [p.requires_grad for p in network.module().parameters()] == changed
    plastic = from_sequential(model, (6,))
    with pytest.raises(NeurofaError, match="requires no gradient, beside feedback"):
        trained(plastic, *data(6), rule="kp")


def test_modes_dtype_and_statistics_are_kept():
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.BatchNorm1d(5), nn.Linear(5, 3)).double()
    model[1].eval().running_mean.add_(1.0)
    network = from_sequential(model, (6,))
    x, labels = data(6, dtype=torch.float64)
    statistics = network.layer("dense0").norm.running_mean.clone()
    learner = Learner(network, "bp", optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    learner.evaluate(x)  # gives every layer its own mode back
    y = learner.step(x, labels).y
    torch.testing.assert_close(y, model(x), rtol=1e-12, atol=1e-12)
    assert torch.equal(network.layer("dense0").norm.running_mean, statistics)
    torch.testing.assert_close(network.layer("block1").wrapped_buffers()["running_mean"], model[3].running_mean)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.ReLU(inplace=True),
        lambda: Skip(nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 6))),
        lambda: Skip(nn.Sequential(nn.Linear(6, 6), nn.ReLU(inplace=True))),
        lambda: nn.Sequential(nn.LayerNorm(6), nn.Hardtanh(inplace=True)),
    ],
)
def test_modules_that_work_in_place(make):
    model = nn.Sequential(nn.Linear(6, 6), make(), nn.Linear(6, 6), make(), nn.Linear(6, 3))
    x, labels = data(6)
    given, wanted = x.clone(), independent_copy(model)
    network = trained(from_sequential(model, (6,)), x, labels)
    F.cross_entropy(wanted(x.clone()), labels).backward()
    for p, q in zip(network.parameters(), wanted.parameters(), strict=True):
        torch.testing.assert_close(p.detach(), q.detach() - 0.1 * q.grad)
    assert torch.equal(x, given)
    first = Network([Block(nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 3)))], (6,))
    trained(first, x, labels)
    first(x)
    assert torch.equal(x, given)


@pytest.mark.parametrize(
    "wrap",
    [
        nn.utils.weight_norm,
        nn.utils.spectral_norm,
        parametrizations.weight_norm,
        parametrizations.spectral_norm,
        parametrizations.orthogonal,
        lambda m: prune.l1_unstructured(m, "weight", 0.4),
    ],
    ids=["weight_norm", "spectral_norm", "weight", "spectral", "orthogonal", "pruned"],
)
def test_computed_weights_learn_and_a_device_refuses_them(wrap):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model = nn.Sequential(wrap(nn.Linear(6, 6)), nn.ReLU(), nn.Linear(6, 3))
    model(torch.randn(4, 6))  # leaves the computed weight as no leaf
    before = copy.deepcopy({key: value.clone() for key, value in model.state_dict().items()})
    x, labels = data(6)
    wanted = independent_copy(model)
    network = trained(from_sequential(model, (6,)), x, labels)
    F.cross_entropy(wanted(x), labels).backward()
    for p, q in zip(network.parameters(), wanted.parameters(), strict=True):
        torch.testing.assert_close(p.detach(), q.detach() - 0.1 * q.grad)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    copy.deepcopy(network)
    with pytest.raises(NeurofaError, match="outside of it"):
        from_sequential(model, (6,), device="fixed(bits=4)")


class Inside(nn.Module):
    """A module of one's own around another one."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


IMAGES = {
    "Conv1d": lambda: [nn.Flatten(2), nn.Conv1d(2, 2, 3, padding="same")],
    "ConvTranspose2d": lambda: [Inside(nn.ConvTranspose2d(2, 2, 2))],
    "GRU": lambda: [nn.Flatten(2), Recurrent(nn.GRU, 9, 4)],
    "LSTM": lambda: [nn.Flatten(2), Recurrent(nn.LSTM, 9, 4, bidirectional=True)],
    "attention": lambda: [nn.Flatten(2), Attention(9, 3)],
}


@pytest.mark.parametrize("name", IMAGES)
def test_every_matrix_is_on_the_device_and_a_periphery_is_refused(name):
    model = nn.Sequential(*IMAGES[name](), nn.Flatten(), nn.LazyLinear(3))
    model(torch.zeros(1, 2, 3, 3))
    network = from_sequential(model, (2, 3, 3), device="fixed(bits=4)")
    for _, layer in network.chain:
        for key, synapses in layer.synapses.items():
            if synapses.weight.dim() > 1:
                assert len(synapses.weight.unique()) <= 16, key
    with pytest.raises(NeurofaError, match="got a periphery"):
        from_sequential(model, (2, 3, 3), periphery="training")


def test_a_matrix_of_the_users_own_module_is_refused_on_a_device():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.matrix = nn.Parameter(torch.randn(6, 6))
            self.position = nn.Parameter(torch.randn(6))

        def forward(self, x):
            return (x + self.position) @ self.matrix.t()

    model = nn.Sequential(Own(), nn.Linear(6, 3))
    from_sequential(model, (6,))
    with pytest.raises(NeurofaError, match="multiplies by matrix outside"):
        from_sequential(model, (6,), device="fixed(bits=4)")
    with pytest.raises(NeurofaError, match="got a periphery for layer 'block0'"):
        from_sequential(model, (6,), periphery="training")


class Functional(nn.Module):
    def forward(self, x):
        return F.dropout(x, 0.5, self.training)


@pytest.mark.parametrize(
    "make",
    [
        lambda: [Functional()],
        lambda: [nn.AlphaDropout(0.5)],
        lambda: [nn.Unflatten(1, (2, 3, 1)), nn.Dropout2d(0.5), nn.Flatten()],
        lambda: [nn.Unflatten(1, (2, 3)), Attention(3, 1, dropout=0.5), nn.Flatten()],
        lambda: [nn.Unflatten(1, (2, 3)), Recurrent(nn.GRU, 3, 3, num_layers=2, dropout=0.5), nn.Flatten()],
        lambda: [nn.RReLU()],
    ],
    ids=["functional", "alpha", "channels", "attention", "between layers", "rrelu"],
)
def test_everything_that_draws_follows_the_seed(make):
    network = from_sequential(nn.Sequential(*make(), nn.Linear(6, 3)), (6,)).train()
    x, labels = data(6)
    found = []
    for seed, elsewhere in ((3, 1), (3, 2), (4, 1)):
        torch.manual_seed(elsewhere)
        before = torch.get_rng_state()
        twin = copy.deepcopy(network)
        learner = Learner(twin, "bp", optimizer=torch.optim.SGD(twin.parameters(), lr=0.1), seed=seed)
        found.append(learner.step(x, labels).y)
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_a_block_leaves_the_callers_module_as_it_is():
    module = parametrizations.spectral_norm(nn.Linear(6, 3))
    before = {key: value.clone() for key, value in module.state_dict().items()}
    network = Network([Block(module)], (6,))
    trained(network, *data(6))
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: nn.LSTM(6, 6), "a tuple from a LSTM"),
        (lambda: nn.Bilinear(6, 6, 6), "missing 1 required positional argument"),
        (lambda: nn.LazyLinear(6), "without weights"),
        (lambda: nn.Embedding(5, 6), "at layer 'block0'"),
        (lambda: nn.Dropout(1.0), r"dropout\(p=1.0\)"),
    ],
    ids=["tuple", "two inputs", "lazy", "tokens", "everything dropped"],
)
def test_what_no_layer_can_be_is_refused_in_one_line(make, match):
    with pytest.raises(NeurofaError, match=match) as caught:
        from_sequential(nn.Sequential(make(), nn.Linear(6, 3)), (6,))
    assert "\n" not in str(caught.value)


def test_tokens_as_numbers_are_refused_in_one_line():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(5, 3)

        def forward(self, x):
            return self.table(x.long()).flatten(1)

    network = Network([Block(Tokens()), Dense(18, 3)], (6,))
    with pytest.raises(NeurofaError, match=r"block0.*neurofa.layers.Embedding"):
        Learner(network, "bp", optimizer=torch.optim.SGD(network.parameters(), lr=0.1))


def test_an_empty_sequence_is_the_identity():
    x, _ = data(6)
    network = Network([Block(nn.Sequential()), Dense(6, 3)], (6,))
    torch.testing.assert_close(network(x), network.layer("dense1").module()(x))


def test_torch_modules_are_refused_where_networks_are_expected():
    module = nn.Linear(6, 3)
    with pytest.raises(NeurofaError, match="from_module"):
        build("network", module)
    with pytest.raises(NeurofaError, match="from_module"):
        Learner(module, "bp", optimizer=torch.optim.SGD(module.parameters(), lr=0.1))
    with pytest.raises(NeurofaError, match="got a Linear as a layer"):
        Network([module], (6,))
    with pytest.raises(NeurofaError, match="got a MSELoss for a loss"):
        build("loss", nn.MSELoss())


@pytest.mark.parametrize("device", ["hermes", "pcm", "reram_cmo", "tiki_taka", "one_sided", "gaussian"])
def test_trained_weights_come_onto_devices_that_draw(device):
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3))
    first, again = (from_sequential(model, (1, 4, 4), device=device, seed=1) for _ in range(2))
    other = from_sequential(model, (1, 4, 4), device=device, seed=2)
    weights = [n.layer("conv2d0").synapses["weight"].weight for n in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2]) or device in ("one_sided", "gaussian")  # which draw when written
    wanted = model[0].weight.detach().flatten()
    assert float(torch.cosine_similarity(weights[0].detach().flatten(), wanted, 0)) > 0.6


class Unit(nn.Module):
    """Residual unit whose one in-place rectifier is used twice, as in the model that others trained."""

    def __init__(self, c_in, c_out, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2, self.bn2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False), nn.BatchNorm2d(c_out)
        self.downsample = None
        if stride != 1 or c_in != c_out:
            self.downsample = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x):
        way = x if self.downsample is None else self.downsample(x)
        return self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))) + way)


def resnet20():
    def stage(c_in, c_out, stride):
        return nn.Sequential(Unit(c_in, c_out, stride), Unit(c_out, c_out, 1), Unit(c_out, c_out, 1))

    parts = {
        "conv1": nn.Conv2d(3, 16, 3, 1, 1, bias=False),
        "bn1": nn.BatchNorm2d(16, eps=1e-3),
        "relu": nn.ReLU(inplace=True),
        "res1": stage(16, 16, 1),
        "res2": stage(16, 32, 2),
        "res3": stage(32, 64, 2),
        "classifier": nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)),
    }
    return nn.Sequential(OrderedDict(parts))


@pytest.mark.slow
def test_a_network_that_others_trained_comes_onto_every_device(real_data):
    from safetensors.torch import load_file

    model = resnet20().eval()
    model.load_state_dict(load_file(real_data / "pretrained" / "resnet20_cifar10.safetensors"))
    x = torch.randn(4, 3, 32, 32)
    for device in parts("device"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ClippedWeights)
            network = from_sequential(model, (3, 32, 32), device=device)
        assert network.layer("conv2d0").synapses["weight"].device.name == build("device", device).name
        if device == "digital":
            torch.testing.assert_close(network(x), model(x), rtol=1e-4, atol=1e-4)
