"""Tools of the contract checks: test weights, comparisons, and a guard against waiting for the host."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

Part = TypeVar("Part")
SHAPES: tuple[tuple[int, ...], ...] = ((48, 32), (24,), (8, 4, 3, 3))
DTYPES = (torch.float32, torch.float64)


class NoHost(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuse the operations that bring the contents of a tensor to the host."""

    _waiting = ("_local_scalar_dense", "nonzero", "is_nonzero", "masked_select", "_unique2", "equal")

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        indices = args[1] if name in ("index", "index_put", "index_put_") else ()
        masked = any(isinstance(i, Tensor) and i.dtype == torch.bool for i in indices)
        waits = name in self._waiting or masked
        require(not waits, f"got {name}, which waits for the host; expected operations on tensors only")
        return func(*args, **(kwargs or {}))


def named(checks: list[Callable[[Part], None]]) -> list[tuple[str, Callable[[Part], None]]]:
    """Return the checks with their names, without the word for the kind."""
    return [(check.__name__.partition("_")[2], check) for check in checks]


def seeded(seed: int = 1) -> torch.Generator:
    """Return a new CPU generator with that seed."""
    return torch.Generator().manual_seed(seed)


def layer_weights(shape: tuple[int, ...] = (48, 32), dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    """Return weights uniform in +-1/sqrt(fan_in), as a layer draws them.

    Args:
        shape: fan_in is the product of all axes but the first.
        dtype: the numbers are the same for every dtype, but for rounding.
        seed: seed of the draw.
    """
    drawn = torch.rand(shape, generator=seeded(seed), dtype=torch.float32).mul_(2).sub_(1)
    return drawn.div_(math.sqrt(math.prod(shape[1:]))).to(dtype)


def require(holds: bool, message: str) -> None:
    """Raise an ``AssertionError`` with the message unless the condition holds; python -O does not skip it."""
    if not holds:
        raise AssertionError(message)


def require_equal(ours: Tensor | Mapping[str, Tensor], theirs: Tensor | Mapping[str, Tensor], what: str) -> None:
    """Require two tensors, or two sets of named tensors, to be bit-equal.

    Args:
        ours: tensor or tensors by name.
        theirs: the same, to compare with.
        what: what is compared, for the message.
    """
    first, second = ({"": x} if isinstance(x, Tensor) else x for x in (ours, theirs))
    odd = sorted(set(first) ^ set(second))
    require(list(first) == list(second), f"{what}: got {odd} on one side only; expected the same tensors in one order")
    for key, value in first.items():
        place = f" in '{key}'" if key else ""
        require(torch.equal(value, second[key]), f"{what}: got other numbers{place}; expected bit-equal tensors")
