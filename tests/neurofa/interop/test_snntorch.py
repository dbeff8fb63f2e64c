"""Networks of snnTorch, written as its users write them, become chains of layers and come back."""

import sys

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F

from neurofa import Learner, Network, NeurofaError, build
from neurofa.interop.snntorch import from_snntorch, to_snntorch
from neurofa.training.evaluation import respond

snn = pytest.importorskip("snntorch")
from snntorch import surrogate, utils  # noqa: E402

TICKS, BATCH = 25, 8


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


class Net(nn.Module):
    """Tutorial 5: explicit states, a constant input, the loop over time inside."""

    def __init__(self, wide=64, beta=0.95):
        super().__init__()
        self.fc1 = nn.Linear(784, wide)
        self.lif1 = snn.Leaky(beta=beta)
        self.fc2 = nn.Linear(wide, 10)
        self.lif2 = snn.Leaky(beta=beta)

    def forward(self, x):
        mem1 = self.lif1.init_leaky()
        mem2 = self.lif2.init_leaky()
        spk2_rec = []
        mem2_rec = []
        for _ in range(TICKS):
            cur1 = self.fc1(x)
            spk1, mem1 = self.lif1(cur1, mem1)
            cur2 = self.fc2(spk1)
            spk2, mem2 = self.lif2(cur2, mem2)
            spk2_rec.append(spk2)
            mem2_rec.append(mem2)
        return torch.stack(spk2_rec, dim=0), torch.stack(mem2_rec, dim=0)


class Swapped(Net):
    """Children in another order than they are used."""

    def __init__(self):
        super().__init__()
        self.lif1, self.lif2 = snn.Leaky(beta=0.5), snn.Leaky(beta=0.95)

    def forward(self, x):
        spk1, _ = self.lif2(self.fc1(x), self.lif2.init_leaky())
        return self.lif1(self.fc2(spk1), self.lif1.init_leaky())


class ConvNet(nn.Module):
    """Modules for everything but the view between images and vectors."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 5)
        self.pool1 = nn.MaxPool2d(2)
        self.lif1 = snn.Leaky(beta=0.5)
        self.fc1 = nn.Linear(4 * 6 * 6, 10)
        self.lif2 = snn.Leaky(beta=0.5)

    def forward(self, x):
        spk1, _ = self.lif1(self.pool1(self.conv1(x)), self.lif1.init_leaky())
        return self.lif2(self.fc1(spk1.view(len(x), -1)), self.lif2.init_leaky())


class Functional(ConvNet):
    """Tutorial 6 as a class: a pooling that is no child."""

    def __init__(self):
        super().__init__()
        del self.pool1

    def forward(self, x):
        spk1, _ = self.lif1(F.max_pool2d(self.conv1(x), 2), self.lif1.init_leaky())
        return self.lif2(self.fc1(spk1.view(len(x), -1)), self.lif2.init_leaky())


def tutorial_6(pool=nn.MaxPool2d, threshold=1.0):
    """Convolutional, with pooling between maps and neurons."""
    options = {"beta": 0.5, "threshold": threshold, "spike_grad": surrogate.fast_sigmoid(slope=25)}
    return nn.Sequential(
        nn.Conv2d(1, 12, 5),
        pool(2),
        snn.Leaky(init_hidden=True, **options),
        nn.Conv2d(12, 64, 5),
        pool(2),
        snn.Leaky(init_hidden=True, **options),
        nn.Flatten(),
        nn.Linear(64 * 4 * 4, 10),
        snn.Leaky(init_hidden=True, output=True, **options),
    )


def small_conv(pool):
    """As tutorial 6, of a few channels."""
    options = {"beta": 0.5, "init_hidden": True}
    return nn.Sequential(
        nn.Conv2d(1, 4, 5),
        pool(2),
        snn.Leaky(**options),
        nn.Flatten(),
        nn.Linear(4 * 6 * 6, 10),
        snn.Leaky(**options, output=True),
    )


def two(first, second, n=30, width=50, bias=True):
    return nn.Sequential(nn.Linear(n, width, bias=bias), first, nn.Linear(width, 10), second)


def hidden(kind=snn.Leaky, output=False, **options):
    return kind(beta=0.8, init_hidden=True, output=output, **options)


def theirs(net, xs):
    """All that the last neurons return at every tick, from rest."""
    utils.reset(net)
    with torch.no_grad():
        found = [net(x) for x in xs]
    return [torch.stack(parts) for parts in zip(*found, strict=True)]


def ours(network, xs, chunk=32):
    return torch.cat([part.tick.y for part in respond(network, xs, chunk=chunk)]).view(len(xs), xs.shape[1], -1)


def noise(*shape, ticks=TICKS):
    return torch.randn(ticks, BATCH, *shape)


SEQUENTIAL = {
    "leaky": lambda: two(hidden(), hidden(output=True)),
    "leaky, threshold and sigmoid": lambda: two(
        hidden(threshold=0.5, spike_grad=surrogate.sigmoid(slope=10)), hidden(output=True, threshold=0.3)
    ),
    "clamped": lambda: two(
        snn.Leaky(beta=1.7, init_hidden=True), snn.Leaky(beta=-1.0, threshold=0.3, init_hidden=True, output=True)
    ),
    "learned": lambda: two(hidden(learn_beta=True, learn_threshold=True), hidden(output=True)),
    "zero": lambda: two(hidden(reset_mechanism="zero"), hidden(output=True, reset_mechanism="zero")),
    "none": lambda: two(hidden(reset_mechanism="none"), hidden(output=True, reset_mechanism="none")),
    "at once": lambda: two(
        hidden(reset_delay=False), hidden(output=True, reset_delay=False, reset_mechanism="zero"), bias=False
    ),
    "synaptic": lambda: two(
        hidden(snn.Synaptic, alpha=0.7, spike_grad=surrogate.straight_through_estimator()),
        hidden(snn.Synaptic, True, alpha=0.9),
    ),
    "synaptic, zero": lambda: two(
        hidden(snn.Synaptic, alpha=0.7, reset_mechanism="zero", reset_delay=False),
        hidden(snn.Synaptic, True, alpha=0.9, reset_mechanism="zero"),
    ),
    "rleaky": lambda: two(hidden(snn.RLeaky, linear_features=50), hidden(output=True)),
    "rleaky, zero": lambda: two(
        hidden(snn.RLeaky, linear_features=50, reset_mechanism="zero"), hidden(output=True), bias=False
    ),
    "rleaky, one V": lambda: two(hidden(snn.RLeaky, all_to_all=False, V=0.5), hidden(output=True)),
    "rleaky, own V": lambda: two(
        hidden(snn.RLeaky, all_to_all=False, V=torch.rand(50)), hidden(snn.RLeaky, True, linear_features=10)
    ),
}


@pytest.mark.sample(5)
@pytest.mark.parametrize("name", SEQUENTIAL)
def test_sequential_gives_identical_spikes_there_and_back(name):
    net, xs = SEQUENTIAL[name](), 4 * noise(30, ticks=50)
    network = from_snntorch(net, (30,))
    wanted, *_, membrane = theirs(net, xs)
    assert 20 < wanted.sum() < 0.9 * wanted.numel()
    assert torch.equal(ours(network, xs), wanted)
    assert torch.equal(ours(network, xs, chunk=7), wanted)
    back = to_snntorch(network)
    again, *_, potential = theirs(back, xs)
    assert torch.equal(again, wanted)
    torch.testing.assert_close(potential, membrane, rtol=1e-4, atol=1e-5)
    assert torch.equal(ours(from_snntorch(back, (30,)), xs), wanted)


@pytest.mark.parametrize("pool", [nn.MaxPool2d, nn.AvgPool2d])
def test_tutorial_6_with_pooling_before_the_neurons(pool):
    net, xs = tutorial_6(pool, threshold=0.2), 3 * torch.rand(TICKS, BATCH, 1, 28, 28)
    network = from_snntorch(net, (1, 28, 28))
    wanted, _ = theirs(net, xs)
    assert 20 < wanted.sum() < 0.9 * wanted.numel()
    assert torch.equal(ours(network, xs), wanted)
    back = to_snntorch(network)
    assert [type(m) for m in back] == [type(m) for m in net]
    assert torch.equal(theirs(back, xs)[0], wanted)


def test_tutorial_5_of_a_class():
    net = Net(wide=1000)
    x = torch.rand(BATCH, 784)
    network = from_snntorch(net, (784,))
    with torch.no_grad():
        wanted, _ = net(x)
    assert wanted.sum() > 20
    assert torch.equal(ours(network, x.expand(TICKS, -1, -1)), wanted)
    assert torch.equal(theirs(to_snntorch(network), x.expand(TICKS, -1, -1))[0], wanted)


def test_a_class_with_images_gets_its_view():
    net = ConvNet()
    network = from_snntorch(net, (1, 16, 16))
    assert network.names == ["spiking_conv0", "flatten1", "spiking2"]
    x = 3 * torch.randn(1, BATCH, 1, 16, 16)
    with torch.no_grad():
        wanted = net(x[0])[0]
    assert wanted.sum() > 0
    assert torch.equal(ours(network, x)[0], wanted)


def test_a_membrane_readout_is_the_potential():
    net = two(hidden(), hidden(output=True, reset_mechanism="none"))
    xs = noise(30)
    network = from_snntorch(net, (30,), readout="membrane")
    _, membrane = theirs(net, xs)
    torch.testing.assert_close(ours(network, xs), membrane, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(theirs(to_snntorch(network), xs)[1], membrane, rtol=1e-5, atol=1e-5)


def test_our_own_networks_go_to_snntorch():
    network = build("network", "snn(hidden=[40], recurrent=True)", input_shape=(20,), outputs=5, seed=1)
    conv = build("network", "conv_snn(channels=[4])", input_shape=(1, 12, 12), outputs=5, seed=1)
    for one, shape in ((network, (20,)), (conv, (1, 12, 12))):
        xs = 2 * noise(*shape)
        assert ours(one, xs).std() > 0.05
        torch.testing.assert_close(theirs(to_snntorch(one), xs)[-1], ours(one, xs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["Leaky", "Synaptic", "RLeaky"])
def test_neurons_of_several_decays_and_thresholds_stay_what_they_are(kind):
    decays = {"alpha": torch.linspace(0.3, 0.8, 50)} if kind == "Synaptic" else {}
    among = {"linear_features": 50} if kind == "RLeaky" else {}
    neurons = getattr(snn, kind)(
        beta=torch.linspace(0.5, 0.95, 50), threshold=torch.linspace(0.2, 0.8, 50), init_hidden=True, **decays, **among
    )
    net = two(neurons, hidden(output=True))
    xs = 3 * noise(30)
    network = from_snntorch(net, (30,))
    spikes = theirs(net, xs)[0]
    assert torch.equal(ours(network, xs), spikes)
    assert torch.equal(theirs(to_snntorch(network), xs)[0], spikes)
    assert 0.02 < float(spikes.mean()) < 0.9


@pytest.mark.parametrize(
    ("make", "shape", "rule"),
    [
        (lambda: two(hidden(), hidden(output=True)), (30,), "dfa"),
        (lambda: two(hidden(snn.Synaptic, alpha=0.5), hidden(output=True)), (30,), "eprop(filtered=False)"),
        (lambda: two(hidden(snn.RLeaky, linear_features=50), hidden(output=True)), (30,), "dfa"),
        (lambda: small_conv(nn.MaxPool2d), (1, 16, 16), "dfa"),
        (lambda: small_conv(nn.AvgPool2d), (1, 16, 16), "dfa"),
    ],
)
def test_training_goes_on_with_a_local_rule(make, shape, rule):
    network = from_snntorch(make(), shape)
    xs, labels = 6 * noise(*shape), torch.arange(BATCH) % 4
    before = {k: v.clone() for k, v in network.state_dict().items()}
    learner = Learner(network, rule, optimizer=torch.optim.Adam(network.parameters(), lr=1e-2))
    losses = [float(learner.stream(xs, labels).loss) for _ in range(15)]
    assert losses[-1] < 0.9 * losses[0]
    assert all(not torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert torch.equal(theirs(to_snntorch(network), xs)[0], ours(network, xs))


def gradients(network, rule, xs, labels, chunk):
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    learner = Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=1.0))
    learner.stream(xs, labels, chunk=chunk)
    found = {name: before[name] - p.detach() for name, p in network.named_parameters()}
    network.load_state_dict(before, strict=False)
    return found


@pytest.mark.parametrize("pool", ["max_pool2d", "avg_pool2d", "'max_pool2d(size=3, stride=1)'"])
def test_pooling_inside_a_unit_is_exact(pool):
    """Under a readout without memory, exact eligibility in the hidden layer is backpropagation through time."""
    conv = build("layer", f"spiking_conv(c_in=1, c_out=3, pool={pool}, neuron=synaptic)")
    wide = conv.compute({k: torch.zeros(n) for k, n in (("weight", (3, 1, 3, 3)), ("bias", 3))}, noise(1, 8, 8)[0], {})
    readout = f"spiking(n_in={wide[0].flatten(1).shape[1]}, n_out=4, neuron='leaky(kappa=0.0)')"
    network = Network([conv, build("layer", "flatten"), build("layer", readout)], (1, 8, 8)).double()
    xs, labels = 2 * noise(1, 8, 8).double(), torch.arange(BATCH) % 4
    wanted = gradients(network, "bptt", xs, labels, TICKS)
    got = gradients(network, "ostl", xs, labels, TICKS)
    for name, value in wanted.items():
        assert value.abs().max() > 0
        torch.testing.assert_close(got[name], value)
    if pool == "avg_pool2d":
        for name, value in gradients(network, "ostl", xs, labels, 4).items():
            torch.testing.assert_close(value, wanted[name])
    else:
        with pytest.raises(NeurofaError, match="all ticks in one chunk"):
            gradients(network, "ostl", xs, labels, 4)


class MyNeuron(snn.Leaky):  # type: ignore[name-defined]
    """A class of a user's own."""


REFUSED = {
    "Alpha": (lambda: two(snn.Alpha(alpha=0.9, beta=0.8, init_hidden=True), hidden(output=True)), "Leaky, RLeaky"),
    "Lapicque": (lambda: two(snn.Lapicque(beta=0.9, init_hidden=True), hidden(output=True)), "Leaky, RLeaky"),
    "RSynaptic": (
        lambda: two(snn.RSynaptic(alpha=0.9, beta=0.8, linear_features=50, init_hidden=True), hidden(output=True)),
        "Leaky, RLeaky",
    ),
    "SConv2dLSTM": (
        lambda: nn.Sequential(snn.SConv2dLSTM(1, 4, 3, init_hidden=True), nn.Flatten(), nn.Linear(4, 2), hidden()),
        "got a SConv2dLSTM",
    ),
    "a subclass": (lambda: two(MyNeuron(beta=0.8, init_hidden=True), hidden(output=True)), "class MyNeuron"),
    "output": (lambda: two(hidden(output=True), hidden(output=True)), "returns its states"),
    "explicit": (lambda: two(snn.Leaky(beta=0.8), hidden(output=True)), "returns its states"),
    "state_quant": (lambda: two(hidden(state_quant=lambda m: m), hidden(output=True)), "state_quant"),
    "graded": (lambda: two(hidden(graded_spikes_factor=2.0), hidden(output=True)), "graded_spikes_factor"),
    "disabled": (lambda: two(hidden(surrogate_disable=True), hidden(output=True)), "surrogate_disable"),
    "surrogate": (lambda: two(hidden(spike_grad=surrogate.triangular()), hidden(output=True)), "fast_sigmoid"),
    "a function": (lambda: two(hidden(spike_grad=torch.sign), hidden(output=True)), "the surrogate"),
    "relu": (lambda: nn.Sequential(nn.Linear(30, 50), nn.ReLU(), hidden(), nn.Linear(50, 10), hidden()), "a ReLU"),
    "norm": (
        lambda: nn.Sequential(nn.Linear(30, 50), hidden(), nn.BatchNorm1d(50), nn.Linear(50, 10), hidden()),
        "BatchNorm1d",
    ),
    "recurrent convolution": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3),
            hidden(snn.RLeaky, conv2d_channels=4, kernel_size=3),
            nn.Flatten(),
            nn.Linear(4, 2),
            hidden(),
        ),
        "RLeaky behind a convolution",
    ),
    "dilation": (
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3, dilation=2), hidden(), nn.Flatten(), nn.Linear(4, 2), hidden()),
        "square kernel",
    ),
    "no neurons": (lambda: nn.Sequential(nn.Linear(30, 10)), "from_sequential"),
    "order": (Swapped, "other potentials at 'lif1'"),
    "functional pooling": (Functional, "144x10|4x144|mat1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_in_one_line(name):
    make, match = REFUSED[name]
    shape = (784,) if make is Swapped else (1, 16, 16) if make is Functional else (30,)
    with pytest.raises(NeurofaError, match=match) as caught:
        from_snntorch(make(), shape)
    assert "\n" not in str(caught.value)
    assert "expected" in str(caught.value)


def test_refuses_inhibition():
    with pytest.warns(UserWarning, match="unstable"):
        net = two(hidden(inhibition=True), hidden(output=True))
    with pytest.raises(NeurofaError, match="inhibition"):
        from_snntorch(net, (30,))


def test_refuses_a_membrane_that_is_reset():
    with pytest.raises(NeurofaError, match="without reset"):
        from_snntorch(two(hidden(), hidden(output=True)), (30,), readout="membrane")
    with pytest.raises(NeurofaError, match="spikes or membrane"):
        from_snntorch(two(hidden(), hidden(output=True)), (30,), readout="mem")


def test_a_forward_that_cannot_be_run_is_refused_or_trusted():
    class Stepwise(Net):
        def forward(self, x, mem1, mem2):
            spk1, mem1 = self.lif1(self.fc1(x), mem1)
            return *self.lif2(self.fc2(spk1), mem2), mem1

    with pytest.raises(NeurofaError, match="check=False"):
        from_snntorch(Stepwise(), (784,))
    assert from_snntorch(Stepwise(), (784,), check=False).names == ["spiking0", "spiking1"]


def test_the_check_leaves_the_model_as_it_was():
    net = two(hidden(), hidden(output=True)).train()
    net(torch.randn(BATCH, 30) * 5)
    kept = net[1].mem
    from_snntorch(net, (30,))
    assert net[1].mem is kept
    assert net[1].training
    assert not net[1]._forward_hooks


def test_weights_are_copies_and_live_on_devices():
    net = two(hidden(), hidden(output=True))
    network = from_snntorch(net, (30,), device="fixed(bits=4)")
    weight = network.layer("spiking0").synapses.stored()["weight"]
    assert len(weight.unique()) <= 16
    back = to_snntorch(network)
    assert torch.equal(back[0].weight, weight)
    back[0].weight.data.zero_()
    assert network.layer("spiking0").synapses.stored()["weight"].abs().max() > 0


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ("snn(neuron=alif)", "alif neurons"),
        ("snn(neuron='lif(surrogate=boxcar)')", "surrogate boxcar"),
        ("snn(neuron='lif(reset=zero, gated=True)')", "gated"),
        ("snn(neuron=synaptic, recurrent=True)", "recurrent synaptic"),
        ("snn(neuron=leaky)", "leaky at the output"),
        ("snn(neuron='lif(membrane=uniform)')", "potentials in uniform"),
        ("mlp", "a dense at layer"),
    ],
)
def test_refuses_what_snntorch_has_not(spec, match):
    network = build("network", spec, input_shape=(20,), outputs=5)
    with pytest.raises(NeurofaError, match=match):
        to_snntorch(network)


def test_names_the_install_line(monkeypatch):
    network = build("network", "snn", input_shape=(20,), outputs=5)
    monkeypatch.setitem(sys.modules, "snntorch", None)
    with pytest.raises(NeurofaError, match=r'pip install "neurofa\[spikes\]"'):
        to_snntorch(network)
    with pytest.raises(NeurofaError, match=r'pip install "neurofa\[spikes\]"'):
        from_snntorch(nn.Sequential(nn.Linear(3, 2)), (3,))


def test_pools_are_poolings():
    with pytest.raises(NeurofaError, match="avg_pool2d or max_pool2d"):
        build("layer", "spiking_conv(pool=flatten)")


class Late(Net):
    """Feedback from the output, which is zero in the first tick."""

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spk2 = torch.zeros(())
        for _ in range(TICKS):
            spk1, mem1 = self.lif1(self.fc1(x) + 3 * spk2.sum(), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
        return spk2, mem2


class Once(Net):
    """The input arrives in the first tick alone."""

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        for tick in range(TICKS):
            spk1, mem1 = self.lif1(self.fc1(x if tick == 0 else 0 * x), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
        return spk2, mem2


class Twice(Net):
    """The first neurons are called twice in a tick."""

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spk1, mem1 = self.lif1(self.fc1(x), mem1)
        spk1, mem1 = self.lif1(self.fc1(x), mem1)
        return self.lif2(self.fc2(spk1), mem2)


class Delayed(nn.Module):
    """One tick a call, with a spike that arrives in the next call."""

    def __init__(self):
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(30, 20), hidden()
        self.fc2, self.lif2 = nn.Linear(20, 10), hidden(output=True)
        self.before = torch.zeros(20)

    def forward(self, x):
        spk, self.before = self.before, self.lif1(self.fc1(x)) * 0.5
        return self.lif2(self.fc2(self.before + spk * 0.5))


@pytest.mark.parametrize(
    ("kind", "match"), [(Late, "'lif1' in tick"), (Once, "'lif1' in tick 1"), (Twice, "1 calls of 'lif2' beside 2")]
)
def test_later_ticks_are_compared_too(kind, match):
    with pytest.raises(NeurofaError, match=match) as caught:
        from_snntorch(kind(), (784,))
    assert "\n" not in str(caught.value)


def test_states_between_calls_are_compared():
    with pytest.raises(NeurofaError, match="'lif2' in tick"):
        from_snntorch(Delayed(), (30,))


def test_frozen_weights_stay_frozen_and_tied_ones_are_refused():
    net = two(hidden(), hidden(output=True))
    net[0].weight.requires_grad_(False)
    network = from_snntorch(net, (30,))
    assert [p.requires_grad for p in network.parameters()] == [False, True, True, True]
    tied = nn.Sequential(nn.Linear(30, 30), hidden(), nn.Linear(30, 30), hidden(output=True))
    tied[2].weight = tied[0].weight
    with pytest.raises(NeurofaError, match="one tensor"):
        from_snntorch(tied, (30,))
