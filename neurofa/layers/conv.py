"""Two-dimensional convolution."""

from __future__ import annotations

from neurofa.maps.conv_map import ConvMap


class Conv2d(ConvMap, name="conv2d"):
    """h = f(norm(W * x + b)) on images: (B, C_in, H, W) to (B, C_out, H', W').

    An analog array holds the kernels as a matrix (C_in k^2, C_out), one for each group, and sees one patch of an image
    after another: there, a sample of the periphery (full scale, bound management) is a patch, and on the way back the
    error at one position.

    Args:
        c_in: input channels.
        c_out: output channels.
        kernel: side of the kernel, pixels.
        stride: step between positions, pixels.
        padding: zeros added on every side, pixels.
        groups: groups of channels that do not mix.
        activation: name of f.
        norm: normalisation between the convolution and f, or None.
        dropout: probability that an output is dropped in training.
        bias: whether there is a b.
    """
