"""Direct feedback alignment and its error encodings."""

from __future__ import annotations

from hwmodels.quantize import Format
from hwmodels.registry import recipe
from neurofa.feedback import Feedback
from neurofa.rule import Direct


class DFA(Direct, name="dfa"):
    """Direct feedback alignment: delta_l = (B_l^T e) * f'(a_l) with fixed random B_l.

    Args:
        feedback: the pathway.
        error: number format of e before it enters the pathway (``sign``, ``ternary``, ``uniform(bits=4)``).
    """

    source = "Nokland 2016, arXiv 1609.01596"


@recipe("rule", "sdfa", source="Frenkel et al. 2021 (sDFA: sign); Launay et al. 2020, arXiv 2006.01475 (ternary)")
def sdfa(*, feedback: Feedback | str = "dense", error: Format | str = "ternary") -> DFA:
    """Direct feedback alignment with an error of one trit (default) or one bit (``error=sign``) per output."""
    return DFA(feedback=feedback, error=error)
