"""Device writes as compiled kernels.

An eager write passes over its matrices some forty times and stores its random numbers; a compiled one reads the cells
once and writes them once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor

from hwmodels.device import Cells, Device
from hwmodels.numerics.compiled import compile_whole
from hwmodels.numerics.random import Key

Write = Callable[[Cells, Tensor, Tensor, Tensor], None]


def write_in_place(device: Device, cells: Mapping[str, Tensor], weight: Tensor, change: Tensor, key: Tensor) -> None:
    """Write to the device, and store the result in the given tensors.

    Args:
        device: the device, whose ``write`` may draw only through :mod:`hwmodels.numerics.random`.
        cells: overwritten with the cells afterwards.
        weight: overwritten with their value.
        change: requested addition to the weights.
        key: words from :func:`~hwmodels.numerics.compiled.draw_key`, the source of all random numbers.
    """
    # a device passes its generator on to the draws and does nothing else with it
    after = device.write(dict(cells), change, cast("torch.Generator", Key(key)))
    for name, cell in cells.items():
        if after[name] is not cell:
            cell.copy_(after[name])
    weight.copy_(device.value(after))


@functools.cache
def compiled_write(device: Device) -> Write:
    """Return :func:`write_in_place` of a device, compiled at its first call and again for every new shape.

    Args:
        device: equal devices share one kernel.

    Returns:
        Function of cells, weight, change and key. Its call raises a NeurofaError where there is no C++ compiler, or
        where the device's ``write`` cannot be compiled.
    """

    def write(cells: Cells, weight: Tensor, change: Tensor, key: Tensor) -> None:
        write_in_place(device, cells, weight, change, key)

    return compile_whole(write, f"a write of {device.name}", "a device", dynamic=True)
