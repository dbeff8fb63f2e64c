"""Closed equations of online learning in the limit of many inputs: ordinary differential equations in Q, R and v.

With u ~ N(0, C) the fields, a = (-v, A) and e = sum_a a_a g(u_a) + sigma zeta, time t = steps / N, and F the feedback
(dfa) or v (bp), the averages of one step of the update rule give

    dR_in/dt = eta F_i <g'(lambda_i) nu_n e>
    dQ_ik/dt = eta F_i <g'(lambda_i) lambda_k e> + eta F_k <g'(lambda_k) lambda_i e>
               + eta^2 F_i F_k <g'(lambda_i) g'(lambda_k) e^2>
    dv_i/dt  = eta <g(lambda_i) e>

    <g'(u_i) u_b e>  = sum_a a_a I3(i, b, a)            <g(u_i) e> = sum_a a_a I2(i, a)
    <g'(u_i) g'(u_k) e^2> = sum_ab a_a a_b I4(i, k, a, b) + sigma^2 J2(i, k)

and hardware changes the moments as :mod:`neurofa.theory.shallow.hardware` says.

Source: Goldt et al. 2019, arXiv 1906.08632 (both layers trained by SGD); Refinetti et al. 2021, arXiv 2011.12428 (F in
place of v in the first layer); after Saad and Solla 1995, Phys. Rev. E 52, 4225.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwmodels.errors import NeurofaError
from neurofa.theory.shallow.order_parameters import OrderParameters
from neurofa.theory.shallow.problem import Problem
from neurofa.theory.shallow.units import Array, ClosedUnits

Index = NDArray[np.intp]


class Flow:
    """Time derivatives of the order parameters of one student.

    Args:
        problem: rule, rate, activation and noise.
        start: order parameters of one run, no leading axes; T, A and F are taken from them.

    Raises:
        NeurofaError: the equations of this activation or hardware do not close.
    """

    def __init__(self, problem: Problem, start: OrderParameters) -> None:
        units = problem.units
        if not isinstance(units, ClosedUnits):
            raise NeurofaError(
                f"got activation '{units.name}' in the closed equations; expected erf or linear, whose averages are"
                " elementary; simulate it"
            )
        if start.R.ndim != 2:
            raise NeurofaError(f"got order parameters of shape {start.R.shape[:-2]}; expected one run; pick one")
        problem.hardware.check_closed()
        self.problem, self.units, self.start = problem, units, start
        K, M = start.R.shape
        self.K, self.M = K, M
        # The fields of :meth:`_fields`: under g or g' a student stands as it is read, alone as it is stored.
        student, read, stored = np.arange(K), np.arange(K + M), np.arange(K, 2 * K + M)
        self._two = _submatrix_indices(student, read)
        self._three = _submatrix_indices(student, stored, read)
        self._four = _submatrix_indices(student, student, read, read)
        self._slopes = _submatrix_indices(student, student)

    def state(self, order: OrderParameters) -> Array:
        """Return the variables of the equations, R, Q and v, as one vector."""
        return np.concatenate([order.R.ravel(), order.Q.ravel(), order.v])

    def order(self, states: Array) -> OrderParameters:
        """Return the order parameters of one vector, or of many, (..., n)."""
        K, M, s = self.K, self.M, self.start
        R, Q, v = np.split(states, [K * M, K * M + K * K], -1)
        lead = states.shape[:-1]

        def constant(x: Array) -> Array:
            return np.broadcast_to(x, lead + x.shape)

        R, Q = R.reshape(*lead, K, M), Q.reshape(*lead, K, K)
        return OrderParameters(R=R, Q=Q, v=v, T=constant(s.T), A=constant(s.A), F=constant(s.F))

    def derivative(self, order: OrderParameters) -> tuple[Array, Array, Array]:
        """Return dR/dt (K, M), dQ/dt (K, K) and dv/dt (K,) of one run."""
        eta, noise, K = self.problem.rate, self.problem.hardware, self.K
        F, a = (order.F if self.problem.rule == "dfa" else order.v), order.outputs()
        each = np.eye(K)
        c = self._fields(order)

        linear = eta * F[:, None] * (self.units.i3(c[self._three]) @ a)
        dR, drift = linear[:, : self.M], linear[:, self.M :]

        ee = np.outer(a, a)
        # noise of the readout adds s_o^2 g(lambda_j)^2 to e^2 for every student unit j
        ee[:K, :K] += noise.readout_noise**2 * each
        slopes = self.units.j2(c[self._slopes])
        square = (self.units.i4(c[self._four]) * ee).sum((-1, -2)) + self.problem.label_noise**2 * slopes
        # <delta_i delta_k>: noise of feedback and signal is independent between units, so it enters the diagonal alone
        step = (np.outer(F, F) + noise.feedback_noise**2 * each) * square + noise.signal_noise**2 * each * slopes
        # and so does a share of each write
        step *= 1 + noise.pulse_noise**2 * each
        dQ = drift + drift.T + eta**2 * step + noise.update_noise**2 * each
        return dR, dQ, eta * (self.units.i2(c[self._two]) @ a)

    def _fields(self, order: OrderParameters) -> Array:
        """Return the covariance of the fields, (2K + M, 2K + M): students as read, teachers, students as stored."""
        K, M = self.K, self.M
        c = order.covariance()
        index = np.concatenate([np.arange(K + M), np.arange(K)])
        out: Array = c[np.ix_(index, index)]
        # a fresh read adds its variance to a student's own field and is correlated with nothing
        out[range(K), range(K)] += self.problem.hardware.read_noise**2
        return out

    def __call__(self, t: float, state: Array) -> Array:
        """Return the time derivative of the vector of variables, in the form that scipy's solvers call."""
        dR, dQ, dv = self.derivative(self.order(state))
        return np.concatenate([dR.ravel(), dQ.ravel(), dv])

    def error(self, state: Array) -> float:
        """Return the generalisation error of the vector of variables."""
        return float(self.order(state).error(self.units))

    def error_rate(self, state: Array) -> float:
        """Return the time derivative of the error, by a central difference along the flow."""
        direction = self(0.0, state)
        # a step of 1e-5 in the variable that moves fastest, whatever the rate
        h = 1e-5 / max(1e-12, float(np.abs(direction).max()))
        return (self.error(state + h * direction) - self.error(state - h * direction)) / (2 * h)


def _submatrix_indices(*fields: Index) -> tuple[Index, Index]:
    """Return indices into a covariance that select the submatrix of every combination of fields, one from each list."""
    n = len(fields)
    grid = np.stack(np.meshgrid(*fields, indexing="ij"), -1)
    return grid[..., :, None].repeat(n, -1), grid[..., None, :].repeat(n, -2)
