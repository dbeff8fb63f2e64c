"""Functions compiled as one graph, with keys as their source of random numbers.

A compiled kernel reads its inputs once and writes its outputs once: everything between happens in registers. It draws
its numbers from a :class:`~hwmodels.numerics.random.Key` and does the same arithmetic as the eager function, so that
both give the same numbers for the same key but for rounding.
"""

from __future__ import annotations

import itertools
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError


def draw_key(gen: torch.Generator, count: int | None = None) -> Tensor:
    """Draw the words of a :class:`~hwmodels.numerics.random.Key`, without waiting for the device of the generator.

    Args:
        gen: source of the words.
        count: number of keys; None: one.

    Returns:
        (2,) int32 on the device of the generator; (count, 2) for several keys.
    """
    shape = (2,) if count is None else (count, 2)
    return torch.randint(-(2**31), 2**31, shape, generator=gen, device=gen.device).to(torch.int32)


def compile_whole(
    function: Callable[..., Any], what: str, part: str, *, dynamic: bool | None = None
) -> Callable[..., Any]:
    """Compile a function as one graph, at its first call and again for new shapes.

    Args:
        function: function of tensors that never waits for the content of one.
        what: name of the function in error messages.
        part: name of what must be without Python control flow in error messages.
        dynamic: one kernel for all shapes; None lets torch decide.

    Returns:
        The compiled function. Its call raises a NeurofaError where there is no C++ compiler, or where the function
        cannot be compiled.
    """
    kernel = torch.compile(_with_own_code(function), fullgraph=True, dynamic=dynamic)

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


_NUMBERS = itertools.count()


def _with_own_code(function: Callable[..., Any]) -> Callable[..., Any]:
    """Copy a function with its code: torch counts recompilations by code object, and stops after some."""
    assert isinstance(function, types.FunctionType)  # noqa: S101 (for the type; callers pass plain functions)
    code = function.__code__.replace(co_name=f"{function.__name__}_{next(_NUMBERS)}")
    copy = types.FunctionType(code, function.__globals__, code.co_name, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy
