"""Products in bfloat16, on processors that multiply it several times as fast as float32.

Such a product has about three digits. It serves where that is enough: for a small correction, and for the size of a
noise.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

ROWS, WEIGHTS = 32, 2**16
"""From how many vectors and how large a matrix the products are worth the conversion of the matrix."""


# older versions of torch do not tell
_KNOWN: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
FAST: bool = bool(_KNOWN.get("avx512_bf16") or _KNOWN.get("amx_bf16"))
"""Whether the processor has such products."""


def pays(v: Tensor, w: Tensor) -> bool:
    """Whether ``v @ w`` is faster in bfloat16, with the conversion of both.

    Args:
        v: (B, n_in).
        w: (n_in, n_out).
    """
    if v.device.type != "cpu" or v.dtype != torch.float32:
        return False
    return len(v) >= ROWS and w.numel() >= WEIGHTS and FAST


def rough_product(v: Tensor, w: Tensor) -> Tensor:
    """The product v w, with three digits where that is faster, else as exactly as torch has it.

    Args:
        v: (B, n_in).
        w: (n_in, n_out), in the dtype of ``v`` or already in bfloat16.

    Returns:
        (B, n_out), in the dtype of ``v``.
    """
    if not pays(v, w):
        return torch.mm(v, w.to(v.dtype))
    return torch.mm(v.bfloat16(), w.bfloat16()).to(v.dtype)
