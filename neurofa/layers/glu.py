"""Gated linear layer."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import linear

from hwmodels.device import Device
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.core.view import Params, State
from neurofa.maps.activations import Activation
from neurofa.maps.autograd_layer import AutogradLayer


class GLU(AutogradLayer, name="glu"):
    """h = (W x + b) * f(V x + c): (B, ..., n_in) to (B, ..., n_out), of vectors or tokens.

    f = sigmoid is the gated linear unit, ``silu`` SwiGLU, ``gelu`` GEGLU, ``relu`` ReGLU, ``identity`` bilinear.
    All weights are drawn as those of a dense layer.

    Args:
        n_in: inputs.
        n_out: outputs.
        activation: f.
        bias: whether b and c are added.
    """

    source = "Dauphin et al. 2017, arXiv 1612.08083, equation 1; Shazeer 2020, arXiv 2002.05202, equation 5"

    def __init__(
        self, n_in: int = 4, n_out: int = 3, *, activation: str | Activation = "sigmoid", bias: bool = True
    ) -> None:
        super().__init__()
        if min(n_in, n_out) < 1:
            raise NeurofaError(f"got glu(n_in={n_in}, n_out={n_out}); expected at least 1 each; change them")
        self.n_in, self.n_out, self.bias = n_in, n_out, bias
        self.activation: Activation = build("activation", activation)

    def initialise(self, device: Device, gen: torch.Generator) -> None:
        bound, exact = self.n_in**-0.5, build("device", "digital")
        for key in ("weight", "gate"):
            drawn = torch.empty(self.n_out, self.n_in).uniform_(-bound, bound, generator=gen)
            self.synapses.add(key, drawn, device, gen)
        for key in ("bias", "gate_bias") if self.bias else ():
            self.synapses.add(key, torch.empty(self.n_out).uniform_(-bound, bound, generator=gen), exact, gen)

    def compute(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        gate = linear(x, params["gate"], params.get("gate_bias"))
        return linear(x, params["weight"], params.get("bias")) * self.activation.forward(gate), {}
