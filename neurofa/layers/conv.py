"""Convolutions of signals, images and volumes."""

from __future__ import annotations

from neurofa.maps.activations import Activation
from neurofa.maps.affine import Affine
from neurofa.maps.conv_map import ConvMap, Sizes
from neurofa.maps.norms import Norm


class Convolutional(Affine):
    """Convolutional layer h = f(norm(W * x + b)): (B, C_in, ...) to (B, C_out, ...), on images of ``axes`` axes.

    An analog array (if the network has a periphery) stores the kernels as a matrix (C_in k^n, C_out), one per group,
    and multiplies one patch of an image after another. The unit of the periphery's scaling (full scale, bound
    management) is a patch in the forward direction and the error at one position in the return direction.

    Args:
        c_in: input channels.
        c_out: output channels.
        kernel: side of the kernel, pixels; or one for each axis.
        stride: step between positions, pixels; or one for each axis.
        padding: zeros added on every side, pixels; or one for each axis.
        dilation: distance between kernel elements, pixels; or one for each axis.
        groups: groups of channels that are convolved separately; ``c_in``: depthwise.
        activation: f.
        norm: normalisation between the convolution and f, or None.
        dropout: probability that an output is dropped in training.
        bias: whether b is added.
    """

    axes = 2

    def __init__(
        self,
        c_in: int = 2,
        c_out: int = 4,
        kernel: Sizes = 3,
        *,
        stride: Sizes = 1,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        activation: str | Activation = "identity",
        norm: str | Norm | None = None,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        convolution = ConvMap(
            c_in, c_out, kernel, n=self.axes, stride=stride, padding=padding, dilation=dilation, groups=groups
        )
        super().__init__(convolution, bias=bias, activation=activation, norm=norm, dropout=dropout)


class Conv1d(Convolutional, name="conv1d"):
    """Convolution of signals, h = f(norm(W * x + b)): (B, C_in, L) to (B, C_out, L'); options of ``conv2d``."""

    axes = 1


class Conv2d(Convolutional, name="conv2d"):
    """Convolution of images, h = f(norm(W * x + b)): (B, C_in, H, W) to (B, C_out, H', W').

    Options: ``kernel``, ``stride``, ``padding``, ``dilation`` (one number, or one for each axis), ``groups``,
    ``activation``, ``norm``, ``dropout``, ``bias``.
    """


class Conv3d(Convolutional, name="conv3d"):
    """Convolution of volumes, h = f(norm(W * x + b)): (B, C_in, D, H, W) to (B, C_out, D', H', W'); as ``conv2d``."""

    axes = 3
