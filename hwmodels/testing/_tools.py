"""What the contract checks share: drawn weights, comparisons, and a guard against waiting for the host."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from hwmodels.device import Cells

Part = TypeVar("Part")
SHAPES: tuple[tuple[int, ...], ...] = ((48, 32), (24,), (8, 4, 3, 3))
DTYPES = (torch.float32, torch.float64)


class NoHost(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuse the operations that bring a tensor's contents to the host."""

    _waiting = ("_local_scalar_dense", "nonzero", "is_nonzero", "masked_select", "_unique2", "equal")

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        indices = args[1] if name in ("index", "index_put", "index_put_") else ()
        masked = any(isinstance(i, Tensor) and i.dtype == torch.bool for i in indices)
        expect(name not in self._waiting and not masked, f"got {name}, which waits for the host; expected tensors only")
        return func(*args, **(kwargs or {}))


def named(checks: list[Callable[[Part], None]]) -> list[tuple[str, Callable[[Part], None]]]:
    """The checks with their names, without the word for the kind."""
    return [(check.__name__.partition("_")[2], check) for check in checks]


def generator(seed: int = 1) -> torch.Generator:
    """A generator of its own."""
    return torch.Generator().manual_seed(seed)


def weights(shape: tuple[int, ...] = (48, 32), dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    """Uniform in +-1/sqrt(fan_in), as a layer draws them."""
    drawn = torch.rand(shape, generator=generator(seed), dtype=torch.float32).mul_(2).sub_(1)
    return drawn.div_(math.sqrt(math.prod(shape[1:]))).to(dtype)


def copy(tensors: Cells) -> Cells:
    """Cells that share no memory with these."""
    return {key: tensor.clone() for key, tensor in tensors.items()}


def same(a: Tensor | Cells, b: Tensor | Cells, what: str) -> None:
    """Expect bit-equal tensors or cells."""
    first, second = (x if isinstance(x, dict) else {"": x} for x in (a, b))
    equal = first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
    expect(equal, f"got {what}; expected bit-equal tensors")


def expect(holds: bool, message: str) -> None:
    """Raise an ``AssertionError`` with the message unless it holds; python -O does not skip it."""
    if not holds:
        raise AssertionError(message)
