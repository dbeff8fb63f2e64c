"""The contract of layers: closed forms against autograd, purity, plain modules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from hwmodels.registry import build, options, parts
from neurofa.core.directions import dense
from neurofa.core.layer import Layer, ParameterFreeLayer, vjp
from neurofa.core.randomness import generator
from neurofa.core.view import LocalView
from neurofa.maps.jvp import tangent, tangent_flop
from neurofa.maps.trace import products, traced
from neurofa.testing.flops import Counted
from neurofa.testing.tools import Check, close, require, run_all, same, snapshot

SHAPES = ((4,), (2, 8, 8), (5, 4))
"""Shapes of one sample that are tried: a vector, an image, and tokens where vectors are taken."""
VARIANTS = {
    "bias": ["bias=False"],
    "dropout": ["dropout=0.5"],
    "stride": ["stride=2"],
    "padding": ["padding=1, stride=2"],
    "groups": ["groups=2"],
    "pool": ["pool=avg_pool2d", "pool=max_pool2d, stride=2", "pool='max_pool2d(size=2, stride=1)'"],
    "neuron": ["neuron=leaky", "neuron=synaptic"],
}
"""Options that all layers give one meaning, and the settings of them that are tried."""


def specs(name: str) -> list[str]:
    """The layer from defaults, and with every activation, normalisation and common option that it has."""
    known = options(parts("layer")[name])
    found = [name]
    if "activation" in known:
        found += [f"{name}(activation={a})" for a in parts("activation")]
    if "norm" in known:
        for norm in parts("norm"):
            found += [f"{name}(norm={norm}, activation=tanh)", f"{name}(norm='{norm}(affine=False)', activation=gelu)"]
    if "norm" in known and "dropout" in known:
        found.append(f"{name}(norm=batch, activation=silu, dropout=0.5)")
    if "recurrent" in known:
        found += [f"{name}(neuron={n}, recurrent=True)" for n in parts("neuron")]
    return found + [f"{name}({setting})" for option, s in VARIANTS.items() if option in known for setting in s]


def _cases(name: str, *, training: bool) -> Iterator[tuple[str, Layer, Tensor]]:
    """Every variant of a layer with every small input that it takes, in float64."""
    for spec in specs(name):
        served: list[tuple[int, ...]] = []
        for shape in SHAPES:
            if len(shape) == 2 and (4,) not in served:
                continue  # torch's image maps would take the samples of (B, S, d) for channels
            layer: Layer = build("layer", spec)
            gen = generator(0, "layer")
            layer.initialise(build("device", "digital"), gen)
            layer.double().train(training)
            x = torch.randn(6, *shape, generator=gen, dtype=torch.float64)
            try:
                with torch.no_grad():
                    layer.compute(layer.synapses.read(), x, layer.fresh_state(x, gen))
            except (RuntimeError, ValueError, IndexError):
                continue
            # Neither gains of one nor shifts of zero may hide an error.
            for value in layer.parameters():
                value.data.add_(torch.randn(value.shape, generator=gen, dtype=value.dtype), alpha=0.3)
            served.append(shape)
            yield f"{spec} on {shape}", layer, x
        require(bool(served), f"layer '{spec}' takes none of the inputs {SHAPES}")


@torch.no_grad()
def _view(layer: Layer, x: Tensor, *, own: bool) -> LocalView:
    """A view with a random error; the return weights are the layer's own, or equal copies of them."""
    params = layer.synapses.read()
    before = layer.fresh_state(x, generator(1, "state"))
    back = params if own else {key: params[key].clone() for key in layer.traits.returning}
    y, after, graph = layer.record(params, x, before, back, True)
    error = torch.randn(y.shape, generator=generator(2, "error"), dtype=y.dtype)
    return LocalView(x, y, params, before, after, back, graph, error=error)


def _matches_autograd(training: bool, own: bool) -> Check:
    def check(name: str) -> None:
        for case, layer, x in _cases(name, training=training):
            view = _view(layer, x, own=own)
            with torch.no_grad():
                seen = layer.backprop_local(view)
                ours = dense(layer.pullback(seen))
                below = layer.input_error(seen, view.return_weights or {})
            theirs, above = vjp(layer, view)
            require(sorted(ours) == sorted(view.params), f"{case}: directions of {sorted(ours)} only")
            for key, direction in ours.items():
                close(direction, theirs[key], f"{case}: direction of {key}", 1e-10)
            close(below, above, f"{case}: error at the input", 1e-10)

    where = "training" if training else "evaluation"
    check.__doc__ = f"Directions and returned error equal the vector-Jacobian product, in {where} mode."
    return check


def _tangent_is_the_adjoint(training: bool) -> Check:
    def check(name: str) -> None:
        for case, layer, x in _cases(name, training=training):
            view = _view(layer, x, own=True)
            directions, below = vjp(layer, view)
            if (error := view.error) is None:
                raise AssertionError("a view without an error")
            gen = generator(4, "changes")
            dot = torch.randn(x.shape, generator=gen, dtype=x.dtype)
            moved = {k: torch.randn(w.shape, generator=gen, dtype=w.dtype) for k, w in view.params.items()}
            by_weights = sum((directions[k] * moved[k]).sum() for k in moved)
            for what, given, change, wanted in (
                ("input", dot, {}, (below * dot).sum()),
                ("weights", None, moved, by_weights),
                ("both", dot, moved, (below * dot).sum() + by_weights),
            ):
                if given is None and not change:
                    continue
                with torch.no_grad():
                    got = tangent(layer, view, given, change)
                require(got.shape == error.shape, f"{case}: shape {tuple(got.shape)}")
                close((got * error).sum(), torch.as_tensor(wanted), f"{case}: change by {what}", 1e-9)

    where = "training" if training else "evaluation"
    check.__doc__ = f"The forward-mode derivative is the adjoint of the vector-Jacobian product, in {where} mode."
    return check


def tells_its_products(name: str) -> None:
    """To the FLOP, what a layer tells of its pass and of its tangent is what torch counts of them."""
    for case, layer, x in _cases(name, training=True):
        work = products(layer, tuple(x.shape), sends=True)
        traces = traced(layer, tuple(x.shape), sends=True)
        told = [(m.key, m.rows, m.n_in, m.n_out, m.sends) for m in work.maps]
        seen = [(m.key, m.rows, m.n_in, m.n_out, m.sends) for m in traces.maps]
        require(told == seen, f"{case}: told {told}, seen {seen}")
        view = _view(layer, x, own=True)
        with torch.no_grad(), Counted() as counted:
            layer.compute(view.params, x, view.before)
        require(work.forward == counted.flop, f"{case}: told {work.forward} FLOP, counted {counted.flop}")
        for moved in ({}, view.params):
            with torch.no_grad(), Counted() as counted:
                tangent(layer, view, x, moved)
            flop = tangent_flop(layer, work, frozenset(moved), dot=True)
            require(flop == counted.flop, f"{case}: told {flop} FLOP of a tangent, counted {counted.flop}")


def forward_is_pure(name: str) -> None:
    """Computing twice gives the same; input, weights and buffers stay as they were."""
    for case, layer, x in _cases(name, training=True):
        kept, before = x.clone(), snapshot(layer)
        state = layer.fresh_state(x, generator(1, "state"))
        with torch.no_grad():
            first = layer.compute(layer.synapses.read(), x, state)[0].clone()
            second = layer.compute(layer.synapses.read(), x, state)[0]
            recorded = layer.record(layer.synapses.read(), x, state, None, True)[0]
        require(torch.equal(first, second), f"{case}: two computations differ")
        require(torch.equal(first, recorded), f"{case}: record computes something else")
        require(torch.equal(x, kept), f"{case}: the input was changed in place")
        same(snapshot(layer), before, case)


def learning_is_pure(name: str) -> None:
    """Localise, pullback and transpose leave the view as it was, and give the same twice."""
    for case, layer, x in _cases(name, training=True):
        view = _view(layer, x, own=True)
        if view.error is None:
            raise AssertionError("a view without an error")
        held = {"x": view.x, "y": view.y, "error": view.error, **view.params, **view.before, **view.after}
        kept = {key: value.clone() for key, value in held.items()}
        with torch.no_grad():
            rounds = []
            for _ in range(2):
                seen = layer.backprop_local(view)
                below = layer.input_error(seen, view.return_weights or {})
                rounds.append({**dense(layer.pullback(seen)), "below": below.clone()})
        same(rounds[0], rounds[1], f"{case}: the second time")
        same(held, kept, f"{case}: the view")


def returns_through_other_weights(name: str) -> None:
    """With other return weights the directions stay the same and the returned error does not."""
    for case, layer, x in _cases(name, training=True):
        if isinstance(layer, ParameterFreeLayer) or not layer.traits.returning:
            continue
        view = _view(layer, x, own=True)
        gen = generator(3, "returns")
        other = {k: torch.randn(view.params[k].shape, generator=gen, dtype=x.dtype) for k in layer.traits.returning}
        with torch.no_grad():
            _, after, graph = layer.record(view.params, x, view.before, other, True)
            seen = layer.backprop_local(replace(view, after=after, graph=graph, return_weights=other))
            below, ours = layer.input_error(seen, other), dense(layer.pullback(seen))
        theirs, above = vjp(layer, view)
        require(below.shape == x.shape and bool(below.isfinite().all()), f"{case}: returned {tuple(below.shape)}")
        require(not torch.allclose(below, above), f"{case}: the error came back through the forward weights")
        if len(layer.traits.returning) == 1 or layer.traits.returning == ("weight", "gain"):
            for key, direction in ours.items():
                close(direction, theirs[key], f"{case}: direction of {key}", 1e-10)


def module_is_the_same_map(name: str) -> None:
    """The plain module computes the same, in evaluation mode, in the layer's own dtype."""
    for case, layer, x in _cases(name, training=False):
        with torch.no_grad():
            ours = layer.compute(layer.synapses.read(), x, layer.fresh_state(x, None))[0]
            plain = layer.module().eval()
            kept = {p.dtype for p in (*plain.parameters(), *plain.buffers()) if p.is_floating_point()}
            require(kept <= {x.dtype}, f"{case}: the module is of {kept}, the layer of {x.dtype}")
            close(ours, plain(x), f"{case}: output", 1e-10)


def state_persists(name: str) -> None:
    """A state dict carries everything that the map needs."""
    for (case, layer, x), (_, other, _) in zip(_cases(name, training=True), _cases(name, training=True), strict=True):
        with torch.no_grad():
            layer.update_running_stats(
                layer.record(layer.synapses.read(), x, layer.fresh_state(x, generator(1, "state")), None, False)[1]
            )
            for value in other.parameters():
                value.add_(1.0)
            other.load_state_dict(layer.state_dict())
            ours, theirs = (
                part.eval().compute(part.synapses.read(), x, part.fresh_state(x, None))[0] for part in (layer, other)
            )
        require(torch.equal(ours, theirs), f"{case}: the loaded layer computes something else")


def one_sample_is_enough(name: str) -> None:
    """A batch of one, and an empty one, keep their shape in evaluation mode."""
    for case, layer, x in _cases(name, training=False):
        for n in (1, 0):
            with torch.no_grad():
                y = layer.compute(layer.synapses.read(), x[:n], layer.fresh_state(x[:n], None))[0]
            require(len(y) == n, f"{case}: {n} samples became {len(y)}")


def layer_checks() -> list[tuple[str, Check]]:
    """All checks of a layer, by name."""
    plain: list[Check] = [
        forward_is_pure, learning_is_pure, returns_through_other_weights, module_is_the_same_map, state_persists,
        one_sample_is_enough, tells_its_products,
    ]  # fmt: skip
    named = [(check.__name__, check) for check in plain]
    for training in (True, False):
        for own in (True, False):
            mode, weights = "training" if training else "evaluation", "own" if own else "copied"
            named.append((f"matches_autograd_in_{mode}_with_{weights}_weights", _matches_autograd(training, own)))
        named.append((f"tangent_is_the_adjoint_in_{mode}", _tangent_is_the_adjoint(training)))
    return named


def check_layer(name: str) -> None:
    """Hold one registered layer to the whole contract.

    Raises:
        AssertionError: naming what is broken.
    """
    run_all("layer", name, layer_checks())
