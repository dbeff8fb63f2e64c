"""Torch's count of the FLOP that run, to compare with the products that layers and rules declare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten


class FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the FLOP of every matrix product that runs inside it, by the formulas of ``torch.utils.flop_counter``.

    Torch's ``FlopCounterMode`` itself cannot be used: it watches modules by hooks that ``torch.autograd.grad``, with
    which blocks pull their errors back, refuses. It also has no formulas for the attention kernels of the CPU; they get
    those of the same algorithm on a GPU.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flop = 0
        self.formulas: dict[Any, Callable[..., int]] = dict(flop_registry)
        for name, leading in (("", 3), ("_backward", 4)):
            on_gpu = flop_registry[getattr(aten, f"_scaled_dot_product_flash_attention{name}")]
            on_cpu = getattr(aten, f"_scaled_dot_product_flash_attention_for_cpu{name}")
            self.formulas[on_cpu] = _of_leading_arguments(on_gpu, leading)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        formula = self.formulas.get(func._overloadpacket)
        if formula is not None:
            self.flop += formula(*args, **kwargs, out_val=result)
        return result


def _of_leading_arguments(formula: Callable[..., int], leading: int) -> Callable[..., int]:
    """Return the formula of the first arguments alone: the CPU's kernels take others behind them."""

    def shorter(*args: Any, out_val: Any, **options: Any) -> int:  # noqa: ARG001
        return formula(*args[:leading], out_val=out_val)

    return shorter
