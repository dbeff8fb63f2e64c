"""Neurons against snnTorch's: spike for spike, potential for potential."""

import pytest
import torch

from hwmodels.registry import build
from neurofa.spiking.neuron import Recurrent

snntorch = pytest.importorskip("snntorch", reason="snntorch is not installed: pip install snntorch")
surrogate = pytest.importorskip("snntorch.surrogate")

T, B, N = 200, 5, 12
RESETS = ["subtract", "zero", "none"]


def currents(dtype, scale=0.5, offset=0.05):
    gen = torch.Generator().manual_seed(3)
    return torch.randn(T, B, N, generator=gen, dtype=torch.float64).mul(scale).add(offset).to(dtype)


def exact(dtype, **values):
    """Its constants in the dtype of the currents; plain numbers it would keep in single precision.

    The threshold is one that single precision has, since a reset multiplies it by a spike of single precision.
    """
    return {key: torch.tensor(value, dtype=dtype) for key, value in values.items()}


def same(neuron, given, theirs, among=None):
    """Both paths of ours, and theirs, give the same spikes; potentials agree to rounding."""
    mems, spikes = theirs
    state = neuron.initial_state(given[0])
    ours, _, after = neuron.run(given.clone(), state, among)
    before, ticks = torch.zeros_like(given[0]), []
    for current in given:
        driven = current if among is None else torch.addmm(current, before, among.weight.t())
        before, _, state = neuron.tick(driven, state)
        ticks.append(before)
    assert 0.05 < float(spikes.mean()) < 0.6
    assert torch.equal(ours, spikes.to(ours.dtype))
    assert torch.equal(torch.stack(ticks), ours)
    tolerance = 1e-12 if given.dtype == torch.float64 else 1e-4
    assert torch.allclose(after["mem"], mems[-1].to(ours.dtype), rtol=tolerance, atol=tolerance)
    return torch.allclose(state["mem"], mems[-1].to(ours.dtype), rtol=tolerance, atol=tolerance)


@pytest.mark.sample(4)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("delay", [True, False])
@pytest.mark.parametrize("reset", RESETS)
def test_lif_is_leaky(reset, delay, dtype):
    theirs = snntorch.Leaky(**exact(dtype, beta=0.85, threshold=0.875), reset_mechanism=reset, reset_delay=delay)
    given, mem = currents(dtype), torch.zeros(B, N, dtype=dtype)
    mems, spikes = [], []
    for current in given:
        spike, mem = theirs(current, mem)
        mems.append(mem.detach())
        spikes.append(spike.detach())
    neuron = build("neuron", f"lif(beta=0.85, threshold=0.875, reset={reset}, delay={delay})")
    assert same(neuron, given, (torch.stack(mems), torch.stack(spikes)))


@pytest.mark.sample(3)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("delay", [True, False])
@pytest.mark.parametrize("reset", RESETS)
def test_recurrent_lif_is_rleaky(reset, delay, dtype):
    theirs = snntorch.RLeaky(
        **exact(dtype, beta=0.85, threshold=0.875), linear_features=N, reset_mechanism=reset, reset_delay=delay
    ).to(dtype)
    gen = torch.Generator().manual_seed(4)
    weight = torch.randn(N, N, generator=gen, dtype=torch.float64).mul(0.4).to(dtype)
    with torch.no_grad():
        theirs.recurrent.weight.copy_(weight)
        theirs.recurrent.bias.zero_()
    given = currents(dtype)
    mem, spike = torch.zeros(B, N, dtype=dtype), torch.zeros(B, N, dtype=dtype)
    mems, spikes = [], []
    for current in given:
        spike, mem = theirs(current, spike.to(dtype), mem)  # its spikes are of single precision
        mems.append(mem.detach())
        spikes.append(spike.detach())
    neuron = build("neuron", f"lif(beta=0.85, threshold=0.875, reset={reset}, delay={delay}, gated={reset == 'zero'})")
    among = Recurrent(weight, torch.zeros(B, N, dtype=dtype))
    assert same(neuron, given, (torch.stack(mems), torch.stack(spikes)), among)


@pytest.mark.sample(3)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("delay", [True, False])
@pytest.mark.parametrize("reset", RESETS)
def test_synaptic_is_synaptic(reset, delay, dtype):
    theirs = snntorch.Synaptic(
        **exact(dtype, alpha=0.7, beta=0.85, threshold=0.875), reset_mechanism=reset, reset_delay=delay
    )
    given = currents(dtype, 0.3, 0.0)
    syn, mem = torch.zeros(B, N, dtype=dtype), torch.zeros(B, N, dtype=dtype)
    mems, spikes = [], []
    for current in given:
        spike, syn, mem = theirs(current, syn, mem)
        mems.append(mem.detach())
        spikes.append(spike.detach())
    neuron = build("neuron", f"synaptic(alpha=0.7, beta=0.85, threshold=0.875, reset={reset}, delay={delay})")
    assert same(neuron, given, (torch.stack(mems), torch.stack(spikes)))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("atan(alpha=3.0)", surrogate.atan(alpha=3.0)),
        ("fast_sigmoid(slope=10.0)", surrogate.fast_sigmoid(slope=10)),
        ("sigmoid(slope=5.0)", surrogate.sigmoid(slope=5)),
    ],
)
def test_surrogate_derivatives_are_theirs(ours, theirs):
    v = torch.linspace(-2, 2, 401, dtype=torch.float64).requires_grad_()
    (wanted,) = torch.autograd.grad(theirs(v).sum(), v)
    assert torch.allclose(build("surrogate", ours).derivative(v.detach()), wanted, rtol=1e-6, atol=1e-9)
