"""The closed forms behind the budget, each against many draws or an exact sum."""

import math

import pytest
import torch

from hwmodels.device_models.programmed import gauss_hermite
from hwmodels.numerics.noise_moments import Noise
from hwmodels.optics.mesh import MeshPhases, propagate, propagate_moments
from hwmodels.optics.optical_noise import rectified_moments
from hwmodels.registry import build


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def test_quadrature_has_the_moments_of_a_normal_number():
    for power, moment in ((0, 1), (1, 0), (2, 1), (4, 3), (6, 15), (20, 654729075)):
        assert sum(w * x**power for x, w in gauss_hermite()) == pytest.approx(moment, rel=1e-9, abs=1e-9)


def test_a_rectified_normal_number():
    mean, std = torch.tensor([0.0, 0.5, 3.0, 100.0]), torch.tensor([1.0, 2.0, 1.0, 10.0])
    draws = (mean + std * torch.randn(400_000, 4, generator=gen())).clamp(min=0)
    above, variance = rectified_moments(mean, std)
    torch.testing.assert_close(above, draws.mean(0) - mean, atol=0.05, rtol=0)
    torch.testing.assert_close(variance, draws.var(0), rtol=0.01, atol=0)
    assert above[0] == pytest.approx(1 / math.sqrt(2 * math.pi))
    dark = rectified_moments(torch.zeros(1), torch.zeros(1))
    assert [float(part) for part in dark] == [0, 0]


def phases(n=5, k=3):
    turn = 2 * math.pi
    m = n * (n - 1) // 2
    drawn = (torch.rand(k, size, generator=gen(size + i)).double() * turn for i, size in enumerate((m, m, n)))
    return MeshPhases(*drawn)


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_moments_of_exact_phases_are_those_of_the_field(loss):
    p, n = phases(), 5
    start = torch.zeros(3, n, n, n, dtype=torch.complex128)
    start[:, range(n), range(n), range(n)] = 1
    field = propagate(p, loss).mT  # one row for each input
    power, square = propagate_moments(p, loss, 1.0, (start, start))
    torch.testing.assert_close(power, field.unsqueeze(-1) * field.conj().unsqueeze(-2))
    torch.testing.assert_close(square, field.unsqueeze(-1) * field.unsqueeze(-2))


def test_moments_of_uncertain_phases_are_those_of_many_meshes():
    n, draws, s = 4, 40_000, 0.4
    one = phases(n, 1)
    many = MeshPhases(
        *(
            p.expand(draws, -1) + s * torch.randn(draws, p.shape[1], generator=gen(9 + i)).double()
            for i, p in enumerate((one.theta, one.phi, one.out))
        )
    )
    seen, kept = propagate(many), math.exp(-s * s / 2)
    start = torch.zeros(1, n, n, n, dtype=torch.complex128)
    start[:, range(n), range(n), range(n)] = 1
    power, square = propagate_moments(one, 0.0, kept, (start, start))
    torch.testing.assert_close(propagate(one, 0.0, kept)[0], seen.mean(0), atol=0.02, rtol=0)
    torch.testing.assert_close(
        power.diagonal(dim1=2, dim2=3)[0].real.mT, seen.abs().square().mean(0), atol=0.01, rtol=0
    )
    torch.testing.assert_close(square.diagonal(dim1=2, dim2=3)[0].mT, seen.square().mean(0), atol=0.02, rtol=0)
    # control: light that keeps its phases has other moments
    exact = propagate_moments(one, 0.0, 1.0, (start, start))[1]
    assert (exact.diagonal(dim1=2, dim2=3)[0].mT - seen.square().mean(0)).abs().max() > 0.1


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [("pcm", 0.15), ("hermes", 0.3), ("state_independent", 0.15), ("reram_cmo", 0.15), ("stuck(device=pcm)", 0.15)],
)
def test_drifted_weights_have_the_stated_moments(name, tolerance):
    device = build("device", name)
    weights = torch.linspace(-0.7, 0.7, 9).expand(4000, 9).contiguous()
    weights[0, 0] = 1.0  # the range
    cells = device.program(weights, gen())
    mean, variance = device.ageing.aged(cells, 86400.0)
    off = device.value(device.ageing.relax(cells, 86400.0)) - mean
    spread = variance.mean(0).sqrt()
    # beside the draws: exponents are those of the wanted conductances, for which the programmed ones stand in
    assert (off.mean(0).abs() < 5 * spread / 4000**0.5 + 0.003).all()
    torch.testing.assert_close(off.square().mean(0), variance.mean(0), rtol=tolerance, atol=1e-9)
    assert spread.max() > 0.01  # more than is forgiven


def test_a_known_error_along_the_signal_is_a_gain():
    signal, e = torch.randn(5, 800, generator=gen()), torch.randn(5, 3, generator=gen(1))
    gained = Noise(name="", formula="", signal=signal, shift=-0.3 * signal)
    torch.testing.assert_close(gained.gain(), torch.full((5,), 0.7, dtype=torch.float64))
    torch.testing.assert_close(gained.cosine(e), torch.ones(5, dtype=torch.float64))
    turned = Noise(name="", formula="", signal=signal, shift=-1.5 * signal)
    torch.testing.assert_close(turned.cosine(e), -torch.ones(5, dtype=torch.float64))
    across = torch.randn(5, 800, generator=gen(2))
    known = Noise(name="", formula="", signal=signal, shift=across)
    torch.testing.assert_close(known.cosine(e), torch.cosine_similarity(signal, signal + across).double())
    lost = Noise(name="", formula="", signal=signal, shift=-signal)
    assert lost.cosine(e).abs().max() == 0
    assert bool(lost.nsr2(e).isinf().all())
