"""Feedback whose products fit the windows of convolutions, so that shared local kernels can align with it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from hwmodels.device import Device
from hwmodels.errors import NeurofaError
from neurofa.core.feedback import MatrixFeedback, Scale
from neurofa.core.plan import Site
from neurofa.linalg.convolution import ConvGeometry, ConvolutionOperator
from neurofa.linalg.nmf import nonnegative_factors


class AlignedFeedback(MatrixFeedback, name="aligned"):
    """Random feedback matrices F_l with F_l F_{l-1}^T close to a convolution, for two convolutions in a row.

    F_l, (n_l, o), sends the output error to layer l; direct feedback alignment turns the weights of layer l towards
    F_l F_{l-1}^T, which shared local kernels can follow only if it looks like a convolution.

    ``nmf``: row (c, p) of F_l is s_c U_p with random signs s of the channels and a non-negative U_l (P_l, o), where
    U_l U_{l-1}^T approximates the mask of the windows (P_l, P_{l-1}), P_l being the number of positions: most of the
    product lies inside of the windows. ``svd``: F_l and F_{l-1} are the o leading singular terms of a random kernel's
    matrix. For a third convolution in a row F_{l-1} is given already, and F_l is the best fit to it. No weight of the
    network is read.

    Everything else has independent entries, as with ``dense``: layers that see all of the layer below, and blocks whose
    module has no ``window``. On a network without neighbouring convolutions this is ``dense(distribution=normal)``.

    Args:
        by: ``nmf`` or ``svd``.
        gain: factor of the entries.
        device: device on which B lives.
        scale: ``backprop``: delivered errors are as large as those of backpropagation at initialisation; ``fixed``:
            1/sqrt(3) of the error at every layer; None: as the learner says, ``backprop`` unless it is told otherwise.
    """

    source = (
        "ALIGNED_NMF and ALIGNED_SVD of the code of Refinetti et al. 2021, arXiv 2011.12428, which factor the mask and"
        " the initial weights; the signs, the random kernel and the fit of a third layer are ours"
    )

    def __init__(
        self,
        *,
        by: Literal["nmf", "svd"] = "nmf",
        gain: float = 1.0,
        device: Device | str = "digital",
        scale: Scale | None = None,
    ) -> None:
        super().__init__(gain=gain, distribution="normal", device=device, scale=scale)
        if by not in ("nmf", "svd"):
            raise NeurofaError(f"got aligned(by={by}); expected nmf or svd; choose one")
        self.by = by

    def rows(self, sites: tuple[Site, ...], width: int, outputs: int, gen: torch.Generator) -> Tensor:
        fitted = (_by_masks if self.by == "nmf" else _by_kernels)(sites, outputs, gen)
        rows = [torch.empty(0, outputs)]
        for index, site in enumerate(sites):
            if index not in fitted:
                rows.append(self.entries((site.width, outputs), outputs, gen))
            else:
                f = fitted[index]
                rows.append((f * (self.gain / (3 * outputs) ** 0.5 / f.square().mean().sqrt())).float())
        return torch.cat(rows)


def _pairs(sites: tuple[Site, ...]) -> list[int]:
    """Return the indices of the layers that see windows of the layer before, which is an image too."""
    return [
        index
        for index, site in enumerate(sites)
        if index and site.window is not None and len(site.out_shape) == len(sites[index - 1].out_shape) == 3
    ]


def _by_masks(sites: tuple[Site, ...], outputs: int, gen: torch.Generator) -> dict[int, Tensor]:
    """Return F_l, (n_l, o), of every layer in a pair, by its index: random signs of channels times a factor of masks.

    Args:
        sites: hidden layers.
        outputs: o.
        gen: source of the factors' start and of the signs.
    """
    spatial: dict[int, Tensor] = {}
    for index in _pairs(sites):
        below, site = sites[index - 1].out_shape, sites[index]
        assert site.window is not None
        mask = site.window.mask((below[1], below[2]), (site.out_shape[1], site.out_shape[2]))
        # a layer in two pairs keeps the factor of the first
        right = spatial.get(index - 1)
        spatial[index], spatial[index - 1] = nonnegative_factors(mask, outputs, gen, right=right)
    rows = {}
    for index, u in spatial.items():
        signs = torch.rand(sites[index].out_shape[0], generator=gen, dtype=u.dtype).sub_(0.5).sign()
        rows[index] = (signs[:, None, None] * u).flatten(0, 1)
    return rows


def _by_kernels(sites: tuple[Site, ...], outputs: int, gen: torch.Generator) -> dict[int, Tensor]:
    """Return F_l, (n_l, o), of every layer in a pair, by its index: leading singular terms of random kernels.

    Args:
        sites: hidden layers.
        outputs: o.
        gen: source of the kernels and of the start of the iteration.
    """
    rows: dict[int, Tensor] = {}
    for index in _pairs(sites):
        below, site = sites[index - 1].out_shape, sites[index]
        assert site.window is not None
        side = site.window.side
        kernel = torch.randn(site.out_shape[0], below[0], side, side, generator=gen, dtype=torch.float64)
        operator = ConvolutionOperator(kernel, ConvGeometry(site.window, below, site.out_shape))
        right = rows.get(index - 1)
        if right is None:
            rows[index], rows[index - 1] = operator.singular_factors(outputs, gen)
        else:
            # least squares: F_l = T F_{l-1} (F_{l-1}^T F_{l-1})^+
            rows[index] = operator.times(right) @ torch.linalg.pinv(right.t() @ right)
    return rows
