"""Comparison of a model with the network made from it, before the network is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from hwmodels.errors import NeurofaError
from neurofa.core.directions import dense
from neurofa.core.layer import Layer
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.core.view import LocalView, State
from neurofa.interop.borrowed_model import in_dtype, poisoned
from neurofa.interop.units import Unit
from neurofa.layers.block import SEED, Block
from neurofa.maps.seeded import drawing
from neurofa.maps.wrapped import first_line

SAMPLES = 4
DRAWN = 1
"""Seed of what modules draw during the comparison."""
CLOSE = 1e-5
"""Largest difference in units of the largest value, in float64: other options give far more, rounding far less."""
ROUGH = {torch.float32: 1e-3, torch.float16: 5e-2, torch.bfloat16: 1e-1}
"""The same for models that cannot be run in float64."""


def compare_layers(model: nn.Module, network: Network, units: Sequence[Unit], example: Tensor | None = None) -> None:
    """Compare every layer with its modules: outputs, gradients, statistics, in training and in evaluation mode.

    Then the whole network is compared with the whole model: outputs, and the gradients of all weights by the chain of
    layers. Both run in float64, so that rounding hides nothing; a model that cannot is compared in its own dtype.

    Args:
        model: does what the units' modules do in turn; its weights, statistics and modes are restored.
        network: made from it, on exact devices; it is used up.
        units: layers with their modules, in order.
        example: (B, *input_shape), samples among which the comparison takes some; None: all are drawn.

    Raises:
        NeurofaError: naming the first modules whose layer differs, and in what.
    """
    own = network.dtype
    # modules made of a model's calls hold some tensors of their own
    together = nn.ModuleList([model, *(module for unit in units for _, module in unit.modules)])
    with in_dtype(together, network, torch.float64) as able:
        if able and _runs(model, network, example):
            _compare(model, network, units, CLOSE, example)
            return
    with in_dtype(together, network, own):
        _compare(model, network, units, ROUGH.get(own, CLOSE), example)


def _batch(network: Network, example: Tensor | None) -> Tensor:
    like = next(p for p in network.parameters() if p.is_floating_point())
    x = network.example(SAMPLES, generator(0, "comparison")).to(like.device)
    if network.vocabulary is None:
        x = x.to(like)
    if example is not None:
        given = example[: SAMPLES // 2].to(x)
        x[: len(given)] = given
    return x


def _runs(model: nn.Module, network: Network, example: Tensor | None) -> bool:
    model.eval()
    try:
        with torch.no_grad(), drawing(next(network.parameters()).device, None, globally=True):
            model(_batch(network, example))
    except Exception:
        return False
    return True


def _compare(model: nn.Module, network: Network, units: Sequence[Unit], close: float, example: Tensor | None) -> None:
    statistics = [(t, t.clone()) for t in (*model.buffers(), *network.buffers())]
    statistics += [(t, t.clone()) for unit in units for _, module in unit.modules for t in module.buffers()]
    for training in (True, False):
        model.train(training)
        network.train(training)
        for unit in units:
            unit.set_mode(training=training)
        x = _batch(network, example)
        for unit, (name, layer) in zip(units, network.items(), strict=True):
            x = _compare_unit(unit, name, layer, x, training=training, close=close)
        for tensor, value in statistics:
            tensor.copy_(value)
        if not any(isinstance(layer, Block) and layer.draws for _, layer in network.chain):
            _compare_whole(model, network, units, _batch(network, example), training=training, close=close)
        for tensor, value in statistics:
            tensor.copy_(value)


def _compare_whole(
    model: nn.Module, network: Network, units: Sequence[Unit], x: Tensor, *, training: bool, close: float
) -> None:
    """Compare the model with the chain of all layers, without dropout: outputs, and gradients of all weights.

    Args:
        model: the model.
        network: made from it.
        units: its layers with their modules.
        x: (B, *input_shape).
        training: mode of both.
        close: largest relative difference.
    """
    learning = [p for p in model.parameters() if p.requires_grad]
    with torch.enable_grad(), drawing(x.device, None, globally=False):
        wanted = model(x.clone())
        error = torch.randn(wanted.shape, generator=generator(0, "error")).to(wanted)
        gradients: Sequence[Tensor | None] = [None] * len(learning)
        if wanted.requires_grad:
            gradients = torch.autograd.grad(wanted, learning, error, allow_unused=True)
    views: list[LocalView] = []
    for _, layer in network.chain:
        params = layer.synapses.stored()
        y, after, graph = layer.record(params, x, {}, params, True)
        views.append(LocalView(x, y, params, {}, after, params, graph))
        x = y
    refuse = partial(_refuse_difference, source="the model", target="the network", training=training, close=close)
    refuse("outputs", ours=x, theirs=wanted.detach())
    found: dict[int, Tensor] = {}
    for unit, (_, layer), recorded in reversed(list(zip(units, network.items(), views, strict=True))):
        view = layer.backprop_local(replace(recorded, error=error))
        directions = dense(layer.pullback(view)) if view.params else {}
        for key, p in unit.weights():
            if p.requires_grad:  # copies of one weight learn from all of its places
                found[id(p)] = found[id(p)] + directions[key] if id(p) in found else directions[key]
        error = layer.input_error(view, view.params)
    names = {id(p): name for name, p in model.named_parameters()}
    for p, gradient in zip(learning, gradients, strict=True):
        theirs = torch.zeros_like(p) if gradient is None else gradient
        ours = found.get(id(p), torch.zeros_like(p))
        refuse(f"gradients of '{names[id(p)]}'", ours=ours, theirs=theirs)


def _compare_unit(unit: Unit, name: str, layer: Layer, x: Tensor, *, training: bool, close: float) -> Tensor:
    """Compare one layer with its modules, and return the modules' output.

    Args:
        unit: the modules.
        name: of the layer.
        layer: made from them.
        x: (B, *in_shape).
        training: mode of both.
        close: largest relative difference.
    """
    state: State = layer.fresh_state(x, None) if isinstance(layer, Block) else {}
    if SEED in state:
        state = {SEED: torch.tensor(DRAWN)}
    numeric = x.is_floating_point()  # ids of tokens have no gradient
    leaf = x.detach().clone().requires_grad_(numeric)
    learning = {key: p for key, p in unit.weights() if p.requires_grad}
    try:
        with torch.enable_grad(), drawing(x.device, DRAWN if state else None, globally=True):
            wanted = leaf.clone()
            for _, module in unit.modules:
                wanted = module(wanted)
            error = torch.randn(wanted.shape, generator=generator(0, "error")).to(wanted)
            gradients: Sequence[Tensor | None] = [None] * (len(learning) + 1)
            if wanted.requires_grad:
                leaves = [*([leaf] if numeric else []), *learning.values()]
                found = torch.autograd.grad(wanted, leaves, error, allow_unused=True) if leaves else ()
                gradients = found if numeric else (None, *found)
        params = layer.synapses.stored()
        # a copy that still uses the model's own tensors shows NaN
        with poisoned([module for _, module in unit.modules]):
            y, after, graph = layer.record(params, x, state, params, True)
            layer.update_running_stats(after)
            view = LocalView(x, y, params, state, after, params, graph, error=error)
            view = layer.backprop_local(view)
            directions = dense(layer.pullback(view)) if params else {}
            below = layer.input_error(view, params)
    except NeurofaError:
        raise
    except Exception as fault:
        raise NeurofaError(
            f"got modules {unit.title} that cannot run or be differentiated on a batch of shape {tuple(x.shape)} in"
            f" {_mode(training=training)} mode ({first_line(fault)}); expected a differentiable map of one tensor;"
            " correct input_shape, or change the module"
        ) from None
    pairs: Mapping[str, tuple[Tensor, Tensor | None]] = {
        "outputs": (y, wanted.detach()),
        **({"gradients of the input": (below, gradients[0])} if numeric else {}),
        **{f"gradients of '{k}'": (directions[k], g) for k, g in zip(learning, gradients[1:], strict=True)},
        **{f"statistics '{key}'": (ours, theirs) for key, ours, theirs in unit.statistics(layer)},
    }
    for what, (ours, theirs) in pairs.items():
        target = torch.zeros_like(ours) if theirs is None else theirs
        _refuse_difference(
            what,
            source=f"modules {unit.title}",
            target=f"layer '{name}'",
            ours=ours,
            theirs=target,
            training=training,
            close=close,
        )
    return wanted.detach()


def _mode(*, training: bool) -> str:
    return "training" if training else "evaluation"


def _refuse_difference(
    what: str, *, source: str, target: str, ours: Tensor, theirs: Tensor, training: bool, close: float
) -> None:
    """Refuse other numbers than those of the model.

    Args:
        what: the numbers.
        source: what they belong to in the model.
        target: the same in the network.
        ours: of the network.
        theirs: of the model.
        training: mode of both.
        close: largest relative difference.

    Raises:
        NeurofaError: another shape, or a larger difference.
    """
    off = f"of shape {tuple(ours.shape)} for {tuple(theirs.shape)}"
    if ours.shape == theirs.shape:
        theirs = theirs.to(ours)
        size = float(theirs.nan_to_num(0, 0, 0).abs().amax()) if theirs.numel() else 0.0
        if torch.allclose(ours, theirs, rtol=close, atol=close * max(size, 1e-6), equal_nan=True):
            return
        off = f"that differ by up to {float((ours - theirs).abs().nan_to_num(torch.inf).amax()):.2g} of {size:.2g}"
    raise NeurofaError(
        f"got {what} of {source} {off} from those of {target} in {_mode(training=training)} mode; expected equal ones;"
        " wrap the module as it is used in a neurofa.layers.Block, without a state of its own outside of parameters and"
        " buffers"
    )
