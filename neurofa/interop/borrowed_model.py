"""A foreign model during a conversion: kept as it is, in another number format for a while, or poisoned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from neurofa.core.network import Network


@contextmanager
def kept(model: nn.Module) -> Iterator[None]:
    """Give a model its modes, weights and buffers back at the end, and torch's global generators their states."""
    places = {p.device for p in model.parameters() if p.device.type == "cuda"}
    modes = [(part, part.training) for part in model.modules()]
    parameters = [(p, p.data) for p in model.parameters()]
    buffers = [(*slot, slot[2].clone()) for slot in _buffers(model)]
    try:
        with torch.random.fork_rng(devices=list(places)):
            yield
    finally:
        for part, training in modes:
            part.training = training
        for p, data in parameters:
            p.data = data
        for part, key, buffer, value in buffers:
            buffer.data.copy_(value)
            part._buffers[key] = buffer


@contextmanager
def in_dtype(model: nn.Module, network: Network, dtype: torch.dtype) -> Iterator[bool]:
    """Convert the floating-point tensors of a model and a network, and give the model its own back at the end.

    Args:
        model: its tensors are exchanged inside its parameters, so that whatever refers to these sees the change.
        network: is converted for good.
        dtype: for the time inside.

    Yields:
        Whether both could be converted.
    """
    with kept(model):
        able = True
        try:
            network.to(dtype)
            for p in model.parameters():
                p.data = p.data.to(dtype) if p.is_floating_point() else p.data
            for part, key, buffer in _buffers(model):
                part._buffers[key] = buffer.to(dtype) if buffer.is_floating_point() else buffer
        except (RuntimeError, TypeError):
            able = False
        yield able


@contextmanager
def poisoned(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Fill weights and buffers of modules with NaN and turn their modes round, for a copy that must not use them."""
    with ExitStack() as stack:
        for module in modules:
            stack.enter_context(kept(module))
            for p in module.parameters():
                p.data = _nan(p.data)
            for part, key, buffer in _buffers(module):
                part._buffers[key] = _nan(buffer)
            for part in module.modules():
                part.training = not part.training
        yield


def _buffers(model: nn.Module) -> list[tuple[nn.Module, str, Tensor]]:
    return [(part, key, b) for part in model.modules() for key, b in part._buffers.items() if b is not None]


def _nan(tensor: Tensor) -> Tensor:
    return tensor.new_full((), torch.nan).expand_as(tensor) if tensor.is_floating_point() else tensor
