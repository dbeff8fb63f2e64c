"""The training step: where directions go, what is refused."""

import pytest
import torch
from torch import nn

from hwmodels.errors import NeurofaError
from neurofa import Block, Conv2d, Dense, Flatten, Learner, Network, build
from neurofa.interop.sequential import from_sequential


def net(spec: str = "mlp(hidden=[12, 9])", shape: tuple[int, ...] = (6,), outputs: int = 4, **more) -> Network:
    return build("network", spec, input_shape=shape, outputs=outputs, **more).double()


def batch(n: int = 8, shape: tuple[int, ...] = (6,), classes: int = 4, seed: int = 0):
    gen = torch.Generator().manual_seed(seed)
    return torch.randn(n, *shape, dtype=torch.float64, generator=gen), torch.randint(0, classes, (n,), generator=gen)


def weights(network: Network) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


class SlowSGD(torch.optim.SGD):
    """The same arithmetic, but not the class that the fast path knows."""


RULES = ["bp", "readout_only", "fa", "usf", "frsf", "kp", "dfa", "sdfa", "tdfa", "adfa", "dkp", "drtp", "weight_mirror"]


@pytest.mark.sample(14)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_writing_straight_into_weights_equals_the_optimizer(rule, decay):
    results = []
    for kind in (torch.optim.SGD, SlowSGD):
        network = net("cnn(channels=[3], hidden=7, norm=batch)", (1, 8, 8))
        optimizer = kind(network.parameters(), lr=0.1, weight_decay=decay)
        learner = Learner(network, rule, optimizer=optimizer)
        assert learner.direct == (kind is torch.optim.SGD)
        for step in range(4):
            learner.step(*batch(8, (1, 8, 8), seed=step))
        state = [weights(network), *(b.flatten() for b in learner.rule.state_dict().values())]
        results.append(torch.cat(state))
    # Weights that get no direction are decayed by neither path.
    assert torch.allclose(*results, atol=1e-12)


@pytest.mark.parametrize("rule", ["fa", "kp(feedback=dense(device=fixed(bits=8, rounding=nearest)))", "dkp", "drtp"])
def test_asking_a_device_directly_equals_the_optimizer(rule):
    results = []
    for kind in (torch.optim.SGD, SlowSGD):
        network = net("mlp(hidden=[12, 9])", device="fixed(bits=8, rounding=nearest)")
        learner = Learner(network, rule, optimizer=kind(network.parameters(), lr=0.5, weight_decay=0.01))
        before = weights(network)
        for step in range(4):
            learner.step(*batch(seed=step))
        assert not torch.equal(weights(network), before)
        results.append(torch.cat([weights(network), *(b.flatten() for b in learner.rule.state_dict().values())]))
    assert torch.allclose(*results, atol=1e-12)


def test_accumulated_batches_equal_one_large_batch():
    x, labels = batch(12)
    one, many = net(), net()
    large = Learner(one, "kp", optimizer=torch.optim.Adam(one.parameters(), lr=0.01))
    small = Learner(many, "kp", optimizer=torch.optim.Adam(many.parameters(), lr=0.01), accumulate=3)
    for _ in range(2):
        large.step(x, labels)
        for part in range(3):
            small.step(x[4 * part : 4 * part + 4], labels[4 * part : 4 * part + 4])
    assert torch.allclose(weights(one), weights(many), atol=1e-12)


def test_clipping_bounds_the_change():
    network = net()
    learner = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=1.0), clip=0.01)
    before = weights(network)
    learner.step(*batch())
    assert float((weights(network) - before).norm()) == pytest.approx(0.01, rel=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x, t: (x[:, :5], t), r"got a batch of shape \(8, 5\); expected \(B, 6\)"),
        (lambda x, t: (x.long(), t), "expected floating point"),
        (lambda x, t: (x.float(), t), r"got a batch of torch\.float32 for weights of torch\.float64; .* use x\.to\("),
        (lambda x, t: (x.numpy(), t), r"got a batch of type ndarray; .* torch\.as_tensor\(x\)"),
        (lambda x, t: (x.tolist(), t), "got a batch of type list"),
        (lambda x, t: (x, t.numpy()), r"got targets of type ndarray; .* torch\.as_tensor\(targets\)"),
        (lambda x, t: (x, t.tolist()), "got targets of type list"),
        (lambda x, t: (x, t + 4), "got label"),
        (lambda x, t: (x, t - 4), "got label -"),
        (lambda x, t: (x, t[:3]), r"got targets of shape \(3,\)"),
        (lambda x, t: (x, t.double()), "expected one whole-number label"),
        (lambda x, t: (x.index_fill(0, torch.tensor([2]), torch.nan), t), "in the input of layer 'dense0'"),
    ],
)
def test_bad_batches_are_refused_before_any_weight_moves(make, message):
    network = net()
    learner = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    before = weights(network)
    with pytest.raises(NeurofaError, match=message):
        learner.step(*make(*batch()))
    assert torch.equal(before, weights(network))


def test_a_step_inside_autocast_is_refused():
    network = net()
    learner = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    with (
        torch.autocast("cpu", dtype=torch.bfloat16),
        pytest.raises(NeurofaError, match=r"inside torch\.autocast; .* network\.to\(dtype\)"),
    ):
        learner.step(*batch())
    learner.step(*batch())


def test_a_default_number_format_of_64_bits_is_that_of_everything(tmp_path):
    torch.set_default_dtype(torch.float64)
    try:
        network = build("network", "mlp(hidden=[5])", input_shape=(6,), outputs=4, device="fixed(bits=6)")
        learner = Learner(network, "kp", optimizer=torch.optim.Adam(network.parameters()))
        assert learner.step(*batch()).loss.dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("rule", ["dfa", "bp"])
def test_one_output_with_whole_numbers_is_regression(rule):
    network = net("mlp(hidden=[9])", outputs=1)
    learner = Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=0.1), loss="mse")
    x, labels = batch(64, classes=2)
    for targets in (torch.zeros_like(labels), torch.full_like(labels, 3), (x[:, 0] > 0).long()):
        for _ in range(200):
            result = learner.step(x, targets)
        assert float(result.loss) < 0.06, targets.unique()
        assert torch.allclose(result.y[:, 0].mean(), targets.double().mean(), atol=0.1)
    real = learner.loss.evaluate(result.y, targets.double())
    assert torch.equal(real.error, learner.loss.evaluate(result.y, targets).error)
    with pytest.raises(NeurofaError, match="got one output for cross_entropy"):
        Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=0.1)).step(x, labels.zero_())


@pytest.mark.parametrize("spec", ["mlp(hidden=[9], norm=batch)", "block"])
def test_one_sample_is_refused_by_batch_normalisation_before_any_weight_moves(spec):
    model = nn.Sequential(nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh()), nn.Linear(5, 4))
    network = net(spec) if spec != "block" else Network([Block(model[0]), Dense(5, 4)], (6,)).double()
    learner = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    learner.step(*batch(2))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(NeurofaError, match=r"got one value per channel|Expected more than 1 value per channel"):
        learner.step(*batch(1))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert learner.evaluate(batch(1)[0]).shape == (1, 4)


def test_several_positions_of_one_image_are_several_values_of_a_channel():
    network = Network([Conv2d(1, 2, 3, norm="batch"), Flatten(), Dense(72, 4)], (1, 8, 8)).double()
    learner = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    assert learner.step(*batch(1, (1, 8, 8))).y.shape == (1, 4)


def test_overflow_names_the_layer():
    network = net("mlp(hidden=[12, 9], activation=relu)")
    network.layer("dense1").synapses["weight"].weight.data.fill_(torch.inf)
    learner = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    with pytest.raises(NeurofaError, match="in the output of layer 'dense1' at step 0"):
        learner.step(*batch())


def test_an_optimizer_of_other_weights_is_refused():
    network = net()
    with pytest.raises(NeurofaError, match="got an optimizer without 'weight' of layer 'dense0'"):
        Learner(network, "dfa", optimizer=torch.optim.SGD(net().parameters(), lr=0.1))
    with pytest.raises(NeurofaError, match="accumulate=0"):
        Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=0.1), accumulate=0)


def test_plastic_feedback_shares_the_parameter_group_and_its_schedule():
    network = net()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    learner = Learner(network, "kp(decay=0.1)", optimizer=optimizer)
    assert len(optimizer.param_groups) == 1
    for step in range(3):
        learner.step(*batch(seed=step))
        schedule.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0125)


def test_plastic_feedback_inside_blocks_joins_the_group_of_its_own_weight():
    network = net("vit(width=8, heads=2, depth=1)", (3, 8, 8))
    own = [p for name, p in network.named_parameters() if "mlp/2/weight" in name]
    rest = [p for name, p in network.named_parameters() if "mlp/2/weight" not in name]
    assert len(own) == 1
    optimizer = torch.optim.SGD([{"params": rest}, {"params": own, "lr": 0.01}], lr=0.1)
    learner = Learner(network, "kp", optimizer=optimizer)
    back = learner.rule.beside("block1")["mlp.2.weight"].weight
    assert [p is back for p in optimizer.param_groups[1]["params"]] == [False, True]


def test_schedulers_work_with_the_fast_path():
    network = net()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.0)
    learner = Learner(network, "dfa", optimizer=optimizer)
    learner.step(*batch())
    schedule.step()
    before = weights(network)
    learner.step(*batch(seed=1))
    assert torch.equal(weights(network), before)


def test_mean_squared_error_takes_values_and_labels():
    x, labels = batch()
    wanted = torch.eye(4, dtype=torch.float64)[labels]
    changed = []
    for target in (labels, wanted):
        network = net()
        learner = Learner(network, "bp", optimizer=torch.optim.SGD(network.parameters(), lr=0.1), loss="mse")
        result = learner.step(x, target)
        assert float(result.loss) == pytest.approx(float(0.5 * (result.y - wanted).square().sum(1).mean()))
        changed.append(weights(network))
    assert torch.equal(*changed)
    with pytest.raises(NeurofaError, match="got targets of shape"):
        learner.step(x, wanted[:, :2])


@pytest.mark.parametrize("spec", ["mlp(hidden=[12, 9], dropout=0.5)", "vit(width=8, heads=2, depth=1, dropout=0.5)"])
def test_dropout_follows_the_seed_and_leaves_the_global_generator_alone(spec):
    shape = (6,) if spec.startswith("mlp") else (3, 8, 8)
    runs = []
    before = torch.random.get_rng_state()
    for seed in (0, 0, 1):
        network = net(spec, shape)
        learner = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=0.1), seed=0)
        learner.gen.manual_seed(seed)
        learner.step(*batch(8, shape))
        runs.append(weights(network))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
    assert torch.equal(before, torch.random.get_rng_state())


def test_evaluation_leaves_everything_as_it_was():
    network = net("vgg(plan=[4, M, 4])", (3, 8, 8))
    learner = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    learner.step(*batch(8, (3, 8, 8)))
    before = {k: v.clone() for k, v in network.state_dict().items()}
    first = learner.evaluate(batch(8, (3, 8, 8))[0])
    assert network.training
    assert torch.equal(first, learner.evaluate(batch(8, (3, 8, 8))[0]))
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())


def test_running_statistics_are_torchs():
    network = net("mlp(hidden=[12], norm=batch)")
    module = network.module()
    learner = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=0.0))
    for step in range(5):
        x, labels = batch(seed=step)
        learner.step(x, labels)
        module(x)
    assert torch.allclose(learner.evaluate(x), module.eval()(x), atol=1e-10)


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_weights_stay_on_the_grid_of_their_device(rounding):
    network = build(
        "network", "mlp(hidden=[12])", input_shape=(6,), outputs=4, device=f"fixed(bits=4, rounding={rounding})"
    )
    learner = Learner(network, "dfa", optimizer=torch.optim.Adam(network.parameters(), lr=0.05))
    for step in range(5):
        x, labels = batch(seed=step)
        learner.step(x.float(), labels)
    for layer in network.layers.values():
        if layer.synapses:
            synapses = layer.synapses["weight"]
            codes = synapses.weight.detach() / synapses.cells["scale"]
            assert torch.allclose(codes, codes.round(), atol=1e-4)
            assert float(codes.abs().max()) <= 7
            assert len(codes.unique()) > 2


def test_a_network_of_plain_torch_modules_learns_in_place_of_them():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Dropout(0.1)),
        nn.Flatten(),
        nn.LayerNorm(16),
        nn.Linear(16, 12),
        nn.LeakyReLU(),
        nn.Linear(12, 4),
    )
    for p in (model[1].running_mean, model[1].running_var):
        p.add_(0.3)
    network = from_sequential(model, (1, 8, 8))
    assert [type(layer).__name__ for _, layer in network.items()] == [
        "Conv2d",
        "MaxPool2d",
        "Conv2d",
        "Flatten",
        "Block",
        "Dense",
        "Dense",
    ]
    x, labels = batch(8, (1, 8, 8))
    assert torch.allclose(network.eval()(x.float()), model.eval()(x.float()), atol=1e-6)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    learner = Learner(network.train(), "fa", optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    losses = [float(learner.step(x.float(), labels).loss) for _ in range(30)]
    assert losses[-1] < losses[0]
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    with pytest.raises(NeurofaError, match=r"expected an nn\.Sequential"):
        from_sequential(nn.Linear(3, 2), (3,))


def test_networks_that_do_not_fit_together_are_refused():
    with pytest.raises(NeurofaError, match=r"at layer 'dense1'"):
        Network([Dense(4, 3), Dense(4, 2)], (4,))
    with pytest.raises(NeurofaError, match=r"got flatten at the end \(layer 'flatten1'\)"):
        Network([Dense(4, 3), Flatten()], (4,))
    with pytest.raises(NeurofaError, match="expected a vector"):
        Network([Dense(4, 3)], (5, 4))


def test_frozen_layers_do_not_learn_and_unknown_ones_are_refused():
    network = build("network", "mlp(hidden=[6, 5])", input_shape=(4,), outputs=3, seed=0)
    learner = Learner(network, "dfa(frozen=[dense0])", optimizer=torch.optim.SGD(network.parameters(), lr=0.5))
    before = {k: v.clone() for k, v in network.state_dict().items()}
    learner.step(torch.randn(8, 4, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 3)
    moved = {k.split(".")[1] for k, v in network.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == {"dense1", "dense2"}
    with pytest.raises(NeurofaError, match=r"got dfa\(frozen=\[dense2\]\); expected some of dense0, dense1"):
        Learner(network, "dfa(frozen=[dense2])", optimizer=torch.optim.SGD(network.parameters(), lr=0.5))
