"""Matrix products in bfloat16, on processors that multiply bfloat16 several times as fast as float32.

Such a product has about three decimal digits. That is enough for a small correction and for the size of a noise.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

ROWS, WEIGHTS = 32, 2**16
"""Least number of vectors, and of entries of the matrix, for which the conversion of the matrix pays."""

# torch.cpu.get_capabilities is missing in older versions of torch
_KNOWN: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
FAST: bool = bool(_KNOWN.get("avx512_bf16") or _KNOWN.get("amx_bf16"))
"""Whether the processor has instructions for bfloat16 products."""


def bf16_pays(v: Tensor, w: Tensor) -> bool:
    """Return whether ``v @ w`` is faster in bfloat16, the conversion of both included.

    Args:
        v: (B, n_in).
        w: (n_in, n_out).
    """
    if v.device.type != "cpu" or v.dtype != torch.float32:
        return False
    return len(v) >= ROWS and w.numel() >= WEIGHTS and FAST


def rough_product(v: Tensor, w: Tensor) -> Tensor:
    """Return the product v w, to three digits where that is faster, else to the precision of ``v``.

    Args:
        v: (B, n_in).
        w: (n_in, n_out), in the dtype of ``v`` or already in bfloat16.

    Returns:
        (B, n_out), in the dtype of ``v``.
    """
    if not bf16_pays(v, w):
        return torch.mm(v, w.to(v.dtype))
    return torch.mm(v.bfloat16(), w.bfloat16()).to(v.dtype)
