"""Torch modules as they are found in a model: whether they are torch's own, unchanged, and what they share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hwmodels.errors import NeurofaError

Named = tuple[str, nn.Module]
"""A module with its name in the model."""


class Numbers(NamedTuple):
    """Where and how the numbers of a model are stored."""

    dtype: torch.dtype
    device: torch.device


def unchanged(module: nn.Module) -> bool:
    """Return whether a module computes what its class in ``torch.nn`` does.

    It is no subclass (parametrised modules are), has no hooks, and no method of its own.
    """
    return type(module).__module__.startswith("torch.nn.modules.") and not _touched(module)


def passes_through(module: nn.Module) -> bool:
    """Return whether a module is an ``nn.Sequential`` that calls its children in turn and does nothing else."""
    if not isinstance(module, nn.Sequential) or module._parameters or module._buffers or _touched(module):
        return False
    methods = ("forward", "__call__", "__iter__")
    return all(getattr(type(module), name) is getattr(nn.Sequential, name) for name in methods)


def _touched(module: nn.Module) -> bool:
    """Return whether a module has hooks, or attributes that replace methods of its class."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    if any(getattr(module, name) for name in hooks):
        return True
    return any(callable(getattr(type(module), key, None)) for key in vars(module))


def flat(model: nn.Module, prefix: str = "") -> Iterator[Named]:
    """Return the modules of a sequential model in the order of their calls; only plain ``nn.Sequential`` are opened.

    Args:
        model: whose children are called in turn.
        prefix: of the names.
    """
    # not named_children, which leaves out a module that is used a second time
    for name, module in model._modules.items():
        if module is None:
            continue
        if passes_through(module):
            yield from flat(module, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", module


def refuse_sharing(modules: Sequence[Named]) -> None:
    """Refuse modules that share a weight or a buffer, which layers of their own would no longer do.

    Args:
        modules: in the order of their calls.

    Raises:
        NeurofaError: naming both modules.
    """
    owner: dict[int, tuple[str, str]] = {}
    for name, module in modules:
        own = {}
        for key, tensor in (*module.named_parameters(), *module.named_buffers()):
            where = tensor.untyped_storage().data_ptr() if tensor.numel() else id(tensor)
            if where in owner:
                first, first_key = owner[where]
                raise NeurofaError(
                    f"got '{first_key}' of module '{first}' and '{key}' of module '{name}' that are one tensor;"
                    " expected weights of its own in every layer; put the modules that share it into one Block"
                )
            own[where] = (name, key)
        owner |= own


def numbers_of(modules: Sequence[nn.Module]) -> Numbers:
    """Return dtype and place of the floating-point tensors of modules.

    Raises:
        NeurofaError: they differ.
    """
    tensors: list[Tensor] = [t for m in modules for t in (*m.parameters(), *m.buffers()) if t.is_floating_point()]
    found = {Numbers(t.dtype, t.device) for t in tensors}
    if len(found) > 1:
        raise NeurofaError(
            f"got weights in {', '.join(sorted(f'{n.dtype} on {n.device}' for n in found))}; expected one dtype and one"
            " place; convert the model by model.to(...)"
        )
    return found.pop() if found else Numbers(torch.float32, torch.device("cpu"))
