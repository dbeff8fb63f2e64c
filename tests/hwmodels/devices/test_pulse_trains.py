"""Pulse trains in training: the mean is the gradient step, pulses are counted, and what cannot be played is refused."""

import pytest
import torch

from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa import Learner

FINE = "constant_step(dw_min=0.002, dw_min_dtod=0, dw_min_std=0, up_down_dtod=0, w_max=100, w_min=-100, scale=1)"
TARGET = torch.tensor([0, 1, 2, 0])


def learner(spec, device, *, rule="bp", optimizer=torch.optim.SGD, seed=0, shape=(8,), lr=0.05, **options):
    net = build("network", spec, input_shape=shape, outputs=3, seed=0, device=device)
    plain = build("network", spec, input_shape=shape, outputs=3, seed=0)
    for name, layer in plain.items():  # devices draw from the generator of the weights: begin from the same ones
        for key in layer.synapses:
            net.layer(name).synapses[key].program(layer.synapses[key].weight.detach(), torch.Generator())
    learning = {key: options.pop(key) for key in ("accumulate", "clip") if key in options}
    return Learner(net, rule, optimizer=optimizer(net.parameters(), lr=lr, **options), seed=seed, **learning)


def change(made, x):
    """What one step changes in every weight that is written by pulses."""
    before = {k: v.clone() for k, v in made.network.named_parameters() if v.dim() > 1}
    made.step(x, TARGET)
    return {k: v.detach() - before[k].detach() for k, v in made.network.named_parameters() if v.dim() > 1}


@pytest.mark.sample(1)
@pytest.mark.parametrize(("spec", "shape"), [("mlp(hidden=[6])", (8,)), ("cnn(channels=[3], kernel=3)", (1, 8, 8))])
def test_the_mean_of_played_steps_is_the_step_of_plain_sgd(spec, shape):
    x = torch.rand(4, *shape, generator=torch.Generator().manual_seed(1))
    exact = change(learner(spec, "digital", shape=shape), x)
    played = [change(learner(spec, f"pulse_trains(device={FINE})", shape=shape, seed=s), x) for s in range(150)]
    for key, wanted in exact.items():
        moves = torch.stack([p[key] for p in played]).double()
        # rare pulses come by Poisson's law: the mean tells their variance better than a few samples do
        error = (torch.maximum(moves.var(0), 0.002 * wanted.abs()) / len(moves)).sqrt().clamp_min(1e-6)
        z = (moves.mean(0) - wanted) / error
        assert z.abs().max() < 5, key
        alive = wanted.abs() > 1e-5  # a unit that is silent for all samples gets no pulse
        chi = z[alive].pow(2).mean().item()
        assert abs(chi - 1) < 6 * (2 / alive.sum().item()) ** 0.5, key  # weights of a column share their pulses
        # control: a step that is twice as long is seen
        assert ((moves.mean(0) - 2 * wanted) / error).abs().max() > 5
        # whole steps of the device, of at most so many pulses as the trains have slots
        pulses = moves / 0.002
        assert torch.allclose(pulses, pulses.round(), atol=1e-3)


def test_the_ledger_counts_every_pulse_that_was_played():
    x = torch.rand(1, 8, generator=torch.Generator().manual_seed(1)).expand(4, 8)
    for spec in (
        "wear(device=pulse_trains(device={}), endurance=1e999)",
        "pulse_trains(device=wear(device={}, endurance=1e999))",
    ):
        made = learner("mlp(hidden=[])", spec.format(FINE))
        made.step(x[:1], TARGET[:1])  # one sample: no device is moved up and down again
        synapses = next(iter(made.network.items()))[1].synapses["weight"]
        start = build("network", "mlp(hidden=[])", input_shape=(8,), outputs=3, seed=0)
        moved = (synapses.weight - next(start.parameters())).abs() / 0.002
        assert synapses.cells["cycles"].sum() > 0
        assert torch.allclose(synapses.cells["cycles"], moved, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"momentum": 0.9}, "got momentum"),
        ({"optimizer": torch.optim.Adam}, "another optimizer"),
        ({"clip": 1.0}, "clip"),
        ({"accumulate": 2}, "accumulate"),
        ({"weight_decay": 0.1}, "weight decay"),
        ({"rule": "kp(decay=0.01)"}, "weight decay"),
        ({"rule": "dkp(feedback=dense(device=pulse_trains))", "device": "digital"}, "plastic feedback"),
        ({"spec": "vit(patch=4, width=8, depth=1)", "shape": (1, 8, 8)}, "no outer products"),
    ],
)
def test_what_cannot_be_played_is_refused_before_anything_moves(options, said):
    spec, device = options.pop("spec", "mlp(hidden=[6])"), options.pop("device", f"pulse_trains(device={FINE})")
    with pytest.raises(NeurofaError, match=said):
        learner(spec, device, **options)


def test_only_pulse_driven_devices_have_trains():
    with pytest.raises(NeurofaError, match="driven by pulses"):
        build("device", "pulse_trains(device=pcm)")
    with pytest.raises(NeurofaError, match="slots=0"):
        build("device", "pulse_trains(slots=0)")
    assert build("device", "stuck(device=pulse_trains)").factored
    assert not build("device", "stuck(device=constant_step)").factored


def test_a_worn_out_device_is_not_moved_by_trains():
    x = torch.rand(4, 8, generator=torch.Generator().manual_seed(1))
    made = learner("mlp(hidden=[])", f"pulse_trains(device=wear(device={FINE}, endurance=3))", lr=5.0)
    made.step(x, TARGET)
    worn = next(iter(made.network.items()))[1].synapses["weight"]
    dead = worn.cells["cycles"] >= 3
    before = worn.weight.detach().clone()
    assert dead.any()
    made.step(x, TARGET)
    assert torch.equal(worn.weight.detach()[dead], before[dead])
