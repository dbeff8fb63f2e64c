"""Weight mirror: return weights learn from noise passed through the forward weights."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from neurofa.core.capabilities import Declaration
from neurofa.core.directions import Directions
from neurofa.core.feedback import Feedback
from neurofa.core.recommended import Recommended
from neurofa.core.rule import Chained


class WeightMirror(Chained, name="weight_mirror"):
    """Weight mirror: B <- (1 - d) B + eta E[y xi^T] from passes in which every affine map receives noise xi.

    B are the return weights beside forward weights W. With y = W xi and white noise of amplitude s, the mean change is
    eta s^2 W, so that B aligns with W. The fixed point is (eta s^2 / d) W; with the default decay it is W. The learner
    makes the mirror passes, without an error.

    Args:
        rate: eta.
        decay: d, decay of B per mirror pass; None: rate * amplitude^2, which makes W the fixed point.
        amplitude: s, standard deviation of the noise.
        every: learning steps from one mirror pass to the next.
        feedback: distribution of the initial return weights.
        error: number format of the output error before it is returned.
    """

    source = "Akrout et al. 2019, arXiv 1904.05391, eq. 7 (there y is taken behind the nonlinearity)"
    revision = 2
    recommended = Recommended()

    def __init__(
        self,
        *,
        rate: float = 0.02,
        decay: float | None = None,
        amplitude: float = 1.0,
        every: int = 1,
        feedback: Feedback | str = "dense",
        error: Format | str = "raw",
    ) -> None:
        super().__init__(feedback=feedback, error=error)
        if rate <= 0 or amplitude <= 0 or every < 1 or (decay is not None and decay < 0):
            raise NeurofaError(
                f"got weight_mirror(rate={rate}, decay={decay}, amplitude={amplitude}, every={every}); expected"
                " positive numbers (decay may be 0); change the one that is not"
            )
        self.rate, self.amplitude, self.every = rate, amplitude, every
        self.leak = rate * amplitude**2 if decay is None else decay

    @cached_property
    def declares(self) -> Declaration:
        return replace(super().declares, mirroring=self)

    def mirror(self, name: str, correlations: Directions, gen: torch.Generator | None) -> None:
        beside = self.beside(name)
        for key, correlation in correlations.items():
            mean = correlation if isinstance(correlation, Tensor) else correlation.dense()
            # decay and growth together in the parameter, so that a device realises them as one change
            beside[key].weight.data.mul_(1 - self.leak).add_(mean, alpha=self.rate)
            beside[key].commit(gen)
