"""Neurons and surrogate derivatives of snnTorch as ours, and back."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from hwmodels.errors import NeurofaError
from neurofa.neurons.lif import LIF, LeakyIntegrator
from neurofa.neurons.synaptic import Synaptic
from neurofa.spiking.neuron import Neuron
from neurofa.spiking.surrogate import ATan, FastSigmoid, SigmoidSurrogate, StraightThrough, Surrogate

NEURONS = ("Leaky", "RLeaky", "Synaptic")
"""Classes of snnTorch that have the same neuron here."""
SURROGATES: dict[str, tuple[type[Surrogate], str | None]] = {
    "atan": (ATan, "alpha"),
    "fast_sigmoid": (FastSigmoid, "slope"),
    "sigmoid": (SigmoidSurrogate, "slope"),
    "straight_through_estimator": (StraightThrough, None),
}
"""Functions of ``snntorch.surrogate``, the class here, and the one parameter of both."""


def library() -> ModuleType:
    """The package ``snntorch``.

    Raises:
        NeurofaError: it is not installed.
    """
    try:
        import snntorch
    except ImportError:
        raise NeurofaError(
            'got no package snntorch; expected it for networks of snnTorch; do: pip install "neurofa[spikes]"'
        ) from None
    found: ModuleType = snntorch
    return found


def fires(module: nn.Module) -> bool:
    """Whether a module is a neuron of snnTorch, of whatever kind."""
    snn = library()
    return isinstance(module, snn.SpikingNeuron | snn.LeakyParallel)


def neuron_of(module: Any, where: str, *, membrane: bool) -> Neuron:
    """The neuron here that does what a module of snnTorch does, without recurrent weights.

    Args:
        module: a ``Leaky``, ``RLeaky`` or ``Synaptic``. Decays and thresholds that it would learn stay as they are.
        where: its name, for messages.
        membrane: whether its potential is asked for, not its spikes.

    Raises:
        NeurofaError: another class, an option without counterpart, or coefficients that differ among neurons.
    """
    snn = library()
    kind = type(module).__name__
    if type(module) not in [getattr(snn, name) for name in NEURONS]:
        raise NeurofaError(
            f"got a neuron of class {kind} at '{where}'; expected {', '.join(NEURONS)}; use one of these, or train the"
            " network with snnTorch"
        )
    for option in ("inhibition", "state_quant", "surrogate_disable"):
        if getattr(module, option):
            raise NeurofaError(f"got {kind}({option}) at '{where}'; expected neurons without it; leave it away")
    if _number(module.graded_spikes_factor, "graded_spikes_factor", where) != 1:
        raise NeurofaError(f"got {kind}(graded_spikes_factor) at '{where}'; expected spikes of 1; scale the weights")
    # snnTorch clamps at every tick what it is given
    beta = min(max(_number(module.beta, "beta", where), 0.0), 1.0)
    if membrane:
        if kind != "Leaky" or module.reset_mechanism != "none":
            raise NeurofaError(
                f"got readout='membrane' for a {kind} with reset_mechanism='{module.reset_mechanism}' at '{where}';"
                " expected a Leaky that integrates without reset; use reset_mechanism='none', or readout='spikes'"
            )
        return LeakyIntegrator(kappa=beta)
    reset, delay = module.reset_mechanism, bool(module.reset_delay)
    threshold = _number(module.threshold, "threshold", where)
    surrogate = surrogate_of(module.spike_grad, where)
    if kind == "Synaptic":
        alpha = min(max(_number(module.alpha, "alpha", where), 0.0), 1.0)
        return Synaptic(alpha=alpha, beta=beta, threshold=threshold, reset=reset, delay=delay, surrogate=surrogate)
    gated = kind == "RLeaky" and reset == "zero"
    return LIF(beta=beta, threshold=threshold, reset=reset, delay=delay, gated=gated, surrogate=surrogate)


def recurrence_of(module: Any, width: int, where: str) -> tuple[Tensor, Tensor] | None:
    """Weights (n, n) and biases (n,) among the neurons of an ``RLeaky``; None: it is another neuron.

    One-to-one weights become a diagonal matrix, which learns in all its places.

    Args:
        module: the neuron.
        width: n.
        where: its name, for messages.
    """
    if type(module).__name__ != "RLeaky":
        return None
    inner = module.recurrent
    if isinstance(inner, nn.Linear):
        weight = inner.weight.detach()
        return weight, inner.bias.detach()
    if isinstance(inner, nn.Conv2d):
        raise NeurofaError(
            f"got a recurrent convolution at '{where}'; expected recurrent weights of a vector; use linear_features"
        )
    among = inner.V.detach()
    if among.numel() not in (1, width):
        raise NeurofaError(f"got V of shape {tuple(among.shape)} at '{where}'; expected 1 or {width} numbers; change V")
    row = among.reshape(-1).expand(width)
    return torch.diag(row), torch.zeros_like(row)


def module_of(neuron: Neuron, width: int, where: str, *, recurrent: Tensor | None, output: bool) -> nn.Module:
    """A module of snnTorch, with hidden states, that does what a neuron does.

    Args:
        neuron: ``lif``, ``synaptic``, or, at the output, ``leaky``, whose potential is then the network's output.
        width: n, neurons of a layer of vectors.
        where: name of the layer.
        recurrent: (n, n) weights among the neurons; None: none.
        output: whether the module also returns its states.

    Raises:
        NeurofaError: snnTorch has no such neuron.
    """
    snn = library()
    common: dict[str, Any] = {"init_hidden": True, "output": output}
    if neuron.membrane.name != "raw":
        raise _no(f"{neuron.name} neurons with potentials in {neuron.membrane.name}", where, "membrane=raw")
    if isinstance(neuron, LeakyIntegrator) and output and recurrent is None:
        found = snn.Leaky(beta=neuron.kappa, reset_mechanism="none", **common)
    elif isinstance(neuron, LIF):
        if neuron.reset == "zero" and neuron.gated != (recurrent is not None):
            raise _no(f"lif(reset=zero, gated={neuron.gated})", where, "gated neurons where they are recurrent alone")
        common |= _firing(neuron, where)
        if recurrent is None:
            found = snn.Leaky(beta=neuron.beta, **common)
        else:
            found = snn.RLeaky(beta=neuron.beta, linear_features=width, **common)
            found.recurrent.weight.data.copy_(recurrent)
            found.recurrent.bias.data.zero_()
    elif isinstance(neuron, Synaptic) and recurrent is None:
        found = snn.Synaptic(alpha=neuron.alpha, beta=neuron.beta, **common, **_firing(neuron, where))
    else:
        kind = f"recurrent {neuron.name}" if recurrent is not None else neuron.name
        raise _no(f"{kind} neurons", where, "lif, recurrent lif, synaptic, or leaky at the output")
    made: nn.Module = found
    return made


def surrogate_of(function: Any, where: str) -> Surrogate:
    """The surrogate behind a closure of ``snntorch.surrogate``, with its parameter.

    Raises:
        NeurofaError: another function.
    """
    module, _, name = getattr(function, "__qualname__", "").partition(".<locals>.")
    if getattr(function, "__module__", "") == "snntorch.surrogate" and name == "inner" and module in SURROGATES:
        kind, parameter = SURROGATES[module]
        if parameter is None:
            return kind()
        names, cells = function.__code__.co_freevars, function.__closure__
        return kind(**{parameter: float(cells[names.index(parameter)].cell_contents)})
    raise NeurofaError(
        f"got the surrogate {module or type(function).__name__} at '{where}'; expected one of {', '.join(SURROGATES)}"
        " of snntorch.surrogate; use one of them"
    )


def _firing(neuron: LIF | Synaptic, where: str) -> dict[str, Any]:
    """What all firing neurons have in common."""
    from snntorch import surrogate as functions

    for name, (kind, parameter) in SURROGATES.items():
        if type(neuron.surrogate) is kind:
            options = {} if parameter is None else {parameter: getattr(neuron.surrogate, parameter)}
            function = getattr(functions, name)(**options)
            return {
                "threshold": neuron.threshold,
                "reset_mechanism": neuron.reset,
                "reset_delay": neuron.delay,
                "spike_grad": function,
            }
    raise _no(f"surrogate {neuron.surrogate.name}", where, "atan, fast_sigmoid, sigmoid or straight_through")


def _number(value: Tensor, name: str, where: str) -> float:
    """The one number that a coefficient of snnTorch holds."""
    numbers = value.detach().reshape(-1)
    if not bool((numbers == numbers[0]).all()):
        raise NeurofaError(
            f"got {len(set(numbers.tolist()))} different values of {name} at '{where}'; expected one for all neurons"
            " of a layer; use one value, or one layer for each"
        )
    return float(numbers[0])


def _no(got: str, where: str, expected: str) -> NeurofaError:
    return NeurofaError(f"got {got} at layer '{where}' for snnTorch; expected {expected}; change the layer")
