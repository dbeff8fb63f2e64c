"""The contract of neurons and of surrogate derivatives."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.autograd import forward_ad

from hwmodels.errors import NeurofaError
from hwmodels.registry import build, options, parts
from neurofa.core.randomness import generator
from neurofa.core.view import State
from neurofa.maps.jvp import make_dual, unpack_dual
from neurofa.spiking.eligibility import adjoint, forward_change
from neurofa.spiking.neuron import RESETS, Neuron, Recurrent
from neurofa.spiking.surrogate import Surrogate
from neurofa.testing.tools import Check, close, require, run_all, same

TICKS, BATCH, WIDTH = 12, 3, 7


def neuron_specs(name: str) -> list[str]:
    """The neuron from defaults, and with every reset, both delays and the gate, where it has them."""
    known = options(parts("neuron")[name])
    found = [name]
    if "reset" in known:
        found += [f"{name}(reset={reset})" for reset in RESETS]
    if "delay" in known:
        found += [f"{name}(reset={reset}, delay=False)" for reset in RESETS]
    if "gated" in known:
        found += [f"{name}(reset=zero, gated=True)", f"{name}(reset=zero, gated=True, delay=False)"]
    return found


def _cases(name: str) -> Iterator[tuple[str, Neuron, Tensor]]:
    """Every variant, and currents (K, B, n) in float64 that make it fire in a part of the ticks."""
    for spec in neuron_specs(name):
        neuron: Neuron = build("neuron", spec)
        currents = torch.randn(TICKS, BATCH, WIDTH, generator=generator(0, "currents"), dtype=torch.float64)
        yield spec, neuron, currents.add_(0.2)


def _ticks(neuron: Neuron, currents: Tensor, state: State, among: Recurrent | None = None) -> tuple[Tensor, State]:
    """The slow oracle of ``run``."""
    outs = []
    before = None if among is None else among.before
    for current in currents.unbind(0):
        driven = current if among is None or before is None else current + before @ among.weight.t()
        before, _, state = neuron.tick(driven, state)
        outs.append(before)
    return torch.stack(outs), state


def starts_at_rest(name: str) -> None:
    """The first state is of zeros but for what stands for a reset; without a current nothing ever comes out."""
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


def spikes_are_spikes(name: str) -> None:
    """Outputs of a spiking neuron are 0 and 1, and both come; a readout's are not."""
    for spec, neuron, currents in _cases(name):
        out, _, _ = neuron.run(currents.clone(), neuron.initial_state(currents[0]))
        whole = bool(((out == 0) | (out == 1)).all())
        require(whole == neuron.spiking, f"{spec}: says spiking={neuron.spiking}")
        require(bool((out != out[0, 0, 0]).any()), f"{spec}: always the same output")


def run_equals_ticks(name: str) -> None:
    """Many ticks at once are those of the oracle, in two parts as well, with and without recurrent weights."""
    gen = generator(1, "recurrent")
    weight = torch.randn(WIDTH, WIDTH, generator=gen, dtype=torch.float64)
    for spec, neuron, currents in _cases(name):
        for recurrent in (False, True):
            state = neuron.initial_state(currents[0])
            among = Recurrent(weight, torch.zeros_like(currents[0])) if recurrent else None
            kept = {key: value.clone() for key, value in state.items()}
            wanted, last = _ticks(neuron, currents, state, among)
            first, _, middle = neuron.run(currents[:5].clone(), state, among)
            same(state, kept, f"{spec}: the state before")
            among = None if among is None else Recurrent(weight, first[-1])
            second, _, after = neuron.run(currents[5:].clone(), middle, among)
            close(torch.cat([first, second]), wanted, f"{spec}, recurrent={recurrent}: outputs", 1e-12)
            require(set(after) == set(last), f"{spec}: {sorted(after)} in the place of {sorted(last)}")
            for key, value in after.items():
                close(value, last[key], f"{spec}, recurrent={recurrent}: '{key}' after the last tick", 1e-12)


def dynamics_are_the_derivative(name: str) -> None:
    """Errors sent back by the linearised ticks are autograd's, and the tangent is their adjoint."""
    for spec, neuron, currents in _cases(name):
        gen = generator(2, "error")
        signal = torch.randn(currents.shape, generator=gen, dtype=currents.dtype)
        leaf = currents.clone().requires_grad_()
        with torch.enable_grad():
            out, _ = _ticks(neuron, leaf, neuron.initial_state(currents[0]))
            (wanted,) = torch.autograd.grad(out, leaf, signal)
        _, left, _ = neuron.run(currents.clone(), neuron.initial_state(currents[0]))
        whole = neuron.dynamics({key: left[key] for key in neuron.leaves if key in left})
        close(adjoint(whole, signal).delta, wanted, f"{spec}: error at the currents", 1e-11)
        changes = torch.randn(currents.shape, generator=gen, dtype=currents.dtype)
        moved = forward_change(whole, changes)
        close((moved * signal).sum(), (wanted * changes).sum(), f"{spec}: change of the outputs", 1e-10)


def membrane_is_rounded(name: str) -> None:
    """With a number format, every potential is a value of it."""
    coarse = "uniform(bits=5, range=4.0)"
    neuron: Neuron = build("neuron", f"{name}(membrane={coarse})")
    _, _, currents = next(_cases(name))
    state = neuron.initial_state(currents[0])
    for current in currents.unbind(0):
        _, _, state = neuron.tick(current, state)
        close(neuron.membrane.quantize(state["mem"]), state["mem"], "a potential", 0.0)


def refuses_what_is_none(name: str) -> None:
    """Decays outside 0 to 1, thresholds that are not positive and unknown resets are errors."""
    known = options(parts("neuron")[name])
    bad = [f"{key}={v}" for key in ("alpha", "beta", "rho", "kappa") if key in known for v in ("-0.1", "1.5", "1e999")]
    bad += [f"threshold={v}" for v in ("0.0", "-1.0", "1e999")] if "threshold" in known else []
    bad += ["reset=soft"] if "reset" in known else []
    require(bool(bad), f"neuron '{name}' has none of the common options")
    _refuses("neuron", name, bad)


def _refuses(kind: str, name: str, settings: list[str]) -> None:
    for setting in settings:
        try:
            build(kind, f"{name}({setting})")
        except NeurofaError as error:
            require("; expected" in str(error) and "\n" not in str(error), f"{setting}: the message is '{error}'")
            continue
        raise AssertionError(f"{name}({setting}) was accepted")


def says_what_it_is(kind: str) -> Check:
    """A docstring and a source, and it can be built from its name alone."""

    def check(name: str) -> None:
        part = parts(kind)[name]
        build(kind, name)
        require(bool(part.__doc__), f"{kind} '{name}' has no docstring")
        require(bool(getattr(part, "source", "")), f"{kind} '{name}' names no source")

    check.__doc__ = says_what_it_is.__doc__
    return check


def psi_is_a_derivative(name: str) -> None:
    """Psi is a fresh tensor of the same shape and dtype, finite, nowhere negative, and largest at the threshold."""
    surrogate: Surrogate = build("surrogate", name)
    for dtype in (torch.float32, torch.float64):
        v = torch.linspace(-4, 4, 801, dtype=dtype).view(9, 89)
        kept = v.clone()
        psi = surrogate.derivative(v)
        require(torch.equal(v, kept), "the potential was changed in place")
        require(psi.data_ptr() != v.data_ptr(), "the potential itself was returned")
        require(psi.shape == v.shape and psi.dtype == dtype, f"psi of {tuple(psi.shape)}, {psi.dtype}")
        require(bool(psi.isfinite().all()) and bool((psi >= 0).all()), "psi is negative or not finite")
        require(float(surrogate.derivative(v.new_zeros(1))) >= float(psi.max()) > 0, "psi is not largest at 0")


def fires_and_learns(name: str) -> None:
    """Spikes are H(v), and autograd sees psi in both directions; at the threshold itself nothing fires."""
    surrogate: Surrogate = build("surrogate", name)
    v = torch.randn(5, 6, generator=generator(0, "potential"), dtype=torch.float64)
    v[0, 0] = 0.0
    psi = surrogate.derivative(v)
    leaf = v.clone().requires_grad_()
    with torch.enable_grad():
        z = surrogate.fire(leaf)
        (found,) = torch.autograd.grad(z, leaf, torch.full_like(v, 2.0))
    require(torch.equal(z.detach(), (v > 0).double()), "spikes are not H(v)")
    close(found, 2 * psi, "derivative by autograd", 1e-14)
    with warnings.catch_warnings(), forward_ad.dual_level():
        # torch compiles some derivatives with its deprecated compiler
        warnings.simplefilter("ignore", DeprecationWarning)
        z = surrogate.fire(make_dual(v, torch.full_like(v, 3.0)))
        tangent: Tensor | None = unpack_dual(z).tangent
    require(tangent is not None, "no derivative in forward mode")
    close(torch.zeros_like(v) if tangent is None else tangent, 3 * psi, "derivative in forward mode", 1e-14)


def refuses_bad_numbers(name: str) -> None:
    """Options that are numbers have to be positive."""
    known = options(parts("surrogate")[name])
    numbers = [key for key, option in known.items() if isinstance(option.default, float)]
    _refuses("surrogate", name, [f"{key}={v}" for key in numbers for v in ("0.0", "-1.0", "1e999")])


def neuron_checks() -> list[tuple[str, Check]]:
    """All checks of a neuron, by name."""
    plain: list[Check] = [
        starts_at_rest, spikes_are_spikes, run_equals_ticks, dynamics_are_the_derivative, membrane_is_rounded,
        refuses_what_is_none,
    ]  # fmt: skip
    return [("says_what_it_is", says_what_it_is("neuron")), *((check.__name__, check) for check in plain)]


def surrogate_checks() -> list[tuple[str, Check]]:
    """All checks of a surrogate derivative, by name."""
    plain: list[Check] = [psi_is_a_derivative, fires_and_learns, refuses_bad_numbers]
    return [("says_what_it_is", says_what_it_is("surrogate")), *((check.__name__, check) for check in plain)]


def check_neuron(name: str) -> None:
    """Hold one registered neuron to the whole contract.

    Raises:
        AssertionError: naming what is broken.
    """
    run_all("neuron", name, neuron_checks())


def check_surrogate(name: str) -> None:
    """Hold one registered surrogate derivative to the whole contract.

    Raises:
        AssertionError: naming what is broken.
    """
    run_all("surrogate", name, surrogate_checks())
