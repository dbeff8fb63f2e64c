"""Any torch module as one layer: transformer blocks, residual blocks, user-defined modules."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

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
from neurofa.maps.autograd_layer import AutogradLayer
from neurofa.maps.seeded import drawing
from neurofa.maps.wrapped import MULTIPLIED, Behaviour, behaviour_of, independent_copy, weight_names

SEED = "seed"
"""Name of the dropout seed in the state of a block."""
AFFINE: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Linear: ("weight",),
    _ConvNd: ("weight",),
    nn.MultiheadAttention: MULTIPLIED[nn.MultiheadAttention],
}
"""Modules whose errors a chained rule can return through weights of its own."""
SCALING: dict[type[nn.Module], tuple[str, ...]] = dict.fromkeys(
    (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, _NormBase, nn.PReLU), ("weight",)
)
"""Modules with gains or slopes, which return an error in the same way."""


class Block(AutogradLayer, name="block"):
    """Any ``nn.Module`` as one layer, which learns from one error at its output: (B, *in_shape) to (B, *out_shape).

    The module's weights are stored in synapses and the module is called functionally, so that the learner, the devices
    and the audit treat it like any layer. The matrices and kernels of torch's linear, convolutional, recurrent and
    attention modules are stored on the network's device; all other parameters (biases, gains, embeddings) are digital,
    and a device refuses a module that multiplies by one of them. Weights that require no gradient do not learn. What
    the module draws (dropout of any kind, noise) follows the seed of the pass.

    Under a direct rule the pullback is the exact vector-Jacobian product inside the block. Under a chained rule every
    linear map, convolution (transposed ones too), projection of an attention, gain and slope in it returns its error
    through the rule's return weights; other matrices are refused.

    Args:
        wrapped: the module; its present weights are the initial ones. It is not changed.
        vocabulary: number of tokens, where the input are their ids (then it is the lowest layer); None: numbers.
        evaluating: names of parts that stay in evaluation mode, whatever the mode of the network.
    """

    def __init__(
        self, wrapped: nn.Module | None = None, *, vocabulary: int | None = None, evaluating: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self._vocabulary, self._evaluating = vocabulary, tuple(evaluating)
        if wrapped is None:
            wrapped = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 3))
        if not isinstance(wrapped, nn.Module):
            raise NeurofaError(f"got a block of {type(wrapped).__name__}; expected an nn.Module; pass the module")
        skeleton = independent_copy(wrapped)
        # in a list, so that its parameters are not registered a second time
        self._skeleton = [skeleton]
        self.training = wrapped.training
        self._drops = any(isinstance(m, nn.modules.dropout._DropoutNd) for m in skeleton.modules())
        self._behaviour: Behaviour | None = None
        self._stored = weight_names(skeleton, MULTIPLIED)
        self._affine, self._scaling = weight_names(skeleton, AFFINE), weight_names(skeleton, SCALING)
        self._initial = {k: p.detach().clone() for k, p in skeleton.named_parameters()}
        self._matrix_names = [k for k, p in skeleton.named_parameters() if p.dim() > 1]
        self._frozen = {k for k, p in skeleton.named_parameters() if not p.requires_grad}
        for key, buffer in skeleton.named_buffers():
            self.register_buffer(_buffer(key), buffer.detach().clone())
        self._buffers_of = [key for key, _ in skeleton.named_buffers()]
        # weights that pruning and normalisation compute in every pass, and keep as plain attributes
        self._derived = [(m, k) for m in skeleton.modules() for k, v in vars(m).items() if isinstance(v, Tensor)]

    @property
    def skeleton(self) -> nn.Module:
        """Structure of the wrapped module; its own tensors are not used."""
        return self._skeleton[0]

    @property
    def traits(self) -> LayerTraits:
        return LayerTraits(
            returning=tuple(k for k in self._names() if k in self._affine or k in self._scaling),
            couples_samples=any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in self.skeleton.modules()),
            exact_inside=self._several_maps(),
            window=self._window(),
            mirror=self,
            unreturned=self.unreturned,
            redraw=self.redraw,
            vocabulary=self._vocabulary,
            facts=BlockFacts(self),
        )

    def _several_maps(self) -> bool:
        """Return whether errors may cross one matrix of the module on their way to another.

        A recurrent module crosses its own; rows that are looked up are crossed by no error. A matrix that is added
        counts as one that multiplies.
        """
        looked_up = weight_names(self.skeleton, {nn.Embedding: ("weight",)})
        owners = {
            key.rpartition(".")[0].partition("parametrizations.")[0]
            for key in self._matrix_names
            if key not in looked_up
        }
        recurrent = any(isinstance(m, nn.RNNBase | nn.RNNCellBase) for m in self.skeleton.modules())
        return recurrent or len(owners) + bool(looked_up and owners) > 1

    def _window(self) -> Window | None:
        """Return the receptive field of the module, or of the first in an ``nn.Sequential`` with elementwise others."""
        parts = list(self.skeleton) if isinstance(self.skeleton, nn.Sequential) else [self.skeleton]
        head, behind = parts[0] if parts else nn.Identity(), parts[1:]
        window = getattr(head, "window", None)
        return window if isinstance(window, Window) and all(from_module(m) is not None for m in behind) else None

    def initialise(self, device: Device, gen: torch.Generator) -> None:
        exact = build("device", "digital")
        for key, target in self._initial.items():
            self.synapses.add(key, target, device if key in self._stored else exact, gen)
            self.synapses[key].weight.requires_grad_(key not in self._frozen)
        self._initial = {}

    def redraw(self) -> Params:
        """Return new weights of the module, drawn as each part of it draws its own (``reset_parameters``).

        Parameters of parts without such a method are drawn as torch draws most weights: uniform in +-1/sqrt(fan-in).
        """
        module = independent_copy(self.skeleton).cpu().float()
        for part in module.modules():
            # torch's attention has a private one
            reset = getattr(part, "reset_parameters", None) or getattr(part, "_reset_parameters", None)
            if callable(reset):
                reset()
            else:
                for own in (p for p in part.parameters(recurse=False) if p.is_floating_point()):
                    bound = max(1, math.prod(own.shape[1:])) ** -0.5
                    nn.init.uniform_(own, -bound, bound)
        return {key: parameter.detach() for key, parameter in module.named_parameters()}

    def _names(self) -> list[str]:
        return [k for k, _ in self.skeleton.named_parameters()]

    def train(self, mode: bool = True) -> Block:
        super().train(mode)
        self.skeleton.train(mode)
        for name in self._evaluating:
            self.skeleton.get_submodule(name).training = False
        return self

    def wrapped_modules(self) -> Iterable[nn.Module]:
        return self.skeleton.modules()

    def fresh_state(self, x: Tensor, gen: torch.Generator | None) -> State:
        known = self._observed(x)
        draws = known is not None and (known.drops[self.training] or known.draws[self.training])
        return {SEED: torch.tensor(fork_seed(gen))} if draws or (self.training and self._drops) else {}

    def compute(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        known = self._observed(x)
        # clones: the module updates running statistics in place, and only update_running_stats may keep them
        buffers = {key: self.get_buffer(_buffer(key)).clone() for key in self._buffers_of}
        # not channels-last: a strided 1x1 convolution inside is not safe then (see ConvMap._ordered)
        own = x.contiguous()
        if own is x and (known is None or known.writes):
            own = x.clone()
        with self._seeded(x, state, known):
            try:
                y = functional_call(self.skeleton, {**params, **buffers}, (own,))
            except NeurofaError:
                raise
            except ValueError as error:  # such as batch normalisation of one sample
                raise NeurofaError(
                    f"got a batch of shape {tuple(x.shape)} at a block ({' '.join(str(error).split())}); expected what"
                    " its module takes; change the batch size or the module"
                ) from None
        for part, key in self._derived:  # what the pass left there, with its graph
            vars(part)[key] = vars(part)[key].detach()
        if not isinstance(y, Tensor):
            raise NeurofaError(
                f"got a {type(y).__name__} from a {type(self.skeleton).__name__}; expected one tensor (B, ...); wrap"
                " the module in one whose forward returns a tensor"
            )
        return y, buffers if self.training else {}

    @property
    def draws(self) -> bool:
        """Whether the module draws anything but plain dropout in its present mode."""
        return self._behaviour is not None and self._behaviour.draws[self.training]

    def _observed(self, x: Tensor) -> Behaviour | None:
        """Return what the module's forward does besides its output, from a trial when it is first called."""
        if self._behaviour is None and type(x) is Tensor and not torch._C._functorch.is_functorch_wrapped_tensor(x):
            tensors = {**(self._initial or self.synapses.stored()), **self.wrapped_buffers()}
            self._behaviour = behaviour_of(self.skeleton, tensors, x.detach())
        return self._behaviour

    def _seeded(self, x: Tensor, state: State, known: Behaviour | None) -> AbstractContextManager[None]:
        draws = known is not None and known.draws[self.training]
        drops = self._drops if known is None else known.drops[self.training]
        if not (draws or SEED in state or drops or (self.training and self._drops)):
            return nullcontext()
        return drawing(x.device, int(state[SEED]) if SEED in state else None, globally=draws)

    def update_running_stats(self, after: State) -> None:
        for key, value in after.items():
            self.get_buffer(_buffer(key)).copy_(value)

    @property
    def matrices(self) -> tuple[str, ...]:
        """Names of the weights of linear and convolutional maps."""
        return tuple(key for key in self._names() if key in self._affine)

    @property
    def stored_matrices(self) -> frozenset[str]:
        """Names of the weights on the network's device."""
        return frozenset(self._stored)

    def wrapped_buffers(self) -> dict[str, Tensor]:
        """Return the wrapped module's buffers by its own names."""
        return {key: self.get_buffer(_buffer(key)) for key in self._buffers_of}

    def module(self) -> nn.Module:
        state = {k: v.clone() for k, v in self.synapses.stored().items()}
        plain = independent_copy(self.skeleton)
        if state:
            plain.to(next(iter(state.values())))
        for key, value in state.items():
            plain.get_parameter(key).data = value
        for key, value in self.wrapped_buffers().items():
            plain.get_buffer(key).copy_(value)
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
            matrices=self.layer.stored_matrices,
            buffers=self.layer.wrapped_buffers(),
            module=self.layer.module(),
        )


def _buffer(key: str) -> str:
    return "buffer_" + key.replace(".", "/")
