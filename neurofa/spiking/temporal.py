"""Layers with a memory: an affine map that drives neurons, with eligibility traces in closed form.

A chunk of K ticks of B samples is one batch of K B rows, tick by tick, which rules and feedbacks process like any
batch; only the neurons relate rows of consecutive ticks.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hwmodels.device import Device
from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from hwmodels.registry import build
from neurofa.core.directions import Directions, Outer, ReturnWeights, Sum
from neurofa.core.dynamics import OUT, TRACE, Coefficient, Dynamics
from neurofa.core.event_rows import dense_rows
from neurofa.core.layer import LayerTraits
from neurofa.core.products import LayerWork, MapWork
from neurofa.core.view import LocalView, Params, State
from neurofa.maps.affine import Affine
from neurofa.maps.affine_map import AffineMap
from neurofa.spiking.eligibility import (
    adjoint,
    as_ticks,
    forward_change,
    from_traces,
    instant,
    is_constant,
    own_traces,
    shared_trace,
)
from neurofa.spiking.neuron import Neuron, Recurrent, tick_format
from neurofa.spiking.rounded_traces import rounded_traces
from neurofa.spiking.temporal_facts import TemporalFacts


class Run(NamedTuple):
    """Outputs and states of a layer with a memory in K ticks."""

    y: Tensor
    """(K B, *out_shape): outputs."""
    left: State
    """Tensors that the ticks recorded for learning, (K B, *shape) each."""
    after: State
    """State after the last tick, without traces."""


class Temporal(Affine, ABC):
    """A layer of neurons with input current I_t = W x_t + b (+ V z_{t-1}), for input x_t and outputs z_t of tick t.

    For an error L_t at the outputs of the same tick, the direction of W is sum_t L_t e_t with the exact eligibility e_t
    of a neuron's own memory (:mod:`neurofa.spiking.eligibility`). Derivatives through V and through the reset are cut.

    Traces in a number format are rounded in every tick (:mod:`neurofa.spiking.rounded_traces`). A periphery acts on W x
    only: V z is computed exactly.

    Args:
        affine_map: arithmetic of W.
        neuron: model of the neurons.
        bias: whether b is added.
        recurrent: whether there are weights V between the neurons.
        traces: number format of the eligibility traces.
    """

    def __init__(
        self, affine_map: AffineMap, neuron: Neuron | str, *, bias: bool, recurrent: bool, traces: Format | str
    ) -> None:
        super().__init__(affine_map, bias=bias)
        self.neuron: Neuron = build("neuron", neuron)
        self.recurrent = recurrent
        self.traces: Format = tick_format("traces", traces)

    @property
    def traits(self) -> LayerTraits:
        own = super().traits
        factored = own.factored | ({"recurrent"} if self.recurrent else set())
        capabilities = _Linearised(self)
        facts = TemporalFacts(self, map_inputs, None)
        return replace(
            own, remembers=True, factored=factored, products=capabilities, forward_mode=capabilities, facts=facts
        )

    def initialise(self, device: Device, gen: torch.Generator) -> None:
        super().initialise(device, gen)
        if self.recurrent:
            n = self.map.channels
            target = torch.empty(n, n).uniform_(-(n**-0.5), n**-0.5, generator=gen)
            self.synapses.add("recurrent", target, device, gen)

    def initial_state(self, like: Tensor) -> State:
        """Return the state of neurons and recurrent inputs before the first tick of a sequence: zeros.

        Args:
            like: (B, *out_shape), with the shape, dtype and device of the state.
        """
        return self.neuron.initial_state(like) | ({OUT: torch.zeros_like(like)} if self.recurrent else {})

    def compute(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        # differentiable by autograd: the slow oracle of run_ticks
        current, route = self.currents(params, x, state)
        known = {key: value for key, value in state.items() if not key.startswith(TRACE)}
        memory = self.initial_state(current.detach()) | known
        if self.recurrent:
            current = current + nn.functional.linear(memory[OUT], params["recurrent"])
        y, left, after = self.neuron.tick(current, memory)
        return y, {**left, **route, **after, **({OUT: y} if self.recurrent else {})}

    def run_ticks(self, params: Params, x: Tensor, ticks: int, state: State) -> Run:
        """Compute the outputs of the layer in K ticks, without autograd.

        Args:
            params: own weights as read.
            x: (K B, *in_shape), tick by tick.
            ticks: K.
            state: before the first tick.
        """
        rows, route = self.currents(params, x, state)
        currents = as_ticks(rows, len(rows) // ticks)
        among = Recurrent(params["recurrent"], state[OUT]) if self.recurrent else None
        ys, left, after = self.neuron.run(currents, state, among)
        if self.recurrent:
            after[OUT] = ys[-1].clone()
        return Run(ys.flatten(0, 1), {key: value.flatten(0, 1) for key, value in left.items()} | route, after)

    def currents(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the input currents W x + b, (N, *out_shape), and the state that :meth:`to_affine` needs.

        Args:
            params: own weights as read.
            x: (N, *in_shape).
            state: before the tick.
        """
        if self.arrays is None and x.layout == torch.strided and x.dim() == self.map.input_dims:
            return self.map.linear(x, params["weight"], params.get("bias")), {}
        return self.affine(params, x, state), {}

    def to_affine(self, view: LocalView, error: Tensor) -> Tensor:
        """Return the error at the affine output for an error at the input currents; default: the same, without pooling.

        Args:
            view: of the ticks.
            error: (N, *out_shape), at the currents.
        """
        return error

    def to_currents(self, view: LocalView, change: Tensor) -> Tensor:
        """Return the change of the currents for a change of the affine output: the transpose of :meth:`to_affine`.

        Args:
            view: of the ticks.
            change: (N, channels, ...), of the affine output.
        """
        return change

    def backprop_local(self, view: LocalView) -> LocalView:
        assert view.error is not None
        return backprop_by(self, view, view.error, dynamics_of(self, view, None))

    def backprop_with(self, view: LocalView, derivative: Callable[[Tensor], Tensor]) -> LocalView:
        assert view.error is not None
        error = view.error * derivative(potential(view))
        return backprop_by(self, view, error, dynamics_of(self, view, 1.0))

    def pullback(self, view: LocalView) -> Directions:
        if view.delta is None:
            view = self.backprop_local(view)
        if view.partial:
            return dict(view.partial)
        # the rule itself has set delta: no memory is involved
        assert view.delta is not None
        delta, inputs = view.delta, map_inputs(self, view)
        directions: Directions = {name: _product(self, name, delta, x) for name, x in inputs.items()}
        return directions | ({"bias": _over_rows(delta)} if self.bias else {})

    def input_error(self, view: LocalView, weights: ReturnWeights) -> Tensor:
        # within the same tick: c_t g_t L_t through the return weights
        assert view.error is not None
        error = as_ticks(per_current(self.neuron, view.error), batch_of(self, view))
        signal = instant(dynamics_of(self, view, None), error).flatten(0, 1)
        return super().input_error(replace(view, delta=self.to_affine(view, signal)), weights)


@dataclass(frozen=True)
class _Linearised:
    """Products and forward-mode derivative of a layer through the neurons' own memory, without the recurrence."""

    layer: Temporal

    def work(self, shape: tuple[int, ...], *, sends: bool) -> LayerWork:
        layer = self.layer
        own = Affine.work(layer, shape, sends=sends)
        if not layer.recurrent:
            return replace(own, kept=True)
        n_out, n_in = layer.synapses["recurrent"].weight.shape
        among = MapWork("recurrent", shape[0], n_in, n_out, False, factored=True)
        return replace(own, maps=(*own.maps, among), kept=True)

    def follows(self, moved: frozenset[str]) -> bool:
        return True

    def tangent_flop(self, work: LayerWork, moved: frozenset[str], *, dot: bool) -> int:
        own = sum(m.product for m in work.maps if m.key in moved)
        return own + dot * sum(m.product for m in work.maps if m.key == "weight")

    def tangent(self, view: LocalView, dot: Tensor | None, moved: Params) -> Tensor:
        layer = self.layer
        current = torch.zeros_like(per_current(layer.neuron, view.y))
        if dot is not None:
            current = layer.to_currents(view, layer.map.linear(dot, view.params["weight"], None))
        if "weight" in moved:
            own = layer.product(view.x, moved["weight"], moved.get("bias"))
            current = current + layer.to_currents(view, own)
        if "recurrent" in moved:
            among = nn.functional.linear(map_inputs(layer, view)["recurrent"], moved["recurrent"])
            factor = layer.neuron.entry(view.after)
            current = current + (among if factor is None else among * factor)
        changes = as_ticks(current, batch_of(layer, view))
        return per_unit(layer.neuron, forward_change(dynamics_of(layer, view, None), changes).flatten(0, 1))


def per_current(neuron: Neuron, rows: Tensor) -> Tensor:
    """Return values at the outputs, (N, *shape), once for each current of a neuron, gate after gate."""
    return rows if neuron.gates == 1 else rows.repeat(1, neuron.gates)


def per_unit(neuron: Neuron, rows: Tensor) -> Tensor:
    """Return values at the currents, summed over those of a neuron: the transpose of :func:`per_current`."""
    return rows if neuron.gates == 1 else rows.reshape(len(rows), neuron.gates, -1).sum(1)


def batch_of(layer: Temporal, view: LocalView) -> int:
    """Return B, the number of rows of a view that belong to one tick."""
    return next((len(view.before[key]) for key in layer.neuron.memories if key in view.before), len(view.x))


def potential(view: LocalView) -> Tensor:
    """Return the potentials minus their thresholds, shaped as the output; for a readout its output."""
    return view.after.get("v", view.y)


def dynamics_of(layer: Temporal, view: LocalView, psi: Coefficient | None) -> Dynamics:
    """Return the linearised dynamics of the neurons over the ticks of a view.

    Args:
        layer: of the view.
        view: of K ticks.
        psi: derivative of the output by the potential; None: the neurons' own.

    Raises:
        NeurofaError: see :func:`check_dynamics`.
    """
    batch = batch_of(layer, view)
    left = {key: _dense_ticks(view.after[key], batch) for key in layer.neuron.leaves if key in view.after}
    return check_dynamics(layer, layer.neuron.dynamics(left, psi), view)


def check_dynamics(layer: Temporal, dynamics: Dynamics, view: LocalView) -> Dynamics:
    """Return given dynamics with their numbers as floats, after a check that the layer can round their traces.

    Args:
        layer: of the view.
        dynamics: of its neurons, or a rule's own.
        view: of K ticks.

    Raises:
        NeurofaError: rounded traces with several memories, coefficients that differ between neurons, a filter, or a
            max pooling.
    """
    # a number that all neurons share is told from a tensor by its type
    dynamics = Dynamics(
        [[_number(c) for c in row] for row in dynamics.move],
        [_number(c) for c in dynamics.enter],
        [_number(c) for c in dynamics.out],
    )
    if layer.traces.name == "raw":
        return dynamics
    if _chooses(view):
        raise NeurofaError(
            f"got traces in {layer.traces.name} behind a max pooling, which chooses other positions in every tick;"
            " expected raw traces, or an average pooling; change one"
        )
    if view.filter_decay or not is_constant(dynamics) or len(dynamics.enter) > 1:
        raise NeurofaError(
            f"got traces in {layer.traces.name} for {layer.neuron.name} neurons; expected one trace an input, kept"
            " tick by tick; use lif neurons with reset subtract or none and a rule without a filter, or raw traces"
        )
    return dynamics


def _number(c: Coefficient) -> Coefficient:
    return c if isinstance(c, Tensor) else float(c)


def backprop_by(layer: Temporal, view: LocalView, error: Tensor, dynamics: Dynamics) -> LocalView:
    """Return the view with the directions of all weights for an error at the outputs, by given linearised dynamics.

    Args:
        layer: of the view.
        view: of K ticks of B samples.
        error: (K B, *out_shape), at the outputs.
        dynamics: of the neurons, or a rule's own; coefficients (K, B, *out_shape).
    """
    batch = batch_of(layer, view)
    if layer.traces.name != "raw":
        return _backprop_rounded(layer, view, error, dynamics, batch)
    back = adjoint(dynamics, as_ticks(per_current(layer.neuron, error), batch), kappa=view.filter_decay)
    error = back.delta.flatten(0, 1)
    delta = layer.to_affine(view, error)
    shared = is_constant(dynamics) and not view.filter_decay
    partial: Directions = {}
    # this chunk's inputs, plus the traces of earlier chunks weighted with M_0^T lambda_0
    for name, x in map_inputs(layer, view).items():
        factor = layer.neuron.entry(view.after) if name == "recurrent" else None
        parts = [_product(layer, name, delta if factor is None else delta * factor, x)]
        trace = view.before.get(TRACE + name)
        if trace is not None and shared:
            carried = [layer.to_affine(view, term) for term in back.carried]
            parts += [_product(layer, name, term, old) for term, old in zip(carried, trace, strict=True)]
        elif trace is not None:
            parts.append(from_traces(back, trace))
        partial[name] = parts[0] if len(parts) == 1 else Sum(tuple(parts))
    if layer.bias:
        bias = _over_rows(error)
        trace = view.before.get(TRACE + "bias")
        if trace is not None and shared:
            bias = bias + sum(_over_rows(term) * old for term, old in zip(back.carried, trace.view(-1), strict=True))
        elif trace is not None:
            bias = bias + from_traces(back, trace).squeeze(1)
        partial["bias"] = bias
    return replace(view, delta=delta, partial=partial, input_error=None)


def _backprop_rounded(layer: Temporal, view: LocalView, error: Tensor, dynamics: Dynamics, batch: int) -> LocalView:
    """Return the view with directions from rounded traces: sum_t (c_t L_t) x_bar_t."""
    (out,) = dynamics.out
    signal = as_ticks(error, batch) * out
    delta = layer.to_affine(view, signal.flatten(0, 1))
    partial: Directions = {}
    for name, x in map_inputs(layer, view).items():
        xs = rounded_traces(layer.traces, dynamics, _dense_ticks(x, batch), view.before.get(TRACE + name))
        partial[name] = _product(layer, name, delta, xs.flatten(0, 1))
    if layer.bias:
        ones = delta.new_ones(len(signal), 1, 1)  # the input of a bias
        constant = rounded_traces(layer.traces, dynamics, ones, view.before.get(TRACE + "bias"))
        partial["bias"] = _over_rows((signal * constant.view(-1, *[1] * (signal.dim() - 1))).flatten(0, 1))
    return replace(view, delta=delta, partial=partial, input_error=None)


def carry_traces(layer: Temporal, view: LocalView, dynamics: Dynamics | None = None) -> State:
    """Return the eligibility traces after a chunk, as state for the next; their size does not grow with time.

    Args:
        layer: of the view.
        view: of the chunk.
        dynamics: a rule's own; None: those of the neurons.

    Raises:
        NeurofaError: the layer does not support the eligibility.
    """
    batch = batch_of(layer, view)
    if _chooses(view):
        raise NeurofaError(
            f"got {len(view.y) // batch} ticks of a longer sequence for neurons behind a max pooling,"
            " under a rule that remembers; expected all ticks in one chunk, because the pooling chooses other"
            " positions in every tick; use chunk=T, avg_pool2d, or a rule without memory"
        )
    if dynamics is None:
        # without a filter traces do not depend on the derivative of the output
        dynamics = dynamics_of(layer, view, None if view.filter_decay else 1.0)
    inputs = map_inputs(layer, view)
    if layer.bias:
        inputs["bias"] = view.y.new_ones(len(view.y) // batch, 1, 1)
    traces = {}
    for name, x in inputs.items():
        before = view.before.get(TRACE + name)
        if layer.traces.name == "raw" and is_constant(dynamics) and not view.filter_decay:
            traces[TRACE + name] = shared_trace(dynamics, x, batch if name != "bias" else 1, before)
            continue
        xs = x if name == "bias" else _dense_ticks(x, batch)
        if layer.traces.name != "raw":
            traces[TRACE + name] = rounded_traces(layer.traces, dynamics, xs, before)[-1].unsqueeze(0)
        else:
            _refuse_own_traces(layer)
            xs = xs.expand(-1, batch, 1) if name == "bias" else xs
            like = as_ticks(per_current(layer.neuron, view.y), batch)
            factor = layer.neuron.entry(view.after) if name == "recurrent" else None
            own = dynamics if factor is None else _entering(dynamics, as_ticks(factor, batch))
            traces[TRACE + name] = own_traces(own, xs, before, view.filter_decay, like)
    return traces


def check_traces(layer: Temporal, view: LocalView, dynamics: Dynamics | None, *, kept: bool) -> None:
    """Refuse eligibility traces that the layer does not support.

    Args:
        layer: of the view.
        view: of any ticks.
        dynamics: a rule's own; None: those of the neurons.
        kept: whether traces are carried from chunk to chunk.

    Raises:
        NeurofaError: traces per weight of a convolution, or in a number format.
    """
    own = dynamics_of(layer, view, None)
    served = own if dynamics is None else check_dynamics(layer, dynamics, view)
    if kept and (view.filter_decay or not is_constant(served)):
        _refuse_own_traces(layer)


def blank_view(layer: Temporal, shape: tuple[int, ...], filter_decay: float) -> LocalView:
    """Return the view of one tick without input, for a check of the eligibility that a rule needs.

    Args:
        layer: of the view.
        shape: of one sample at the output.
        filter_decay: decay of the filter through which errors arrive; 0: none.
    """
    zeros = layer.synapses["weight"].weight.new_zeros(1, *shape)
    y, left, _ = layer.neuron.tick(per_current(layer.neuron, zeros), layer.neuron.initial_state(zeros))
    return LocalView(zeros, y, {}, {}, left, filter_decay=filter_decay)


def map_inputs(layer: Temporal, view: LocalView) -> dict[str, Tensor]:
    """Return the inputs of the weights W (``weight``) and V (``recurrent``), (K B, ...), tick by tick.

    Args:
        layer: of the view.
        view: of K ticks.
    """
    inputs = {"weight": view.x}
    if layer.recurrent:
        batch = batch_of(layer, view)
        first = view.before.get(OUT)
        first = torch.zeros_like(view.y[:batch]) if first is None else first
        inputs["recurrent"] = torch.cat([first, view.y[:-batch]]) if len(view.y) > batch else first
    return inputs


def _entering(dynamics: Dynamics, factor: Tensor) -> Dynamics:
    """Return the dynamics for currents that are multiplied by a factor, (K, B, n), before they enter."""
    return replace(dynamics, enter=[g * factor for g in dynamics.enter])


def _product(layer: Temporal, name: str, delta: Tensor, x: Tensor) -> Tensor | Outer:
    """Return the direction of one weight, summed over rows, from errors and inputs."""
    if name == "recurrent":
        return Outer(delta, x)
    spatial = len(layer.map.weight_shape) > 2
    direction = layer.direction(delta, x) if spatial else Outer(delta, x)
    assert isinstance(direction, Tensor | Outer)
    return direction


def _chooses(view: LocalView) -> bool:
    """Return whether a max pooling between the map and the neurons chooses positions in every tick."""
    return "index" in view.after


def _refuse_own_traces(layer: Temporal) -> None:
    """Refuse a trace for every weight and position of a convolution."""
    if len(layer.map.weight_shape) > 2:
        raise NeurofaError(
            f"got {layer.neuron.name} neurons behind a convolution under a rule that needs a trace for every weight"
            " and position; expected traces that all neurons share; use lif or synaptic neurons with reset subtract"
            " or none and a rule without a filter, or a chunk as long as the sequence"
        )


def _dense_ticks(rows: Tensor, batch: int) -> Tensor:
    """Return (K B, ...) rows as (K, B, ...) ticks; rows of events become dense."""
    return as_ticks(dense_rows(rows) if rows.layout == torch.sparse_csr else rows, batch)


def _over_rows(delta: Tensor) -> Tensor:
    """Return the sum over all axes but the channels: the direction of a bias."""
    return delta.sum([axis for axis in range(delta.dim()) if axis != 1])
