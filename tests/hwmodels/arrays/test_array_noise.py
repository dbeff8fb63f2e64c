"""The closed forms of an array's noise against many products through the array."""

import pytest
import torch

from hwmodels.arrays.array_noise import periphery_with_only, product_noises
from hwmodels.arrays.product import analog_product
from hwmodels.registry import build

SPECS = {
    "input noise": "periphery(in_bits=None, out_bits=None, out_noise=0, in_noise=0.05)",
    "output noise": "periphery(in_bits=None, out_bits=None, out_noise=0.06)",
    "cell noise at the output": "periphery(in_bits=None, out_bits=None, out_noise=0, read_noise=0.05)",
    "output rounding (ADC)": "periphery(in_bits=None, out_bits=7, out_bound=20, out_noise=0)",
    "input rounding (DAC)": "periphery(in_bits=5, out_bits=None, out_noise=0)",
}


def start():
    gen = torch.Generator().manual_seed(0)
    x = torch.randn(60, 80, generator=gen)
    w = torch.rand(80, 300, generator=gen) * 2 - 1
    return x, w, gen


@pytest.mark.parametrize(("name", "spec"), SPECS.items())
def test_the_predicted_cosine_of_every_source_is_the_measured_one(name, spec):
    x, w, gen = start()
    io = build("periphery", spec)
    (found,) = product_noises(io, x, w, torch.ones(()))
    assert found.name == name
    assert not found.outside
    exact = x @ w
    nsr2 = found.__class__(**{**vars(found), "signal": exact}).nsr2(x)
    said = (1 + nsr2).rsqrt()
    cosines = [torch.cosine_similarity(analog_product(io, x, w, gen), exact, dim=1) for _ in range(20)]
    seen = torch.stack(cosines).double().mean(0)
    assert abs((said - seen).mean()) < 0.003
    # control: noise of half the size is told apart
    half = (1 + nsr2 / 4).rsqrt()
    assert (half - seen).mean() > 2 * abs((said - seen).mean())


def test_one_source_alone_leaves_out_the_others():
    io = build("periphery", "training")
    x, w, _ = start()
    names = [noise.name for noise in product_noises(io, x, w, torch.ones(()))]
    assert set(names) == {"input rounding (DAC)", "output noise", "output rounding (ADC)"}
    for name in names:
        assert [noise.name for noise in product_noises(periphery_with_only(io, name), x, w, torch.ones(()))] == [name]
    assert product_noises(periphery_with_only(io, "none"), x, w, torch.ones(())) == ()


def test_coarse_levels_and_clipping_are_told():
    x, w, _ = start()
    coarse = build("periphery", "periphery(in_bits=None, out_bits=3, out_bound=20, out_noise=0)")
    assert "too coarse" in product_noises(coarse, x, w, torch.ones(()))[0].outside
    clipped = build("periphery", "periphery(in_bits=None, out_bits=8, out_bound=1, out_noise=0)")
    assert "clipped" in product_noises(clipped, x, w, torch.ones(()))[0].outside
