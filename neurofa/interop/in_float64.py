"""A model in another number format for a while, as for comparisons that rounding must not disturb."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from neurofa.core.network import Network


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
    modes = [(part, part.training) for part in model.modules()]
    parameters = [(p, p.data) for p in model.parameters()]
    buffers = [(part, key, b, b.clone()) for part in model.modules() for key, b in part._buffers.items() if b is not None]
    able = True
    try:
        try:
            network.to(dtype)
            for p, data in parameters:
                p.data = data.to(dtype) if data.is_floating_point() else data
            for part, key, buffer, _ in buffers:
                part._buffers[key] = buffer.to(dtype) if buffer.is_floating_point() else buffer
        except (RuntimeError, TypeError):
            able = False
        yield able
    finally:
        for part, training in modes:
            part.training = training
        for p, data in parameters:
            p.data = data
        for part, key, buffer, value in buffers:
            buffer.data.copy_(value)
            part._buffers[key] = buffer
