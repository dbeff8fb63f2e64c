"""Measures of receptive fields on fields whose shape is known, and the fields of a known network."""

import math

import pytest
import torch

from experiments.protocols.receptive_fields import receptive_fields, shape_of
from hwmodels.errors import NeurofaError
from neurofa import build

GRID = torch.arange(-12.0, 13.0)
Y, X = torch.meshgrid(GRID, GRID, indexing="ij")
R2 = X.square() + Y.square()
RINGS = torch.exp(-R2 / 8) - 0.25 * torch.exp(-R2 / 32)


def gabor(angle):
    along = X * math.cos(angle) + Y * math.sin(angle)
    return torch.exp(-R2 / 18) * torch.cos(2 * math.pi * along / 6 + math.pi / 2)


def test_rings_are_told_from_stripes():
    rings, stripes = shape_of(RINGS), shape_of(gabor(0.5))
    assert rings.centre_surround > 0.95
    assert rings.orientation < 0.02
    assert rings.opponency > 0.05
    assert stripes.centre_surround < 0.1
    assert stripes.orientation > 0.8


@pytest.mark.parametrize("angle", [0.0, 0.4, 0.8, 1.2])
def test_orientation_does_not_depend_on_the_direction_and_sign_does_not_matter(angle):
    assert shape_of(gabor(angle)).orientation == pytest.approx(shape_of(gabor(0.0)).orientation, abs=0.02)
    assert shape_of(-RINGS) == shape_of(RINGS)


def test_noise_is_neither():
    noise = torch.randn(25, 25, generator=torch.Generator().manual_seed(0))
    found = shape_of(noise)
    assert found.centre_surround < 0.3
    assert found.orientation < 0.3
    assert shape_of(torch.zeros(5, 5)) is None


def test_the_field_of_one_convolution_is_its_kernel():
    network = build("network", "retina(depth=1, kernel=3, channels=3)", input_shape=(1, 9, 9), outputs=2, seed=0)
    first = network.layer("conv2d0")
    first.synapses["bias"].weight.data.fill_(1.0)  # every unit is active on grey
    found = receptive_fields(network, "conv2d0", steps=1)
    for field, kernel in zip(found, first.synapses["weight"].weight.detach(), strict=True):
        wanted = torch.zeros(9, 9)
        wanted[3:6, 3:6] = kernel[0]
        wanted = (wanted - wanted.mean()) / wanted.std()
        torch.testing.assert_close(field, wanted)
    first.synapses["bias"].weight.data.fill_(-1.0)
    assert not receptive_fields(network, "conv2d0").any()


def test_a_layer_that_is_no_convolution_is_refused():
    network = build("network", "retina(depth=1)", input_shape=(1, 8, 8), outputs=2, seed=0)
    with pytest.raises(NeurofaError, match="expected a convolution"):
        receptive_fields(network, network.readout)
