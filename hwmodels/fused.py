"""Writes and products as compiled kernels: all that happens to a number happens while it is in a register.

An eager write runs over its matrices some forty times and stores its random numbers; compiled, it reads the cells once
and writes them once. What stands around an eager product (converters, noise) runs some twenty times over inputs and
outputs; compiled, it is a kernel before the product and one behind it. Both draw their numbers from a
:class:`~hwmodels.numerics.random.Key` and follow the same arithmetic, so that an eager write or product with the
same key gives the same numbers but for rounding (a number between two levels of a converter may fall to either).
"""

from __future__ import annotations

import functools
import itertools
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from hwmodels.arrays.product import analog_product
from hwmodels.device import Cells, Device
from hwmodels.errors import NeurofaError
from hwmodels.numerics.random import Key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hwmodels.arrays.periphery import Periphery

Write = Callable[[Cells, Tensor, Tensor, Tensor], None]
Product = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


def draw_key(gen: torch.Generator, count: int | None = None) -> Tensor:
    """The words of a key, (2,) int32 on the generator's device, or of several, (count, 2); nothing waits for it."""
    shape = (2,) if count is None else (count, 2)
    return torch.randint(-(2**31), 2**31, shape, generator=gen, device=gen.device).to(torch.int32)


def write_in_place(device: Device, cells: Mapping[str, Tensor], weight: Tensor, change: Tensor, key: Tensor) -> None:
    """Write to the device, and leave the result in the tensors that are given.

    Args:
        device: its ``write`` is used; it may draw only through :mod:`hwmodels.numerics.random`.
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

    def write(cells: Cells, weight: Tensor, change: Tensor, key: Tensor) -> None:
        write_in_place(device, cells, weight, change, key)

    kernel = torch.compile(_apart(write), fullgraph=True, dynamic=True)
    return _told(kernel, f"a write of {device.name}", "a device")


@functools.cache
def compiled_product(io: Periphery) -> Product:
    """Return :func:`~hwmodels.arrays.product.analog_product` of a periphery, compiled at its first call for each shape.

    Args:
        io: equal peripheries share one kernel.

    Returns:
        Function of x, w and the largest weight as they are there, and of a key (None where nothing is noisy).

    Raises:
        NeurofaError: when called: there is no C++ compiler.
    """

    def product(x: Tensor, w: Tensor, unit: Tensor, key: Tensor | None) -> Tensor:
        return analog_product(io, x, w, None if key is None else Key(key), unit)

    return compiled_whole(product, f"a product of {io.name}", "a periphery")


def compiled_whole(function: Callable[..., Any], what: str, part: str) -> Callable[..., Any]:
    """A function as one graph, compiled when it is first called and for new shapes.

    Args:
        function: of tensors; waits for none of them.
        what: it is, in a complaint.
        part: what must be without Python control flow, in a complaint.

    Raises:
        NeurofaError: when called: there is no C++ compiler, or the function cannot be compiled.
    """
    return _told(torch.compile(_apart(function), fullgraph=True), what, part)


_NUMBERS = itertools.count()


def _apart(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function with code of its own: torch counts recompilations by code, and stops after some."""
    assert isinstance(function, types.FunctionType)  # noqa: S101 (for the type; callers pass plain functions)
    code = function.__code__.replace(co_name=f"{function.__name__}_{next(_NUMBERS)}")
    made = types.FunctionType(code, function.__globals__, code.co_name, function.__defaults__, function.__closure__)
    made.__kwdefaults__ = function.__kwdefaults__
    return made


def _told(kernel: Callable[..., Any], what: str, part: str) -> Callable[..., Any]:
    """The kernel, with its compiler's complaints in words."""

    def call(*args: object) -> Any:
        try:
            return kernel(*args)
        except (torch._dynamo.exc.TorchDynamoException, torch._inductor.exc.InductorError) as error:
            reason = str(error).strip().splitlines()[0]
            raise NeurofaError(
                f"got {what} that cannot be compiled ({reason}); expected a C++ compiler and {part} without Python"
                " control flow over tensors; leave out fused"
            ) from error

    return call
