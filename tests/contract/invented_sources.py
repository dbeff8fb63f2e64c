"""One new part of every kind, each as the text of one file: what somebody would write who adds the part."""

SOURCES = {
    "activation": '''
import torch
from torch import nn

from neurofa.maps.activations import Activation


class Softsign(Activation, name="invented_activation"):
    """h = a / (1 + |a|)."""

    def forward(self, a):
        return a / (1 + a.abs())

    def backward(self, error, kept):
        return error * (1 - kept.abs()).square()

    def module(self):
        return nn.Softsign()
''',
    "camera": '''
from hwmodels.optics.camera import Camera
from hwmodels.registry import recipe


@recipe("camera", "invented_camera", source="invented")
def invented_camera():
    """Six bits and a small full well."""
    return Camera(bits=6, full_well=1000.0)
''',
    "conductance": '''
from dataclasses import dataclass

from hwmodels.arrays.conductance import ConductanceMap


@dataclass(frozen=True, kw_only=True)
class Mirrored(ConductanceMap, name="invented_conductance"):
    """g = g_max - (s w + span) / 2: a large weight is a small conductance."""

    source = "invented"

    @property
    def reach(self):
        return self.span / 2

    def split(self, weights, scale):
        return {"g": (self.g_max - self.span / 2 - weights * scale).clamp_(self.g_min, self.g_max)}

    def join(self, planes, scale):
        return (self.g_max - self.span / 2 - planes["g"]) / scale
''',
    "data": '''
import torch

from experiments.data.base import Dataset
from experiments.data.split import Split
from hwmodels.registry import recipe


def clouds(samples, seed):
    gen = torch.Generator().manual_seed(seed)
    y = torch.arange(samples) % 3
    return Split(2 * torch.eye(3)[y].repeat(1, 2) + 0.5 * torch.randn(samples, 6, generator=gen), y)


@recipe("data", "invented_data", source="invented")
def invented_data(*, samples: int = 96):
    """Three clouds of points in six dimensions."""
    parts = {"train": clouds(samples, 0), "validation": clouds(30, 1), "test": clouds(30, 2)}
    return Dataset(name="invented_data", classes=3, input_shape=(6,), provenance={"origin": "drawn"}, **parts)
''',
    "detection": '''
from dataclasses import dataclass

from hwmodels.optics.detection import Detection, Exposure


@dataclass(frozen=True, kw_only=True)
class TwoFrames(Detection, name="invented_detection"):
    """The mean of two frames of the bare intensity, less its expected mean."""

    linear = False
    source = "invented"

    @property
    def frames(self):
        return 2

    def exposures(self, field):
        yield Exposure(field.light, field.mean, 0.5)
        yield Exposure(field.light, field.mean, 0.5)

    def offset(self, field):
        return field.mean
''',
    "device": '''
from dataclasses import dataclass

import torch

from hwmodels.device import Device


@dataclass(frozen=True, kw_only=True)
class Soft(Device, name="invented_device"):
    """w' = w + change (1 - w^2): steps shrink towards the bounds +-1.

    Args:
        bound: largest weight.
    """

    source = "invented"

    bound: float = 1.0

    def program(self, target, gen=None):
        return {"w": (target / self.bound).clamp(-1, 1)}

    def value(self, cells):
        return cells["w"] * self.bound

    def write(self, cells, change, gen=None):
        w = cells["w"]
        return {"w": (w + change / self.bound * (1 - w.square())).clamp(-1, 1)}
''',
    "encoder": '''
from dataclasses import dataclass

from experiments.data.encoders import Encoder


@dataclass(frozen=True, kw_only=True)
class Alternating(Encoder, name="invented_encoder"):
    """The value in even ticks, and nothing in odd ones."""

    source = "invented"

    def encode(self, xs, gen):
        spikes = xs.clone()
        spikes[1::2] = 0
        return spikes
''',
    "experiment": '''
from dataclasses import dataclass

from experiments.sweeps.experiment import Experiment, Findings, at_least


@dataclass(frozen=True, kw_only=True)
class Counting(Experiment, name="invented_experiment"):
    """Does one and one make two?"""

    source = "invented"
    question = "Does one and one make two?"

    def run(self, part, setup):
        return Findings(rows=[{"part": part, "sum": 1 + 1}], checks=[at_least("sum", 1 + 1, 2)])
''',
    "feedback": '''
import math

import torch

from neurofa.core.feedback import MatrixFeedback


class Alternating(MatrixFeedback, name="invented_feedback"):
    """Entries of one size, whose signs alternate along each row.

    Args:
        gain: size of the entries in units of 1/sqrt(3 o).
    """

    source = "invented"

    def __init__(self, *, gain: float = 1.0):
        super().__init__(gain=gain, distribution="uniform", values="raw", device="digital")

    def rows(self, sites, width, outputs, gen):
        signs = torch.randint(2, (width, outputs), generator=gen) * 2 - 1
        signs[:, 1:] = signs[:, :1] * (-1) ** torch.arange(1, outputs)
        return signs * (self.gain / math.sqrt(3 * outputs))
''',
    "format": '''
from dataclasses import dataclass

from hwmodels.format import Format


@dataclass(frozen=True, kw_only=True)
class Eighths(Format, name="invented_format"):
    """Whole multiples of 1/8 within +-2."""

    source = "invented"

    @property
    def bits(self):
        return 6.0

    def quantize(self, x, gen=None):
        return (x.detach() * 8).round().clamp(-16, 16) / 8

    def inside(self, x):
        return x.abs() <= 2
''',
    "layer": '''
import torch
from torch.nn.functional import linear

from neurofa.maps.autograd_layer import AutogradLayer


class Gated(AutogradLayer, name="invented_layer"):
    """h = (W x) sigmoid(V x).

    Args:
        n_in: inputs.
        n_out: outputs.
    """

    source = "invented"

    def __init__(self, n_in: int = 4, n_out: int = 3):
        super().__init__()
        self.shape = (n_out, n_in)

    def initialise(self, device, gen):
        for key in ("w", "v"):
            bound = self.shape[1] ** -0.5
            self.synapses.add(key, torch.empty(self.shape).uniform_(-bound, bound, generator=gen), device, gen)

    def compute(self, params, x, state):
        return linear(x, params["w"]) * linear(x, params["v"]).sigmoid(), {}
''',
    "loss": '''
import torch

from neurofa.core.loss import Loss, LossResult, one_hot


class Huber(Loss, name="invented_loss"):
    """L = sum_k sqrt(1 + (y_k - t_k)^2) - 1, of labels as one-hot targets."""

    source = "invented"

    def evaluate(self, y, target):
        hot = one_hot(target, y)
        off = y - hot
        root = (1 + off.square()).sqrt()
        return LossResult((root - 1).sum() / len(y), off / root, hot)
''',
    "network": '''
import math
from dataclasses import dataclass

from hwmodels.registry import build
from neurofa.core.recipes import NetworkRecipe
from neurofa.layers import Dense, Flatten


@dataclass(frozen=True, kw_only=True)
class Funnel(NetworkRecipe, name="invented_network"):
    """Layers of one kind, each half as wide as the one before it.

    Args:
        width: of the first layer.
        depth: hidden layers.
        layer: their kind.
    """

    source = "invented"

    width: int = 12
    depth: int = 2
    layer: str = "dense"

    def layers(self, input_shape, outputs, seed):
        widths = [math.prod(input_shape), *(self.width >> k for k in range(self.depth))]
        hidden = [build("layer", self.layer, n_in=n, n_out=m) for n, m in zip(widths, widths[1:], strict=False)]
        return [Flatten(), *hidden, Dense(widths[-1], outputs)]
''',
    "neuron": '''
import math

from hwmodels.format import Format
from neurofa.core.description import NeuronDescription
from neurofa.core.dynamics import Dynamics
from neurofa.spiking.neuron import Firing
from neurofa.spiking.surrogate import Surrogate


class Unreset(Firing, name="invented_neuron"):
    """u_t = exp(-1/tau) u_{t-1} + I_t without a reset.

    Args:
        tau: time constant of the potential, ticks.
        threshold: of the potential.
        surrogate: derivative of a spike.
        membrane: number format of the potential.
    """

    source = "invented"
    memories = ("mem",)

    def __init__(
        self,
        *,
        tau: float = 5.0,
        threshold: float = 1.0,
        surrogate: Surrogate | str = "atan",
        membrane: Format | str = "raw",
    ):
        super().__init__(threshold=threshold, reset="none", delay=True, surrogate=surrogate, membrane=membrane)
        self.decay = math.exp(-1 / tau)

    def describe(self):
        return self.described("lif", gated=False, beta=NeuronDescription.decay(self.decay, "the potential"))

    def tick(self, current, state):
        u = self.rounded(state["mem"] * self.decay + current)
        v = u - self.threshold
        z = self.surrogate.fire(v)
        return z, {"v": v.detach()}, {"mem": u}

    def dynamics(self, left, psi=None):
        return Dynamics([[self.decay]], [1.0], [self.psi(left) if psi is None else psi])
''',
    "nonlinearity": '''
from hwmodels.registry import recipe


@recipe("nonlinearity", "invented_nonlinearity")
def invented_nonlinearity():
    """g(a) = 1 / (1 + a^2)."""
    return lambda a: 1 / (1 + a.square())
''',
    "norm": '''
import torch
from torch import nn

from neurofa.maps.norms import Norm


class RootMeanSquare(nn.Module):
    def __init__(self, eps):
        super().__init__()
        self.eps = eps

    def forward(self, a):
        return a * torch.rsqrt(a.square().mean(1, keepdim=True) + self.eps)


class RMS(Norm, name="invented_norm"):
    """a / sqrt(mean over channels of a^2 + eps), without gain and shift."""

    source = "invented"

    def __init__(self, *, eps: float = 1e-5):
        super().__init__(affine=False, eps=eps)

    def forward(self, a, gain, shift):
        inverse = torch.rsqrt(a.square().mean(1, keepdim=True) + self.eps)
        y = a * inverse
        return y, {"y": y, "inverse": inverse}

    def backward(self, error, gain, kept):
        y, inverse = kept["y"], kept["inverse"]
        return (error - y * (error * y).mean(1, keepdim=True)) * inverse, None, None

    def module(self, channels, spatial, like):
        return RootMeanSquare(self.eps)
''',
    "optimizer": '''
import torch

from hwmodels.registry import recipe


@recipe("optimizer", "invented_optimizer", source="invented")
def invented_optimizer(*, lr: float = 0.1):
    """Plain descent."""
    return lambda params: torch.optim.SGD(params, lr=lr)
''',
    "periphery": '''
from hwmodels.arrays.periphery import Periphery
from hwmodels.registry import recipe


@recipe("periphery", "invented_periphery", source="invented")
def invented_periphery():
    """Converters of 10 bits without noise."""
    return Periphery(in_bits=10, out_bits=10, out_bound=20.0, out_noise=0.0)
''',
    "profile": '''
from dataclasses import dataclass

from hwmodels.profile import Profile


@dataclass(frozen=True, kw_only=True)
class Chip(Profile, name="invented_profile"):
    """A chip of eight-bit weights with little room."""

    source = "invented"
    verified = "read"
    limits = ("weight_bits", "error_path", "neurons", "fan_in", "error_bits")

    weight_bits: int | None = 8
    error_path: str | None = "direct"
    neurons: int | None = 64
    fan_in: int | None = 4
    error_bits: int | None = 6
''',
    "projection": '''
import torch

from hwmodels.projection import Projection


class Signs(Projection, name="invented_projection"):
    """Entries of one size and random sign, of which one bit is stored.

    Args:
        gain: of the entries.
    """

    source = "invented"

    def __init__(self, *, gain: float = 1.0):
        super().__init__(gain=gain)

    def _open(self, gen):
        self.register_buffer("positive", torch.rand(self.n_in, self.n_out, generator=gen) < 0.5)

    @property
    def exact(self):
        return True

    def effective(self):
        return torch.where(self.positive, self.std, -self.std)

    def forward(self, error, gen=None):
        return error @ self.effective().to(error)
''',
    "rule": '''
from dataclasses import replace
from functools import cached_property

from hwmodels.format import Format
from neurofa.core.feedback import Feedback
from neurofa.core.rule import Direct


class Coarse(Direct, name="invented_rule"):
    """Direct feedback alignment of the signs of the error.

    Args:
        feedback: the pathway.
        error: number format of the error.
    """

    source = "invented"

    def __init__(self, *, feedback: Feedback | str = "dense", error: Format | str = "sign"):
        super().__init__(feedback=feedback, error=error)

    @cached_property
    def declares(self):
        return replace(super().declares, plasticity="fixed")
''',
    "schedule": '''
from hwmodels.registry import recipe


@recipe("schedule", "invented_schedule")
def invented_schedule():
    """Half the rate in the second half of the run."""
    return lambda t, epochs: 1.0 if 2 * t < epochs else 0.5
''',
    "speed": '''
from experiments.speed.suite import SpeedCase, SpeedMethod, SpeedSuite


class Sums(SpeedSuite, name="invented_speed"):
    """A sum of numbers beside a sum in a loop."""

    source = "invented"

    def cases(self):
        numbers = list(range(100))

        def looped():
            total = 0
            for number in numbers:
                total += number

        methods = (SpeedMethod(name="sum", build=lambda device: lambda: sum(numbers)),
                   SpeedMethod(name="loop", build=lambda device: looped))
        return (SpeedCase(name="hundred", methods=methods),)
''',
    "surrogate": '''
import torch

from neurofa.spiking.surrogate import Surrogate


class Gauss(Surrogate, name="invented_surrogate"):
    """psi(v) = exp(-v^2)."""

    source = "invented"

    def derivative(self, v):
        return torch.exp(-v.square())
''',
}
"""Text of a file by kind; every part is called ``invented_KIND``."""
