"""The two algorithms named GrAPE: feedback that is aligned with a forward-mode estimate of the Jacobian."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from neurofa.core.capabilities import By, Declaration, Perturbation, calibrated, check_calibrate
from neurofa.core.feedback import Feedback
from neurofa.core.plan import Plan
from neurofa.core.recommended import Recommended
from neurofa.families.jacobian_tracking import Aligning, cosines


class GrAPE2025(Aligning, name="grape2025"):
    """Direct feedback whose misaligned rows shrink: B_i <- B_i (1 - eta (1 - c_i)).

    B, (n, o), sends the output error to a layer of n outputs; c_i is the cosine of its row i with the same row of an
    estimate of the transposed Jacobian d(network output)/d(layer output), which probes give. Gaussian noise of standard
    deviation nu |B|_F/sqrt(n o) is then added, and each layer's B is rescaled to its initial Frobenius norm. Without
    noise the directions of rows never change, only their relative lengths: the Frobenius cosine is at most about
    1/sqrt(2.718 o), and finally few rows remain. With noise, the noise redraws the directions of shrunk rows.

    ``alternative=1``: B_i <- B_i (1 - eta (1 - c_i)) + eta c_i g_i; ``alternative=2``: B_i <- (1 - eta) B_i + eta g_i,
    with g_i the row of the estimate scaled to the length of B_i (noise is off unless it is set).

    Args:
        eta: step, above 0 and at most 0.5.
        decay: factor of eta per step.
        noise: nu; None: 0.01 for the rule itself, 0 for an alternative.
        alternative: 0 (the rule), 1 or 2.
        rescale: whether the Frobenius norm is restored.
        window: steps over which the estimate is averaged, approximately; 0: all steps.
        space: perturbed quantity: ``activity``, ``weight``, or ``smaller``: for each layer that of fewer dimensions.
        per_layer: one probe per layer instead of one shared probe.
        by: ``tangent`` (forward-mode derivatives) or ``difference`` (of two passes).
        step: size of the change in a difference.
        program: steps from one write-verify of B to the next; in between B is tracked in digital memory. 0: B's device
            receives the change of every step as an update, which coarse devices round away and noisy ones bury.
        feedback: initial pathway; it must have a matrix per layer.
        error: number format of e before it enters the pathway.
    """

    source = "submission oRPXPoTXYz to ICLR 2025 with its rebuttal; noise, window and norm as interpreted here"
    recommended = Recommended()

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
        perturbation = Perturbation(by, step, per_layer)
        super().__init__(space, perturbation, window=window, program=program, feedback=feedback, error=error)
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
    """Initial Frobenius norm of each layer's B, (layers,)."""

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
        # noise first: it is relative to |B|_F after the step, and the norm is restored with it
        for part, norm in zip(self.layers(new), self.norms, strict=True):
            settle(part, self.noise_size, norm if self.rescale else None, gen)
        return new


class GrAPE2026(Aligning, name="grape2026"):
    """Direct feedback that turns towards the Jacobian: B_i <- B_i + eta (g_i - c_i b_i)/|B_i|, scaled to length 1.

    This is gradient descent on 1 - mean cosine between the rows of B, which sends the output error to a layer, and
    those of an estimate of the transposed Jacobian d(network output)/d(layer output), which probes give. b_i and g_i
    are the row and its estimate at length 1, c_i their cosine. eta applies to each row: the 1/n of the mean over the n
    rows of a layer is left out.

    Args:
        eta: step, above 0.
        calibrate: steps from one step of backpropagation to the next (T epochs in the paper); 0: none. Such a step
            sends errors through the weights of other layers: the rule is then not local.
        window: steps over which the estimate is averaged, approximately; 0: all steps.
        space: perturbed quantity: ``activity``, ``weight``, or ``smaller``: for each layer that of fewer dimensions.
        per_layer: one probe per layer instead of one shared probe.
        by: ``tangent`` (forward-mode derivatives) or ``difference`` (of two passes).
        step: size of the change in a difference.
        program: steps from one write-verify of B to the next; in between B is tracked in digital memory. 0: B's device
            receives the change of every step as an update, which coarse devices round away and noisy ones bury.
        feedback: initial pathway; it must have a matrix per layer.
        error: number format of e before it enters the pathway.
    """

    source = (
        "Caillon, Fagnou, Delattre and Allauzen 2026, ICLR 2026 (kasbbmwk3s), from its abstract and third-party notes"
    )
    recommended = Recommended()

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
        perturbation = Perturbation(by, step, per_layer)
        super().__init__(space, perturbation, window=window, program=program, feedback=feedback, error=error)
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
    """Return the feedback matrix after one step of :class:`GrAPE2025`: B_i <- B_i (1 - eta (1 - c_i)).

    Args:
        b: (m, o), not changed.
        cos: (m, 1), cosines of the rows with the estimate, or (1, 1): one for all.
        eta: step.

    Returns:
        (m, o).
    """
    return b * (1 - eta * (1 - cos))


def lean(b: Tensor, estimate: Tensor, cos: Tensor, eta: Tensor | float) -> Tensor:
    """Return the feedback matrix after alternative 1 of :class:`GrAPE2025`: B_i (1 - eta (1 - c_i)) + eta c_i g_i.

    Args:
        b: (m, o), not changed.
        estimate: (m, o), estimate of the Jacobian, transposed; g_i is its row scaled to the length of B_i.
        cos: (m, 1), cosines of the rows with the estimate, or (1, 1): one for all.
        eta: step.

    Returns:
        (m, o).
    """
    return shrink(b, cos, eta) + eta * cos * _as_long(estimate, b)


def blend(b: Tensor, estimate: Tensor, eta: Tensor | float) -> Tensor:
    """Return the feedback matrix after alternative 2 of :class:`GrAPE2025`, without a cosine: (1 - eta) B_i + eta g_i.

    Args:
        b: (m, o), not changed.
        estimate: (m, o), estimate of the Jacobian, transposed; g_i is its row scaled to the length of B_i.
        eta: step.

    Returns:
        (m, o).
    """
    return b.lerp(_as_long(estimate, b), eta)


def turn(b: Tensor, estimate: Tensor, eta: Tensor | float, cos: Tensor | None = None) -> Tensor:
    """Return the feedback matrix after one step of :class:`GrAPE2026`: B_i + eta (g_i - c_i b_i)/|B_i| at length 1.

    Args:
        b: (m, o), not changed.
        estimate: (m, o), estimate of the Jacobian, transposed; g_i and b_i are the rows at length 1.
        eta: step.
        cos: (1, 1), one cosine for all rows; None: each row's own.

    Returns:
        (m, o), rows of length 1.
    """
    # one factor per row for each of the two matrices, so that each is traversed fewer times
    length, reach = (m.norm(dim=1, keepdim=True).clamp_min(1e-30) for m in (b, estimate))
    step = eta / length
    c = torch.linalg.vecdot(b, estimate).unsqueeze(1) / length / reach if cos is None else cos
    return _unit(torch.addcmul(b * (1 - step * c / length), estimate, step / reach))


def settle(b: Tensor, noise: float, norm: Tensor | None, gen: torch.Generator | None) -> None:
    """Add noise of standard deviation nu |B|_F/sqrt(m o) to a layer's B, then scale it to a Frobenius norm; in place.

    Args:
        b: (m, o).
        noise: nu.
        norm: Frobenius norm afterwards; None: B is not scaled.
        gen: source of the noise.
    """
    if noise:
        normal = torch.randn(b.shape, generator=gen, device=b.device, dtype=b.dtype)
        b.add_(normal * (noise * b.norm() / b.numel() ** 0.5))
    if norm is not None:
        b.mul_(norm / b.norm().clamp_min(1e-30))


def _as_long(rows: Tensor, b: Tensor) -> Tensor:
    """Return the rows scaled to the lengths of the rows of ``b``."""
    factor: Tensor = b.norm(dim=1, keepdim=True) / rows.norm(dim=1, keepdim=True).clamp_min(1e-30)
    return rows * factor


def _unit(rows: Tensor) -> Tensor:
    return torch.nn.functional.normalize(rows, dim=1, eps=1e-30)
