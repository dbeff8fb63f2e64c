"""Probes: estimates of Jacobians and gradients are unbiased, as good as their closed forms say, and no better."""

import math

import pytest
import torch

from hwmodels.registry import build
from neurofa import Conv2d, Dense, Flatten, Learner, Network
from neurofa.core.capabilities import Perturbation
from neurofa.core.randomness import generator
from neurofa.training.extra_passes import output_change
from neurofa.training.learner import forward_pass, loss_and_teaching
from neurofa.training.replay import collect, record
from tests.oracle.test_bp_is_autograd import directions
from tests.oracle.test_rules import batch, linear_chain

NETS = [
    ("mlp(hidden=[9, 7], norm=batch, activation=gelu)", (6,)),
    ("cnn(channels=[3, 4], kernel=3, hidden=6, norm=batch, activation=tanh)", (2, 8, 8)),
    ("vit(width=8, heads=2, depth=1)", (3, 8, 8)),
]


def made(spec, shape, outputs=5):
    return build("network", spec, input_shape=shape, outputs=outputs, seed=1).double()


def bound(rule, network):
    learner = Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=0.0))
    return learner.rule, learner


def changes(network, tick, seed=0):
    gen = generator(seed, "changes")
    draw = {"generator": gen, "dtype": torch.float64}
    names = [name for name in network.names[:-1] if tick.views[name].params]
    added = {name: torch.randn(tick.views[name].y.shape, **draw) for name in names}
    moved = {n: {k: torch.randn(w.shape, **draw) for k, w in tick.views[n].params.items()} for n in network.names}
    return added, moved


@pytest.mark.parametrize(("spec", "shape"), NETS)
def test_a_tangent_is_the_central_difference_of_the_whole_network(spec, shape):
    network = made(spec, shape)
    x, _ = batch(6, shape, 5)
    tick = forward_pass(network, x)
    added, moved = changes(network, tick)

    def run(t):
        h = x
        for name, layer in network.items():
            params = {k: w + t * moved[name][k] for k, w in tick.views[name].params.items()}
            h = layer.compute(params, h, tick.views[name].before)[0]
            h = h + t * added[name] if name in added else h
        return h

    h = 1e-6
    wanted = (run(h) - run(-h)) / (2 * h)
    got = output_change(network, tick, Perturbation(), added, moved, None)
    assert torch.allclose(got, wanted, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(output_change(network, tick, Perturbation(), {}, moved, None), wanted, atol=1e-2)


@pytest.mark.parametrize(("spec", "shape"), NETS)
def test_a_difference_goes_to_the_tangent_with_its_step(spec, shape):
    network = made(spec, shape)
    x, _ = batch(6, shape, 5)
    tick = forward_pass(network, x)
    added, moved = changes(network, tick)
    wanted = output_change(network, tick, Perturbation(), added, moved, None)
    off = [
        float((output_change(network, tick, Perturbation("difference", h), added, moved, None) - wanted).norm())
        for h in (1e-4, 1e-5)
    ]
    assert off[0] < 0.05 * float(wanted.norm())
    assert off[1] == pytest.approx(off[0] / 10, rel=0.2)


def jacobians(network, x):
    """Mean over samples of d y / d h for every hidden layer, (o, n), by autograd."""
    tick = forward_pass(network, x)
    found = {}
    names = [name for name in network.names if tick.views[name].params]
    for at in names[:-1]:

        def above(h, at=at):
            seen = False
            for name, layer in network.items():
                if seen:
                    h = layer.compute(tick.views[name].params, h, tick.views[name].before)[0]
                seen = seen or name == at
            return h.sum(0)

        found[at] = torch.func.jacrev(above)(tick.views[at].y).sum(1).flatten(1) / len(x)
    return found


def z_scores(samples: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """How many standard errors the mean of (n, ...) samples is off, element by element."""
    return (samples.mean(0) - wanted) / (samples.std(0) / math.sqrt(len(samples)))


def estimates(network, rule, x, times, seed=0):
    """Independent one-step estimates of B for every layer, (times, m, o)."""
    rule, learner = bound(rule, network)
    found = []
    for step in range(times):
        learner.gen.manual_seed(seed + step)
        rule.steps.zero_()
        learner.step(x, torch.zeros(len(x), dtype=torch.int64))
        found.append(rule.estimate.clone())
    return rule, torch.stack(found)


@pytest.mark.sample(1)
@pytest.mark.parametrize("space", ["activity", "weight"])
@pytest.mark.parametrize("per_layer", [False, True])
def test_the_estimate_of_the_jacobian_is_unbiased(space, per_layer):
    network = made("mlp(hidden=[6, 5])", (4,), outputs=3)
    x, _ = batch(8, (4,), 3)
    # samples draw for themselves in activity space: many copies of a sample in one batch are many draws
    copies, times = (60, 60) if space == "activity" else (1, 700)
    rule, found = estimates(network, f"fdfa(space={space}, per_layer={per_layer})", x.repeat(copies, 1), times)
    wanted = jacobians(network, x)
    for name, rows in rule.feedback.slices.items():
        assert float(z_scores(found[:, rows], wanted[name].t()).abs().max()) < 4.5, name
        # the control: a Jacobian that is a third larger is refused
        assert float(z_scores(found[:, rows], 1.33 * wanted[name].t()).abs().max()) > 4.5, name


def test_one_row_a_channel_estimates_the_mean_over_its_positions():
    network = Network([Conv2d(1, 3, 3, activation="tanh"), Flatten(), Dense(48, 3)], (1, 6, 6), seed=1).double()
    x, _ = batch(6, (1, 6, 6), 3)
    rule, found = estimates(network, "fdfa(feedback=pooled)", x.repeat(40, 1, 1, 1), 60)
    name = network.names[0]
    channels, rows = network.shapes[name][0], rule.feedback.slices[name]
    wanted = jacobians(network, x)[name].view(3, channels, -1).mean(2).t()
    assert float(z_scores(found[:, rows], wanted).abs().max()) < 4.5
    assert float(z_scores(found[:, rows], 2 * wanted).abs().max()) > 4.5


@pytest.mark.long
def test_weight_changes_smooth_the_estimate_over_the_positions_of_a_convolution():
    network = Network([Conv2d(1, 2, 3, activation="tanh"), Flatten(), Dense(18, 3)], (1, 5, 5), seed=1).double()
    x, _ = batch(1, (1, 5, 5), 3)
    x = x + 1.0  # patches that are alike
    rule, found = estimates(network, "fdfa(space=weight)", x, 700)
    name = network.names[0]
    patches = torch.nn.functional.normalize(torch.nn.functional.unfold(x, 3)[0].t(), dim=1)
    smooth = patches @ patches.t()
    exact = jacobians(network, x)[name].view(3, network.shapes[name][0], -1)
    rows = rule.feedback.slices[name]
    assert float(z_scores(found[:, rows], (exact @ smooth).flatten(1).t()).abs().max()) < 4.5
    assert float(z_scores(found[:, rows], exact.flatten(1).t()).abs().max()) > 4.5


@pytest.mark.parametrize("n", [20, 60])
@pytest.mark.parametrize("samples", [10, 60, 240])
def test_the_cosine_with_the_jacobian_is_the_closed_form(n, samples):
    network = Network([Dense(4, n), Dense(n, 8)], (4,), seed=2).double()
    x, _ = batch(samples, (4,), 8)
    times = 20
    _, found = estimates(network, "fdfa", x, times)
    j = network.layer("dense1").synapses["weight"].weight.detach().t()
    cos = torch.stack([torch.nn.functional.cosine_similarity(e.flatten(), j.flatten(), 0) for e in found])
    wanted = 1 / math.sqrt(1 + (n + 1) / samples)
    # the closed form replaces the mean of a ratio by the ratio of means: exact to a few per cent
    spread = float(cos.std()) / math.sqrt(times)
    assert abs(float(cos.mean()) - wanted) < 4 * spread + 0.03 * wanted
    # the control: with n for n + 1 doubled the form is refused
    assert abs(float(cos.mean()) - 1 / math.sqrt(1 + 2 * (n + 1) / samples)) > 4 * spread + 0.03 * wanted


def test_the_noise_floor_of_a_difference_is_the_closed_form():
    n, outputs, samples, noise, h = 20, 6, 400, 0.1, 0.1

    class Noisy(Dense):
        """A readout whose output is never the same twice."""

        def compute(self, params, x, state):
            y, after = super().compute(params, x, state)
            return y + noise * torch.randn(y.shape, generator=source, dtype=y.dtype), after

    source = generator(5)
    network = Network([Dense(4, n), Noisy(n, outputs)], (4,), seed=2).double()
    x, _ = batch(samples, (4,), outputs)
    j = network.layer(network.names[1]).synapses["weight"].weight.detach().t()

    def mean_cosine(step: float) -> float:
        _, found = estimates(network, f"fdfa(by=difference, step={step})", x, 25)
        return float(torch.nn.functional.cosine_similarity(found.flatten(1), j.flatten()[None]).mean())

    def closed(step: float) -> float:
        floor = n * outputs * 2 * noise**2 / step**2 / (samples * float(j.square().sum()))
        return 1 / math.sqrt(1 + (n + 1) / samples + floor)

    assert closed(h) < 0.9 * closed(1e9)  # the noise matters here
    assert mean_cosine(h) == pytest.approx(closed(h), rel=0.03)
    assert mean_cosine(10 * h) == pytest.approx(closed(10 * h), rel=0.03)
    assert mean_cosine(h) < 0.9 * closed(1e9)


@pytest.mark.long
def test_fdfa_on_a_linear_network_ends_at_the_product_of_the_weights():
    network = linear_chain([5, 8, 6, 4])
    rule, learner = bound("fdfa(alpha=0.01)", network)
    for step in range(700):
        learner.step(*batch(64, (5,), 4, seed=step))
    w = [layer.synapses["weight"].weight.detach() for _, layer in network.items()]
    for name, wanted in (("dense0", w[2] @ w[1]), ("dense1", w[2])):
        got = rule.b[rule.feedback.slices[name]].t()
        assert float((got - wanted).norm() / wanted.norm()) < 0.1
        assert float((got - wanted.flip(0)).norm() / wanted.norm()) > 0.5


def forward_gradients(rule, network, x, labels, times):
    """Directions of every weight, (times, ...), by layer and name."""
    rule, learner = bound(rule, network)
    found = {}
    for step in range(times):
        gen = generator(step, "draw")
        tick = record(network, rule, x, gen)
        credit = collect(network, rule, tick, loss_and_teaching(learner.loss, tick.y, labels)[1], gen)
        for name, own in credit.directions.items():
            for key, value in own.items():
                found.setdefault(f"{name}.{key}", []).append(value)
    return {key: torch.stack(values) for key, values in found.items()}


@pytest.mark.sample(1)
@pytest.mark.parametrize("space", ["activity", "weight"])
@pytest.mark.parametrize("per_layer", [False, True])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_forward_gradients_are_unbiased(space, per_layer, activation):
    network = made(f"mlp(hidden=[5, 4], activation={activation})", (4,), outputs=3)
    x, labels = batch(4, (4,), 3)
    wanted = directions(network, "bp", x, labels)
    found = forward_gradients(f"forward_gradient(space={space}, per_layer={per_layer})", network, x, labels, 600)
    worst = 0.0
    for key, gradient in wanted.items():
        samples = found[key]
        if float(samples.std(0).max()) < 1e-12:  # the readout learns from its own error
            assert torch.allclose(samples[0], gradient, atol=1e-10)
            continue
        moving = samples.std(0) > 1e-12
        assert torch.allclose(gradient[~moving], samples[0][~moving], atol=1e-10)
        z = z_scores(samples[:, moving], gradient[moving])
        assert float(z.abs().max()) < 4.5, key
        worst = max(worst, float(z_scores(samples[:, moving], -gradient[moving]).abs().max()))
    assert worst > 4.5


@pytest.mark.long
def test_layers_are_measured_by_their_own_probe():
    network = made("mlp(hidden=[5, 4])", (4,), outputs=3)
    x, labels = batch(4, (4,), 3)

    def spread(per_layer):
        found = forward_gradients(f"forward_gradient(space=weight, per_layer={per_layer})", network, x, labels, 300)
        return sum(float(v.var(0).sum()) for v in found.values())

    # a shared probe adds every other layer's share of the change to each layer's variance
    assert spread(True) < 0.7 * spread(False)


def test_weights_move_along_the_guess_as_far_as_the_loss_changes_along_it():
    network = made("mlp(hidden=[6, 5])", (4,), outputs=3)
    x, labels = batch(8, (4,), 3)
    wanted = directions(network, "bp", x, labels)
    found = {k: v[0] for k, v in forward_gradients("local_guess(space=weight)", network, x, labels, 1).items()}
    hidden = [key for key in wanted if not key.startswith(network.readout)]
    ours, true = (torch.cat([d[key].flatten() for key in hidden]) for d in (found, wanted))
    # two layers with a guess of length 1 each: ours = (g . G) G with |G|^2 = 2
    assert float(ours @ true) == pytest.approx(float(ours.square().sum()) / 2, rel=1e-9)
    assert float(ours @ true.flip(0)) != pytest.approx(float(ours.square().sum()) / 2, rel=1e-3)


def test_activities_move_along_the_guess_as_far_as_the_loss_changes_along_it():
    network = made("mlp(hidden=[6, 5])", (4,), outputs=3)
    x, labels = batch(8, (4,), 3)
    errors = {}
    for name in ("bp", "local_guess"):
        rule, learner = bound(name, network)
        tick = record(network, rule, x, generator(0))
        teaching = loss_and_teaching(learner.loss, tick.y, labels)[1]
        credit = collect(network, rule, tick, teaching, generator(0))
        errors[name] = torch.cat([credit.errors[key] for key in network.names[:-1]], 1)
    ours, true = errors["local_guess"], errors["bp"]
    assert torch.allclose((ours * true).sum(1), ours.square().sum(1) / 2, atol=1e-12)
    assert not torch.allclose((ours * true.flip(0)).sum(1), ours.square().sum(1) / 2, atol=1e-3)


@pytest.mark.parametrize("rule", ["grape2025(eta=1e-12, noise=0.0)", "grape2025(eta=1e-12, alternative=2)"])
def test_a_matrix_that_stands_still_trains_as_dfa_does(rule):
    """No weight decay and no other side effect: only the matrix differs between the rules."""

    def trained(spec):
        network = build("network", "mlp(hidden=[7, 6])", input_shape=(5,), outputs=3, seed=0).double()
        learner = Learner(network, spec, optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
        gen = torch.Generator().manual_seed(0)
        for _ in range(5):
            learner.step(torch.randn(8, 5, generator=gen, dtype=torch.float64), torch.arange(8) % 3)
        return network.state_dict()

    ours, theirs = trained(rule), trained("dfa(feedback=dense(distribution=normal))")
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value, atol=1e-8, rtol=0)
    other = trained("dfa(feedback=dense(distribution=normal, gain=2.0))")
    assert not torch.allclose(
        other["layers.dense0.synapses.weight.weight"], theirs["layers.dense0.synapses.weight.weight"]
    )
