"""Contract of surrogate derivatives psi(v) of the spike H(v), v the potential above threshold."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor
from torch.autograd import forward_ad

from hwmodels.registry import build, options, parts
from hwmodels.testing.tools import require
from neurofa.core.randomness import generator
from neurofa.maps.jvp import make_dual, unpack_dual
from neurofa.spiking.surrogate import Surrogate
from neurofa.testing.contract import Contract, require_close, require_refused

CONTRACT = Contract("surrogate")
CONTRACT(CONTRACT.is_documented)


@CONTRACT
def psi_is_a_derivative(name: str) -> None:
    """psi is a fresh tensor of the same shape and dtype, finite, nowhere negative, and largest at the threshold."""
    surrogate: Surrogate = build("surrogate", name)
    for dtype in (torch.float32, torch.float64):
        v = torch.linspace(-4, 4, 801, dtype=dtype).view(9, 89)
        kept = v.clone()
        psi = surrogate.derivative(v)
        require(torch.equal(v, kept), "the potential was changed in place")
        require(psi.data_ptr() != v.data_ptr(), "the potential itself was returned")
        require(psi.shape == v.shape and psi.dtype == dtype, f"psi of {tuple(psi.shape)}, {psi.dtype}")
        require(bool(psi.isfinite().all()) and bool((psi >= 0).all()), "psi is negative or not finite")
        require(float(surrogate.derivative(v.new_zeros(1))) >= float(psi.max()) > 0, "psi is not largest at 0")


@CONTRACT
def fires_and_learns(name: str) -> None:
    """Spikes are H(v), 0 at the threshold itself, and autograd uses psi in reverse and in forward mode."""
    surrogate: Surrogate = build("surrogate", name)
    v = torch.randn(5, 6, generator=generator(0, "potential"), dtype=torch.float64)
    v[0, 0] = 0.0
    psi = surrogate.derivative(v)
    leaf = v.clone().requires_grad_()
    with torch.enable_grad():
        z = surrogate.fire(leaf)
        (gradient,) = torch.autograd.grad(z, leaf, torch.full_like(v, 2.0))
    require(torch.equal(z.detach(), (v > 0).double()), "spikes are not H(v)")
    require_close(gradient, 2 * psi, "derivative by autograd", 1e-14)
    with warnings.catch_warnings(), forward_ad.dual_level():
        # torch compiles some derivatives with its deprecated compiler
        warnings.simplefilter("ignore", DeprecationWarning)
        z = surrogate.fire(make_dual(v, torch.full_like(v, 3.0)))
        tangent: Tensor | None = unpack_dual(z).tangent
    require(tangent is not None, "no derivative in forward mode")
    require_close(torch.zeros_like(v) if tangent is None else tangent, 3 * psi, "derivative in forward mode", 1e-14)


@CONTRACT
def refuses_bad_numbers(name: str) -> None:
    """Options that are numbers have to be positive and finite."""
    known = options(parts("surrogate")[name])
    numbers = [key for key, option in known.items() if isinstance(option.default, float)]
    require_refused("surrogate", name, [f"{key}={v}" for key in numbers for v in ("0.0", "-1.0", "1e999")])


surrogate_checks, check_surrogate = CONTRACT.named, CONTRACT.hold
