"""Conversion of neurons and surrogate derivatives between snnTorch and this package."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from hwmodels.errors import NeurofaError
from neurofa.neurons.lif import LIF, LeakyIntegrator
from neurofa.neurons.synaptic import Synaptic
from neurofa.spiking.constants import Constant, plain
from neurofa.spiking.neuron import Neuron
from neurofa.spiking.surrogate import ATan, FastSigmoid, SigmoidSurrogate, StraightThrough, Surrogate

NEURONS = ("Leaky", "RLeaky", "Synaptic")
"""Supported neuron classes of snnTorch."""
SURROGATES: dict[str, tuple[type[Surrogate], str | None]] = {
    "atan": (ATan, "alpha"),
    "fast_sigmoid": (FastSigmoid, "slope"),
    "sigmoid": (SigmoidSurrogate, "slope"),
    "straight_through_estimator": (StraightThrough, None),
}
"""Class of this package and common parameter for every supported function of ``snntorch.surrogate``."""


def library() -> ModuleType:
    """Return the package ``snntorch``.

    Raises:
        NeurofaError: it is not installed.
    """
    try:
        import snntorch
    except ImportError:
        raise NeurofaError(
            'got no package snntorch; expected it for networks of snnTorch; do: pip install "neurofa[spikes]"'
        ) from None
    package: ModuleType = snntorch
    return package


def fires(module: nn.Module) -> bool:
    """Return whether a module is a neuron of snnTorch, whether or not this package supports it."""
    snn = library()
    return isinstance(module, snn.SpikingNeuron | snn.LeakyParallel)


def neuron_of(module: Any, where: str, *, membrane: bool) -> Neuron:
    """Return the neuron model that equals a snnTorch module, without recurrent weights.

    Args:
        module: a ``Leaky``, ``RLeaky`` or ``Synaptic``. Learnable decays and thresholds become constants.
        where: its name, for messages.
        membrane: whether the output is the potential instead of spikes.

    Raises:
        NeurofaError: another class, or an option without counterpart.
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
            raise NeurofaError(f"got {kind}({option}) at '{where}'; expected neurons without it; remove it")
    if _number(module.graded_spikes_factor, "graded_spikes_factor", where) != 1:
        raise NeurofaError(f"got {kind}(graded_spikes_factor) at '{where}'; expected spikes of 1; scale the weights")
    # snnTorch clamps decays in every tick
    beta = _constant(module.beta.detach().clamp(0, 1))
    if membrane:
        if kind != "Leaky" or module.reset_mechanism != "none":
            raise NeurofaError(
                f"got readout='membrane' for a {kind} with reset_mechanism='{module.reset_mechanism}' at '{where}';"
                " expected a Leaky that integrates without reset; use reset_mechanism='none', or readout='spikes'"
            )
        return LeakyIntegrator(kappa=beta)
    reset, delay = module.reset_mechanism, bool(module.reset_delay)
    threshold = _constant(module.threshold)
    surrogate = surrogate_of(module.spike_grad, where)
    if kind == "Synaptic":
        alpha = _constant(module.alpha.detach().clamp(0, 1))
        return Synaptic(alpha=alpha, beta=beta, threshold=threshold, reset=reset, delay=delay, surrogate=surrogate)
    gated = kind == "RLeaky" and reset == "zero"
    return LIF(beta=beta, threshold=threshold, reset=reset, delay=delay, gated=gated, surrogate=surrogate)


def recurrence_of(module: Any, width: int, where: str) -> tuple[Tensor, Tensor] | None:
    """Return recurrent weights (n, n) and biases (n,) of an ``RLeaky``; None: the neuron is of another class.

    One-to-one weights become a diagonal matrix, all of whose elements learn.

    Args:
        module: the neuron.
        width: n, number of neurons.
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
    """Return the snnTorch module, with hidden states, that equals a neuron model.

    Args:
        neuron: ``lif``, ``synaptic``, or, at the output, ``leaky``, whose potential is then the network's output.
        width: n, number of neurons.
        where: name of the layer, for messages.
        recurrent: (n, n) recurrent weights; None: none.
        output: whether the module also returns its states.

    Raises:
        NeurofaError: snnTorch has no such neuron.
    """
    snn = library()
    common: dict[str, Any] = {"init_hidden": True, "output": output}
    if neuron.membrane.name != "raw":
        raise _no(f"{neuron.name} neurons with potentials in {neuron.membrane.name}", where, "membrane=raw")
    if isinstance(neuron, LeakyIntegrator) and output and recurrent is None:
        module = snn.Leaky(beta=_plain(neuron.kappa), reset_mechanism="none", **common)
    elif isinstance(neuron, LIF):
        if neuron.reset == "zero" and neuron.gated != (recurrent is not None):
            raise _no(f"lif(reset=zero, gated={neuron.gated})", where, "gated neurons where they are recurrent alone")
        common |= _firing(neuron, where)
        if recurrent is None:
            module = snn.Leaky(beta=_plain(neuron.beta), **common)
        else:
            module = snn.RLeaky(beta=_plain(neuron.beta), linear_features=width, **common)
            module.recurrent.weight.data.copy_(recurrent)
            module.recurrent.bias.data.zero_()
    elif isinstance(neuron, Synaptic) and recurrent is None:
        module = snn.Synaptic(alpha=_plain(neuron.alpha), beta=_plain(neuron.beta), **common, **_firing(neuron, where))
    else:
        kind = f"recurrent {neuron.name}" if recurrent is not None else neuron.name
        raise _no(f"{kind} neurons", where, "lif, recurrent lif, synaptic, or leaky at the output")
    converted: nn.Module = module
    return converted


def surrogate_of(function: Any, where: str) -> Surrogate:
    """Return the surrogate of a closure of ``snntorch.surrogate``, with its parameter.

    Args:
        function: the closure.
        where: name of the neuron, for messages.

    Raises:
        NeurofaError: an unsupported function.
    """
    # snnTorch keeps the parameter only in the closure of a function named "inner"
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
    """Return the options shared by all spiking neurons of snnTorch."""
    from snntorch import surrogate as functions

    for name, (kind, parameter) in SURROGATES.items():
        if type(neuron.surrogate) is kind:
            options = {} if parameter is None else {parameter: getattr(neuron.surrogate, parameter)}
            function = getattr(functions, name)(**options)
            return {
                "threshold": _plain(neuron.threshold),
                "reset_mechanism": neuron.reset,
                "reset_delay": neuron.delay,
                "spike_grad": function,
            }
    raise _no(f"surrogate {neuron.surrogate.name}", where, "atan, fast_sigmoid, sigmoid or straight_through")


def _constant(value: Tensor) -> Tensor | float:
    """Return a snnTorch coefficient as a neuron here takes it: a number, or one for each neuron in double precision."""
    values = value.detach().double()
    first = float(values.reshape(-1)[0])
    return first if bool((values == first).all()) else values


def _plain(value: Constant) -> Tensor | float:
    """Return a constant as snnTorch takes it: a number, or one for each neuron in single precision."""
    values = plain(value)
    return values.float() if isinstance(values, Tensor) else values


def _number(value: Tensor, name: str, where: str) -> float:
    """Return the value of a snnTorch coefficient, which has to be the same for all neurons."""
    numbers = value.detach().reshape(-1)
    if not bool((numbers == numbers[0]).all()):
        raise NeurofaError(
            f"got {len(set(numbers.tolist()))} different values of {name} at '{where}'; expected one for all neurons"
            " of a layer; use one value, or one layer for each"
        )
    return float(numbers[0])


def _no(got: str, where: str, expected: str) -> NeurofaError:
    return NeurofaError(f"got {got} at layer '{where}' for snnTorch; expected {expected}; change the layer")
