"""Random flips and crops of a batch of images, on the device of the batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from hwmodels.errors import NeurofaError


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Horizontal flip and shifted crop, drawn for each image on its own.

    Source: K. He et al., Deep residual learning, CVPR 2016, section 4.2 (4 pixels of padding, random crop, flip).
    """

    flip: bool = False
    """Whether each image is mirrored left to right with probability 1/2."""
    crop: int = 0
    """Pixels of zeros (the mean of standardised data) on each side, before the old size is cut out."""

    def __post_init__(self) -> None:
        if self.crop < 0:
            raise NeurofaError(f"got crop={self.crop}; expected 0 pixels or more; use crop=0 for no shift")

    def __call__(self, x: Tensor, gen: torch.Generator) -> Tensor:
        """Augment one batch.

        Args:
            x: (B, C, H, W) images, standardised.
            gen: source of randomness; it draws on its own device, so that a CPU generator has the same draws on any.

        Returns:
            (B, C, H, W) new images; ``x`` itself without flips and crops.
        """
        if not self.flip and not self.crop:
            return x
        if x.ndim != 4:
            raise NeurofaError(
                f"got a batch of shape {tuple(x.shape)} to augment; expected (B, C, H, W); leave out flip and crop"
            )
        n, channels, height, width = x.shape
        # one row of draws per image (dy, dx, mirrored), so that a batch costs a single copy to the device
        draws = torch.zeros(n, 3, dtype=torch.int64, device=gen.device)
        if self.crop:
            draws[:, :2] = torch.randint(2 * self.crop + 1, (n, 2), generator=gen, device=gen.device)
        if self.flip:
            draws[:, 2] = torch.randint(2, (n,), generator=gen, device=gen.device)
        dy, dx, mirrored = draws.to(x.device, non_blocking=True).unbind(1)
        rows = torch.arange(height, device=x.device).expand(n, height)
        columns = torch.arange(width, device=x.device).expand(n, width)
        columns = torch.where(mirrored[:, None] == 1, columns.flip(1), columns)
        padded = functional.pad(x, (self.crop,) * 4)
        image = torch.arange(n, device=x.device)[:, None, None, None]
        channel = torch.arange(channels, device=x.device)[None, :, None, None]
        return padded[image, channel, (rows + dy[:, None])[:, None, :, None], (columns + dx[:, None])[:, None, None, :]]
