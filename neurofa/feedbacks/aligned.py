"""Feedback whose products fit the windows of convolutions, so that shared local kernels can align with it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from hwmodels.device import Device
from hwmodels.errors import NeurofaError
from neurofa.core.feedback import MatrixFeedback
from neurofa.core.plan import Site
from neurofa.linalg.convolution import ConvGeometry, ConvolutionOperator
from neurofa.linalg.nmf import nonnegative_factors


class Aligned(MatrixFeedback, name="aligned"):
    """F_l F_{l-1}^T close to the matrix of a convolution, for neighbouring convolutions of a network.

    ``nmf``: row (c, p) of F_l is s_c U_p with random signs s of the channels and a non-negative U_l (P_l, o), where
    U_l U_{l-1}^T approximates the mask of the windows (P_l, P_{l-1}): most of the product lies inside of the windows.
    ``svd``: F_l and F_{l-1} are the o leading singular terms of a random kernel's matrix. A third convolution in a row
    takes F_{l-1} as it is, and the F_l that fits best. No weight of the network is read.

    Everything else has independent entries, as with ``dense``: layers that see all of the layer below, and blocks whose
    module has no ``window``. On a network without neighbouring convolutions this is ``dense(distribution=normal)``.

    Args:
        by: ``nmf`` or ``svd``.
        gain: standard deviation of a layer's entries in units of 1/sqrt(3 o) (return weights: 1/sqrt(3 fan_in)).
        device: device on which B lives.
    """

    source = (
        "ALIGNED_NMF and ALIGNED_SVD of the code of Refinetti et al. 2021, arXiv 2011.12428, which factor the mask and"
        " the initial weights; the signs, the random kernel and the fit of a third layer are ours"
    )

    def __init__(
        self, *, by: Literal["nmf", "svd"] = "nmf", gain: float = 1.0, device: Device | str = "digital"
    ) -> None:  # fmt: skip
        super().__init__(gain=gain, distribution="normal", values="raw", device=device)
        if by not in ("nmf", "svd"):
            raise NeurofaError(f"got aligned(by={by}); expected nmf or svd; choose one")
        self.by = by

    def rows(self, sites: tuple[Site, ...], width: int, outputs: int, gen: torch.Generator) -> Tensor:
        made: list[Tensor | None] = [None] * len(sites)
        fit = _by_masks if self.by == "nmf" else _by_kernels
        fit(sites, outputs, made, gen)
        rows = [torch.empty(0, outputs)]
        for site, found in zip(sites, made, strict=True):
            if found is None:
                rows.append(self.entries((site.width, outputs), outputs, gen))
            else:
                size = self.gain / (3 * outputs) ** 0.5 / found.square().mean().sqrt()
                rows.append((found * size).float())
        return torch.cat(rows)


def _pairs(sites: tuple[Site, ...]) -> list[int]:
    """Indices of the layers that see windows of the layer before, which is an image too."""
    return [
        index for index, site in enumerate(sites)
        if index and site.window is not None and len(site.out_shape) == len(sites[index - 1].out_shape) == 3
    ]  # fmt: skip


def _by_masks(sites: tuple[Site, ...], outputs: int, made: list[Tensor | None], gen: torch.Generator) -> None:
    over: dict[int, Tensor] = {}
    for index in _pairs(sites):
        below, site = sites[index - 1].out_shape, sites[index]
        assert site.window is not None
        mask = site.window.mask((below[1], below[2]), (site.out_shape[1], site.out_shape[2]))
        over[index], over[index - 1] = nonnegative_factors(mask, outputs, gen, right=over.get(index - 1))
    for index, spatial in over.items():
        signs = torch.rand(sites[index].out_shape[0], generator=gen, dtype=spatial.dtype).sub_(0.5).sign()
        made[index] = (signs[:, None, None] * spatial).flatten(0, 1)


def _by_kernels(sites: tuple[Site, ...], outputs: int, made: list[Tensor | None], gen: torch.Generator) -> None:
    for index in _pairs(sites):
        below, site = sites[index - 1].out_shape, sites[index]
        assert site.window is not None
        side = site.window.side
        kernel = torch.randn(site.out_shape[0], below[0], side, side, generator=gen, dtype=torch.float64)
        operator = ConvolutionOperator(kernel, ConvGeometry(site.window, below, site.out_shape))
        right = made[index - 1]
        if right is None:
            made[index], made[index - 1] = operator.singular_factors(outputs, gen)
        else:
            # least squares: F_l = T F_{l-1} (F_{l-1}^T F_{l-1})^+
            made[index] = operator.times(right) @ torch.linalg.pinv(right.t() @ right)
