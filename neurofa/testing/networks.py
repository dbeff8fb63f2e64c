"""The contract of network recipes."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from hwmodels.registry import build, parts
from hwmodels.spec import parse
from hwmodels.testing.tools import require, require_equal
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.core.recipes import NetworkRecipe, takes_tokens
from neurofa.core.rule import Rule, bind_rule
from neurofa.losses import CrossEntropy
from neurofa.spiking.sequence import has_memory
from neurofa.testing.contract import Contract, require_close, snapshot
from neurofa.testing.samples import batch_for
from neurofa.training.checkpoint import load_network, save_network
from neurofa.training.learner import forward_pass, loss_and_teaching, update_running_stats
from neurofa.training.replay import collect, record

SHAPES = ((1, 8, 8), (3, 32, 32))
TOKEN_SHAPES = ((6,), (9,))
OUTPUTS = 10
DEVICE = "fixed(bits=6)"

CONTRACT = Contract("network")


def default_network(spec: object, shape: tuple[int, ...], *, seed: int = 0, device: str = "digital") -> Network:
    """Return a network of ten outputs.

    Args:
        spec: name, spec or typed recipe.
        shape: of one sample.
        seed: of the weights.
        device: spec of the device.
    """
    network: Network = build("network", spec, input_shape=shape, outputs=OUTPUTS, seed=seed, device=device)
    return network


def shapes_of(name: str) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of samples on which a network is checked: of grey and colour images, or of tokens."""
    return TOKEN_SHAPES if takes_tokens(name) else SHAPES


def _after_a_step(name: str, shape: tuple[int, ...], device: str = "digital") -> tuple[Network, Tensor]:
    """Return a network whose running statistics have left their initial values, and a batch."""
    network = default_network(name, shape, device=device)
    x = batch_for(network, 4)[0]
    update_running_stats(network, forward_pass(network, x, gen=generator(0, "settle")))
    return network, x


@CONTRACT
def serves_samples(name: str) -> None:
    """Small images, or tokens, give ten finite outputs, and the network's spec builds the network again."""
    for shape in shapes_of(name):
        network = default_network(name, shape).eval()
        y = network(batch_for(network, 3)[0])
        answers = (3, OUTPUTS) if network.positions is None else (3, network.positions, OUTPUTS)
        require(tuple(y.shape) == answers and bool(y.isfinite().all()), f"{shape}: outputs {tuple(y.shape)}")
        require(network.outputs == OUTPUTS, f"{shape}: says it has {network.outputs} outputs")
        require(parse(network.spec).name == name, f"{shape}: says its spec is '{network.spec}'")
        require_equal(snapshot(default_network(network.spec, shape)), snapshot(network), f"{shape}: built again")
    require(bool(parts("network")[name].__doc__), f"network '{name}' has no docstring")


@CONTRACT
def typed_recipe_is_the_spec(name: str) -> None:
    """The recipe class builds what its name builds, its ``repr`` is its spec, and equal recipes are equal."""
    part = parts("network")[name]
    if not (isinstance(part, type) and issubclass(part, NetworkRecipe)):
        return  # a function, which has no typed form
    recipe = part()
    require(repr(recipe) == name and str(recipe.spec) == name, f"the default recipe says that it is {recipe!r}")
    require(recipe == part() and hash(recipe) == hash(part()), "two default recipes are not equal")
    require(copy.deepcopy(recipe) == recipe, "a copy of the recipe is not equal")
    full, shape = str(recipe.full_spec), shapes_of(name)[0]
    for spec in (recipe, full):
        require_equal(snapshot(default_network(spec, shape)), snapshot(default_network(name, shape)), str(spec))


@CONTRACT
def seed_decides(name: str) -> None:
    """Another seed gives other initial weights in every matrix and kernel."""
    first, other = (snapshot(default_network(name, shapes_of(name)[0], seed=seed)) for seed in (0, 1))
    alike = [k for k, v in first.items() if v.dim() > 1 and torch.equal(v, other[k])]
    require(not alike, f"{alike} do not depend on the seed")


@CONTRACT
def module_is_the_same_map(name: str) -> None:
    """The plain torch module of a network gives the same outputs in evaluation mode, and holds copied weights."""
    for shape in shapes_of(name):
        network, x = _after_a_step(name, shape)
        network.eval()
        plain = network.module()
        require(not plain.training, "the module is in training mode")
        with torch.no_grad():
            require_close(network(x), plain(x), f"{shape}: output", 1e-5)
            before = network(x).clone()
            for value in plain.parameters():
                value.zero_()
        require(torch.equal(network(x), before), f"{shape}: the module shares its weights")


@CONTRACT
def copies_are_equal(name: str) -> None:
    """A deep copy of a network computes the same outputs and shares no memory."""
    network, x = _after_a_step(name, shapes_of(name)[0])
    network.eval()
    before = network(x).clone()
    twin = copy.deepcopy(network)
    require(torch.equal(twin(x), before), "the copy computes something else")
    for value in twin.parameters():
        value.data.zero_()
    require(torch.equal(network(x), before), "the copy shares its weights")


@CONTRACT
def files_keep_every_bit(name: str) -> None:
    """Saving and loading gives the same state and the same outputs, on an exact and on a coarse device."""
    with tempfile.TemporaryDirectory() as folder:
        for device in ("digital", DEVICE):
            network, x = _after_a_step(name, shapes_of(name)[0], device)
            save_network(network, Path(folder) / "network.safetensors")
            loaded = load_network(Path(folder) / "network.safetensors")
            require_equal(snapshot(loaded), snapshot(network), device)
            require(
                torch.equal(loaded.eval()(x), network.eval()(x)), f"{device}: the loaded network computes otherwise"
            )


@CONTRACT
def bp_equals_autograd(name: str) -> None:
    """Rule bp gives autograd's gradient of the whole network: to 1e-5 in single, to 1e-10 in double precision."""
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-10)):
        network = default_network(name, shapes_of(name)[0])
        network.to(dtype)
        x, labels = batch_for(network, 5)
        x = x.to(dtype) if x.is_floating_point() else x
        rule: Rule = build("rule", "bp")
        bind_rule(rule, network.plan(), generator(0, "feedback"))
        gen = generator(0, "step")
        tick = record(network, rule, x, gen)
        found = collect(network, rule, tick, loss_and_teaching(CrossEntropy(), tick.y, labels)[1], gen).directions
        # in double precision on the other side: rounding there would move a ReLU across zero now and then
        forward, leaves = _open(network)
        with torch.enable_grad():
            y = forward(x.double() if x.is_floating_point() else x)
            loss = torch.nn.functional.cross_entropy(y.flatten(0, -2), labels.flatten(), reduction="sum")
            theirs = torch.autograd.grad(loss, leaves)
        # in the order of the weights, which is that of the leaves
        ours = [(f"{n} {k}", found[n][k]) for n, layer in network.items() for k in layer.synapses if n in found]
        require(len(ours) == len(theirs), f"{len(ours)} directions for {len(theirs)} gradients")
        for (what, direction), gradient in zip(ours, theirs, strict=True):
            require_close(direction.double(), gradient, f"{what}, {dtype}", tolerance)


def _open(network: Network) -> tuple[Callable[[Tensor], Tensor], list[Tensor]]:
    """Return the map in double precision, open to autograd, and its weights.

    The map is the plain module; layers with a memory have none, and compute one tick from their initial state.
    """
    if not has_memory(network):
        plain = network.module().double()
        return plain, list(plain.parameters())
    twin = copy.deepcopy(network).double()
    read = [(layer, {k: w.requires_grad_() for k, w in layer.synapses.stored().items()}) for _, layer in twin.items()]

    def forward(x: Tensor) -> Tensor:
        for layer, params in read:
            x = layer.compute(params, x, layer.fresh_state(x, None))[0]
        return x

    return forward, [w for _, params in read for w in params.values()]


network_checks, check_network = CONTRACT.named, CONTRACT.hold
