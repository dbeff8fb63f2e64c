"""Order parameters: the few overlaps that determine a student's error, of one student or of many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurofa.theory.shallow.units import Array, Units


@dataclass(frozen=True, kw_only=True)
class OrderParameters:
    """Overlaps of K student units w_k and M teacher units B_m of N inputs; leading axes (times, runs) are free.

    The fields lambda_k = w_k.x / sqrt N and nu_m = B_m.x / sqrt N of a Gaussian input are Gaussian with covariance
    C = [[Q, R], [R^T, T]].
    """

    Q: Array
    """(..., K, K): w_i.w_k / N."""
    R: Array
    """(..., K, M): w_i.B_n / N."""
    T: Array
    """(..., M, M): B_n.B_m / N; constant."""
    v: Array
    """(..., K): output weights of the student."""
    A: Array
    """(..., M): output weights of the teacher; constant."""
    F: Array
    """(..., K): feedback; constant."""

    def covariance(self) -> Array:
        """Return C of the fields (lambda_1..lambda_K, nu_1..nu_M), (..., K + M, K + M)."""
        # constants may lack the leading axes of the overlaps that change
        T = np.broadcast_to(self.T, (*self.R.shape[:-2], *self.T.shape[-2:]))
        upper = np.concatenate([self.Q, self.R], -1)
        lower = np.concatenate([self.R.swapaxes(-1, -2), T], -1)
        return np.concatenate([upper, lower], -2)

    def outputs(self) -> Array:
        """Return the weights a = (-v, A) of all units, (..., K + M): the noiseless error is e = sum_a a_a g(u_a)."""
        A = np.broadcast_to(self.A, (*self.v.shape[:-1], self.A.shape[-1]))
        return np.concatenate([-self.v, A], -1)

    def error(self, units: Units) -> Array:
        """Return the generalisation error against the noiseless teacher, in units of the squared output.

        eps_g = (1/2) <e^2> = (1/2) sum_ab a_a a_b I2(a, b), of the shape of the leading axes.
        """
        c, a = self.covariance(), self.outputs()
        error: Array = 0.5 * np.einsum("...a,...ab,...b->...", a, units.i2(pairs(c)), a)
        return error

    def alignment(self) -> Array:
        """Return the cosine of v and F, in [-1, 1]; 0 where v is zero."""
        product = np.sqrt((self.v**2).sum(-1) * (self.F**2).sum(-1))
        inner = (self.v * self.F).sum(-1)
        cosine: Array = np.divide(inner, product, out=np.zeros_like(inner), where=product > 0)
        return cosine

    def __getitem__(self, index: int | slice | tuple[int | slice, ...]) -> OrderParameters:
        """Select times or runs; every field must have the leading axes."""
        return OrderParameters(**{name: getattr(self, name)[index] for name in ("Q", "R", "T", "v", "A", "F")})


def pairs(c: Array) -> Array:
    """Return the covariance of every pair of fields: (..., n, n) to (..., n, n, 2, 2)."""
    d = np.diagonal(c, axis1=-2, axis2=-1)
    first, second = np.broadcast_arrays(d[..., :, None], d[..., None, :])
    return np.stack([np.stack([first, c], -1), np.stack([c, second], -1)], -2)
