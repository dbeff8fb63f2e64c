"""Align, then memorise: a student with one hidden layer learns online from a teacher, by dfa or by bp.

The teacher says y = sum_m A_m g(B_m.x / sqrt N), the student yhat = sum_k v_k g(w_k.x / sqrt N), of inputs x ~ N(0, I)
that are fresh at every step. With e = y - yhat, dfa changes

    w_k += (eta / sqrt N) F_k g'(lambda_k) e x        (bp: v_k in place of F_k)
    v_k += (eta / N) g(lambda_k) e

and time is t = steps / N. For N to infinity the overlaps Q, R and the output weights v follow ordinary differential
equations (:mod:`.flow`, solved in :mod:`.solution`); the same steps are simulated in :mod:`.simulator`, hardware
included (:mod:`.hardware`). First the student *aligns*: from small weights v grows along F (:mod:`.early`). Then it
*memorises*: its units specialise, and of all solutions it takes one whose v has the signs of F (:mod:`.degeneracy`).

Source: Refinetti, d'Ascoli, Ohana and Goldt 2021, arXiv 2011.12428.
"""

from neurofa.theory.shallow.flow import Flow
from neurofa.theory.shallow.hardware import Hardware
from neurofa.theory.shallow.order_parameters import OrderParameters
from neurofa.theory.shallow.problem import Problem
from neurofa.theory.shallow.simulator import Students, draw, simulate
from neurofa.theory.shallow.solution import Solution, solve
from neurofa.theory.shallow.units import UNITS, find_units

__all__ = [
    "UNITS", "Flow", "Hardware", "OrderParameters", "Problem", "Solution", "Students", "draw", "find_units", "simulate",
    "solve",
]  # fmt: skip
