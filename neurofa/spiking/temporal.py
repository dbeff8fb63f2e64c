"""Layers with a memory: an affine map, neurons behind it, and eligibility traces in closed form.

A chunk of K ticks of B samples lies flattened in one batch of K B rows, tick by tick, so that rules and feedbacks serve
it as they serve any batch; only the neurons know which rows follow each other.
"""

from __future__ import annotations

from abc import ABC
from dataclasses import replace

import torch
from torch import Tensor, nn

from hwmodels.device import Device
from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from hwmodels.registry import build
from neurofa.core.event_rows import dense_rows
from neurofa.core.events import as_ticks
from neurofa.core.layer import Directions, LocalView, Outer, Params, Returns, State, Sum
from neurofa.core.products import Map, Work
from neurofa.maps.affine import Affine
from neurofa.spiking.eligibility import adjoint, forward_change, from_traces, instant, own_traces, shared_trace
from neurofa.spiking.neuron import Coefficient, Dynamics, Neuron, Recurrent, tick_format

OUT = "out"
"""The outputs of the last tick, in the state of a recurrent layer."""
TRACE = "trace/"
"""Begins the names of traces in a state; the name of the weight follows."""


class Temporal(Affine, ABC):
    """A layer of neurons behind an affine map: I = W x + b (+ V z of the tick before).

    Error L_t at the outputs, at the same tick; the direction of W is sum_t L_t e_t with the exact eligibility e_t of a
    neuron's own memory. What a neuron does to the others through V, or to itself through its reset, is no path of
    credit. See :mod:`neurofa.spiking.eligibility`.

    Traces in a number format are kept tick by tick, as a chip would: x_bar_t = Q(beta x_bar_{t-1} + x_t).

    A periphery stands around W alone: V z is multiplied exactly.
    """

    neuron: Neuron
    traces: Format

    def own(self, neuron: Neuron | str, traces: Format | str, *, recurrent: bool) -> None:
        """Take the neurons and the options of the memory."""
        self.neuron, self.recurrent = build("neuron", neuron), recurrent
        self.traces = tick_format("traces", traces)

    def initialise(self, device: Device, gen: torch.Generator) -> None:
        super().initialise(device, gen)
        if self.recurrent:
            n = self.channels
            self.add_synapses("recurrent", torch.empty(n, n).uniform_(-(n**-0.5), n**-0.5, generator=gen), device, gen)

    def factors(self, name: str) -> bool:
        return name == "recurrent" or super().factors(name)

    def rest(self, like: Tensor) -> State:
        """State before the first tick of a sequence.

        Args:
            like: (B, *out_shape), whose shape, dtype and device the state takes.
        """
        return self.neuron.start(like) | ({OUT: torch.zeros_like(like)} if self.recurrent else {})

    def compute(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One tick, open to autograd: the slow oracle of :meth:`sweep`."""
        current, route = self.currents(params, x, state)
        known = {key: value for key, value in state.items() if not key.startswith(TRACE)}
        memory = self.rest(current.detach()) | known
        if self.recurrent:
            current = current + nn.functional.linear(memory[OUT], params["recurrent"])
        y, left, after = self.neuron.tick(current, memory)
        return y, {**left, **route, **after, **({OUT: y} if self.recurrent else {})}

    def sweep(self, params: Params, x: Tensor, ticks: int, state: State) -> tuple[Tensor, State, State]:
        """K ticks without autograd.

        Args:
            params: own weights as read.
            x: (K B, *in_shape), tick by tick.
            ticks: K.
            state: before the first tick.

        Returns:
            (K B, *out_shape) outputs; what the ticks left, flattened alike; the state after the last, without traces.
        """
        rows, route = self.currents(params, x, state)
        currents = as_ticks(rows, len(rows) // ticks)
        among = Recurrent(params["recurrent"], state[OUT]) if self.recurrent else None
        ys, left, after = self.neuron.run(currents, state, among)
        if self.recurrent:
            after[OUT] = ys[-1].clone()
        return ys.flatten(0, 1), {key: value.flatten(0, 1) for key, value in left.items()} | route, after

    def currents(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Input currents W x + b, (N, *out_shape), and what :meth:`unroute` has to know of the way they came."""
        return self._affine(params, x, state), {}

    def unroute(self, view: LocalView, error: Tensor) -> Tensor:
        """Error at the currents, (N, *out_shape), as error at the affine output."""
        return error

    def reroute(self, view: LocalView, change: Tensor) -> Tensor:
        """Change of the affine output as change of the currents: the adjoint of :meth:`unroute`."""
        return change

    def blank(self, shape: tuple[int, ...], kappa: float) -> LocalView:
        """The view of one tick in which nothing happens, without weights: what eligibility it asks for shows there.

        Args:
            shape: of one output.
            kappa: decay of the filter; 0: none.
        """
        nothing = self.synapse("weight").weight.new_zeros(1, *shape)
        y, left, _ = self.neuron.tick(nothing, self.neuron.start(nothing))
        return LocalView(nothing, y, {}, {}, left, kappa=kappa)

    def check_traces(self, view: LocalView, dynamics: Dynamics | None, *, kept: bool) -> None:
        """Refuse eligibility that the layer cannot keep.

        Args:
            view: of any ticks.
            dynamics: in the place of the neurons' own; None: these.
            kept: whether traces are carried from chunk to chunk.

        Raises:
            NeurofaError: traces of single weights behind a convolution, or in a number format.
        """
        own = self._dynamics(view, self._batch(view), None)
        found = own if dynamics is None else self._served(dynamics, view)
        if kept and (view.kappa or not found.constant):
            self._refuse_own()

    def potential(self, view: LocalView) -> Tensor:
        """Distance of the potentials from their thresholds, shaped as the output; of a readout, its output."""
        return view.after.get("v", view.y)

    def preactivation(self, view: LocalView) -> Tensor:
        return self.potential(view)

    def localise(self, view: LocalView) -> LocalView:
        assert view.error is not None
        return self._work(view, view.error, None)

    def enter(self, view: LocalView, error: Tensor) -> LocalView:
        return self._work(view, error, 1.0)

    def localise_by(self, view: LocalView, dynamics: Dynamics) -> LocalView:
        """Work the delivered error into the layer by a rule's own eligibility.

        Args:
            view: with ``error``.
            dynamics: in the place of the neurons' own; coefficients (K, B, *out_shape).
        """
        assert view.error is not None
        return self._spread(view, view.error, self._served(dynamics, view))

    def ticks(self, view: LocalView, rows: Tensor) -> Tensor:
        """Rows of a view, (K B, ...), as (K, B, ...)."""
        return as_ticks(rows, self._batch(view))

    def _work(self, view: LocalView, error: Tensor, psi: Coefficient | None) -> LocalView:
        """Work an error into the layer; ``psi`` takes the place of the neurons' own derivative."""
        return self._spread(view, error, self._dynamics(view, self._batch(view), psi))

    def _spread(self, view: LocalView, error: Tensor, dynamics: Dynamics) -> LocalView:
        batch = self._batch(view)
        if self.traces.name != "raw":
            return self._tick_by_tick(view, error, dynamics, batch)
        back = adjoint(dynamics, as_ticks(error, batch), kappa=view.kappa)
        error = back.delta.flatten(0, 1)
        delta = self.unroute(view, error)
        shared = dynamics.constant and not view.kappa
        partial: Directions = {}
        for name, x in self._inputs(view, batch).items():
            parts = [self._product(name, delta, x)]
            trace = view.before.get(TRACE + name)
            if trace is not None and shared:
                tails = [self.unroute(view, tail) for tail in back.tails]
                parts += [self._product(name, tail, old) for tail, old in zip(tails, trace, strict=True)]
            elif trace is not None:
                parts.append(from_traces(back, trace))
            partial[name] = parts[0] if len(parts) == 1 else Sum(tuple(parts))
        if self.bias:
            found = _over_rows(error)
            trace = view.before.get(TRACE + "bias")
            if trace is not None and shared:
                found = found + sum(
                    _over_rows(tail) * old for tail, old in zip(back.tails, trace.view(-1), strict=True)
                )
            elif trace is not None:
                found = found + from_traces(back, trace).squeeze(1)
            partial["bias"] = found
        return view.worked_out(delta, partial)

    def _tick_by_tick(self, view: LocalView, error: Tensor, dynamics: Dynamics, batch: int) -> LocalView:
        """Directions by traces that every tick has rounded: sum_t (c_t L_t) x_bar_t."""
        (out,) = dynamics.out
        signal = as_ticks(error, batch) * out
        delta = self.unroute(view, signal.flatten(0, 1))
        partial: Directions = {}
        for name, x in self._inputs(view, batch).items():
            xs = self._rounded(dynamics, _ticks(x, batch), view.before.get(TRACE + name))
            partial[name] = self._product(name, delta, xs.flatten(0, 1))
        if self.bias:
            ones = delta.new_ones(len(signal), 1, 1)
            steady = self._rounded(dynamics, ones, view.before.get(TRACE + "bias"))
            partial["bias"] = _over_rows((signal * steady.view(-1, *[1] * (signal.dim() - 1))).flatten(0, 1))
        return view.worked_out(delta, partial)

    def _rounded(self, dynamics: Dynamics, xs: Tensor, before: Tensor | None) -> Tensor:
        """Traces of every tick, (K, B, ...), each rounded to its format."""
        ((move,),), (enter,) = dynamics.move, dynamics.enter
        trace = torch.zeros_like(xs[0]) if before is None else before[0]
        found = []
        for x in xs.unbind(0):
            trace = self.traces.quantize(trace * move + x * enter)
            found.append(trace)
        return torch.stack(found)

    def _inputs(self, view: LocalView, batch: int) -> dict[str, Tensor]:
        """What the weights of each map have seen, one row for a sample and tick."""
        found = {"weight": view.x}
        if self.recurrent:
            first = view.before.get(OUT)
            first = torch.zeros_like(view.y[:batch]) if first is None else first
            found["recurrent"] = torch.cat([first, view.y[:-batch]]) if len(view.y) > batch else first
        return found

    def _product(self, name: str, delta: Tensor, x: Tensor) -> Tensor | Outer:
        """Sum over rows of errors and inputs of one weight."""
        found = Outer(delta, x) if name == "recurrent" else self.outer(delta, x)
        assert not isinstance(found, Sum)
        return found

    def pullback(self, view: LocalView) -> Directions:
        if view.delta is None:
            view = self.localise(view)
        if view.partial:
            return dict(view.partial)
        # a rule has worked out the error at the currents by itself: no memory comes in
        assert view.delta is not None
        delta, inputs = view.delta, self._inputs(view, self._batch(view))
        found: Directions = {name: self._product(name, delta, x) for name, x in inputs.items()}
        return found | ({"bias": _over_rows(delta)} if self.bias else {})

    def carry_traces(self, view: LocalView, dynamics: Dynamics | None = None) -> State:
        """Traces after a chunk, to be put into the next chunk's state: their memory does not grow with time.

        Args:
            view: of the chunk.
            dynamics: in the place of the neurons' own; None: these.
        """
        batch = self._batch(view)
        if dynamics is None:
            # traces ask for the output's derivative only where they are filtered
            dynamics = self._dynamics(view, batch, None if view.kappa else 1.0)
        inputs: dict[str, Tensor] = self._inputs(view, batch)
        if self.bias:
            inputs["bias"] = view.y.new_ones(len(view.y) // batch, 1, 1)
        found = {}
        for name, x in inputs.items():
            before = view.before.get(TRACE + name)
            if self.traces.name == "raw" and dynamics.constant and not view.kappa:
                found[TRACE + name] = shared_trace(dynamics, x, batch if name != "bias" else 1, before)
                continue
            xs = x if name == "bias" else _ticks(x, batch)
            if self.traces.name != "raw":
                found[TRACE + name] = self._rounded(dynamics, xs, before)[-1].unsqueeze(0)
            else:
                self._refuse_own()
                xs = xs.expand(-1, batch, 1) if name == "bias" else xs
                found[TRACE + name] = own_traces(dynamics, xs, before, view.kappa, _ticks(view.y, batch))
        return found

    def transpose(self, view: LocalView, weights: Returns) -> Tensor:
        """Error at the input, at the same tick: c_t g_t L_t through the return weights."""
        assert view.error is not None
        batch = self._batch(view)
        signal = instant(self._dynamics(view, batch, None), as_ticks(view.error, batch)).flatten(0, 1)
        return super().transpose(replace(view, delta=self.unroute(view, signal)), weights)

    def tangent(self, view: LocalView, dot: Tensor | None, moved: Params) -> Tensor:
        """Change of the outputs in all ticks of a chunk, through the neurons' own memory; the recurrence is cut."""
        batch = self._batch(view)
        current = torch.zeros_like(view.y)
        if dot is not None:
            current = self.reroute(view, self.linear(dot, view.params["weight"], None))
        if "weight" in moved:
            current = current + self.reroute(view, self.linear(view.x, moved["weight"], moved.get("bias")))
        if "recurrent" in moved:
            current = current + nn.functional.linear(self._inputs(view, batch)["recurrent"], moved["recurrent"])
        changes = as_ticks(current, batch)
        return forward_change(self._dynamics(view, batch, None), changes).flatten(0, 1)

    def tangent_flop(self, work: Work, moved: frozenset[str], *, dot: bool) -> int:
        own = sum(m.product for m in work.maps if m.key in moved)
        return own + dot * sum(m.product for m in work.maps if m.key == "weight")

    def module(self) -> nn.Module:
        """Refused: a plain module of one input has no place for a memory.

        Raises:
            NeurofaError: always.
        """
        raise NeurofaError(
            f"got a layer of {self.neuron.name} neurons for a plain module; expected layers without a memory; use"
            " network.to_snntorch(), or neurofa export"
        )

    def work(self, shape: tuple[int, ...], *, sends: bool) -> Work:
        found = super().work(shape, sends=sends)
        if not self.recurrent:
            return replace(found, kept=True)
        among = Map("recurrent", shape[0], self.channels, self.channels, False, factored=True)
        return replace(found, maps=(*found.maps, among), kept=True)

    def _batch(self, view: LocalView) -> int:
        """B: rows that are one tick."""
        return next((len(view.before[key]) for key in self.neuron.memories if key in view.before), len(view.x))

    def _dynamics(self, view: LocalView, batch: int, psi: Coefficient | None) -> Dynamics:
        left = {key: _ticks(view.after[key], batch) for key in self.neuron.leaves if key in view.after}
        return self._served(self.neuron.dynamics(left, psi), view)

    def _served(self, found: Dynamics, view: LocalView) -> Dynamics:
        """Refuse rounded traces of what has none."""
        if self.traces.name != "raw" and (view.kappa or not found.constant or len(found.enter) > 1):
            raise NeurofaError(
                f"got traces in {self.traces.name} for {self.neuron.name} neurons; expected one trace an input, kept"
                " tick by tick; use lif neurons with reset subtract or none and a rule without a filter, or raw traces"
            )
        return found

    def _refuse_own(self) -> None:
        """Refuse a trace for every weight and position of a convolution."""
        if len(self.weight_shape) > 2:
            raise NeurofaError(
                f"got {self.neuron.name} neurons behind a convolution under a rule that needs a trace for every weight"
                " and position; expected traces that all neurons share; use lif or synaptic neurons with reset subtract"
                " or none and a rule without a filter, or a chunk as long as the sequence"
            )


def _ticks(rows: Tensor, batch: int) -> Tensor:
    """(K B, ...) rows as (K, B, ...) ticks; rows of events become dense."""
    return as_ticks(dense_rows(rows) if rows.layout == torch.sparse_csr else rows, batch)


def _over_rows(delta: Tensor) -> Tensor:
    return delta.sum([axis for axis in range(delta.dim()) if axis != 1])
