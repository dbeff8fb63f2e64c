"""Measured matrices that are not the ones they claim to be."""

from __future__ import annotations

import pytest
import torch

from exports.programming.fit import fit_matrix
from hwmodels.errors import NeurofaError
from neurofa.core.randomness import generator

W = torch.randn(16, 16, generator=generator(0, "fit"))


@pytest.mark.parametrize(
    ("turned", "said"),
    [
        (W.t(), "fits when transposed "),
        (W.flip(0), "rows reversed"),
        (W.flip(1), "columns reversed"),
        (W.flip(0, 1).t(), "transposed and rows reversed and columns reversed"),
        (-W, "negated"),
        (torch.randn(16, 16, generator=generator(1, "fit")), "of this run"),
        (torch.zeros(16, 16), "of this run"),
    ],
)
@pytest.mark.parametrize("keep_scale", [False, True])
def test_another_matrix_is_refused_with_the_form_that_would_fit(turned, said, keep_scale):
    noisy = turned + 0.1 * turned.std() * torch.randn(16, 16, generator=generator(2, "fit"))
    with pytest.raises(NeurofaError, match=said):
        fit_matrix("w", noisy, W, keep_scale=keep_scale)


def test_noise_half_as_large_as_the_weights_passes_and_the_bound_can_be_lowered():
    noisy = 3 * (W + 0.5 * torch.randn(16, 16, generator=generator(3, "fit")))
    assert fit_matrix("w", noisy, W, keep_scale=False)[0].cosine > 0.8
    other = torch.randn(16, 16, generator=generator(4, "fit"))
    assert abs(fit_matrix("w", other, W, keep_scale=True, least_cosine=-1)[0].cosine) < 0.3
