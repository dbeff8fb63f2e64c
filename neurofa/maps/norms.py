"""Normalisations between the affine map and the activation of a layer, in closed form."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from hwmodels.errors import NeurofaError
from hwmodels.registry import Registered
from neurofa.core.description import NormDescription

aten = torch.ops.aten
State = dict[str, Tensor]


class Norm(nn.Module, Registered, ABC, kind="norm"):
    """Normalisation of a (B, C, ...) over the axes of its kind, then gain and shift per channel if ``affine``.

    Gain and shift are synapses of the layer and are passed as arguments; running statistics are buffers here.

    Args:
        affine: whether there are a gain and a shift.
        eps: added to the variance.
    """

    couples_samples: bool = False
    """Whether one sample's output depends on the other samples of the batch."""

    def __init__(self, *, affine: bool = True, eps: float = 1e-5) -> None:
        super().__init__()
        if eps <= 0:
            raise NeurofaError(f"got {self.name}(eps={eps}); expected a positive number; 1e-5 is usual")
        self.affine, self.eps = affine, eps

    def size(self, channels: int) -> None:
        """Create the buffers of running statistics; default: none.

        Args:
            channels: C, numbers in each buffer.
        """

    @abstractmethod
    def forward(self, a: Tensor, gain: Tensor | None, shift: Tensor | None) -> tuple[Tensor, State]:
        """Return the normalised affine output, and the statistics.

        Args:
            a: (B, C, ...) affine output.
            gain: (C,) or None.
            shift: (C,) or None.

        Returns:
            Output, shaped as ``a``; and the tensors that :meth:`backward` and :meth:`update_running_stats` need.
        """

    @abstractmethod
    def backward(self, error: Tensor, gain: Tensor | None, kept: State) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return the error at the affine output, and the directions of gain and shift (None without a gain).

        Args:
            error: (B, C, ...) error at the output.
            gain: (C,) or None.
            kept: as :meth:`forward` returned it.
        """

    def update_running_stats(self, kept: State) -> None:
        """Update the running statistics from one batch; default: there are none.

        Args:
            kept: as :meth:`forward` returned it.
        """

    def describe(self) -> NormDescription | None:
        """Return the description for exports; None (default): the exported formats have no such kind."""
        return None

    @abstractmethod
    def module(self, channels: int, spatial: bool, like: Tensor) -> nn.Module:
        """Return the torch module of the same map; its affine weights are not filled in.

        Args:
            channels: C.
            spatial: whether inputs are images.
            like: tensor with the dtype and device of the module.
        """


class BatchNorm(Norm, name="batch"):
    """Batch normalisation: statistics over batch and positions; running averages for evaluation.

    It couples the samples of a batch, which the audit reports.

    Args:
        affine: whether there are a gain and a shift.
        eps: added to the variance.
        momentum: weight of a batch in the running statistics.
    """

    source = "Ioffe and Szegedy 2015, arXiv 1502.03167"
    couples_samples = True
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, *, affine: bool = True, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(affine=affine, eps=eps)
        if not 0 < momentum <= 1:
            raise NeurofaError(f"got batch(momentum={momentum}); expected above 0 and at most 1; 0.1 is usual")
        self.momentum = momentum

    def describe(self) -> NormDescription:
        statistics = {"mean": self.running_mean, "variance": self.running_var}
        return NormDescription(kind="batch", eps=self.eps, momentum=self.momentum, statistics=statistics)

    def size(self, channels: int) -> None:
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, a: Tensor, gain: Tensor | None, shift: Tensor | None) -> tuple[Tensor, State]:
        if not self.training:
            y = nn.functional.batch_norm(a, self.running_mean, self.running_var, gain, shift, False, 0.0, self.eps)
            return y, {"pre": a}
        if a.numel() == a.shape[1]:
            raise NeurofaError(
                "got one value per channel for batch normalisation in training, which normalises it to zero; expected"
                " two samples or more; use a larger batch size, one that leaves no last batch of one, or norm layer"
            )
        y, mean, invstd = torch.native_batch_norm(a, gain, shift, None, None, True, 0.0, self.eps)
        return y, {"pre": a, "mean": mean, "invstd": invstd}

    def backward(self, error: Tensor, gain: Tensor | None, kept: State) -> tuple[Tensor, Tensor | None, Tensor | None]:
        trained = "mean" in kept
        pre = kept["pre"]
        inner = pre.dim() == 4 and pre.is_contiguous(memory_format=torch.channels_last)
        d, d_gain, d_shift = aten.native_batch_norm_backward(
            error.contiguous(memory_format=torch.channels_last if inner else torch.contiguous_format),
            pre,
            gain,
            None if trained else self.running_mean,
            None if trained else self.running_var,
            kept.get("mean"),
            kept.get("invstd"),
            trained,
            self.eps,
            [True, gain is not None, gain is not None],
        )
        return d, d_gain, d_shift

    def update_running_stats(self, kept: State) -> None:
        if "mean" not in kept:
            return
        n = kept["pre"].numel() / kept["mean"].numel()
        # torch returns the inverse standard deviation, with eps inside
        variance = kept["invstd"].pow(-2).sub_(self.eps)
        # running variances are unbiased, as in torch; the batch is normalised by the biased one
        if n > 1:
            variance.mul_(n / (n - 1))
        self.running_mean.lerp_(kept["mean"].to(self.running_mean), self.momentum)
        self.running_var.lerp_(variance.to(self.running_var), self.momentum)

    def module(self, channels: int, spatial: bool, like: Tensor) -> nn.Module:
        kind = nn.BatchNorm2d if spatial else nn.BatchNorm1d
        plain = kind(channels, eps=self.eps, momentum=self.momentum, affine=self.affine).to(like)
        assert plain.running_mean is not None and plain.running_var is not None
        plain.running_mean.copy_(self.running_mean)
        plain.running_var.copy_(self.running_var)
        return plain


class LayerNorm(Norm, name="layer"):
    """Layer normalisation: statistics over the channels and positions of one sample."""

    source = "Ba, Kiros and Hinton 2016, arXiv 1607.06450"

    def describe(self) -> NormDescription:
        return NormDescription(kind="layer", eps=self.eps)

    def forward(self, a: Tensor, gain: Tensor | None, shift: Tensor | None) -> tuple[Tensor, State]:
        a = a.contiguous()
        n, c = a.shape[:2]
        # group normalisation with one group: statistics over all channels and positions of a sample
        y, mean, rstd = torch.native_group_norm(a, gain, shift, n, c, a[0, 0].numel() if n else 1, 1, self.eps)
        return y, {"pre": a, "mean": mean, "invstd": rstd}

    def backward(self, error: Tensor, gain: Tensor | None, kept: State) -> tuple[Tensor, Tensor | None, Tensor | None]:
        a = kept["pre"]
        n, c = a.shape[:2]
        d, d_gain, d_shift = aten.native_group_norm_backward(
            error.contiguous(),
            a,
            kept["mean"],
            kept["invstd"],
            gain,
            n,
            c,
            a[0, 0].numel(),
            1,
            [True, gain is not None, gain is not None],
        )
        return d, d_gain, d_shift

    def module(self, channels: int, spatial: bool, like: Tensor) -> nn.Module:
        return nn.GroupNorm(1, channels, eps=self.eps, affine=self.affine).to(like)
