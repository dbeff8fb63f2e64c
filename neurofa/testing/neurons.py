"""Contract of neurons: their state, and many ticks at once against tick by tick, forward and backward."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from hwmodels.registry import build, options, parts
from hwmodels.testing.tools import require, require_equal
from neurofa.core.randomness import generator
from neurofa.core.view import State
from neurofa.spiking.eligibility import adjoint, forward_change
from neurofa.spiking.neuron import RESETS, Neuron, Recurrent
from neurofa.testing.contract import Contract, require_close, require_refused

TICKS, BATCH, WIDTH = 12, 3, 7

CONTRACT = Contract("neuron")
CONTRACT(CONTRACT.is_documented)


def neuron_specs(name: str) -> list[str]:
    """Return specs of the neuron: from defaults, and with every reset, both delays and the gate, where it has them."""
    known = options(parts("neuron")[name])
    specs = [name]
    if "reset" in known:
        specs += [f"{name}(reset={reset})" for reset in RESETS]
    if "delay" in known:
        specs += [f"{name}(reset={reset}, delay=False)" for reset in RESETS]
    if "gated" in known:
        specs += [f"{name}(reset=zero, gated=True)", f"{name}(reset=zero, gated=True, delay=False)"]
    return specs


def _cases(name: str) -> Iterator[tuple[str, Neuron, Tensor]]:
    """Yield every variant, with currents (K, B, n) in float64 at which it fires in a part of the ticks."""
    for spec in neuron_specs(name):
        neuron: Neuron = build("neuron", spec)
        currents = torch.randn(TICKS, BATCH, WIDTH, generator=generator(0, "currents"), dtype=torch.float64)
        yield spec, neuron, currents.add_(0.2)


def _run_tick_by_tick(
    neuron: Neuron, currents: Tensor, state: State, recurrent: Recurrent | None = None
) -> tuple[Tensor, State]:
    """Return the outputs of K single ticks, (K, B, n), and the last state, to compare with ``Neuron.run``."""
    outputs = []
    before = None if recurrent is None else recurrent.before
    for current in currents.unbind(0):
        total = current if recurrent is None or before is None else current + before @ recurrent.weight.t()
        before, _, state = neuron.tick(total, state)
        outputs.append(before)
    return torch.stack(outputs), state


@CONTRACT
def starts_at_rest(name: str) -> None:
    """The first state is zero but for what stands for a reset; without a current the output stays zero."""
    for spec, neuron, currents in _cases(name):
        for dtype in (torch.float32, torch.float64):
            like = currents[0].to(dtype)
            state = neuron.initial_state(like)
            require(set(neuron.memories) <= set(state), f"{spec}: a state of {sorted(state)} only")
            require(all(v.shape == like.shape and v.dtype == dtype for v in state.values()), f"{spec}: shape or dtype")
            require(not any(bool(state[key].any()) for key in neuron.memories), f"{spec}: memories that are not empty")
            out, _, after = neuron.run(torch.zeros_like(currents, dtype=dtype), state)
            require(not bool(out.any()) and out.dtype == dtype, f"{spec}: outputs without a current")
            require(set(after) == set(state), f"{spec}: {sorted(state)} became {sorted(after)}")


@CONTRACT
def spikes_are_spikes(name: str) -> None:
    """Outputs of a spiking neuron are 0 and 1, and both occur; a readout's are not."""
    for spec, neuron, currents in _cases(name):
        out, _, _ = neuron.run(currents.clone(), neuron.initial_state(currents[0]))
        binary = bool(((out == 0) | (out == 1)).all())
        require(binary == neuron.spiking, f"{spec}: declares spiking={neuron.spiking}")
        require(bool((out != out[0, 0, 0]).any()), f"{spec}: always the same output")


@CONTRACT
def run_equals_ticks(name: str) -> None:
    """Many ticks at once equal single ticks, also in two parts, with and without recurrent weights."""
    gen = generator(1, "recurrent")
    weight = torch.randn(WIDTH, WIDTH, generator=gen, dtype=torch.float64)
    for spec, neuron, currents in _cases(name):
        for with_recurrence in (False, True):
            case = f"{spec}, recurrent={with_recurrence}"
            state = neuron.initial_state(currents[0])
            recurrent = Recurrent(weight, torch.zeros_like(currents[0])) if with_recurrence else None
            kept = {key: value.clone() for key, value in state.items()}
            expected, last = _run_tick_by_tick(neuron, currents, state, recurrent)
            first, _, middle = neuron.run(currents[:5].clone(), state, recurrent)
            require_equal(state, kept, f"{spec}: the state before")
            recurrent = None if recurrent is None else Recurrent(weight, first[-1])
            second, _, after = neuron.run(currents[5:].clone(), middle, recurrent)
            require_close(torch.cat([first, second]), expected, f"{case}: outputs", 1e-12)
            require(set(after) == set(last), f"{spec}: {sorted(after)} in the place of {sorted(last)}")
            for key, value in after.items():
                require_close(value, last[key], f"{case}: '{key}' after the last tick", 1e-12)


@CONTRACT
def dynamics_are_the_derivative(name: str) -> None:
    """Errors pulled back through the linearised ticks equal autograd's, and the tangent is their adjoint."""
    for spec, neuron, currents in _cases(name):
        gen = generator(2, "error")
        signal = torch.randn(currents.shape, generator=gen, dtype=currents.dtype)
        leaf = currents.clone().requires_grad_()
        with torch.enable_grad():
            out, _ = _run_tick_by_tick(neuron, leaf, neuron.initial_state(currents[0]))
            (expected,) = torch.autograd.grad(out, leaf, signal)
        _, left, _ = neuron.run(currents.clone(), neuron.initial_state(currents[0]))
        dynamics = neuron.dynamics({key: left[key] for key in neuron.leaves if key in left})
        require_close(adjoint(dynamics, signal).delta, expected, f"{spec}: error at the currents", 1e-11)
        changes = torch.randn(currents.shape, generator=gen, dtype=currents.dtype)
        moved = forward_change(dynamics, changes)
        require_close((moved * signal).sum(), (expected * changes).sum(), f"{spec}: change of the outputs", 1e-10)


@CONTRACT
def membrane_is_rounded(name: str) -> None:
    """With a number format, every potential is a value of it."""
    coarse = "uniform(bits=5, range=4.0)"
    neuron: Neuron = build("neuron", f"{name}(membrane={coarse})")
    _, _, currents = next(_cases(name))
    state = neuron.initial_state(currents[0])
    for current in currents.unbind(0):
        _, _, state = neuron.tick(current, state)
        require_close(neuron.membrane.quantize(state["mem"]), state["mem"], "a potential", 0.0)


@CONTRACT
def refuses_bad_options(name: str) -> None:
    """Decays outside 0 to 1, thresholds that are not positive and unknown resets are errors."""
    known = options(parts("neuron")[name])
    bad = [
        f"{key}={v}"
        for key in ("alpha", "beta", "rho", "kappa", "decay")
        if key in known
        for v in ("-0.1", "1.5", "1e999")
    ]
    bad += [f"threshold={v}" for v in ("0.0", "-1.0", "1e999")] if "threshold" in known else []
    bad += ["reset=soft"] if "reset" in known else []
    require(bool(bad), f"neuron '{name}' has none of the common options")
    require_refused("neuron", name, bad)


neuron_checks, check_neuron = CONTRACT.named, CONTRACT.hold
