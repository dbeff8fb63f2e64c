"""Transposed convolutions of signals, images and volumes."""

from __future__ import annotations

from neurofa.maps.activations import Activation
from neurofa.maps.affine import Affine
from neurofa.maps.conv_map import ConvMap, Sizes
from neurofa.maps.norms import Norm


class TransposedConvolutional(Affine):
    """Transposed convolution h = f(norm(W^T * x + b)): (B, C_in, ...) to (B, C_out, ...), with a larger image.

    W is (C_in, C_out / groups, ...), as in torch. An analog array stores the kernels as a matrix (C_in, C_out k^n), one
    per group; it multiplies the channels of one position, and the patches that result are added up digitally.

    Args:
        c_in: input channels.
        c_out: output channels.
        kernel: side of the kernel, pixels; or one for each axis.
        stride: pixels of the output between the patches of neighbouring inputs; or one for each axis.
        padding: pixels cut off on every side of the output; or one for each axis.
        output_padding: pixels added behind the output; or one for each axis.
        dilation: distance between kernel elements, pixels; or one for each axis.
        groups: groups of channels that are convolved separately.
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
        output_padding: Sizes = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        activation: str | Activation = "identity",
        norm: str | Norm | None = None,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        convolution = ConvMap(
            c_in,
            c_out,
            kernel,
            n=self.axes,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            transposed=True,
            output_padding=output_padding,
        )
        super().__init__(convolution, bias=bias, activation=activation, norm=norm, dropout=dropout)


class ConvTranspose1d(TransposedConvolutional, name="conv_transpose1d"):
    """Transposed convolution of signals: (B, C_in, L) to (B, C_out, L'); options of ``conv_transpose2d``."""

    axes = 1


class ConvTranspose2d(TransposedConvolutional, name="conv_transpose2d"):
    """Transposed convolution of images, h = f(norm(W^T * x + b)): (B, C_in, H, W) to (B, C_out, H', W').

    Options: ``kernel``, ``stride``, ``padding``, ``output_padding``, ``dilation`` (one number, or one for each axis),
    ``groups``, ``activation``, ``norm``, ``dropout``, ``bias``.
    """


class ConvTranspose3d(TransposedConvolutional, name="conv_transpose3d"):
    """Transposed convolution of volumes: (B, C_in, D, H, W) to (B, C_out, D', H', W'); as ``conv_transpose2d``."""

    axes = 3
