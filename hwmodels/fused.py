"""Writes as one compiled kernel: counts, noise, steps and bounds of every device in one pass over the memory.

An eager write runs over its matrices some forty times and stores its random numbers; compiled, it reads the cells once
and writes them once. It draws its numbers from a :class:`~hwmodels.draws.Key` and follows the same arithmetic, so that
an eager write with the same key gives the same cells but for rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from hwmodels.device import Cells, Device
from hwmodels.draws import Key
from hwmodels.errors import NeurofaError

if TYPE_CHECKING:
    from collections.abc import Mapping

Write = Callable[[Cells, Tensor, Tensor, Tensor], None]


def draw_key(gen: torch.Generator) -> Tensor:
    """The words of a key, (2,) int32 on the generator's device; nothing waits for it."""
    words = torch.randint(-(2**31), 2**31, (2,), generator=gen, device=gen.device)
    return words.to(torch.int32)


def write_in_place(device: Device, cells: Mapping[str, Tensor], weight: Tensor, change: Tensor, key: Tensor) -> None:
    """Write to the device, and leave the result in the tensors that are given.

    Args:
        device: its ``write`` is used; it may draw only through :mod:`hwmodels.draws`.
        cells: overwritten with the cells afterwards.
        weight: overwritten with their value.
        change: requested addition to the weights.
        key: from :func:`draw_key`.
    """
    # a device hands its generator on to the draws and does nothing else with it
    after = device.write(dict(cells), change, cast("torch.Generator", Key(key)))
    for name, cell in cells.items():
        if after[name] is not cell:
            cell.copy_(after[name])
    weight.copy_(device.value(after))


@functools.cache
def compiled(device: Device) -> Write:
    """:func:`write_in_place` of that device, compiled when it is first called and again for every new shape.

    Args:
        device: equal devices share one kernel.

    Returns:
        Function of cells, weight, change and key.

    Raises:
        NeurofaError: when called: there is no C++ compiler, or the device's ``write`` cannot be compiled.
    """
    kernel = torch.compile(functools.partial(write_in_place, device), fullgraph=True, dynamic=True)

    def write(cells: Cells, weight: Tensor, change: Tensor, key: Tensor) -> None:
        try:
            kernel(cells, weight, change, key)
        except (torch._dynamo.exc.TorchDynamoException, torch._inductor.exc.InductorError) as error:
            reason = str(error).strip().splitlines()[0]
            raise NeurofaError(
                f"got a write of {device.name} that cannot be compiled ({reason}); expected a C++ compiler and a device"
                " without Python control flow over tensors; leave out fused"
            ) from error

    return write
