"""Greedy learning from local losses, by forward gradients or by backpropagation through the head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from hwmodels.registry import recipe
from neurofa.core.capabilities import Teaching
from neurofa.core.feedback import Feedback
from neurofa.core.plan import Plan
from neurofa.core.products import PhaseFlop, ServedLayer
from neurofa.core.recommended import Recommended
from neurofa.core.synapses import Synapses
from neurofa.families.local_heads import Headed, Heard

GRADIENTS = ("forward", "exact", "random")


class LocalLoss(Headed, name="local_loss"):
    """Local losses: every layer descends the loss of its own auxiliary readout A_l; no error crosses a layer.

    With f_l the mean of h_l over positions and e_l the error of the local loss at A_l f_l, the layer receives

    - ``forward``: (e_l . A_l u) u with u standard normal for every sample: an unbiased activity-perturbed forward
      gradient, which needs no transpose, not even that of the head;
    - ``exact``: e_l A_l, the gradient of the local loss;
    - ``random``: e_l B_l with B_l fixed: feedback alignment inside the head.

    The layer's own derivative takes this error to its weights. ``forward`` and ``groups`` are the paper's LG-FG-A with
    three differences: a layer (or ``Block``) stands for its block of layers; u is added after the activation (the paper
    adds it before); losses are per group of channels, not per patch.

    Args:
        gradient: ``forward``, ``exact`` or ``random``, see above.
        probes: independent u for every sample, whose estimates are averaged (``forward`` only).
        groups: groups of channels, each with its own loss and part of the head; at most one per channel. The variance
            of a forward gradient then grows with the channels of one group only. None: 8 for ``forward``, else 1.
        heads: ``learn`` (dA_l = e_l f_l^T, with the layer's learning rate) or ``fixed``.
        feedback: distribution and device of the heads A_l, and of B_l.
        error: number format of the local errors.
    """

    source = "Ren, Kornblith, Liao and Hinton 2023, ICLR, arXiv 2210.03310 (forward; without its LocalMixer network)"
    recommended = Recommended(dense="adam(lr=0.003)", convolutional="adam(lr=0.003)")

    def __init__(
        self,
        *,
        gradient: str = "forward",
        probes: int = 1,
        groups: int | None = None,
        heads: str = "learn",
        feedback: Feedback | str = "dense",
        error: Format | str = "raw",
    ) -> None:
        chosen = (8 if gradient == "forward" else 1) if groups is None else groups
        super().__init__(groups=chosen, heads=heads, feedback=feedback, error=error)
        if gradient not in GRADIENTS:
            raise NeurofaError(f"got local_loss(gradient={gradient}); expected {', '.join(GRADIENTS)}; choose one")
        if probes < 1:
            raise NeurofaError(f"got local_loss(probes={probes}); expected at least 1; 1 is the default")
        self.gradient, self.probes = gradient, probes

    def bind(self, plan: Plan, gen: torch.Generator) -> None:
        super().bind(plan, gen)
        self.backs = nn.ModuleDict()
        if self.gradient == "random":
            for name in self.shapes:
                self.backs[name] = self.feedback.draw(tuple(self.head(name).weight.shape), gen)

    def begin(self, teaching: Teaching, gen: torch.Generator | None) -> None:
        self._noise = gen

    def deliver(self, name: str, teaching: Teaching) -> Tensor | None:
        assert teaching.view is not None
        readout = self.listen(name, teaching, teaching.view, self._noise)
        if self.gradient == "forward":
            return self.spread(name, self._forward(readout))
        if self.gradient == "random":
            back = self.backs[name]
            assert isinstance(back, Synapses)
            readout = Heard(readout.f, back.read(self._noise), readout.errors)
        return self.spread(name, readout.gradient())

    def _forward(self, readout: Heard) -> Tensor:
        """Return the mean over probes of (e_l . A_l u) u, (B, C), group by group of channels."""
        estimate = torch.zeros_like(readout.f)
        for _ in range(self.probes):
            u = torch.randn(estimate.shape, generator=self._noise, device=estimate.device, dtype=estimate.dtype)
            # A u, the change of the head's output, is a forward product: no transpose is needed
            changes = u.tensor_split(len(readout.errors), 1)
            parts = zip(readout.parts(), changes, strict=True)
            estimate += torch.cat([(e * (v @ a.t())).sum(1, keepdim=True) * v for (_, a, e), v in parts], 1)
        return estimate / self.probes

    def work_at(self, served: ServedLayer) -> list[PhaseFlop]:
        times = self.probes if self.gradient == "forward" else 1
        more = times * self.head_flop(served.name, served.batch) if served.name in self.shapes else 0
        return [*super().work_at(served), PhaseFlop("delivery", more)]


@recipe(
    "rule",
    "decolle",
    source="Kaiser, Mostafa and Neftci 2020, Frontiers in Neuroscience 14, 424",
    recommended=Recommended(dense="adam(lr=0.003)", convolutional="adam(lr=0.003)", spiking="adam(lr=0.01)"),
)
def decolle(*, feedback: Feedback | str = "dense", error: Format | str = "raw") -> LocalLoss:
    """Deep continuous local learning: every layer descends the loss of a fixed random readout of its own spikes.

    The readout acts on the spikes of the tick. The local loss is the learner's, cross-entropy unless ``loss=mse`` is
    chosen, which is the squared difference of the paper; its regularisers are left out, and traces are those of the
    neurons in place of its own three.

    Args:
        feedback: distribution and device of the readouts.
        error: number format of the local errors.
    """
    return LocalLoss(gradient="exact", heads="fixed", feedback=feedback, error=error)
