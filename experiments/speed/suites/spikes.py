"""Learning from sequences of spikes, against backpropagation through time in snnTorch."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from experiments.speed.suite import SpeedCase, SpeedMethod, SpeedSuite
from experiments.speed.timing import Step
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.core.events import Events
from neurofa.core.randomness import generator
from neurofa.training.learner import Learner

INPUTS, HIDDEN, OUTPUTS, BATCH = 700, 256, 20, 32
DENSITY = 0.03
"""Share of inputs that fire in a tick."""
DECAY, RATE, CHUNK = 0.9, 0.1, 100
SYMMETRIC = "eprop_symmetric(filtered=False)"
ONLINE = {
    "dfa": ("dfa", "dense"),
    "dfa-real": ("dfa", "real"),
    "dfa-events": ("dfa", "events"),
    "symmetric": (SYMMETRIC, "events"),
    "eprop": ("eprop", "events"),
    "bptt": ("bptt", "dense"),
}
"""Rule, and form of the input, by name of the method."""


class SpikesSuite(SpeedSuite, name="spikes"):
    """One update from 32 sequences, 700-256-20 leaky neurons, 3 % of the inputs firing: 100 and 1000 ticks.

    ``snntorch`` is the usual loop over ticks, ``loss.backward()`` through all of them and SGD; ``batched``
    takes the input's products of all ticks at once. ``dfa`` is direct feedback alignment with eligibility traces of
    the inputs on the same dense array of spikes, which it turns into events; ``dfa-real`` has numbers in their
    places, for dense products alone; ``dfa-events`` is given events. ``symmetric`` is the same with the readout's
    weights, ``eprop`` has a filtered trace for every weight (both on events), ``bptt`` is this package's control. Peaks
    leave the input out.
    """

    def cases(self) -> tuple[SpeedCase, ...]:
        return tuple(_case(ticks) for ticks in (100, 1000))


class LongSpikesSuite(SpeedSuite, name="spikes_long"):
    """The update of ``spikes`` with 10000 ticks: minutes, and gigabytes for backpropagation through time."""

    def cases(self) -> tuple[SpeedCase, ...]:
        return (_case(10000),)


def _case(ticks: int) -> SpeedCase:
    methods = [
        SpeedMethod(name="snntorch", build=partial(_through_time, ticks, False)),
        SpeedMethod(name="batched", build=partial(_through_time, ticks, True)),
    ]
    for name, (rule, form) in ONLINE.items():
        methods.append(SpeedMethod(name=name, build=partial(_online, ticks, rule, form)))
    return SpeedCase(name=f"{ticks}-ticks", methods=tuple(methods), beside="batched")


@lru_cache(maxsize=3)
def _batch(ticks: int, form: str, device: torch.device) -> tuple[Tensor | Events, Tensor]:
    """Return spikes and labels, made once in a process so that they are no part of a method's memory."""
    gen = generator(0, "spikes", device=device)
    xs = torch.empty(ticks, BATCH, INPUTS, device=device).bernoulli_(DENSITY, generator=gen)
    labels = torch.randint(OUTPUTS, (BATCH,), generator=gen, device=device)
    if form == "events":
        return Events.from_dense(xs), labels
    return xs.mul_(0.9) if form == "real" else xs, labels


def _online(ticks: int, rule: str, form: str, device: torch.device) -> Step:
    xs, labels = _batch(ticks, form, device)
    spec = f"snn(hidden=[{HIDDEN}], neuron=lif(beta={DECAY}), readout=leaky(kappa={DECAY}))"
    network = build("network", spec, input_shape=(INPUTS,), outputs=OUTPUTS).to(device)
    learner = Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=RATE))
    return lambda: learner.stream(xs, labels, chunk=CHUNK)


def _through_time(ticks: int, batched: bool, device: torch.device) -> Step:
    try:
        import snntorch
    except ImportError:
        raise NeurofaError(
            "got speed suite spikes without snntorch; expected it, as the baseline; pip install 'neurofa[spikes]'"
        ) from None
    library: Any = snntorch
    xs, labels = _batch(ticks, "dense", device)
    assert isinstance(xs, Tensor)  # noqa: S101 (the form is dense)
    first, last = nn.Linear(INPUTS, HIDDEN).to(device), nn.Linear(HIDDEN, OUTPUTS).to(device)
    hidden, out = library.Leaky(beta=DECAY).to(device), library.Leaky(beta=DECAY, reset_mechanism="none").to(device)
    optimizer = torch.optim.SGD([*first.parameters(), *last.parameters()], lr=RATE)
    targets = labels.repeat(ticks)

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        spikes, potentials = None, []
        mem, mem_out = hidden.init_leaky(), out.init_leaky()
        for x in (first(xs) if batched else xs).unbind(0):
            spikes, mem = hidden(x if batched else first(x), mem)
            _, mem_out = out(last(spikes), mem_out)
            potentials.append(mem_out)
        loss = nn.functional.cross_entropy(torch.stack(potentials).flatten(0, 1), targets)
        torch.autograd.backward(loss)
        optimizer.step()
        return loss.detach()

    return step
