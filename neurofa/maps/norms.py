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
    shifts: bool = True
    """Whether a shift goes with the gain."""

    def __init__(self, *, affine: bool = True, eps: float = 1e-5) -> None:
        super().__init__()
        if eps <= 0:
            raise NeurofaError(f"got {self.name}(eps={eps}); expected a positive number; 1e-5 is usual")
        self.affine, self.eps = affine, eps

    def size(self, channels: int) -> None:
        """Create the buffers of running statistics; default: none.

        Args:
            channels: C, numbers in each buffer.

        Raises:
            NeurofaError: a number of channels that the norm does not take.
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
    def module(self, channels: int, axes: int, like: Tensor) -> nn.Module:
        """Return the torch module of the same map; its affine weights are not filled in.

        Args:
            channels: C.
            axes: axes of the positions of an input: 0 for vectors, 2 for images.
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

    def module(self, channels: int, axes: int, like: Tensor) -> nn.Module:
        kinds = (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
        plain = kinds[axes](channels, eps=self.eps, momentum=self.momentum, affine=self.affine).to(like)
        assert plain.running_mean is not None and plain.running_var is not None
        plain.running_mean.copy_(self.running_mean)
        plain.running_var.copy_(self.running_var)
        return plain


class _Grouped(Norm):
    """Normalisation by mean and variance of groups of channels of one sample, over their channels and positions."""

    groups: int = 1

    def forward(self, a: Tensor, gain: Tensor | None, shift: Tensor | None) -> tuple[Tensor, State]:
        a = a.contiguous()
        n, c = a.shape[:2]
        pixels = a[0, 0].numel() if n else 1
        y, mean, rstd = torch.native_group_norm(a, gain, shift, n, c, pixels, self.groups, self.eps)
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
            self.groups,
            [True, gain is not None, gain is not None],
        )
        return d, d_gain, d_shift

    def module(self, channels: int, axes: int, like: Tensor) -> nn.Module:
        return nn.GroupNorm(self.groups, channels, eps=self.eps, affine=self.affine).to(like)


class LayerNorm(_Grouped, name="layer"):
    """Layer normalisation: statistics over the channels and positions of one sample."""

    source = "Ba, Kiros and Hinton 2016, arXiv 1607.06450"

    def describe(self) -> NormDescription:
        return NormDescription(kind="layer", eps=self.eps)


class GroupNorm(_Grouped, name="group"):
    """Group normalisation: statistics over the channels of a group and the positions of one sample.

    Args:
        groups: groups of channels, a divisor of their number; 1: layer normalisation.
        affine: whether there are a gain and a shift.
        eps: added to the variance.
    """

    source = "Wu and He 2018, arXiv 1803.08494"

    def __init__(self, groups: int = 1, *, affine: bool = True, eps: float = 1e-5) -> None:
        super().__init__(affine=affine, eps=eps)
        if groups < 1:
            raise NeurofaError(f"got group(groups={groups}); expected at least 1; 1 is layer normalisation")
        self.groups = groups

    def size(self, channels: int) -> None:
        if channels % self.groups:
            raise NeurofaError(
                f"got group(groups={self.groups}) for {channels} channels; expected a divisor of them; change groups"
            )


class RMSNorm(Norm, name="rms"):
    """Root mean square normalisation, y = gain a / sqrt(mean(a^2) + eps), over channels and positions of one sample.

    No mean is subtracted, and no shift is added.

    Args:
        affine: whether there is a gain.
        eps: added to the mean square.
    """

    source = "Zhang and Sennrich 2019, arXiv 1910.07467, equation 4"
    shifts = False

    def forward(self, a: Tensor, gain: Tensor | None, shift: Tensor | None) -> tuple[Tensor, State]:
        inverse = a.square().mean(tuple(range(1, a.dim())), keepdim=True).add_(self.eps).rsqrt_()
        y = a * inverse
        return y if gain is None else y * _over_channels(gain, a), {"pre": a, "invstd": inverse}

    def backward(self, error: Tensor, gain: Tensor | None, kept: State) -> tuple[Tensor, Tensor | None, Tensor | None]:
        inverse = kept["invstd"]
        hat = kept["pre"] * inverse
        scaled = error if gain is None else error * _over_channels(gain, error)
        shared = (scaled * hat).mean(tuple(range(1, hat.dim())), keepdim=True)
        d_gain = None if gain is None else (error * hat).sum([axis for axis in range(hat.dim()) if axis != 1])
        return (scaled - hat * shared).mul_(inverse), d_gain, None

    def module(self, channels: int, axes: int, like: Tensor) -> nn.Module:
        if axes == 0:
            return nn.RMSNorm(channels, eps=self.eps, elementwise_affine=self.affine).to(like)
        return ImageRMSNorm(channels, eps=self.eps, affine=self.affine).to(like)


class ImageRMSNorm(nn.Module):
    """:class:`RMSNorm` of images as a torch module, which has none with one gain a channel.

    Args:
        channels: C.
        eps: added to the mean square.
        affine: whether there is a gain.
    """

    def __init__(self, channels: int, *, eps: float, affine: bool) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised images, (B, C, ...)."""
        y = x * (x.square().mean(tuple(range(1, x.dim())), keepdim=True) + self.eps).rsqrt()
        return y if self.weight is None else y * _over_channels(self.weight, x)


def _over_channels(gain: Tensor, like: Tensor) -> Tensor:
    """Return one number a channel in a shape that multiplies (B, C, ...)."""
    return gain.view(-1, *[1] * (like.dim() - 2))
