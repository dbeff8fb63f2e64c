"""Any torch module as one layer: transformer blocks, residual blocks, user-defined modules."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hwmodels.device import Device
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.core.description import ModuleDescription
from neurofa.core.facts import LayerFacts
from neurofa.core.layer import LayerTraits
from neurofa.core.randomness import fork_seed
from neurofa.core.view import Params, State
from neurofa.core.window import Window
from neurofa.maps.activations import from_module
from neurofa.maps.asymmetric import Seeded
from neurofa.maps.autograd_layer import AutogradLayer

SEED = "seed"
"""Name of the dropout seed in the state of a block."""
AFFINE = (nn.Linear, nn.Conv2d)
SCALING = (nn.LayerNorm, nn.GroupNorm, nn.BatchNorm1d, nn.BatchNorm2d)


class Block(AutogradLayer, name="block"):
    """Any ``nn.Module`` as one layer, which learns from one error at its output: (B, *in_shape) to (B, *out_shape).

    The module's weights are stored in synapses and the module is called functionally, so that the learner, the devices
    and the audit treat it like any layer. Weights of linear and convolutional maps are stored on the network's device;
    all other parameters (biases, gains, embeddings) are digital. Under a direct rule the pullback is the exact
    vector-Jacobian product inside the block. Under a chained rule every affine map and every gain in it returns its
    error through the rule's return weights.

    Args:
        wrapped: the module; its present weights are the initial ones. It is not changed.
    """

    def __init__(self, wrapped: nn.Module | None = None) -> None:
        super().__init__()
        if wrapped is None:
            wrapped = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 3))
        if not isinstance(wrapped, nn.Module):
            raise NeurofaError(f"got a block of {type(wrapped).__name__}; expected an nn.Module; pass the module")
        # in a list, so that its parameters are not registered a second time
        self._skeleton = [copy.deepcopy(wrapped)]
        self._drops = any(isinstance(m, nn.modules.dropout._DropoutNd) for m in wrapped.modules())
        self._affine = _weights(wrapped, AFFINE)
        self._scaling = _weights(wrapped, SCALING)
        self._initial = {k: p.detach().clone() for k, p in wrapped.named_parameters()}
        for key, buffer in wrapped.named_buffers():
            self.register_buffer(_buffer(key), buffer.detach().clone())
        self._buffers_of = [key for key, _ in wrapped.named_buffers()]

    @property
    def skeleton(self) -> nn.Module:
        """Structure of the wrapped module; its own tensors are not used."""
        return self._skeleton[0]

    @property
    def traits(self) -> LayerTraits:
        return LayerTraits(
            returning=tuple(k for k in self._names() if k in self._affine or k in self._scaling),
            couples_samples=any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in self.skeleton.modules()),
            window=self._window(),
            mirror=self,
            unreturned=self.unreturned,
            facts=BlockFacts(self),
        )

    def _window(self) -> Window | None:
        """Return the receptive field of the module, or of the first in an ``nn.Sequential`` with elementwise others."""
        head, *behind = self.skeleton if isinstance(self.skeleton, nn.Sequential) else [self.skeleton]
        window = getattr(head, "window", None)
        return window if isinstance(window, Window) and all(from_module(m) is not None for m in behind) else None

    def initialise(self, device: Device, gen: torch.Generator) -> None:
        exact = build("device", "digital")
        for key, target in self._initial.items():
            self.synapses.add(key, target, device if key in self._affine else exact, gen)
        self._initial = {}

    def _names(self) -> list[str]:
        return [k for k, _ in self.skeleton.named_parameters()]

    def train(self, mode: bool = True) -> Block:
        super().train(mode)
        self.skeleton.train(mode)
        return self

    def fresh_state(self, x: Tensor, gen: torch.Generator | None) -> State:
        if not (self.training and self._drops):
            return {}
        return {SEED: torch.tensor(fork_seed(gen))}

    def compute(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        # clones: the module updates running statistics in place, and only update_running_stats may keep them
        buffers = {key: self.get_buffer(_buffer(key)).clone() for key in self._buffers_of}
        with self._seeded(x, state):
            # not channels-last: a strided 1x1 convolution inside is not safe then (see ConvMap._ordered)
            y = functional_call(self.skeleton, {**params, **buffers}, (x.contiguous(),))
        return y, buffers if self.training else {}

    @contextmanager
    def _seeded(self, x: Tensor, state: State) -> Iterator[None]:
        if not (self.training and self._drops):
            yield
            return
        with Seeded(torch.Generator(x.device).manual_seed(int(state[SEED])) if SEED in state else None):
            yield

    def update_running_stats(self, after: State) -> None:
        for key, value in after.items():
            self.get_buffer(_buffer(key)).copy_(value)

    @property
    def matrices(self) -> tuple[str, ...]:
        """Names of the weights of linear and convolutional maps."""
        return tuple(key for key in self._names() if key in self._affine)

    def wrapped_buffers(self) -> dict[str, Tensor]:
        """Return the wrapped module's buffers by its own names."""
        return {key: self.get_buffer(_buffer(key)) for key in self._buffers_of}

    def module(self) -> nn.Module:
        state = {k: v.clone() for k, v in self.synapses.stored().items()}
        plain = copy.deepcopy(self.skeleton)
        if state:
            plain.to(next(iter(state.values())))
        plain.load_state_dict(state | {k: self.get_buffer(_buffer(k)) for k in self._buffers_of}, strict=False)
        return plain


class BlockFacts(LayerFacts):
    """Facts of a block: the wrapped module itself, whose operations can be listed.

    Args:
        layer: the block.
    """

    layer: Block

    def describe(self, in_shape: tuple[int, ...]) -> ModuleDescription:
        return ModuleDescription(
            source=type(self.layer.skeleton).__name__,
            synapses=dict(self.layer.synapses.items()),
            matrices=frozenset(self.matrices),
            buffers=self.layer.wrapped_buffers(),
            module=self.layer.module(),
        )


def _weights(module: nn.Module, kinds: tuple[type[nn.Module], ...]) -> set[str]:
    names = set()
    for path, part in module.named_modules():
        weight = getattr(part, "weight", None)
        if isinstance(weight, Tensor) and isinstance(part, kinds):
            names.add(f"{path}.weight" if path else "weight")
    return names


def _buffer(key: str) -> str:
    return "buffer_" + key.replace(".", "/")
