"""Jacobian tracking: direct feedback that learns from estimates of the network's Jacobian, made by probes.

With changes delta_l of the outputs h_l, standard normal and independent for samples and layers, the output changes by
u = sum_k J_k delta_k, J_l = d y / d h_l, and

    (1/N) sum_i delta_l,i u_i^T     (n_l, o)

is an unbiased estimate of the mean J_l^T over samples. For a fixed Jacobian and one perturbed layer its cosine with
J_l^T is 1/sqrt(1 + (n_l + 1)/N): samples times steps have to reach the width of the layer. If every u has additional
noise of variance s^2 in each of its o elements (:mod:`neurofa.training.extra_passes` gives that of a difference),

    cos = 1/sqrt(1 + (n_l + 1)/N + n_l o s^2/(N |J_l|_F^2)).

With one dW for a whole batch (``space=weight``) the changes of similar samples are correlated, so that a batch is worth
fewer than N independent samples. At two positions p, q of a convolution the changes have the covariance
K_pq = cos(x_p, x_q) of the patches: the estimate converges to J_l^T smoothed by K, not to J_l^T.

A change of B, alpha or eta times the estimate, is small compared with one step of a device. Rounding to nearest
discards it entirely. With stochastic rounding (the default of ``fixed``) or pulses B tracks the estimate in the mean,
with the noise of the rounding, and asymmetric steps pull it towards their symmetry point. With ``program`` a digital
copy of B is tracked and written to the device periodically.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from neurofa.core.capabilities import Declaration, Perturbation, Teaching
from neurofa.core.feedback import Feedback
from neurofa.core.layer import Layer
from neurofa.core.plan import Plan
from neurofa.core.products import PhaseFlop, ServedLayer
from neurofa.core.rule import Direct
from neurofa.core.view import LocalView, Params
from neurofa.maps.affine import Affine

SPACES = ("activity", "weight", "smaller")


class Aligning(Direct, ABC):
    """A direct rule whose feedback matrix B learns from probes of the Jacobian, before it sends the error of the step.

    Args:
        space: ``activity`` perturbs h_l itself; ``weight`` perturbs it by dW x/|x| with one dW for the whole batch
            (dense and convolutional layers; other layers use activity); ``smaller`` takes, for each layer, the space
            of fewer dimensions.
        perturbation: how a probe measures the change of the output.
        window: steps over which the estimate is averaged, approximately; 0: all steps.
        program: steps from one write-verify of B to the next; in between B is tracked in digital memory. 0: B's device
            receives the change of every step as an update, which coarse devices round away and noisy ones bury.
        feedback: initial pathway; it must have a matrix per layer.
        error: number format of e before it enters the pathway.
    """

    def __init__(
        self,
        space: str,
        perturbation: Perturbation,
        *,
        window: int,
        program: int,
        feedback: Feedback | str,
        error: Format | str,
    ) -> None:
        super().__init__(feedback=feedback, error=error)
        if space not in SPACES:
            raise NeurofaError(f"got {self.name}(space={space}); expected {', '.join(SPACES)}; choose one")
        if window < 0:
            raise NeurofaError(f"got {self.name}(window={window}); expected 0 or more; 0 is the mean of all steps")
        if program < 0:
            raise NeurofaError(f"got {self.name}(program={program}); expected 0 or more steps; 0 updates B itself")
        self.space, self.window, self.program = space, window, program
        self.perturbation = perturbation

    estimate: Tensor
    """(m, o), running mean of the estimated Jacobians, transposed."""
    steps: Tensor
    """Number of observed steps, ()."""
    digital: Tensor
    """(m, o), digital copy of B, with ``program`` only."""

    @cached_property
    def declares(self) -> Declaration:
        return replace(super().declares, probing=self)

    def bind(self, plan: Plan, gen: torch.Generator) -> None:
        super().bind(plan, gen)
        if self.feedback.matrix() is None:
            raise NeurofaError(
                f"got feedback '{self.feedback.name}' for {self.name}; expected a matrix per layer that can learn; use"
                " dense or pooled"
            )
        self.register_buffer("estimate", torch.zeros_like(self.b))
        self.register_buffer("steps", torch.zeros((), dtype=plan.dtype))
        if self.program:
            self.register_buffer("digital", self.b.clone())

    @property
    def b(self) -> Tensor:
        """Stored feedback matrix B of all layers, (m, o)."""
        matrix = self.feedback.matrix()
        assert matrix is not None
        return matrix.weight.detach()

    def begin_at(self, b: Tensor, gen: torch.Generator) -> None:
        """Program the initial feedback matrix.

        Args:
            b: (m, o).
            gen: source of programming noise.
        """
        matrix = self.feedback.matrix()
        assert matrix is not None
        if self.program:
            self.digital.copy_(b)
        matrix.program(b, gen)

    def perturb(
        self, name: str, layer: Layer, view: LocalView, teaching: Teaching, gen: torch.Generator | None
    ) -> tuple[Tensor | None, Params]:
        if name not in self.feedback.slices:
            return None, {}
        rows = self.feedback.slices[name]
        width = rows.stop - rows.start
        signals = self.feedback.rows_of(name, view.y)
        pooled = width != signals[0].numel()
        if not pooled and isinstance(layer, Affine) and self._by_weights(view):
            return _by_weights(layer, view, gen), {}
        change = torch.randn(len(signals), width, generator=gen, device=view.y.device, dtype=view.y.dtype)
        return self.feedback.spread(name, change).reshape(view.y.shape), {}

    def _by_weights(self, view: LocalView) -> bool:
        if self.space == "activity":
            return False
        return self.space == "weight" or view.params["weight"].numel() < view.y[0].numel()

    def observe_probe(
        self, outputs: dict[str, Tensor], weights: dict[str, Params], u: Tensor, gen: torch.Generator | None
    ) -> None:
        # the running mean of delta_l u^T / N is a plain mean until the window is full, then an exponential one
        count = self.steps + 1
        share = 1 / (count.clamp(max=self.window) if self.window else count)
        for name, change in outputs.items():
            rows = self.feedback.slices[name]
            # u^T change, with the short side first, is much faster on the CPU than change^T u
            estimate = (u * (share / len(u))).t() @ self.feedback.gather(name, change)
            self.estimate[rows].mul_(1 - share).add_(estimate.t())

    def after_probes(self, gen: torch.Generator | None) -> None:
        """Update the matrix from the estimate, once all probes of a step are observed."""
        self.steps += 1
        matrix = self.feedback.matrix()
        assert matrix is not None
        if self.program:
            self.digital.copy_(self.update_feedback(self.digital, self.estimate, gen))
            if not int(self.steps) % self.program:
                matrix.program(self.digital, gen)
            return
        new = self.update_feedback(self.b, self.estimate, gen)
        if matrix.exact:
            matrix.program(new)
        else:
            matrix.write(new - self.b, gen)

    @abstractmethod
    def update_feedback(self, b: Tensor, estimate: Tensor, gen: torch.Generator | None) -> Tensor:
        """Return the feedback matrix after one step of its learning.

        Args:
            b: (m, o), present matrix; not changed.
            estimate: (m, o), estimate of the mean Jacobians, transposed.
            gen: source of noise.

        Returns:
            (m, o).
        """

    def perturbs(self, name: str) -> tuple[bool, bool]:
        return name in self.feedback.slices, False

    def work_at(self, served: ServedLayer) -> list[PhaseFlop]:
        if served.name not in self.feedback.slices:
            return super().work_at(served)
        part = self.feedback.slices[served.name]
        rows = part.stop - part.start
        found = [*super().work_at(served), PhaseFlop("adaptation", 2 * served.batch * rows * served.outputs)]
        site = next(site for site in self.plan.sites if site.name == served.name)
        if site.elementwise and rows == served.width:
            numbers = sum(m.n_in * m.n_out for m in served.work.maps)
            if self.space == "weight" or (self.space == "smaller" and numbers < served.width):
                sizes = sum(2 * m.rows * m.n_in * m.groups for m in served.work.maps)
                found.append(PhaseFlop("passes", served.work.affine + sizes))
        return found

    def layers(self, b: Tensor) -> list[Tensor]:
        """Return the rows of a matrix (m, o) that belong to each layer, (n_l, o), as views."""
        return [b[rows] for rows in self.feedback.slices.values()]


def _by_weights(layer: Affine, view: LocalView, gen: torch.Generator | None) -> Tensor:
    """Return dW x / |x| at the output: standard normal for each sample, correlated between similar samples."""
    weight = view.params["weight"]
    change = torch.randn(weight.shape, generator=gen, device=weight.device, dtype=weight.dtype)
    # the same map with weights of one gives |x|^2 per position; all outputs of a group share it
    norm = layer.product(view.x.square(), weight.new_ones(layer.map.one_output)).sqrt_()
    if layer.map.groups > 1:
        norm = norm.repeat_interleave(layer.map.channels // layer.map.groups, 1)
    return layer.product(view.x, change).div_(norm.clamp_min_(1e-12))


def cosines(a: Tensor, b: Tensor) -> Tensor:
    """Return the cosine of each row of ``a`` with the same row of ``b``: (m, o) twice to (m, 1); 0 for a zero row."""
    return torch.nn.functional.cosine_similarity(a, b, dim=1, eps=1e-30).unsqueeze(1)
