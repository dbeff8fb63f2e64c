"""Comparison of a model with the network made from it, before the network is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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


def compare_layers(model: nn.Module, network: Network, units: Sequence[Unit]) -> None:
    """Compare every layer with its modules: outputs, gradients, statistics, in training and in evaluation mode.

    Both run in float64, so that rounding hides nothing; a model that cannot is compared in its own dtype.

    Args:
        model: calls the units' modules in turn; its weights, statistics and modes are restored.
        network: made from it, on exact devices; it is used up.
        units: layers with their modules, in order.

    Raises:
        NeurofaError: naming the first modules whose layer differs, and in what.
    """
    own = next(network.parameters()).dtype
    with in_dtype(model, network, torch.float64) as able:
        if able and _runs(model, network):
            _compare(model, network, units, CLOSE)
            return
    with in_dtype(model, network, own):
        _compare(model, network, units, ROUGH.get(own, CLOSE))


def _batch(network: Network) -> Tensor:
    like = next(network.parameters())
    return torch.randn(SAMPLES, *network.input_shape, generator=generator(0, "comparison")).to(like)


def _runs(model: nn.Module, network: Network) -> bool:
    model.eval()
    try:
        with torch.no_grad(), drawing(next(network.parameters()).device, None, globally=True):
            model(_batch(network))
    except Exception:
        return False
    return True


def _compare(model: nn.Module, network: Network, units: Sequence[Unit], close: float) -> None:
    statistics = [(t, t.clone()) for t in (*model.buffers(), *network.buffers())]
    for training in (True, False):
        model.train(training)
        network.train(training)
        x = _batch(network)
        for unit, (name, layer) in zip(units, network.items(), strict=True):
            x = _compare_unit(unit, name, layer, x, training=training, close=close)
        drawn = any(isinstance(layer, Block) and layer.fresh_state(x, None) for _, layer in network.chain)
        with torch.no_grad():
            for tensor, value in statistics:
                tensor.copy_(value)
            if not drawn:
                x = _batch(network)
                with drawing(x.device, None, globally=False):
                    wanted = model(x.clone())
                for _, layer in network.chain:
                    x = layer.compute(layer.synapses.stored(), x, {})[0]
                _refuse_difference("outputs", "the model", "the network", x, wanted, training=training, close=close)
            for tensor, value in statistics:
                tensor.copy_(value)


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
    leaf = x.detach().clone().requires_grad_()
    learning = {key: p for key, p in unit.weights() if p.requires_grad}
    try:
        with torch.enable_grad(), drawing(x.device, DRAWN if state else None, globally=True):
            wanted = leaf.clone()
            for _, module in unit.modules:
                wanted = module(wanted)
            error = torch.randn(wanted.shape, generator=generator(0, "error")).to(wanted)
            gradients: Sequence[Tensor | None] = [None] * (len(learning) + 1)
            if wanted.requires_grad:
                leaves = [leaf, *learning.values()]
                gradients = torch.autograd.grad(wanted, leaves, error, allow_unused=True)
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
        "gradients of the input": (below, gradients[0]),
        **{f"gradients of '{k}'": (directions[k], g) for k, g in zip(learning, gradients[1:], strict=True)},
        **{f"statistics '{key}'": (ours, theirs) for key, ours, theirs in unit.statistics(layer)},
    }
    for what, (ours, theirs) in pairs.items():
        target = torch.zeros_like(ours) if theirs is None else theirs
        _refuse_difference(
            what, f"modules {unit.title}", f"layer '{name}'", ours, target, training=training, close=close
        )
    return wanted.detach()


def _mode(*, training: bool) -> str:
    return "training" if training else "evaluation"


def _refuse_difference(
    what: str, source: str, target: str, ours: Tensor, theirs: Tensor, *, training: bool, close: float
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
