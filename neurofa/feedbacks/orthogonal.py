"""Random matrices with orthogonal columns of equal length."""

from __future__ import annotations

import torch
from torch import Tensor

from hwmodels.device import Device
from neurofa.core.feedback import MatrixFeedback, Scale
from neurofa.core.plan import Site


class OrthogonalFeedback(MatrixFeedback, name="orthogonal"):
    """Random feedback matrices F_l, (n_l, o), with orthogonal columns of equal length: F_l^T F_l ∝ I for every layer.

    No direction of the output error is amplified more than another, and none leaks into another. A layer narrower than
    the error has orthogonal rows instead. Then cos(W_l, F_l F_{l-1}^T), W_l the forward weights, is exactly the
    isotropy of the alignment matrix, and W_l ∝ F_l F_{l-1}^T in every layer makes dfa's direction that of
    backpropagation in a linear net; with independent entries both hold for wide layers only.

    Args:
        gain: factor of the entries.
        device: device on which B lives.
        scale: ``backprop``: delivered errors are as large as those of backpropagation at initialisation; ``fixed``:
            1/sqrt(3) of the error at every layer; None: as the learner says, ``backprop`` unless it is told otherwise.
    """

    source = "left-orthogonal feedback: Refinetti et al. 2021, arXiv 2011.12428, as in the authors' code"

    def __init__(self, *, gain: float = 1.0, device: Device | str = "digital", scale: Scale | None = None) -> None:
        super().__init__(gain=gain, distribution="normal", values="raw", device=device, scale=scale)

    def rows(self, sites: tuple[Site, ...], width: int, outputs: int, gen: torch.Generator) -> Tensor:
        blocks = [self.entries((site.width, outputs), outputs, gen) for site in sites]
        return torch.cat([torch.empty(0, outputs), *blocks])

    def entries(self, shape: tuple[int, ...], fan: float, gen: torch.Generator) -> Tensor:
        drawn = super().entries(shape, fan, gen)
        flat = drawn.flatten(1).double()
        tall = flat if flat.shape[0] >= flat.shape[1] else flat.t()
        q, r = torch.linalg.qr(tall)
        q = q * r.diagonal().sign()  # uniform over all orthogonal matrices (Mezzadri 2007, arXiv math-ph/0609050)
        q = q if flat.shape[0] >= flat.shape[1] else q.t()
        size = self.gain / (3 * fan) ** 0.5 / q.square().mean().sqrt()
        scaled: Tensor = (q * size).to(drawn.dtype).view(shape)
        return scaled
