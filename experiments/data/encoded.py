"""Any static data set as sequences: an encoder turns its values, rescaled to 0 to 1, into spikes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from experiments.data.base import build_static
from experiments.data.encoders import Encoder
from experiments.data.sequences import DrawnSplit, Sequences
from experiments.data.split import Split
from hwmodels.errors import NeurofaError
from hwmodels.registry import build, recipe
from hwmodels.spec import Spec


@recipe("data", "encoded", source="Eshraghian et al. 2023, arXiv 2109.12894: spike encodings")
def encoded(
    *,
    data: Spec | str = "digits",
    encoder: Encoder | Spec | str = "rate",
    ticks: int = 25,
    tick: float = 1e-3,
    scan: bool = False,
    seed: int = 0,
) -> Sequences:
    """A static data set, encoded as spikes over T ticks.

    Standardised values are rescaled to 0 to 1 by their range in the train split: that of each channel for images (grey
    levels 0 and 255 where both occur), one range for vectors; values outside it in the other splits are clipped.
    Training spikes are drawn anew in every epoch; those of validation and test are the same every time and for every
    batch size.

    Args:
        data: a static data set.
        encoder: spec of the encoder.
        ticks: T.
        tick: length of a tick, s.
        scan: whether an image is presented column by column (its last axis becomes time) instead of whole; the width
            must divide the ticks.
        seed: of the fixed draws.

    Returns:
        Sequences whose targets are the data set's labels, or its numbers, the same in every tick.

    Raises:
        NeurofaError: data that are sequences already, ticks that do not fit, an encoder of moving values alone
            (``delta``) for whole images, or of still ones alone (``latency``) for scanned images.
    """
    whole = build_static(data)
    code: Encoder = build("encoder", encoder)
    shape = whole.input_shape
    kind = "moving" if scan else "still"
    if kind not in code.takes:
        raise NeurofaError(
            f"got encoder '{code.name}' with scan={scan}; expected {' or '.join(sorted(code.takes))} values;"
            f" use scan={not scan}"
        )
    if ticks < 1:
        raise NeurofaError(f"got encoded(ticks={ticks}); expected 1 or more; raise it")
    if scan and ticks % shape[-1]:
        raise NeurofaError(
            f"got encoded(ticks={ticks}, scan=True) for {shape[-1]} columns; expected a multiple of {shape[-1]}; use"
            f" ticks={max(1, round(ticks / shape[-1])) * shape[-1]}"
        )
    low, span = value_range(whole.train.x)
    split_of = partial(EncodedSplit, low=low, span=span, encoder=code, ticks=ticks, scan=scan, seed=seed)
    parts = {where: split_of(inputs=split, where=where) for where, split in whole.splits().items()}
    about = {"encoder": str(code.full_spec), "fixed_draws_seed": str(seed)}
    provenance = {**whole.provenance, **about}
    return Sequences.of(f"encoded {whole.name}", parts, classes=whole.classes, tick=tick, provenance=provenance)


def value_range(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return lowest value and width of the range, of each channel of (N, C, H, W), else of all of (N, ...).

    Returns:
        Two tensors that broadcast against a batch; a constant channel has the width 1.
    """
    if x.ndim == 4:
        low, high = x.amin((0, 2, 3)), x.amax((0, 2, 3))
        low, high = low[None, :, None, None], high[None, :, None, None]
    else:
        low, high = (end.reshape((1,) * x.ndim) for end in x.aminmax())
    span = high - low
    return low, torch.where(span > 0, span, torch.ones_like(span))


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedSplit(DrawnSplit):
    """One split of :func:`encoded`: static inputs that are encoded as spikes when a batch is cut."""

    inputs: Split
    """The static inputs with their targets."""
    low: Tensor
    """Lowest value of each channel in the train split, which is encoded as 0."""
    span: Tensor
    """Width of the range of each channel in the train split; low + span is encoded as 1."""
    encoder: Encoder
    ticks: int
    """T."""
    scan: bool
    """Whether the last axis of an input is presented as time, column by column."""
    seed: int
    """Seed of the fixed draws."""
    where: str
    """Name of the split, by which its fixed draws differ from those of the others."""

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def input_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """Shape of one sample in one tick: without the last axis when that is time."""
        shape = tuple(self.inputs.x.shape[1:])
        return shape[:-1] if self.scan else shape

    @property
    def labels(self) -> Tensor | None:
        return None if self.regression else self.inputs.y

    @property
    def regression(self) -> bool:
        return self.inputs.y.is_floating_point()

    @property
    def nbytes(self) -> int:
        return self.inputs.nbytes

    @property
    def random(self) -> bool:
        return self.encoder.random

    @property
    def home(self) -> torch.device:
        return self.inputs.x.device

    def draw(self, index: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor]:
        index = index.to(self.home)
        x = (self.inputs.x[index] - self.low).div_(self.span).clamp_(0, 1).to(gen.device)
        y = self.inputs.y[index].to(gen.device)
        if self.scan:
            xs = x.movedim(-1, 0).repeat_interleave(self.ticks // x.shape[-1], 0)
        else:
            xs = x.expand(self.ticks, *x.shape)
        return self.encoder.encode(xs, gen), y.expand(self.ticks, *y.shape) if self.regression else y

    def to(self, device: torch.device) -> EncodedSplit:
        inputs = Split(self.inputs.x.to(device), self.inputs.y.to(device))
        return replace(self, inputs=inputs, low=self.low.to(device), span=self.span.to(device))
