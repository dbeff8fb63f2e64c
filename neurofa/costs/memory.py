"""Bytes that a training step holds: weights, feedback, activations, gradients, state of the optimizer."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from neurofa.core.directions import LowRank, ReturnWeights
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.core.rule import Rule
from neurofa.training.learner import Learner
from neurofa.training.replay import preserved

HELD = ("weights", "feedback", "activations", "gradients", "optimizer")


def step_memory(learner: Learner, batch_size: int) -> dict[str, int]:
    """Return the bytes that a step holds, by purpose.

    ``weights``: of the network, with their devices' cells and running statistics. ``feedback``: the state of the rule.
    ``activations``: what the forward pass, and a second one, leave for the backward phase, each storage once: inputs
    and outputs of layers, their states, what autograd saves inside blocks. ``gradients``: of all weights that learn,
    where directions do not go straight into them. ``optimizer``: its state for the same weights. Of a network with a
    memory, activations are those of one tick: a chunk of K ticks leaves K times as many, and traces beside them.

    Args:
        learner: network, rule and optimizer; it is not changed.
        batch_size: samples in a step.
    """
    network, rule = learner.network, learner.rule
    learning = _bytes(w for group in learner.optimizer.param_groups for w in group["params"])
    passes = 1 if rule.declares.second_pass is None else 2
    return {
        "weights": _bytes(network.state_dict().values()),
        "feedback": _bytes(rule.state_dict().values()),
        "activations": passes * activation_bytes(network, rule, batch_size),
        "gradients": 0 if learner.direct else learning,
        "optimizer": learning * optimizer_state(learner.optimizer),
    }


def optimizer_state(optimizer: torch.optim.Optimizer) -> int:
    """Return how many numbers an optimizer stores for every weight, found by a step of a copy.

    Args:
        optimizer: not changed.
    """
    twin = copy.deepcopy(optimizer)
    first: nn.Parameter = twin.param_groups[0]["params"][0]
    for group in twin.param_groups:
        for parameter in group["params"]:
            parameter.grad = None
    first.grad = torch.zeros_like(first)
    type(twin).step(twin)  # not twin.step: a scheduler binds that one to the original
    return sum(isinstance(kept, Tensor) and kept.shape == first.shape for kept in twin.state[first].values())


@torch.no_grad()
def activation_bytes(network: Network, rule: Rule, batch: int) -> int:
    """Return the bytes that a forward pass leaves for the backward phase, without the weights.

    The pass runs on tensors that have shapes but no data; every storage counts once.

    Args:
        network: in the mode of the pass.
        rule: bound to it.
        batch: samples.
    """
    # costs half a second
    from torch._subclasses.fake_tensor import FakeTensorMode

    # once: forward weights in the place of return weights are known by identity
    stored = {name: layer.synapses.stored() for name, layer in network.items()}
    back: dict[str, ReturnWeights | None] = {}
    path = rule.declares.return_path
    if path is not None:
        with preserved(network, rule):
            gen = generator(0, "memory")
            back = {name: path.return_weights(name, weights, gen) for name, weights in stored.items() if weights}
    kept: list[Tensor] = []
    weights: list[Tensor] = []

    def pack(saved: Tensor) -> Tensor:
        kept.append(saved)
        return saved

    with FakeTensorMode(allow_non_fake_inputs=True), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        like = next(network.parameters())
        dtype = like.dtype if network.vocabulary is None else torch.int64
        x = torch.empty((batch, *network.input_shape), dtype=dtype, device=like.device)
        learns_below = False
        for name, layer in network.items():
            params = {key: torch.empty_like(w) for key, w in stored[name].items()}
            returns = _fakes(back.get(name), stored[name], params)
            state = layer.fresh_state(x, None)
            y, after, _ = layer.record(params, x, state, returns, rule.declares.chained and learns_below)
            weights += [*params.values(), *_flat(returns), *layer.buffers()]
            kept += [x, y, *state.values(), *after.values()]
            x, learns_below = y, learns_below or bool(params)
    held = {t.untyped_storage()._cdata for t in weights}
    storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in kept}
    return sum(size for at, size in storages.items() if at not in held)


def _fakes(back: ReturnWeights | None, stored: dict[str, Tensor], params: dict[str, Tensor]) -> ReturnWeights | None:
    """Return weights without numbers for the return path; forward weights stay the same tensors as ``params``."""
    if back is None:
        return None
    if all(value is stored.get(key) for key, value in back.items()):
        return params

    def fake(value: Any) -> Any:
        return LowRank(*map(torch.empty_like, value)) if isinstance(value, LowRank) else torch.empty_like(value)

    return {key: fake(value) for key, value in back.items()}


def _flat(returns: ReturnWeights | None) -> list[Tensor]:
    tensors: list[Tensor] = []
    for value in (returns or {}).values():
        tensors += value if isinstance(value, LowRank) else [value]
    return tensors


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)
