"""Sequential models with random modules, options, wrappers, sharing, freezing and modes, as tests draw them."""

import random
import types
import warnings

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, prune

SHAPES = ((6,), (2, 6, 6), (3, 8))


class Scaled(nn.Linear):
    """A linear map with a forward of its own."""

    def forward(self, x):
        return super().forward(x) * 1.5


class Centred(nn.Sequential):
    """A sequence with a forward of its own."""

    def forward(self, x):
        return super().forward(x) - 0.5


class Named(nn.Sequential):
    """A sequence that only has another name."""


class ClippedConv(nn.Conv2d):
    """A convolution with a forward of its own."""

    def forward(self, x):
        return super().forward(x).clamp(-1, 1)


class ShiftedNorm(nn.BatchNorm1d):
    """A normalisation with a forward of its own."""

    def forward(self, x):
        return super().forward(x) + 1


class LeakyPool(nn.MaxPool2d):
    """A pooling with a forward of its own."""

    def forward(self, x):
        return super().forward(x) + 0.1 * F.avg_pool2d(x, self.kernel_size, self.stride)


class Skip(nn.Module):
    """x + f(x), with f given."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return x + self.inner(x)


class Noisy(nn.Module):
    """Noise in training."""

    def forward(self, x):
        return x + torch.randn_like(x) if self.training else x


class FunctionalDropout(nn.Module):
    """A dropout that is no module."""

    def forward(self, x):
        return F.dropout(x, 0.4, self.training)


class Recurrent(nn.Module):
    """The output of a recurrent module, without its states."""

    def __init__(self, kind, *sizes, **options):
        super().__init__()
        self.core = kind(*sizes, batch_first=True, **options)

    def forward(self, x):
        return self.core(x)[0]


class Attention(nn.Module):
    """Attention of a sequence to itself."""

    def __init__(self, width, heads, **options):
        super().__init__()
        self.core = nn.MultiheadAttention(width, heads, batch_first=True, **options)

    def forward(self, x):
        return self.core(x, x, x, need_weights=False)[0]


class Tied(nn.Module):
    """A map and its transpose."""

    def __init__(self, n):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n, n) / n)

    def forward(self, x):
        return F.linear(F.linear(x, self.weight).tanh(), self.weight.t())


class Counting(nn.Module):
    """A module whose output depends on how often it was called."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x * self.calls


def activation(r):
    """Any activation, in place or not."""
    inplace = r.random() < 0.4
    return r.choice(
        [
            lambda: nn.ReLU(inplace),
            lambda: nn.LeakyReLU(r.choice([0.01, 0.2]), inplace),
            lambda: nn.GELU(approximate=r.choice(["none", "tanh"])),
            lambda: nn.SiLU(inplace),
            lambda: nn.ELU(r.choice([1.0, 0.5]), inplace),
            nn.Tanh,
            nn.Sigmoid,
            nn.Identity,
            lambda: nn.Hardtanh(-0.5, 0.7, inplace),
            nn.PReLU,
            nn.Softplus,
            lambda: nn.ReLU6(inplace),
            lambda: nn.Softmax(1),
            lambda: nn.RReLU(inplace=inplace),
        ]
    )()


def dropout(r, dims):
    """Any dropout for tensors of B and this number of axes."""
    p = r.choice([0, 0.0, 0.3, 0.5])
    kinds = [nn.Dropout(p, r.random() < 0.3), nn.AlphaDropout(p), FunctionalDropout(), Noisy()]
    kinds += {1: [], 2: [nn.Dropout1d(p)], 3: [nn.Dropout2d(p), nn.FeatureAlphaDropout(p)]}[dims]
    return r.choice(kinds)


def norm(r, shape):
    """Any normalisation of this shape."""
    c, affine, eps = shape[0], r.random() < 0.7, r.choice([1e-5, 1e-3])
    options = {"affine": affine, "eps": eps}
    batch = {**options, "momentum": r.choice([0.1, 0.3, None]), "track_running_stats": r.random() < 0.8}
    kinds = [lambda: nn.GroupNorm(r.choice([g for g in (1, 2, 3) if c % g == 0]), c, **options)]
    kinds += {
        1: [lambda: nn.BatchNorm1d(c, **batch), lambda: ShiftedNorm(c, **batch), lambda: nn.LayerNorm(c, eps)],
        2: [lambda: nn.BatchNorm1d(c, **batch), lambda: nn.LayerNorm(shape[-1], eps, elementwise_affine=affine)],
        3: [lambda: nn.BatchNorm2d(c, **batch), lambda: nn.InstanceNorm2d(c, **options)],
    }[len(shape)]
    return r.choice(kinds)()


def mapping(r, shape):
    """Any map with weights for this shape."""
    bias, n = r.random() < 0.7, shape[-1]
    if len(shape) == 1:
        return r.choice(
            [lambda: nn.Linear(n, r.choice([5, 6, 8]), bias), lambda: Scaled(n, 6, bias), lambda: Tied(n)]
        )()
    if len(shape) == 2:
        sizes, c = (n, 8), shape[0]
        return r.choice(
            [
                lambda: nn.Linear(*sizes, bias),
                lambda: nn.Conv1d(c, 3, 3, padding=r.choice([0, 1]), bias=bias),
                lambda: nn.ConvTranspose1d(c, 3, 2, bias=bias),
                lambda: Recurrent(r.choice([nn.GRU, nn.LSTM, nn.RNN]), *sizes, bidirectional=r.random() < 0.3),
                lambda: Recurrent(nn.GRU, *sizes, num_layers=2, dropout=0.3),
                lambda: Attention(n, 2 if n % 2 == 0 else 1, dropout=r.choice([0.0, 0.3])),
                lambda: nn.TransformerEncoderLayer(
                    n, 2 if n % 2 == 0 else 1, 8, r.choice([0.0, 0.2]), batch_first=True
                ),
            ]
        )()
    c = shape[0]
    kernel = r.choice([1, 3, (3, 1)]) if min(shape[1:]) >= 3 else 1
    options = {
        "stride": r.choice([1, 1, 2, (2, 1)]),
        "padding": r.choice([0, 1, (1, 0), "same"]),
        "dilation": r.choice([1, 1, 2]) if min(shape[1:]) >= 5 else 1,
        "padding_mode": r.choice(["zeros", "zeros", "circular", "replicate"]),
        "groups": r.choice([1, c]),
        "bias": bias,
    }
    if options["padding"] == "same":
        options["stride"] = 1
    return r.choice(
        [
            lambda: nn.Conv2d(c, 2 * c, kernel, **options),
            lambda: nn.Conv2d(c, c, kernel, padding=1, bias=bias),
            lambda: ClippedConv(c, c, kernel, padding=1),
            lambda: nn.ConvTranspose2d(c, c, 2, bias=bias),
        ]
    )()


def reshaping(r, shape):
    """Any module without weights that changes the shape."""
    if len(shape) < 3:
        return r.choice([nn.Flatten, nn.Identity, nn.Sequential])()
    size = r.choice([2, (2, 1), 3])
    if min(shape[1:]) < 3:
        return nn.Flatten()
    return r.choice(
        [
            lambda: nn.MaxPool2d(size, r.choice([None, 1, 2]), ceil_mode=r.random() < 0.3),
            lambda: nn.MaxPool2d(2, padding=1, dilation=r.choice([1, 2])),
            lambda: nn.AvgPool2d(size, ceil_mode=r.random() < 0.3, divisor_override=r.choice([None, None, 1])),
            lambda: nn.AvgPool2d(2, padding=1, count_include_pad=r.random() < 0.5),
            lambda: LeakyPool(2),
            lambda: nn.AdaptiveAvgPool2d(r.choice([1, 2])),
            nn.Flatten,
            lambda: nn.ZeroPad2d(1),
            lambda: nn.Upsample(scale_factor=2),
            lambda: nn.PixelUnshuffle(1),
        ]
    )()


def touched(r, module):
    """The module with a hook, a patched forward, a parametrisation, pruning, or frozen weights; mostly as it is."""
    weighted = isinstance(module, nn.Linear | nn.Conv2d) and isinstance(module.weight, nn.Parameter)
    kind = r.choice(
        ["", "", "", "", "", "hook", "pre", "back", "method", "closure", "frozen", "part", "norm", "spectral", "pruned"]
    )
    if kind == "hook":
        module.register_forward_hook(lambda m, i, y: y * 1.5)
    elif kind == "pre":
        module.register_forward_pre_hook(lambda m, i: (i[0] * 0.5,))
    elif kind == "back":
        module.register_full_backward_hook(lambda m, below, above: tuple(None if e is None else e * 0.5 for e in below))
    elif kind == "method":
        module.forward = types.MethodType(lambda self, x: type(self).forward(self, x) + 1, module)
    elif kind == "closure":
        own = module.forward
        module.forward = lambda x: own(x) * 2
    elif kind == "frozen":
        module.requires_grad_(False)
    elif kind == "part" and weighted:
        module.weight.requires_grad_(False)
    elif kind == "norm" and weighted:
        return r.choice([parametrizations.weight_norm, nn.utils.weight_norm])(module)
    elif kind == "spectral" and weighted:
        return r.choice([parametrizations.spectral_norm, nn.utils.spectral_norm])(module)
    elif kind == "pruned" and weighted:
        prune.l1_unstructured(module, "weight", 0.4)
    return module


def output_shape(module, shape):
    """The shape behind a module, or None if it does not take this one."""
    modes = [(m, m.training) for m in module.modules()]
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            y = module.eval()(torch.zeros(3, *shape))
    except (RuntimeError, ValueError, AssertionError):
        return None
    finally:
        for m, mode in modes:
            m.training = mode
    found = tuple(y.shape[1:])
    return found if len(y) == 3 and 0 < len(found) < 4 and 0 < y[0].numel() <= 400 else None


def drawn_model(seed):
    """A sequential model and the shape of its samples."""
    r = random.Random(seed)
    torch.manual_seed(seed)
    first = shape = r.choice(SHAPES)
    modules = []
    for _ in range(r.randint(1, 5)):
        draw = r.choice(
            [mapping, mapping, norm, lambda r, s: activation(r), lambda r, s: dropout(r, len(s)), reshaping]
        )
        module = draw(r, shape)
        behind = output_shape(module, shape)
        if behind == shape and r.random() < 0.15:
            module = Skip(nn.Sequential(activation(r), module))
        elif r.random() < 0.1:
            module = r.choice([Centred, Named, nn.Sequential])(module, activation(r))
        elif r.random() < 0.02:
            module = Counting()
        behind = output_shape(module, shape)
        if behind is None:
            continue
        module = touched(r, module)
        modules.append(module)
        if behind == shape and r.random() < 0.08:
            modules.append(module)
        shape = behind
        if output_shape(nn.Sequential(*modules), first) is None:
            modules.pop()
            shape = output_shape(nn.Sequential(*modules), first) or first
    if len(shape) > 1:
        modules.append(nn.Flatten())
    modules.append(touched(r, nn.Linear(output_shape(nn.Sequential(*modules), first)[0], 3)))
    model = nn.Sequential(*modules)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and r.random() < 0.3:
            module.eval()
        if isinstance(module, nn.modules.batchnorm._NormBase) and module.running_mean is not None:
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
    return (model.double() if r.random() < 0.25 else model), first
