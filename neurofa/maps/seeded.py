"""Randomness inside foreign modules: drawn from a seed, never from torch's global generator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

functional = nn.functional

_DROPOUTS = frozenset(
    {
        functional.dropout,
        functional.dropout1d,
        functional.dropout2d,
        functional.dropout3d,
        functional.alpha_dropout,
        functional.feature_alpha_dropout,
    }
)


class Seeded(TorchFunctionMode):
    """Mode in which dropout inside a module draws from a given generator; without one dropout is off.

    Dropout of whole channels, alpha dropout, and the dropout inside attention are switched off in the same way; with a
    generator they draw from torch's global one, which :func:`borrowed` seeds.

    Args:
        gen: source of the masks, or None.
    """

    def __init__(self, gen: torch.Generator | None) -> None:
        super().__init__()
        self.gen = gen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _DROPOUTS and (self.gen is None or func is functional.dropout):
            call = _bound("input p training inplace", args, kwargs)
            x, p = call["input"], call.get("p", 0.5)
            if self.gen is None or not call.get("training", True) or p == 0:
                return x
            keep = torch.rand(x.shape, generator=self.gen, device=x.device, dtype=x.dtype).ge_(p)
            keep = keep.div_(1 - p) if p < 1 else keep
            return x.mul_(keep) if call.get("inplace", False) else x * keep
        if self.gen is None and func is functional.scaled_dot_product_attention:
            call = _bound("query key value attn_mask dropout_p is_causal scale enable_gqa", args, kwargs)
            return func(**(call | {"dropout_p": 0.0}))
        if self.gen is None and func is functional.multi_head_attention_forward:
            args = (*args[:10], 0.0, *args[11:]) if len(args) > 10 else args
            kwargs = dict(kwargs) | ({"dropout_p": 0.0} if "dropout_p" in kwargs else {})
        return func(*args, **kwargs)


def _bound(names: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return dict(zip(names.split(), args, strict=False)) | dict(kwargs)


class Loan:
    """Torch's global generator while a module draws from it.

    Args:
        gen: the generator.
    """

    def __init__(self, gen: torch.Generator) -> None:
        self._gen, self._first = gen, gen.get_state()

    @property
    def used(self) -> bool:
        """Whether anything was drawn."""
        return not torch.equal(self._gen.get_state(), self._first)


@contextmanager
def borrowed(device: torch.device, seed: int) -> Iterator[Loan]:
    """Seed torch's global generator for the operations inside, and give it back as it was.

    Args:
        device: device of the tensors that are drawn.
        seed: of everything that is drawn.
    """
    gen = torch.default_generator
    if device.type == "cuda":
        index: int | None = getattr(device, "index", None)  # typed as if it were never None
        gen = torch.cuda.default_generators[torch.cuda.current_device() if index is None else index]
    state = gen.get_state()
    gen.manual_seed(seed)
    try:
        yield Loan(gen)
    finally:
        gen.set_state(state)


@contextmanager
def drawing(device: torch.device, seed: int | None, *, globally: bool) -> Iterator[None]:
    """Let the operations inside draw their masks and noise from a seed.

    Args:
        device: device of the tensors that are drawn.
        seed: of the masks and the noise; None: dropout is off, and other noise is drawn from seed 0.
        globally: whether anything but plain dropout draws, for which torch's global generator is seeded.
    """
    with Seeded(None if seed is None else torch.Generator(device).manual_seed(seed)):
        if globally:
            # another stream than that of plain dropout
            with borrowed(device, 0 if seed is None else seed ^ 1):
                yield
        else:
            yield
