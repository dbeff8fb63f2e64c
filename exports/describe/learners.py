"""Rules and feedback pathways as nodes of the neutral graph."""

from __future__ import annotations

import functools
import math
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from exports.describe.layers import conductances, converters, matrix, nodes, spec_of, states
from exports.describe.neurons import TICK, constants
from exports.graph.arrays import Array, Matrix
from exports.graph.nodes import Model
from exports.graph.pathways import Chained, Direct, ErrorEncoding, Factors, Hardware, Learning, Slice, Undescribed
from hwmodels.device import Device
from hwmodels.format import Format
from hwmodels.projection import Projection
from hwmodels.projections.crossbar import Crossbar
from hwmodels.projections.microring import Microring, detuning
from hwmodels.registry import Registered, options
from hwmodels.spec import parse
from neurofa.core import rule as rules
from neurofa.core.feedback import Feedback, MatrixFeedback
from neurofa.families.low_rank import LowRankChained, P, Q
from neurofa.feedbacks.pooled import Pooled
from neurofa.feedbacks.projection import Projected
from neurofa.rules.adfa import AugmentedDFA
from neurofa.rules.dfa import DFA
from neurofa.rules.drtp import DRTP
from neurofa.rules.readout_only import ReadoutOnly
from neurofa.spiking.temporal import Temporal
from neurofa.training.learner import Learner


def describe_learner(learner: Learner, spec: str, provenance: dict[str, Any], tick: float = TICK) -> Model:
    """Everything that is exported of a learner.

    Args:
        learner: network, rule and optimizer.
        spec: of the rule, for the record.
        provenance: run, seed, versions; JSON values.
        tick: length of a tick, s, for layers with a memory.
    """
    network, rule = learner.network, learner.rule
    known = states(network, "network") | states(rule, "rule")
    described = nodes(network, tick)
    feedback = describe_rule(rule, known)
    taken = {array.state for node in described for array in node.arrays().values()} | _states_of(feedback)
    more: dict[str, Array] = {}
    for prefix, module in (("network", network), ("rule", rule)):
        for key, value in module.state_dict(keep_vars=True).items():
            state = f"{prefix}:{key}"
            if state not in taken:
                unit = "uS" if key.split("_")[-1] in ("plus", "minus", "target") else "1"
                meaning = "state of the learner, to go on exactly as it was"
                more[state] = Array(values=value.detach(), meaning=meaning, unit=unit, state=state)
    return Model(
        input_shape=network.input_shape, nodes=described, feedback=feedback, error=encoding(_encoder(rule)),
        learning=learning(learner, spec), loss=learner.loss.name, converters=converters(network), more=more,
        provenance=provenance,
    )  # fmt: skip


def _states_of(feedback: Any) -> set[str]:
    return {array.state for array in pathway_arrays(feedback).values()}


def pathway_arrays(feedback: Any) -> dict[str, Array]:
    """Every array of a pathway by its path in a file, below ``feedback``."""
    found: dict[str, Array] = {}
    if isinstance(feedback, Direct):
        if feedback.matrix is not None:
            found["matrix"] = feedback.matrix
        if feedback.hardware is not None:
            found |= {f"hardware/{key}": array for key, array in feedback.hardware.parameters.items()}
    elif isinstance(feedback, Chained):
        for layer, beside in feedback.returns.items():
            for key, item in beside.items():
                where = f"{layer}/{key.replace('.', '_')}"
                found |= {f"{where}/P": item.p, f"{where}/Q": item.q} if isinstance(item, Factors) else {where: item}
    return found


def _encoder(rule: rules.Rule) -> Format | None:
    feedback = rule.feedback
    if isinstance(feedback, Projected):
        inner = getattr(feedback.projection, "encoder", None)
        if isinstance(inner, Format):
            return inner
    return rule.encoder if "error" in options(type(rule)) else None


def encoding(encoder: Format | None) -> ErrorEncoding:
    """A number format in plain values."""
    if encoder is None or encoder.name == "raw":
        return ErrorEncoding()
    values: Any = encoder  # formats are dataclasses, which their base does not say
    constants: dict[str, Any] = asdict(values)
    return ErrorEncoding(format=encoder.name, bits=float(encoder.bits), constants=constants)


@functools.singledispatch
def describe_rule(
    rule: rules.Rule,
    known: dict[int, str],  # noqa: ARG001
) -> Direct | Chained | Undescribed | None:
    """The pathway of a rule; rules without an adapter are stored by name and computed by nobody."""
    return Undescribed(rule=rule.name)


@describe_rule.register
def _(rule: ReadoutOnly, known: dict[int, str]) -> None:  # noqa: ARG001
    return None


@describe_rule.register
def _(rule: rules.Direct, known: dict[int, str]) -> Direct | Undescribed:
    return describe_feedback(rule.feedback, known)


@describe_rule.register
def _(rule: rules.Chained, known: dict[int, str]) -> Chained | Undescribed:
    if not hasattr(rule, "paths"):  # nothing of its own: errors return through the forward weights
        return Chained(returns={}, tied="weights") if rule.transports == "weights" else Undescribed(rule=rule.name)
    if len(rule.paths) == 0 and rule.plan.hidden:
        return Undescribed(rule=rule.name)
    returns: dict[str, dict[str, Matrix | Array | Factors]] = {}
    for site in rule.plan.sites:
        returns[site.name] = {key: _return(synapses, known) for key, synapses in rule.beside(site.name).items()}
    return Chained(returns=returns, tied="signs" if rule.transports == "signs" else "own")


@describe_rule.register
def _(rule: LowRankChained, known: dict[int, str]) -> Chained:
    returns: dict[str, dict[str, Matrix | Array | Factors]] = {}
    for site in rule.plan.sites:
        beside: dict[str, Matrix | Array | Factors] = {
            key: _return(synapses, known) for key, synapses in rule.beside(site.name).items()
        }
        for key in rule.maps(site.name):
            if P + key in _factors(rule, site.name):
                meaning = "of the return weight B = P Q"
                p = matrix(rule.factor(site.name, P + key), known, f"factor P {meaning}", "(n_out, r)", "factor")
                q = matrix(rule.factor(site.name, Q + key), known, f"factor Q {meaning}", "(r, n_in)", "factor")
                beside[key] = Factors(p=p, q=q)
        returns[site.name] = beside
    return Chained(returns=returns)


def _factors(rule: LowRankChained, name: str) -> set[str]:
    return {which + key for key in rule.maps(name) for which in (P, Q)}


def _return(synapses: Any, known: dict[int, str]) -> Matrix | Array:
    if synapses.weight.ndim > 1:
        return matrix(
            synapses, known, "return weights, oriented as the forward ones", "as the forward weights", "feedback"
        )
    return Array(
        values=synapses.weight.detach(), meaning="return gain of a normalisation", axes="(n_out,)",
        state=known.get(id(synapses.weight), ""),
    )  # fmt: skip


@functools.singledispatch
def describe_feedback(feedback: Feedback, known: dict[int, str]) -> Direct | Undescribed:  # noqa: ARG001
    """The pathway of a direct rule."""
    return Undescribed(rule=feedback.name)


def _slices(feedback: Feedback) -> tuple[Slice, ...]:
    spread = "channels" if isinstance(feedback, Pooled) else "own"
    return tuple(
        Slice(layer=name, rows=(part.start, part.stop), shape=tuple(feedback.shapes[name]), spread=spread)  # type: ignore[arg-type]
        for name, part in feedback.slices.items()
    )


@describe_feedback.register
def _(feedback: MatrixFeedback, known: dict[int, str]) -> Direct:
    meaning = "feedback matrix B: the teaching signal of a layer is its rows of B times the error"
    return Direct(matrix=matrix(feedback.b, known, meaning, "(m, n_errors)", "feedback"), slices=_slices(feedback))


@describe_feedback.register
def _(feedback: Projected, known: dict[int, str]) -> Direct:
    projection, slices = feedback.projection, _slices(feedback)
    if not slices:
        return Direct(matrix=None, slices=(), hardware=None)
    b = projection.effective()
    held = projection.device if isinstance(projection, Crossbar) else None
    effective = None if b is None else Matrix(
        values=b.t(), axes="(m, n_errors)", role="feedback",
        meaning="effective feedback matrix B of the hardware, with its static errors and without noise and converters",
        device="digital" if held is None else spec_of(held), conductance=None if held is None else conductances(held),
    )  # fmt: skip
    return Direct(matrix=effective, slices=slices, hardware=hardware(projection, known))


_BUFFERS = {
    ("mzi", "theta"): ("rad", "phase between the couplers of every interferometer, of both meshes"),
    ("mzi", "phi"): ("rad", "phase in front of the upper input of every interferometer, of both meshes"),
    ("mzi", "out"): ("rad", "phase at every output of both meshes"),
    ("mzi", "attenuation"): ("1", "amplitude transmission of the attenuators between the meshes"),
    ("mzi", "scale"): ("1", "digital factor behind the meshes"),
    ("mzi", "b"): ("1", "matrix that the meshes transmit, times the digital factor, (n_errors, m)"),
    ("mzi", "peak"): ("1", "largest entry of the wanted matrix"),
    ("microring", "b"): ("1", "weight of every ring, drop less through port, in -1 to 1, (n_errors, m)"),
    ("microring", "scale"): ("1", "digital factor behind the bank"),
    ("opu", "m_real"): ("1", "transmission matrix of the medium, real part, (inputs and anchors, camera pixels)"),
    ("opu", "m_imag"): ("1", "transmission matrix of the medium, imaginary part"),
    ("crossbar", "factor"): ("1", "digital factor: matrix over what the device holds"),
    ("crossbar", "largest"): ("1", "largest weight, the unit of the periphery"),
}


def hardware(projection: Projection, known: dict[int, str]) -> Hardware:
    """What a projection is made of: its options, and its buffers with units."""
    parameters: dict[str, Array] = {}
    for key, buffer in projection.named_buffers():
        cell = ("uS", "state of the cells of the crossbar") if key.endswith(("plus", "minus")) else None
        unit, meaning = _BUFFERS.get((projection.name, key), cell or ("1", f"'{key}' of the {projection.name}"))
        parameters[key] = Array(values=buffer, meaning=meaning, unit=unit, state=known.get(id(buffer), ""))
    if isinstance(projection, Microring):
        offsets = detuning(projection.b)
        meaning = "detuning of every ring from its channel that gives its weight, full widths at half maximum"
        parameters["ring_offset"] = Array(values=offsets, meaning=meaning, unit="linewidth", axes="(n_errors, m)")
    constants = {key: _value(getattr(projection, key, None)) for key in options(type(projection))}
    exact = projection.name == "matrix_free" or (projection.effective() is not None and _noiseless(projection))
    return Hardware(kind=projection.name, constants=constants, parameters=parameters, exact=exact)


def _noiseless(projection: Projection) -> bool:
    """Whether a pass is the product with the effective matrix and nothing else."""
    if isinstance(projection, Crossbar):
        return projection.periphery.exact and not projection.device.noisy
    encoder = getattr(projection, "encoder", None)
    return encoder is None and not getattr(projection, "sigma", 0.0) and not getattr(projection, "mu", 0.0)


def _value(value: Any) -> Any:
    """An option as a JSON value; parts as specs."""
    if isinstance(value, Device):
        return spec_of(value)
    if isinstance(value, Registered) and is_dataclass(value):
        own = {f.name: _value(getattr(value, f.name)) for f in fields(value) if f.init}
        return {"name": value.name, **own}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float | bool | list | None) else str(value)


def learning(learner: Learner, spec: str) -> Learning:
    """The rule's constants and those of the optimizer."""
    rule, group = learner.rule, learner.optimizer.param_groups[0]
    numbers = {
        key: value for key, value in group.items()
        if key not in ("params", "initial_lr") and isinstance(value, int | float | bool | None)
    }  # fmt: skip
    more: dict[str, Any] = {"rule_decay": rule.decay, "accumulate": learner.accumulate, "clip": learner.clip}
    more |= {
        key: _value(getattr(rule, key))
        for key in options(type(rule))
        if isinstance(getattr(rule, key, None), int | float | str)
    }
    memories = {name: constants(layer) for name, layer in learner.network.items() if isinstance(layer, Temporal)}
    more |= {"neurons": memories} if memories else {}
    direct, chained = isinstance(rule, rules.Direct), isinstance(rule, rules.Chained)
    path = "readout" if isinstance(rule, ReadoutOnly) else "direct" if direct else "chained" if chained else "other"
    plastic = sorted({key for name, _ in learner.network.items() for key in rule.plastic(name)})
    g = str(parse(spec).options.get("g", "bell")) if isinstance(rule, AugmentedDFA) else "own"
    return Learning(
        rule=rule.name, spec=spec, path=path, signal="target" if isinstance(rule, DRTP) else "error",  # type: ignore[arg-type]
        derivative=g, frozen=tuple(sorted(rule.frozen)) if isinstance(rule, DFA) else (),
        optimizer=type(learner.optimizer).__name__, constants=numbers | more, plastic=tuple(plastic),
    )  # fmt: skip
