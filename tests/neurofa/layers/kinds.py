"""Layers that models use, as torch modules with the shape of one sample, and small networks that begin with them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from neurofa import Block, Dense, Flatten, Network


class SqueezeExcite(nn.Module):
    """x * sigmoid(V relu(W mean(x)))."""

    def __init__(self, channels):
        super().__init__()
        self.narrow, self.wide = nn.Linear(channels, channels // 2), nn.Linear(channels // 2, channels)

    def forward(self, x):
        gate = torch.sigmoid(self.wide(torch.relu(self.narrow(x.mean((2, 3))))))
        return x * gate[:, :, None, None]


class Attention(nn.Module):
    """Attention of tokens (B, S, 4): ``self``, ``causal``, ``cross`` (other queries), ``weights``, ``apart``."""

    def __init__(self, kind):
        super().__init__()
        sizes = {"kdim": 3, "vdim": 2} if kind == "apart" else {}
        self.kind, self.attention = kind, nn.MultiheadAttention(4, 2, batch_first=True, bias=kind != "weights", **sizes)
        if kind == "cross":
            self.query = nn.Linear(4, 4)

    def forward(self, x):
        if self.kind == "cross":
            return self.attention(self.query(x), x, x, need_weights=False)[0]
        if self.kind == "apart":
            return self.attention(x, x[..., :3], x[..., :2], need_weights=False)[0]
        if self.kind == "causal":
            mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
            return self.attention(x, x, x, attn_mask=mask, is_causal=True, need_weights=False)[0]
        return self.attention(x, x, x, need_weights=self.kind == "weights")[0]


class Gated(nn.Module):
    """U (W x * f(V x)): GLU with a sigmoid, SwiGLU with SiLU, GEGLU with GELU."""

    def __init__(self, f):
        super().__init__()
        self.w, self.v, self.u, self.f = nn.Linear(4, 6), nn.Linear(4, 6, bias=False), nn.Linear(6, 4), f

    def forward(self, x):
        return self.u(self.w(x) * self.f(self.v(x)))


def encoder(**options):
    return nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True, **options)


Kind = tuple[Callable[[], nn.Module], tuple[int, ...]]
CONVOLUTIONS: dict[str, Kind] = {
    "conv1d": (lambda: nn.Conv1d(3, 4, 3, stride=2, padding=1, dilation=2), (3, 9)),
    "conv1d same": (lambda: nn.Conv1d(3, 4, 4, padding="same"), (3, 9)),
    "conv1d circular": (lambda: nn.Conv1d(4, 6, 3, groups=2, padding=1, padding_mode="circular"), (4, 9)),
    "depthwise reflect": (
        lambda: nn.Conv2d(4, 8, 3, groups=4, dilation=2, padding=2, padding_mode="reflect"),
        (4, 6, 6),
    ),
    "oblong": (lambda: nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(0, 1)), (3, 6, 5)),
    "replicate": (lambda: nn.Conv2d(2, 4, 3, padding=1, padding_mode="replicate", bias=False), (2, 4, 4)),
    "conv3d": (lambda: nn.Conv3d(2, 4, (3, 2, 3), stride=(1, 2, 1), padding=1), (2, 3, 4, 3)),
    "transposed 1d": (lambda: nn.ConvTranspose1d(3, 4, 3, stride=2, padding=1, output_padding=1), (3, 5)),
    "transposed 2d": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2, dilation=2), (4, 2, 3)),
    "transposed 3d": (lambda: nn.ConvTranspose3d(2, 3, 2, stride=2, bias=False), (2, 2, 3, 2)),
}
OTHERS: dict[str, Kind] = {
    "group norm": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.ReLU()), (3, 5, 5)),
    "rms norm": (lambda: nn.Sequential(nn.Linear(4, 6), nn.RMSNorm(6), nn.SiLU()), (4,)),
    "instance norm": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4, affine=True)), (3, 5, 5)),
    "layer norm of two axes": (lambda: nn.Sequential(nn.Conv1d(3, 4, 3), nn.LayerNorm([4, 7])), (3, 9)),
    "batch norm 3d": (lambda: nn.Sequential(nn.Conv3d(2, 4, 2), nn.BatchNorm3d(4)), (2, 3, 3, 3)),
    "prelu of channels": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.PReLU(4)), (3, 5, 5)),
    "prelu": (lambda: nn.Sequential(nn.Linear(4, 5), nn.PReLU()), (4,)),
    "halves": (lambda: nn.Sequential(nn.Linear(4, 6), nn.GLU()), (4,)),
    "swiglu": (lambda: Gated(nn.functional.silu), (3, 4)),
    "geglu": (lambda: Gated(nn.functional.gelu), (3, 4)),
    "squeeze-excite": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), SqueezeExcite(4)), (3, 5, 5)),
    "attention": (lambda: Attention("self"), (3, 4)),
    "attention with weights": (lambda: Attention("weights"), (3, 4)),
    "causal attention": (lambda: Attention("causal"), (3, 4)),
    "cross attention": (lambda: Attention("cross"), (3, 4)),
    "attention apart": (lambda: Attention("apart"), (3, 4)),
    "encoder": (encoder, (3, 4)),
    "encoder, norm first": (lambda: encoder(norm_first=True, bias=False), (3, 4)),
    "softmax": (lambda: nn.Sequential(nn.Linear(4, 5), nn.Softmax(-1)), (4,)),
}
POOLS: dict[str, Kind] = {
    "max, ceil, padding": (lambda: nn.MaxPool2d(3, 2, 1, ceil_mode=True), (3, 8, 8)),
    "max, dilation": (lambda: nn.MaxPool2d(2, 1, dilation=2), (3, 8, 8)),
    "max, oblong": (lambda: nn.MaxPool2d((2, 3)), (3, 8, 8)),
    "max 1d": (lambda: nn.MaxPool1d(3, 2), (3, 9)),
    "max 3d": (lambda: nn.MaxPool3d(2), (2, 4, 4, 4)),
    "mean, padding not counted": (lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), (3, 8, 8)),
    "mean, divisor": (lambda: nn.AvgPool2d(2, divisor_override=3), (3, 8, 8)),
    "mean 1d": (lambda: nn.AvgPool1d(3, 2, padding=1, ceil_mode=True), (3, 8)),
    "mean 3d": (lambda: nn.AvgPool3d(2), (2, 4, 4, 4)),
    "adaptive mean": (lambda: nn.AdaptiveAvgPool2d((3, 2)), (3, 8, 8)),
    "adaptive mean 1d": (lambda: nn.AdaptiveAvgPool1d(2), (3, 9)),
    "adaptive max": (lambda: nn.AdaptiveMaxPool2d(2), (3, 8, 8)),
    "adaptive max 3d": (lambda: nn.AdaptiveMaxPool3d(2), (2, 4, 4, 4)),
    "lp": (lambda: nn.LPPool2d(2, 2), (3, 8, 8)),
}
LOW_RANK_REFUSED = {
    "conv1d circular": "of 2 groups",
    "depthwise reflect": "of 4 groups",
    "transposed 1d": "transposed convolution",
    "transposed 2d": "of 2 groups",
    "transposed 3d": "transposed convolution",
    "layer norm of two axes": "normalisation over several axes",
    "cross attention": "come from different inputs",
}
"""Kinds that feedback of low rank cannot return through, with words of the message."""
KINDS = CONVOLUTIONS | OTHERS


def module(name: str) -> nn.Module:
    torch.manual_seed(3)
    made = (KINDS | POOLS)[name][0]()
    for p in made.parameters():  # gains of one and shifts of zero would hide an error
        p.data.add_(torch.randn_like(p), alpha=0.1)
    return made


def sample(name: str, n: int = 4) -> torch.Tensor:
    return torch.randn(n, *(KINDS | POOLS)[name][1], generator=torch.Generator().manual_seed(0))


def model(name: str) -> nn.Sequential:
    """A torch model: an affine map, the module, and a readout."""
    own = module(name)
    width = own(sample(name)).flatten(1).shape[1]
    head = [own, nn.Flatten()] if own(sample(name)).dim() > 2 else [own]
    return nn.Sequential(*head, nn.Linear(width, 5), nn.Tanh(), nn.Linear(5, 3))


def network(name: str, device: str = "digital") -> Network:
    """The same as a network whose lower part is one block."""
    made = model(name)
    layers = [Block(made[0]), *([Flatten()] if isinstance(made[1], nn.Flatten) else [])]
    width = made.get_parameter(f"{len(made) - 3}.weight").shape[1]
    return Network([*layers, Dense(width, 5, activation="tanh"), Dense(5, 3)], (KINDS | POOLS)[name][1], device=device)
