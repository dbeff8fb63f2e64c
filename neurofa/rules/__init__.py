"""Learning rules, one rule or family per module; functions such as ``sdfa`` return a rule with named settings.

>>> from neurofa.feedbacks import SparseFeedback
>>> from neurofa.rules import DFA, sdfa
>>> DFA(feedback=SparseFeedback(density=0.2), error="ternary")
dfa(feedback=sparse(density=0.2), error=ternary)
>>> sdfa(feedback="opu")
sdfa(feedback=opu)
"""

from typing import TYPE_CHECKING

from hwmodels.registry import shelf

if TYPE_CHECKING:  # for editors and type checkers; at run time the shelf finds its parts itself
    from neurofa.rules.adfa import AugmentedDFA as AugmentedDFA
    from neurofa.rules.bp import BP as BP
    from neurofa.rules.bp import eprop_symmetric as eprop_symmetric
    from neurofa.rules.bp import ostl as ostl
    from neurofa.rules.bptt import BPTT as BPTT
    from neurofa.rules.dfa import DFA as DFA
    from neurofa.rules.dfa import eprop as eprop
    from neurofa.rules.dfa import sdfa as sdfa
    from neurofa.rules.dfa import tdfa as tdfa
    from neurofa.rules.dkp import DKP as DKP
    from neurofa.rules.draf import DRAF as DRAF
    from neurofa.rules.drtp import DRTP as DRTP
    from neurofa.rules.drtp import etlp as etlp
    from neurofa.rules.erbp import ERBP as ERBP
    from neurofa.rules.fa import FA as FA
    from neurofa.rules.fdfa import FDFA as FDFA
    from neurofa.rules.forward_gradient import ForwardGradient as ForwardGradient
    from neurofa.rules.grape import GrAPE2025 as GrAPE2025
    from neurofa.rules.grape import GrAPE2026 as GrAPE2026
    from neurofa.rules.kp import KolenPollack as KolenPollack
    from neurofa.rules.kp import eprop_adaptive as eprop_adaptive
    from neurofa.rules.ldfa import LDFALocal as LDFALocal
    from neurofa.rules.ldfa import LDFANormative as LDFANormative
    from neurofa.rules.local_guess import LocalGuess as LocalGuess
    from neurofa.rules.local_loss import LocalLoss as LocalLoss
    from neurofa.rules.local_loss import decolle as decolle
    from neurofa.rules.pepita import Pepita as Pepita
    from neurofa.rules.raf import RAF as RAF
    from neurofa.rules.readout_only import ReadoutOnly as ReadoutOnly
    from neurofa.rules.sign_symmetric import USF as USF
    from neurofa.rules.sign_symmetric import BrSF as BrSF
    from neurofa.rules.sign_symmetric import FrSF as FrSF
    from neurofa.rules.stllr import STLLR as STLLR
    from neurofa.rules.weight_mirror import WeightMirror as WeightMirror

__getattr__, __dir__ = shelf(__name__)
