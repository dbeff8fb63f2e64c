"""Evidence accumulation: cues left and right, a delay, and the question on which side there were more."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from experiments.data.sequences import DrawnSplit, Sequences
from hwmodels.errors import NeurofaError
from hwmodels.registry import recipe

LEFT, RIGHT, RECALL, BACKGROUND = range(4)
"""The groups of channels, in this order."""
LIMITS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("cue", "recall", "group", "samples", "held"), (1, math.inf)),
    **dict.fromkeys(("pause", "delay"), (0, math.inf)),
    **dict.fromkeys(("rate", "background"), (0, 1000)),
    "bias": (0, 0.5),
}
"""Smallest and largest value of each option."""


@recipe("data", "evidence", source="Bellec et al. 2020, Nat. Commun. 11:3625, and the authors' code")
def evidence(
    *,
    cues: int = 7,
    cue: int = 100,
    pause: int = 50,
    delay: int = 1050,
    recall: int = 150,
    group: int = 10,
    rate: float = 40.0,
    background: float = 10.0,
    bias: float = 0.3,
    samples: int = 3200,
    held: int = 640,
    seed: int = 0,
) -> Sequences:
    """Cues come one after the other, each on one side; after a delay the side with more of them is the answer.

    A tick is 1 ms. For every sample a fair coin decides on which side a cue comes with probability ``bias``, on the
    other with 1 - bias. A cue makes the channels of its side fire at ``rate``; in the recall period, when the answer
    counts (``teach``), those of the recall group do; the background group fires all the time. Spikes are Bernoulli in
    every tick. Label 0: more cues left; 1: more right. Each pause comes before its cue, as in the authors' code; their
    sequences last 2250 ms, 1050 of them between the last cue and the recall.

    Training samples are drawn anew in every epoch, so that there are infinitely many; validation and test are fixed.
    ``evidence(cues=3, cue=20, pause=10, delay=30, recall=20, rate=200)`` is a short version of 140 ticks. Each of the
    many arguments is one option of the task.

    Args:
        cues: number of cues, odd, so that one side has more.
        cue: ticks of a cue.
        pause: ticks before each cue.
        delay: ticks between the last cue and the recall period.
        recall: ticks of the recall period, at the end.
        group: channels of each of the four groups.
        rate: rate of cue and recall channels, spikes in a second, at most 1000.
        background: rate of background channels, spikes in a second.
        bias: 0 to 0.5; at 0 all cues are on one side, at 0.5 each one is a fair coin.
        samples: number of samples of a training epoch.
        held: number of samples for validation, and for the test.
        seed: seed of the fixed draws.

    Returns:
        Sequences of 4 ``group`` channels: left, right, recall, background.

    Raises:
        NeurofaError: an even number of cues, or an option out of range.
    """
    if cues < 1 or cues % 2 == 0:
        raise NeurofaError(
            f"got evidence(cues={cues}); expected an odd number, so that one side has more; use {max(1, cues + 1)}"
        )
    options: dict[str, Any] = {"cue": cue, "pause": pause, "delay": delay, "recall": recall, "group": group}
    options |= {"rate": rate, "background": background, "bias": bias}
    for name, value in {**options, "samples": samples, "held": held}.items():
        low, high = LIMITS[name]
        if not low <= value <= high:
            raise NeurofaError(f"got evidence({name}={value}); expected {low:g} to {high:g}; change {name}")
    options |= {"rate": rate * 1e-3, "background": background * 1e-3}
    splits = {
        where: EvidenceSplit(count=count, cues=cues, **options, seed=seed, where=where)
        for where, count in (("train", samples), ("validation", held), ("test", held))
    }
    end = splits["train"].ticks
    provenance = {"origin": "synthetic", "fixed_draws_seed": str(seed)}
    return Sequences.of("evidence", splits, classes=2, tick=1e-3, provenance=provenance, teach=(end - recall, end))


@dataclass(frozen=True, kw_only=True, eq=False)
class EvidenceSplit(DrawnSplit):
    """One split of :func:`evidence`, whose samples are drawn when a batch is cut and stored nowhere.

    The fields are the arguments of that function; rates are probabilities of a spike in a tick.
    """

    count: int
    """Number of samples."""
    cues: int
    cue: int
    pause: int
    delay: int
    recall: int
    group: int
    rate: float
    background: float
    bias: float
    seed: int
    where: str

    def __len__(self) -> int:
        return self.count

    @property
    def ticks(self) -> int:  # type: ignore[override]
        """T of all periods together."""
        return self.cues * (self.cue + self.pause) + self.delay + self.recall

    @property
    def input_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """(4 group,)."""
        return (4 * self.group,)

    @property
    def labels(self) -> None:
        return None

    @property
    def nbytes(self) -> int:
        return 0

    @property
    def home(self) -> torch.device:
        return torch.device("cpu")

    def draw(self, index: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor]:
        batch = len(index)
        coin = torch.randint(2, (batch, 1), generator=gen)
        right_chance = torch.where(coin == 1, 1 - self.bias, self.bias)
        right = torch.rand(batch, self.cues, generator=gen) < right_chance
        spikes = torch.bernoulli(self.chances(right), generator=gen)
        return spikes, (2 * right.sum(1) > self.cues).long()

    def chances(self, right: Tensor) -> Tensor:
        """Return the probabilities of a spike, (T, B, 4 group).

        Args:
            right: (B, cues), whether a cue comes on the right.
        """
        p = torch.zeros(self.ticks, len(right), 4, self.group)
        for k in range(self.cues):
            begin = k * (self.cue + self.pause) + self.pause
            p[begin : begin + self.cue, :, LEFT] = self.rate * ~right[None, :, k, None]
            p[begin : begin + self.cue, :, RIGHT] = self.rate * right[None, :, k, None]
        p[self.ticks - self.recall :, :, RECALL] = self.rate
        p[:, :, BACKGROUND] = self.background
        return p.flatten(2)

    def to(self, device: torch.device) -> EvidenceSplit:
        return self
