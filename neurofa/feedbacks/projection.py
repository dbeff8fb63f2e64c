"""Every registered projection is a feedback pathway: ``dfa(feedback=opu)``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from hwmodels.format import Format
from hwmodels.projection import Projection
from hwmodels.registry import Call, adapt_parts, recipe
from neurofa.core.description import FeedbackDescription
from neurofa.core.feedback import Feedback
from neurofa.core.plan import Site


class ProjectedFeedback(Feedback):
    """Feedback by one physical projection of the output error, (B, o) to (B, m); every layer has its own columns.

    Args:
        projection: model of the hardware, such as an optical processor or a crossbar.
    """

    def __init__(self, *, projection: Projection) -> None:
        super().__init__()
        self.projection = projection
        self.name = projection.name  # type: ignore[misc]

    @property
    def built_by(self) -> Call:
        """Name and options by which the projection was built, which are the spec of the pathway."""
        return self.projection.built_by

    @property
    def gain(self) -> float:
        """Declared gain of the projection: standard deviation of its entries in units of 1/sqrt(3 o)."""
        return self.projection.gain

    def describe(self) -> FeedbackDescription:
        return FeedbackDescription(projection=self.projection)

    def hardware(self) -> Projection:
        return self.projection

    @property
    def input_format(self) -> Format | None:
        return self.projection.input_format

    @property
    def resolution(self) -> float | None:
        return self.projection.resolution

    def _open(self, sites: tuple[Site, ...], outputs: int, gen: torch.Generator) -> None:
        width = self.stack(sites)
        if width:  # a network without hidden layers has nothing to project to
            self.projection.open(outputs, width, gen)

    def project(self, error: Tensor, gen: torch.Generator | None = None) -> Tensor:
        projected: Tensor = self.projection(error, gen) if self.slices else error[:, :0]
        return projected


def _as_feedback(name: str, part: Callable[..., Projection]) -> Callable[..., ProjectedFeedback]:
    """Return a builder of the pathway with the options, types and description of the projection."""
    typed = part.__init__ if isinstance(part, type) else part  # type: ignore[misc]

    @functools.wraps(typed)
    def builder(**options: Any) -> ProjectedFeedback:
        return ProjectedFeedback(projection=part(**options))

    builder.__signature__ = inspect.signature(part)  # type: ignore[attr-defined]
    builder.__doc__ = part.__doc__
    builder.__name__ = builder.__qualname__ = f"{name}_feedback"
    builder.__module__ = __name__
    return builder


def _register(name: str, part: Callable[..., Projection]) -> None:
    source: str = part.source  # type: ignore[attr-defined]
    recipe("feedback", name, source)(_as_feedback(name, part))


adapt_parts("feedback", "projection", _register)
