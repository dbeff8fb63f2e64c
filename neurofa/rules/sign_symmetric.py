"""Sign-symmetric feedback: return weights with the signs of the forward weights but not their magnitudes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from neurofa.core.capabilities import Declaration
from neurofa.core.directions import ReturnWeights
from neurofa.core.plan import Plan
from neurofa.core.recommended import Recommended
from neurofa.core.rule import Chained
from neurofa.core.synapses import Synapses
from neurofa.core.view import Params


class SignSymmetric(Chained, ABC):
    """Sign-symmetric feedback: return weights B = M * sign(W), elementwise, refreshed from W before every pass.

    W are the forward weights beside B, M >= 0 the magnitudes that a subclass gives. One bit per weight is transported,
    within the same layer; the update itself needs no other layer's weights.
    """

    @cached_property
    def declares(self) -> Declaration:
        return replace(super().declares, transports="signs")

    @abstractmethod
    def magnitude(self, drawn: Tensor) -> Tensor:
        """Return the magnitudes M >= 0 for this pass, shaped as the return weights.

        Args:
            drawn: magnitudes of the return weights as they were drawn when the rule was bound to the network.
        """

    def bind(self, plan: Plan, gen: torch.Generator) -> None:
        super().bind(plan, gen)
        for site in plan.sites:
            for key, synapses in self.beside(site.name).items():
                self.register_buffer(_buffer(site.name, key), synapses.weight.detach().abs())

    def return_weights(self, name: str, params: Params, gen: torch.Generator | None) -> ReturnWeights | None:
        beside: dict[str, Synapses] = self.beside(name)
        for key, synapses in beside.items():
            if synapses.weight.dim() > 1:
                magnitude = self.magnitude(self.get_buffer(_buffer(name, key)))
                synapses.program(params[key].sign() * magnitude, gen)
            else:
                synapses.program(params[key].sign(), gen)  # gain of a normalisation: M = 1
        return {key: synapses.read(gen) for key, synapses in beside.items()}


def _buffer(name: str, key: str) -> str:
    return f"drawn_{name}/{key.replace('.', '/')}"


class USF(SignSymmetric, name="usf"):
    """Uniform sign-concordant feedback: B = s sign(W), s the root mean square of the return weights as drawn.

    Args:
        feedback: sets s by its gain; with gain 1, s = 1/sqrt(3 fan_in).
        error: number format of the output error before it is returned.
    """

    source = "Liao, Leibo and Poggio 2016, arXiv 1510.05067; Moskovitz et al. 2018, arXiv 1812.06488"
    recommended = Recommended()

    def magnitude(self, drawn: Tensor) -> Tensor:
        return drawn.square().mean().sqrt().expand_as(drawn)


class BrSF(SignSymmetric, name="brsf"):
    """Batchwise random-magnitude sign-concordant feedback: B = M * sign(W), M drawn anew for every pass.

    Args:
        feedback: distribution of the return weights; M is their magnitude.
        error: number format of the output error before it is returned.
    """

    source = "Liao, Leibo and Poggio 2016, arXiv 1510.05067"
    recommended = Recommended()

    def magnitude(self, drawn: Tensor) -> Tensor:
        assert self.gen is not None
        return self.feedback.draw(tuple(drawn.shape), self.gen).weight.detach().abs().to(drawn)


class FrSF(SignSymmetric, name="frsf"):
    """Fixed random-magnitude sign-concordant feedback: B = M * sign(W), M drawn once.

    Args:
        feedback: distribution of the return weights; M is their magnitude.
        error: number format of the output error before it is returned.
    """

    source = "Liao, Leibo and Poggio 2016, arXiv 1510.05067"
    recommended = Recommended()

    def magnitude(self, drawn: Tensor) -> Tensor:
        return drawn
