"""Two-dimensional convolution."""

from __future__ import annotations

from neurofa.maps.activations import Activation
from neurofa.maps.affine import Affine
from neurofa.maps.conv_map import ConvMap
from neurofa.maps.norms import Norm


class Conv2d(Affine, name="conv2d"):
    """Convolutional layer h = f(norm(W * x + b)): (B, C_in, H, W) to (B, C_out, H', W').

    An analog array (if the network has a periphery) stores the kernels as a matrix (C_in k^2, C_out), one per group,
    and multiplies one patch of an image after another. The unit of the periphery's scaling (full scale, bound
    management) is a patch in the forward direction and the error at one position in the return direction.

    Args:
        c_in: input channels.
        c_out: output channels.
        kernel: side of the kernel, pixels.
        stride: step between positions, pixels.
        padding: zeros added on every side, pixels.
        groups: groups of channels that are convolved separately.
        activation: f.
        norm: normalisation between the convolution and f, or None.
        dropout: probability that an output is dropped in training.
        bias: whether b is added.
    """

    def __init__(
        self,
        c_in: int = 2,
        c_out: int = 4,
        kernel: int = 3,
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        activation: str | Activation = "identity",
        norm: str | Norm | None = None,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        convolution = ConvMap(c_in, c_out, kernel, stride=stride, padding=padding, groups=groups)
        super().__init__(convolution, bias=bias, activation=activation, norm=norm, dropout=dropout)
