"""Hardware noise in the shallow problem: the noise that the order parameters still describe exactly, and its limits.

One step of online learning, with all of it (zeta: independent standard normal numbers, fresh at every use):

    lambda~_k = lambda_k + s_r |x|/sqrt N zeta_k           every weight of the first layer is read as w_ki + s_r zeta_ki
    e         = y + sigma zeta - sum_k (v_k + s_o zeta_k) g(lambda~_k)
    delta_k   = (F_k + s_f zeta_k) q(e) + s_d zeta_k        F and q(e) through their number formats
    w_ki     += (eta/sqrt N) delta_k g'(lambda~_k) x_i (1 + s_p zeta_ki) + (s_u/sqrt N) zeta_ki
    v_k      += (eta/N) g(lambda~_k) e (1 + s_p zeta_k) + (s_b/sqrt N) zeta_k

Each write of a first-layer weight moves it by O(1/sqrt N); of a second-layer weight by O(1/N). What follows as N grows:

- *Read noise* s_r: lambda~ is Gaussian, Q_ii + s_r^2 its variance and all covariances with w.x unchanged: exact, with
  the read covariance where a field stands under g or g', and Q where it stands alone.
- *Readout noise* s_o: <e^2 ...> gets s_o^2 <g(lambda~_j)^2 ...> for every j; terms linear in e are unchanged: exact.
- *Feedback noise* s_f and *signal noise* s_d: the mean of delta is unchanged, and
  <delta_i delta_k> = (F_i F_k + s_f^2 [i=k]) <e^2 ..> + s_d^2 [i=k] <..>: exact, in Q_ii's term of order eta^2 alone.
- *Pulse noise* s_p, a share of each write (cycle to cycle): Q_ii's term of order eta^2 times 1 + s_p^2; nothing else,
  since in R and v the noise of N writes averages out as 1/sqrt N: exact.
- *Update noise* s_u: a random walk of every weight, dQ_ii/dt = ... + s_u^2, dR/dt unchanged: exact. It adds s_u^2 t to
  |w|^2/N as long as learning does not take it back.
- *Feedback format*: a static error. F is another one, the equations are the same: exact.
- *Readout update noise* s_b: N writes of sd s_b/sqrt N per unit of time move v_k by s_b at random, which no N averages
  out. v follows a stochastic differential equation: **the closed equations stop here.**
- *Error format* q: <g' u q(e)> is no average of a product of activations. **They stop here too**; stochastic
  rounding keeps the linear terms, but not <q(e)^2>.

Source: the update rule of Refinetti et al. 2021, arXiv 2011.12428; the noise terms are derived here, and checked
against simulation by the experiment ``align_shallow``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.format import Format


@dataclass(frozen=True, kw_only=True)
class HardwareNoise:
    """Noise and number formats of one student's arrays; the default is ideal hardware.

    Raises:
        NeurofaError: a negative deviation, or an error format whose scale follows the tensor.
    """

    read_noise: float = 0.0
    """s_r, sd of a fresh read of a first-layer weight, in units of the weight (teacher weights have sd 1)."""
    readout_noise: float = 0.0
    """s_o, sd of a fresh read of an output weight, in units of v."""
    feedback_noise: float = 0.0
    """s_f, sd of a fresh read of a feedback weight, in units of F; a detector whose full scale is |e| has the same."""
    signal_noise: float = 0.0
    """s_d, sd of noise on the teaching signal that does not depend on the error, in units of F e."""
    pulse_noise: float = 0.0
    """s_p, sd of a write as a share of it."""
    update_noise: float = 0.0
    """s_u: each write of a first-layer weight adds noise of sd s_u / sqrt N."""
    readout_update_noise: float = 0.0
    """s_b: each write of an output weight adds noise of sd s_b / sqrt N. Simulated only."""
    feedback: Format | None = None
    """Number format of F, applied once."""
    error: Format | None = None
    """Number format of the error before it enters the feedback, with a scale of its own. Simulated only."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float | int) and not 0 <= value < math.inf:
                raise NeurofaError(f"got HardwareNoise({field.name}={value}); expected a number >= 0; change it")
        if self.error is not None and any(_level(self.error, x) != _level(self.error, x, 20.0) for x in (0.3, 0.7)):
            raise NeurofaError(
                f"got an error format whose scale follows the tensor ({self.error}); expected fixed levels, since a"
                " step has one error alone; give it a range"
            )

    def program_feedback(self, F: Tensor, gen: torch.Generator | None = None) -> Tensor:
        """Return Q(F), the feedback that the array holds, (runs, K).

        Args:
            F: (runs, K), target; each run has a scale of its own.
            gen: for a format that rounds stochastically.
        """
        return F if self.feedback is None else torch.stack([self.feedback.quantize(row, gen) for row in F])

    def check_closed(self) -> None:
        """Refuse hardware for which the equations in the order parameters do not close.

        Raises:
            NeurofaError: an error format or noisy writes of the readout.
        """
        if self.error is not None:
            raise NeurofaError(
                f"got an error format ({self.error}) in the closed equations; expected none, since averages of q(e)"
                " are not of products of activations; simulate it"
            )
        if self.readout_update_noise:
            raise NeurofaError(
                f"got readout_update_noise={self.readout_update_noise:g} in the closed equations; expected 0, since it"
                " makes v a diffusion at every N; simulate it"
            )


def _level(fmt: Format, *values: float) -> float:
    """Return the first value as quantised together with the others."""
    return float(fmt.quantize(torch.tensor(values), torch.Generator().manual_seed(0))[0])
