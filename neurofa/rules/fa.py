"""Feedback alignment."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from neurofa.core.capabilities import Declaration
from neurofa.core.recommended import Recommended
from neurofa.core.rule import Chained


class FA(Chained, name="fa"):
    """Feedback alignment: delta_l = (B_{l+1}^T delta_{l+1}) * f'(a_l) with fixed random B.

    delta_l is the error at the affine output of layer l, a_l the input of its activation f, and B_{l+1} stands for the
    weights of the layer above, whose transpose backpropagation would use.

    Args:
        feedback: distribution of the return weights (``dense`` or ``sparse``, with options).
        error: number format of the output error before it is returned.
    """

    source = "Lillicrap et al. 2016, Nat. Commun. 7:13276"
    recommended = Recommended()

    @cached_property
    def declares(self) -> Declaration:
        return replace(super().declares, plasticity="fixed")
