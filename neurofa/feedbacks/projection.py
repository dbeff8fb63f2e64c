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
from hwmodels.spec import Spec
from neurofa.core.description import FeedbackDescription
from neurofa.core.feedback import Feedback, Scale, check_scale
from neurofa.core.plan import Site


class ProjectedFeedback(Feedback):
    """Feedback by one physical projection of the output error, (B, o) to (B, m); every layer has its own columns.

    The columns of each layer are scaled behind the detection, digitally, by a factor of the layer.

    Args:
        projection: model of the hardware, such as an optical processor or a crossbar.
        scale: ``backprop`` or ``fixed``; None: as the learner says, ``backprop`` unless it is told otherwise.
    """

    behind: Tensor | None
    """(m,), factors behind the detection; None: all are 1."""

    def __init__(self, *, projection: Projection, scale: Scale | None = None) -> None:
        super().__init__()
        self.projection = projection
        self.name = projection.name  # type: ignore[misc]
        self.scale, self.gain = check_scale(projection.name, scale), projection.gain

    @property
    def built_by(self) -> Call:
        """Name and options by which the projection was built, which with the scale are the spec of the pathway."""
        own = self.projection.built_by
        if self.scale is None:
            return own
        declared = {**own.declared, "scale": super().built_by.declared["scale"]}
        return Call(Spec(own.given.name, {**own.given.options, "scale": self.scale}), declared)

    def describe(self) -> FeedbackDescription:
        return FeedbackDescription(projection=self.projection, behind=self.factors)

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
        each = [torch.full((part.stop - part.start,), self.factors[name]) for name, part in self.slices.items()]
        scaled = any(factor != 1 for factor in self.factors.values())
        # not stored with the state: it follows from the network and the scale
        self.register_buffer("behind", torch.cat(each) if scaled else None, persistent=False)

    def project(self, error: Tensor, gen: torch.Generator | None = None) -> Tensor:
        projected: Tensor = self.projection(error, gen) if self.slices else error[:, :0]
        return projected if self.behind is None else projected * self.behind


def _as_feedback(name: str, part: Callable[..., Projection]) -> Callable[..., ProjectedFeedback]:
    """Return a builder of the pathway with the options, types and description of the projection."""
    typed = part.__init__ if isinstance(part, type) else part  # type: ignore[misc]

    @functools.wraps(typed)
    def builder(*, scale: Scale | None = None, **options: Any) -> ProjectedFeedback:
        return ProjectedFeedback(projection=part(**options), scale=scale)

    own = inspect.signature(part)
    scale = inspect.signature(ProjectedFeedback).parameters["scale"]
    builder.__signature__ = own.replace(parameters=[*own.parameters.values(), scale])  # type: ignore[attr-defined]
    builder.__annotations__ = {**typed.__annotations__, "scale": Scale | None}
    builder.__doc__ = part.__doc__
    builder.__name__ = builder.__qualname__ = f"{name}_feedback"
    builder.__module__ = __name__
    return builder


def _register(name: str, part: Callable[..., Projection]) -> None:
    source: str = part.source  # type: ignore[attr-defined]
    recipe("feedback", name, source)(_as_feedback(name, part))


adapt_parts("feedback", "projection", _register)
