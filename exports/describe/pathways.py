"""Feedback pathways of rules, from their descriptions to the paths of the neutral graph."""

from __future__ import annotations

import math
from typing import Any

from exports.describe.stored import StateKeys, conductance_range, described, matrix_of, vector_of
from exports.graph.arrays import Array, Matrix
from exports.graph.pathways import (
    ChainedPath,
    DirectPath,
    ErrorEncoding,
    Factors,
    FeedbackPath,
    ProjectionHardware,
    Slice,
    UndescribedPath,
)
from hwmodels.device import Device
from hwmodels.format import Format
from hwmodels.projection import Projection
from hwmodels.registry import Registered
from neurofa.core.capabilities import describe_path
from neurofa.core.description import FeedbackDescription, PathDescription, ReturnFactors
from neurofa.core.feedback import Feedback
from neurofa.core.rule import Rule
from neurofa.core.synapses import Synapses


def rule_path(rule: Rule, keys: StateKeys) -> FeedbackPath | None:
    """Describe the feedback pathway of a rule for the neutral graph; None where no error leaves the readout.

    A rule without a description of its pathway is stored by name, and no exporter computes it.

    Args:
        rule: bound to its network.
        keys: keys of the rule's state dict.
    """
    about = describe_path(rule.declares)
    match about.kind:
        case "readout":
            return None
        case "direct":
            return _direct(rule.feedback, about.feedback, keys)
        case "chained" if about.returns is not None:
            return _chained(about, keys)
        case _:
            return UndescribedPath(rule=rule.name)


def _direct(feedback: Feedback, about: FeedbackDescription | None, keys: StateKeys) -> DirectPath | UndescribedPath:
    if about is None:
        return UndescribedPath(rule=feedback.name)
    slices = tuple(
        Slice(
            layer=name,
            rows=(rows.start, rows.stop),
            shape=tuple(feedback.shapes[name]),
            spread=about.spread,
            factor=about.behind.get(name, 1.0),
        )
        for name, rows in feedback.slices.items()
    )
    if about.projection is not None:
        if not slices:  # a network without hidden layers has opened no hardware
            return DirectPath(matrix=None, slices=())
        hardware = projection_hardware(about.projection, keys)
        return DirectPath(matrix=_effective(about.projection), slices=slices, hardware=hardware)
    if about.matrix is None:
        return UndescribedPath(rule=feedback.name)
    meaning = "feedback matrix B: the teaching signal of a layer is its rows of B times the error"
    return DirectPath(matrix=matrix_of(about.matrix, keys, meaning, "(m, n_errors)", "feedback"), slices=slices)


def _effective(projection: Projection) -> Matrix | None:
    """Return the linear map of hardware as a matrix; None where there is none."""
    b, device = projection.effective(), projection.stored_on
    if b is None:
        return None
    return Matrix(
        values=b.t(),
        axes="(m, n_errors)",
        role="feedback",
        meaning="effective feedback matrix B of the hardware, with its static errors and without noise and converters",
        device="digital" if device is None else str(device.full_spec),
        conductance=None if device is None else conductance_range(device),
    )


def projection_hardware(projection: Projection, keys: StateKeys) -> ProjectionHardware:
    """Describe the hardware of a projection: its options, and the tensors that set it, with units.

    Args:
        projection: the projection, opened with its sizes.
        keys: keys of the state dict that holds the projection's buffers.
    """
    parameters = {key: described(values, about, keys) for key, (values, about) in projection.settings().items()}
    constants = {key: plain_value(value) for key, value in projection.chosen().items()}
    return ProjectionHardware(kind=projection.name, constants=constants, parameters=parameters, exact=projection.exact)


def _chained(about: PathDescription, keys: StateKeys) -> ChainedPath:
    returns = {
        layer: {key: _return(item, keys) for key, item in beside.items()}
        for layer, beside in (about.returns or {}).items()
    }
    return ChainedPath(returns=returns, tied=about.tied)


def _return(item: Synapses | ReturnFactors, keys: StateKeys) -> Matrix | Array | Factors:
    if isinstance(item, ReturnFactors):
        meaning = "of the return weight B = P Q"
        return Factors(
            p=matrix_of(item.p, keys, f"factor P {meaning}", "(n_out, r)", "factor"),
            q=matrix_of(item.q, keys, f"factor Q {meaning}", "(r, n_in)", "factor"),
        )
    if item.weight.ndim > 1:
        meaning = "return weights, oriented as the forward ones"
        return matrix_of(item, keys, meaning, "as the forward weights", "feedback")
    return vector_of(item, keys, "return gain of a normalisation")


def error_encoding(encoder: Format | None) -> ErrorEncoding:
    """Return the number format of an error as plain values; None, and ``raw``, stand for floating-point numbers."""
    if encoder is None or encoder.name == "raw":
        return ErrorEncoding()
    return ErrorEncoding(format=encoder.name, bits=float(encoder.bits), constants=encoder.chosen())


def plain_value(value: Any) -> Any:
    """Return an option as a JSON value: devices as specs, other parts as a name with their own options."""
    if isinstance(value, Device):
        return str(value.full_spec)
    if isinstance(value, Registered):
        return {"name": value.name, **{key: plain_value(own) for key, own in value.chosen().items()}}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float | bool | list | None) else str(value)
