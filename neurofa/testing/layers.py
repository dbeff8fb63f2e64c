"""Contract of layers: closed forms against autograd, purity, declared products, plain modules."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from hwmodels.testing.tools import require, require_equal
from neurofa.core.directions import dense
from neurofa.core.layer import Layer, vjp
from neurofa.core.randomness import generator
from neurofa.core.view import LocalView
from neurofa.maps.jvp import tangent, tangent_flop
from neurofa.maps.trace import products, traced
from neurofa.testing.contract import Contract, require_close, snapshot
from neurofa.testing.flops import FlopCounter
from neurofa.testing.layer_cases import layer_cases, random_view

CONTRACT = Contract("layer")


@torch.no_grad()
def _output(layer: Layer, x: Tensor) -> Tensor:
    """Return the layer's output from its initial state, without randomness."""
    return layer.compute(layer.synapses.read(), x, layer.fresh_state(x, None))[0]


@torch.no_grad()
def _pulled_back(layer: Layer, view: LocalView) -> tuple[dict[str, Tensor], Tensor]:
    """Return the directions of the weights and the error at the input, by the layer's own methods."""
    local = layer.backprop_local(view)
    return dense(layer.pullback(local)), layer.input_error(local, view.return_weights or {})


def matches_autograd(name: str, *, training: bool, own: bool) -> None:
    """Directions of the weights and the error at the input equal the vector-Jacobian product by autograd.

    Args:
        name: registered name of the layer.
        training: mode of the layer.
        own: whether the error returns through the layer's own weights, or else through copies.
    """
    for case, layer, x in layer_cases(name, training=training):
        view = random_view(layer, x, own=own)
        directions, below = _pulled_back(layer, view)
        expected, expected_below = vjp(layer, view)
        require(sorted(directions) == sorted(view.params), f"{case}: directions of {sorted(directions)} only")
        for key, direction in directions.items():
            require_close(direction, expected[key], f"{case}: direction of {key}", 1e-10)
        require_close(below, expected_below, f"{case}: error at the input", 1e-10)


def tangent_is_the_adjoint(name: str, *, training: bool) -> None:
    """The forward-mode derivative is the adjoint of the vector-Jacobian product.

    Args:
        name: registered name of the layer.
        training: mode of the layer.
    """
    for case, layer, x in layer_cases(name, training=training):
        view = random_view(layer, x, own=True)
        directions, below = vjp(layer, view)
        if (error := view.error) is None:
            raise AssertionError("a view without an error")
        gen = generator(4, "changes")
        moved = {k: torch.randn(w.shape, generator=gen, dtype=w.dtype) for k, w in view.params.items()}
        # <J v, e> = <v, J^T e> for the changes v of input and weights
        by_weights = torch.as_tensor(sum((directions[k] * moved[k]).sum() for k in moved))
        cases: list[tuple[str, Tensor | None, dict[str, Tensor], Tensor]] = []
        if x.is_floating_point():  # ids of tokens cannot change a little
            dot = torch.randn(x.shape, generator=gen, dtype=x.dtype)
            by_input = (below * dot).sum()
            cases += [("input", dot, {}, by_input), ("both", dot, moved, by_input + by_weights)]
        cases += [("weights", None, moved, by_weights)] if moved else []
        for what, change_of_x, change_of_weights, expected in cases:
            with torch.no_grad():
                change = tangent(layer, view, change_of_x, change_of_weights)
            require(change.shape == error.shape, f"{case}: shape {tuple(change.shape)}")
            require_close((change * error).sum(), expected, f"{case}: change by {what}", 1e-9)


@CONTRACT
def forward_is_pure(name: str) -> None:
    """Computing a tick twice gives the same output; input, weights and buffers do not change."""
    for case, layer, x in layer_cases(name, training=True):
        kept, before = x.clone(), snapshot(layer)
        state = layer.fresh_state(x, generator(1, "state"))
        with torch.no_grad():
            first = layer.compute(layer.synapses.read(), x, state)[0].clone()
            second = layer.compute(layer.synapses.read(), x, state)[0]
            recorded = layer.record(layer.synapses.read(), x, state, None, True)[0]
        require(torch.equal(first, second), f"{case}: two computations differ")
        require(torch.equal(first, recorded), f"{case}: record computes something else")
        require(torch.equal(x, kept), f"{case}: the input was changed in place")
        require_equal(snapshot(layer), before, case)


@CONTRACT
def learning_is_pure(name: str) -> None:
    """Computing the directions for an error twice gives the same, and does not change the view."""
    for case, layer, x in layer_cases(name, training=True):
        view = random_view(layer, x, own=True)
        if view.error is None:
            raise AssertionError("a view without an error")
        held = {"x": view.x, "y": view.y, "error": view.error, **view.params, **view.before, **view.after}
        kept = {key: value.clone() for key, value in held.items()}
        rounds = []
        for _ in range(2):
            directions, below = _pulled_back(layer, view)
            rounds.append({**directions, "below": below.clone()})
        require_equal(rounds[0], rounds[1], f"{case}: the second time")
        require_equal(held, kept, f"{case}: the view")


@CONTRACT
def returns_through_other_weights(name: str) -> None:
    """Check that a layer sends its error back through the given return weights, not through its forward weights.

    The error at the input then differs from the one through the forward weights. The directions (changes of weights) of
    a layer with one affine map do not, since its error passes through no return weights before it meets them.

    Args:
        name: of the layer in the registry.
    """
    for case, layer, x in layer_cases(name, training=True):
        if not layer.traits.returning:
            continue
        view = random_view(layer, x, own=True)
        gen = generator(3, "returns")
        other = {k: torch.randn(view.params[k].shape, generator=gen, dtype=x.dtype) for k in layer.traits.returning}
        with torch.no_grad():
            _, after, graph = layer.record(view.params, x, view.before, other, True)
        directions, below = _pulled_back(layer, replace(view, after=after, graph=graph, return_weights=other))
        expected, own_below = vjp(layer, view)
        require(below.shape == x.shape and bool(below.isfinite().all()), f"{case}: returned {tuple(below.shape)}")
        require(not torch.allclose(below, own_below), f"{case}: the error came back through the forward weights")
        # in a layer of several maps an error crosses the upper maps before it reaches the lower ones
        if len(layer.traits.returning) == 1 or layer.traits.returning == ("weight", "gain"):
            for key, direction in directions.items():
                require_close(direction, expected[key], f"{case}: direction of {key}", 1e-10)


@CONTRACT
def module_is_the_same_map(name: str) -> None:
    """The plain torch module of a layer gives the same outputs in evaluation mode, in the layer's dtype."""
    for case, layer, x in layer_cases(name, training=False):
        with torch.no_grad():
            plain = layer.module().eval()
            dtypes = {p.dtype for p in (*plain.parameters(), *plain.buffers()) if p.is_floating_point()}
            require(dtypes <= {torch.float64}, f"{case}: the module is of {dtypes}, the layer of float64")
            require_close(_output(layer, x), plain(x), f"{case}: output", 1e-10)


@CONTRACT
def state_persists(name: str) -> None:
    """A layer that loads the state dict of another computes the same outputs."""
    pairs = zip(layer_cases(name, training=True), layer_cases(name, training=True), strict=True)
    for (case, layer, x), (_, other, _) in pairs:
        gen = generator(1, "state")
        with torch.no_grad():
            _, after, _ = layer.record(layer.synapses.read(), x, layer.fresh_state(x, gen), None, False)
            layer.update_running_stats(after)
            for value in other.parameters():
                value.add_(1.0)
            other.load_state_dict(layer.state_dict())
        same = torch.equal(_output(layer.eval(), x), _output(other.eval(), x))
        require(same, f"{case}: the loaded layer computes something else")


@CONTRACT
def one_sample_is_enough(name: str) -> None:
    """A batch of one, and an empty one, keep their shape in evaluation mode."""
    for case, layer, x in layer_cases(name, training=False):
        for n in (1, 0):
            y = _output(layer, x[:n])
            require(len(y) == n, f"{case}: {n} samples became {len(y)}")


@CONTRACT
def declares_its_products(name: str) -> None:
    """The products that a layer declares for its pass and its tangent equal, to the FLOP, torch's count."""
    for case, layer, x in layer_cases(name, training=True):
        work = products(layer, tuple(x.shape), sends=True)
        traces = traced(layer, tuple(x.shape), sends=True)
        declared = [(m.key, m.rows, m.n_in, m.n_out, m.sends) for m in work.maps]
        measured = [(m.key, m.rows, m.n_in, m.n_out, m.sends) for m in traces.maps]
        require(declared == measured, f"{case}: declared {declared}, traced {measured}")
        view = random_view(layer, x, own=True)
        with torch.no_grad(), FlopCounter() as counter:
            layer.compute(view.params, x, view.before)
        require(work.forward == counter.flop, f"{case}: declared {work.forward} FLOP, counted {counter.flop}")
        dot = x if x.is_floating_point() else None
        for moved in ({}, view.params) if dot is not None else (view.params,):
            with torch.no_grad(), FlopCounter() as counter:
                tangent(layer, view, dot, moved)
            flop = tangent_flop(layer, work, frozenset(moved), dot=dot is not None)
            require(flop == counter.flop, f"{case}: declared {flop} FLOP of a tangent, counted {counter.flop}")


for _training, _mode in ((True, "training"), (False, "evaluation")):
    for _own, _weights in ((True, "own"), (False, "copied")):
        CONTRACT.add(
            f"matches_autograd_in_{_mode}_with_{_weights}_weights",
            partial(matches_autograd, training=_training, own=_own),
        )
    CONTRACT.add(f"tangent_is_the_adjoint_in_{_mode}", partial(tangent_is_the_adjoint, training=_training))


layer_checks, check_layer = CONTRACT.named, CONTRACT.hold
