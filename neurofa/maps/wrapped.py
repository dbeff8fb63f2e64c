"""What a foreign module is made of: a copy with tensors of its own, its matrices, and what its forward does."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.conv import _ConvNd

from hwmodels.errors import NeurofaError
from neurofa.maps.seeded import Seeded, borrowed

MULTIPLIED: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Linear: ("weight",),
    _ConvNd: ("weight",),
    nn.Bilinear: ("weight",),
    nn.RNNBase: ("weight_ih_", "weight_hh_", "weight_hr_"),
    nn.RNNCellBase: ("weight_ih", "weight_hh"),
    nn.MultiheadAttention: ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"),
}
"""Names of the matrices by which modules multiply their input; of recurrent modules the begin of the names."""
DERIVED = ("_orig", "_g", "_v")
"""Ends of the names of weights from which torch's old pruning and normalisation compute the matrix that multiplies."""


def independent_copy(module: nn.Module) -> nn.Module:
    """Return a deep copy that shares no tensor with the module, which stays as it is.

    Weights that pruning, weight and spectral normalisation compute again in every pass can be copied too.

    Args:
        module: any module.

    Raises:
        NeurofaError: a part of the module cannot be copied, or has no weights yet.
    """
    refuse_lazy(module)
    # tensors computed from weights are no leaves, and torch copies leaves only
    memo = {
        id(value): value.detach().clone()
        for part in module.modules()
        for value in vars(part).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    try:
        return copy.deepcopy(module, memo)
    except (RuntimeError, TypeError, AttributeError, copy.Error) as error:
        raise NeurofaError(
            f"got a {type(module).__name__} that cannot be copied ({first_line(error)}); expected a module whose parts"
            " copy.deepcopy takes; remove generators, locks and open files from it"
        ) from None


def refuse_lazy(module: nn.Module) -> None:
    """Refuse a module whose weights have no shape yet.

    Raises:
        NeurofaError: naming the first such part.
    """
    for name, part in module.named_modules():
        if any(nn.parameter.is_lazy(t) for t in (*part._parameters.values(), *part._buffers.values()) if t is not None):
            where = f" at '{name}'" if name else ""
            raise NeurofaError(
                f"got a {type(part).__name__}{where} without weights; expected one whose shapes are known; call the"
                " model once before"
            )


def weight_names(module: nn.Module, kinds: Mapping[type[nn.Module], tuple[str, ...]]) -> set[str]:
    """Return the names, as in ``named_parameters``, of weights that parts of some kinds hold.

    Args:
        module: any module; nothing is computed.
        kinds: names of the weights by the class of the part that holds them; a name that ends in ``_`` is a begin.
    """
    name_of = {id(p): name for name, p in module.named_parameters()}  # of a shared weight: its first name
    found = set()
    for part in module.modules():
        wanted = tuple(name for kind, names in kinds.items() if isinstance(part, kind) for name in names)
        for key, p in part._parameters.items():
            known = key in wanted or any(key.startswith(begin) for begin in wanted if begin.endswith("_"))
            if p is not None and known and not key.endswith(DERIVED):
                found.add(name_of[id(p)])
    return found


class Behaviour(NamedTuple):
    """What the forward of a module does besides computing its output."""

    writes: bool
    """Whether it changes its input in place."""
    drops: dict[bool, bool]
    """Whether plain dropout draws a mask, by the mode (True: training)."""
    draws: dict[bool, bool]
    """Whether anything else draws random numbers, by the mode."""


@torch.no_grad()
def behaviour_of(module: nn.Module, tensors: Mapping[str, Tensor], x: Tensor) -> Behaviour | None:
    """Run a module once in each mode, and return what its forward does; None: it cannot be run on this input.

    Args:
        module: its modes are restored.
        tensors: parameters and buffers by name; they are not changed.
        x: (B, *in_shape); not changed.
    """
    kept = [(part, part.training) for part in module.modules()]
    writes, drops, draws = False, {}, {}
    try:
        for training in (False, True):
            module.train(training)
            gen = torch.Generator(x.device).manual_seed(0)
            first = gen.get_state()
            own = x.clone()
            version = own._version
            with borrowed(x.device, 0) as loan, Seeded(gen):
                functional_call(module, {k: v.clone() for k, v in tensors.items()}, (own,))
                draws[training] = loan.used
            drops[training] = not torch.equal(gen.get_state(), first)
            writes = writes or own._version != version
    except Exception:
        return None
    finally:
        for part, mode in kept:
            part.training = mode
    return Behaviour(writes, drops, draws)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or the name of its class."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
