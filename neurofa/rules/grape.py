"""The two algorithms that are called GrAPE: feedback that turns towards a forward-mode estimate of the Jacobian."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from neurofa.core.capabilities import By, Declaration, calibrated, check_calibrate
from neurofa.core.feedback import Feedback
from neurofa.core.plan import Plan
from neurofa.families.jacobian_tracking import Aligning, cosines


class GrAPE2025(Aligning, name="grape2025"):
    """Rows that point the wrong way shrink: B_i <- B_i (1 - eta (1 - c_i)), c_i the cosine of row i with its estimate.

    Then Gaussian noise of standard deviation nu |B|_F/sqrt(n o) is added and each layer's B gets back the Frobenius
    norm that it began with. Without noise a row never turns: only the weighting of rows moves, the Frobenius cosine
    has a ceiling of 1/sqrt(e o), and at last few rows are left. With noise, shrunk rows are drawn anew.

    ``alternative=1``: B_i <- B_i (1 - eta (1 - c_i)) + eta c_i g_i; ``alternative=2``: B_i <- (1 - eta) B_i + eta g_i,
    with g_i the row of the estimate at the length of B_i (both by rows, and without noise unless it is set).

    Args:
        eta: step, above 0 and at most 0.5.
        decay: factor of eta per step.
        noise: nu; None: 0.01 for the rule itself, 0 for an alternative.
        alternative: 0 (the rule), 1 or 2.
        rescale: give the Frobenius norm back.
        window: the estimate is the mean of so many last steps, roughly; 0: of all steps.
        space: what is perturbed: ``activity``, ``weight``, or ``smaller``: for each layer that of fewer dimensions.
        per_layer: a probe for every layer instead of one that is shared.
        by: ``tangent`` (forward-mode derivatives) or ``difference`` (of two passes).
        step: size of the change in a difference.
        program: steps from one write-verify of B to the next; between them B follows in digital memory. 0: every step's
            change goes to B's device as an update, which coarse or noisy devices lose or drown.
        feedback: the pathway at the start; it must have a matrix per layer.
        error: number format of e before it enters the pathway.
    """

    source = "submission oRPXPoTXYz to ICLR 2025 with its rebuttal; noise, window and norm are readings of ours"

    def __init__(
        self,
        *,
        eta: float = 1e-3,
        decay: float = 1.0,
        noise: float | None = None,
        alternative: int = 0,
        rescale: bool = True,
        window: int = 100,
        space: str = "activity",
        per_layer: bool = False,
        by: By = "tangent",
        step: float = 0.01,
        program: int = 0,
        feedback: Feedback | str = "dense(distribution=normal)",
        error: Format | str = "raw",
    ) -> None:
        super().__init__(
            space=space, per_layer=per_layer, by=by, step=step, window=window, program=program, feedback=feedback,
            error=error,
        )  # fmt: skip
        if not 0 < eta <= 0.5 or not 0 < decay <= 1:
            raise NeurofaError(
                f"got grape2025(eta={eta}, decay={decay}); expected eta above 0 and at most 0.5 (beyond, rows change"
                " sign), decay above 0 and at most 1; change it"
            )
        if alternative not in (0, 1, 2):
            raise NeurofaError(f"got grape2025(alternative={alternative}); expected 0, 1 or 2; choose one")
        if noise is not None and noise < 0:
            raise NeurofaError(f"got grape2025(noise={noise}); expected 0 or more; 0.01 is the default")
        # not ``self.decay``, which is a rule's weight decay
        self.eta, self.eta_decay, self.alternative, self.rescale = eta, decay, alternative, rescale
        self.noise_size = (0.0 if alternative else 0.01) if noise is None else noise

    norms: Tensor

    def bind(self, plan: Plan, gen: torch.Generator) -> None:
        super().bind(plan, gen)
        norms = [part.norm() for part in self.layers(self.b)]
        self.register_buffer("norms", torch.stack(norms) if norms else self.b.new_zeros(0))

    def update_feedback(self, b: Tensor, estimate: Tensor, gen: torch.Generator | None) -> Tensor:
        eta = self.eta * self.eta_decay ** (self.steps - 1)
        if self.alternative == 2:
            new = blend(b, estimate, eta)
        else:
            cos = cosines(b, estimate)
            new = lean(b, estimate, cos, eta) if self.alternative else shrink(b, cos, eta)
        for part, norm in zip(self.layers(new), self.norms, strict=True):
            settle(part, self.noise_size, norm if self.rescale else None, gen)
        return new


class GrAPE2026(Aligning, name="grape2026"):
    """Rows turn by gradient descent on 1 - mean cosine, and keep length 1: B_i <- B_i + eta (g_i - c_i b_i)/|B_i|.

    b_i and g_i are the row and its estimate at length 1, c_i their cosine; eta is that of each row (the mean over the
    rows of a layer is not divided out).

    Args:
        eta: step, above 0.
        calibrate: steps from one step of backpropagation to the next (T epochs in the text); 0: none. Such a step
            sends errors through the weights of other layers: the rule is then not local.
        window: the estimate is the mean of so many last steps, roughly; 0: of all steps.
        space: what is perturbed: ``activity``, ``weight``, or ``smaller``: for each layer that of fewer dimensions.
        per_layer: a probe for every layer instead of one that is shared.
        by: ``tangent`` (forward-mode derivatives) or ``difference`` (of two passes).
        step: size of the change in a difference.
        program: steps from one write-verify of B to the next; between them B follows in digital memory. 0: every step's
            change goes to B's device as an update, which coarse or noisy devices lose or drown.
        feedback: the pathway at the start; it must have a matrix per layer.
        error: number format of e before it enters the pathway.
    """

    source = "Caillon, Fagnou, Delattre and Allauzen 2026, ICLR 2026 (kasbbmwk3s), from its abstract and others' notes"

    def __init__(
        self,
        *,
        eta: float = 0.01,
        calibrate: int = 0,
        window: int = 1,
        space: str = "smaller",
        per_layer: bool = False,
        by: By = "tangent",
        step: float = 0.01,
        program: int = 0,
        feedback: Feedback | str = "dense(distribution=normal)",
        error: Format | str = "raw",
    ) -> None:
        super().__init__(
            space=space, per_layer=per_layer, by=by, step=step, window=window, program=program, feedback=feedback,
            error=error,
        )  # fmt: skip
        if not eta > 0:
            raise NeurofaError(f"got grape2026(eta={eta}); expected a positive number; 0.01 is the default")
        self.eta, self.calibrate = eta, check_calibrate(self.name, calibrate)

    @cached_property
    def declares(self) -> Declaration:
        return calibrated(super().declares, self.calibrate)

    def bind(self, plan: Plan, gen: torch.Generator) -> None:
        super().bind(plan, gen)
        self.begin_at(_unit(self.b), gen)

    def update_feedback(self, b: Tensor, estimate: Tensor, gen: torch.Generator | None) -> Tensor:
        return turn(b, estimate, self.eta)


def shrink(b: Tensor, cos: Tensor, eta: Tensor | float) -> Tensor:
    """The step of 2025: B_i <- B_i (1 - eta (1 - c_i)).

    Args:
        b: (m, o), not changed.
        cos: (m, 1), cosines of the rows with the estimate, or (1, 1): one for all.
        eta: step.

    Returns:
        (m, o), as of the three steps below, whose ``estimate`` is (m, o) of the Jacobian, transposed.
    """
    return b * (1 - eta * (1 - cos))


def lean(b: Tensor, estimate: Tensor, cos: Tensor, eta: Tensor | float) -> Tensor:
    """Alternative 1 of 2025: B_i <- B_i (1 - eta (1 - c_i)) + eta c_i g_i, g_i the estimate at the length of B_i."""
    return shrink(b, cos, eta) + eta * cos * _as_long(estimate, b)


def blend(b: Tensor, estimate: Tensor, eta: Tensor | float) -> Tensor:
    """Alternative 2 of 2025, which needs no cosine: B_i <- (1 - eta) B_i + eta g_i."""
    return b.lerp(_as_long(estimate, b), eta)


def turn(b: Tensor, estimate: Tensor, eta: Tensor | float, cos: Tensor | None = None) -> Tensor:
    """The step of 2026: B_i <- B_i + eta (g_i - c_i b_i)/|B_i| with g_i, b_i at length 1, then rows of length 1.

    Args:
        b: (m, o), not changed.
        estimate: (m, o), of the Jacobian, transposed.
        eta: step.
        cos: (1, 1), one cosine for all rows instead of each row's own.
    """
    # with one factor a row for each of the two matrices: fewer passes over them
    length, reach = (m.norm(dim=1, keepdim=True).clamp_min(1e-30) for m in (b, estimate))
    step = eta / length
    c = torch.linalg.vecdot(b, estimate).unsqueeze(1) / length / reach if cos is None else cos
    return _unit(torch.addcmul(b * (1 - step * c / length), estimate, step / reach))


def settle(b: Tensor, noise: float, norm: Tensor | None, gen: torch.Generator | None) -> None:
    """Add noise of standard deviation nu |B|_F/sqrt(m o) to a layer's B, then give it a Frobenius norm; in place.

    Args:
        b: (m, o).
        noise: nu.
        norm: which; None: as it comes.
        gen: source of the noise.
    """
    if noise:
        drawn = torch.randn(b.shape, generator=gen, device=b.device, dtype=b.dtype)
        b.add_(drawn * (noise * b.norm() / b.numel() ** 0.5))
    if norm is not None:
        b.mul_(norm / b.norm().clamp_min(1e-30))


def _as_long(rows: Tensor, b: Tensor) -> Tensor:
    """Every row at the length of the same row of ``b``."""
    factor: Tensor = b.norm(dim=1, keepdim=True) / rows.norm(dim=1, keepdim=True).clamp_min(1e-30)
    return rows * factor


def _unit(rows: Tensor) -> Tensor:
    return torch.nn.functional.normalize(rows, dim=1, eps=1e-30)
