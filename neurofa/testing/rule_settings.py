"""Contract of learning rules in other settings: precision, devices, error formats, optimizers, batch sizes."""

from __future__ import annotations

import torch

from hwmodels.registry import parts
from hwmodels.testing.tools import require
from neurofa.core.randomness import generator
from neurofa.testing.contract import Contract, require_change, require_close, require_finite, snapshot
from neurofa.testing.samples import random_batch, small_learner, small_network
from neurofa.training.learner import Learner, loss_and_teaching
from neurofa.training.replay import collect, record

SETTINGS = Contract("rule")


@SETTINGS
def works_in_float64(name: str) -> None:
    """A double network stays double: outputs, delivered errors, directions, weights and pathway."""
    learner = small_learner(name, double=True)
    x, labels = random_batch()
    x = x.double()
    gen = generator(0, "check")
    tick = record(learner.network, learner.rule, x, gen)
    credit = collect(learner.network, learner.rule, tick, loss_and_teaching(learner.loss, tick.y, labels)[1], gen)
    values = {"output": tick.y, **{f"error at {k}": v for k, v in credit.errors.items()}}
    values |= {f"{k} of {n}": v for n, d in credit.directions.items() for k, v in d.items()}
    learner.step(x, labels)
    for module in (learner.network, learner.rule):
        values |= {k: v for k, v in module.state_dict().items() if v.is_floating_point()}
    wrong = [key for key, value in values.items() if value.dtype != torch.float64]
    require(not wrong, f"{wrong} are not float64")


@SETTINGS
def works_on_a_coarse_device(name: str) -> None:
    """Weights of few bits move by whole steps of their device, and only by those."""
    learner = small_learner(name, device="fixed(bits=6)")
    before = snapshot(learner.network)
    for step in range(4):
        learner.step(*random_batch(seed=step))
    require_change(before, snapshot(learner.network))
    for layer_name, layer in learner.network.items():
        for key in layer.synapses:
            s = layer.synapses[key]
            require(torch.equal(s.weight.detach(), s.device.value(s.cells)), f"{layer_name}.{key} left its device")


@SETTINGS
def takes_every_error_format(name: str) -> None:
    """The error may be sent in any registered number format."""
    for fmt in parts("format"):
        learner = small_learner(f"{name}(error={fmt})")
        learner.step(*random_batch())
        require_finite({f"{key} (error={fmt})": v for key, v in learner.network.state_dict().items()})


@SETTINGS
def works_with_every_optimizer(name: str) -> None:
    """Optimizers with a memory (momentum, Adam) take the directions from ``.grad`` and change the weights."""
    for make in (
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
        lambda p: torch.optim.Adam(p, lr=1e-3),
        lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=0.1),
    ):
        network = small_network("cnn")
        learner = Learner(network, name, optimizer=make(network.parameters()))
        before = snapshot(network)
        for step in range(2):
            learner.step(*random_batch(seed=step))
        after = snapshot(network)
        require_finite(after)
        require_change(before, after)


@SETTINGS
def direct_writes_equal_grad(name: str) -> None:
    """Writing straight into the weights equals SGD through ``.grad``, to rounding."""
    # gradient clipping needs ``.grad``
    straight, through_grad = small_learner(name, double=True), small_learner(name, double=True, clip=1e12)
    for step in range(3):
        x, labels = random_batch(seed=step)
        for learner in (straight, through_grad):
            learner.step(x.double(), labels)
    for what, one, other in (
        ("network", straight.network, through_grad.network),
        ("rule", straight.rule, through_grad.rule),
    ):
        expected = snapshot(other)
        for key, value in snapshot(one).items():
            require_close(value, expected[key], f"{what} {key}", 1e-11)


@SETTINGS
def accumulation_equals_one_batch(name: str) -> None:
    """Two half batches averaged into one update equal the whole batch."""
    whole, halves = small_learner(name, double=True), small_learner(name, double=True, accumulate=2)
    for step in range(2):
        x, labels = random_batch(8, seed=step)
        whole.step(x.double(), labels)
        for half in (slice(0, 4), slice(4, 8)):
            halves.step(x[half].double(), labels[half])
    for key, value in snapshot(whole.network).items():
        require_close(halves.network.state_dict()[key], value, key, 1e-11)


@SETTINGS
def learns_from_one_sample(name: str) -> None:
    """Two steps on batches of one sample give finite weights."""
    learner = small_learner(name)
    for step in range(2):
        learner.step(*random_batch(1, seed=step))
    require_finite(snapshot(learner.network))
