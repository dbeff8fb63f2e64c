"""Network recipes: typed descriptions from which networks are built, and the draw of initial weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import nn

from hwmodels.arrays.periphery import Periphery
from hwmodels.device import Device
from hwmodels.errors import NeurofaError
from hwmodels.registry import Recipe, Registered, find
from hwmodels.spec import Spec, parse
from neurofa.core.layer import Layer
from neurofa.core.network import Network
from neurofa.core.recommended import NetworkKind


@dataclass(frozen=True, kw_only=True)
class NetworkRecipe(Recipe, ABC, kind="network"):
    """Description of a network that is built once the sizes of the data are known.

    A new network is one file: a frozen keyword-only dataclass whose fields are the options, with :meth:`layers`. Lists
    are stored as tuples, and parts (an activation, a neuron) as their specs, so that every layer gets its own part and
    equal recipes compare equal.
    """

    trains_as: ClassVar[NetworkKind] = "dense"
    """Kind of the network, by which a rule recommends an optimizer."""
    tokens: ClassVar[bool] = False
    """Whether samples are ids of tokens, (S,), below the number of outputs; else numbers."""

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, _kept(getattr(self, field.name)))
        self.check()

    def check(self) -> None:
        """Refuse options that are invalid for any data; default: none."""

    @abstractmethod
    def layers(self, input_shape: tuple[int, ...], outputs: int, seed: int) -> list[Layer]:
        """Return new layers, from input to readout.

        Args:
            input_shape: shape of one sample (of spikes: in one tick).
            outputs: width of the readout.
            seed: of the weights of wrapped modules; the network draws all others.

        Raises:
            NeurofaError: the network does not support the shape of the samples.
        """

    def build(
        self,
        *,
        input_shape: Sequence[int],
        outputs: int,
        seed: int = 0,
        device: Device | str = "digital",
        periphery: Periphery | str = "exact",
    ) -> Network:
        """Build the network; equal arguments give equal weights.

        Args:
            input_shape: shape of one sample (of spikes: in one tick).
            outputs: width of the readout.
            seed: of the weights.
            device: device that stores the affine weights, or its spec.
            periphery: converters and noise around the arrays of affine weights, or its spec.

        Raises:
            NeurofaError: the network does not support these sizes.
        """
        if outputs < 1 or not input_shape or min(input_shape) < 1:
            raise NeurofaError(
                f"got input shape {tuple(input_shape)} and {outputs} outputs; expected sizes of at least 1;"
                " take them from the data set"
            )
        # torch modules draw their first weights from the global generator, whose state is restored for the user
        with torch.random.fork_rng(devices=[]):
            network = self.assemble(tuple(input_shape), outputs, seed, device)
        network.spec = str(self.given)
        network.attach(periphery)
        return network

    def assemble(self, input_shape: tuple[int, ...], outputs: int, seed: int, device: Device | str) -> Network:
        """Return the network of :meth:`layers`; recipes with another initialisation override this.

        Args:
            input_shape: shape of one sample.
            outputs: width of the readout.
            seed: of the weights.
            device: device that stores the affine weights, or its spec.
        """
        return Network(self.layers(input_shape, outputs, seed), input_shape, seed=seed, device=device)


def _kept(value: object) -> object:
    if isinstance(value, list | tuple):
        return tuple(_kept(v) for v in value)
    return str(value) if isinstance(value, Spec | Registered) else value


def takes_tokens(spec: str) -> bool:
    """Return whether the network of a spec takes ids of tokens and answers at every token.

    Raises:
        NeurofaError: an unknown network.
    """
    asked = parse(spec)
    part = find("network", asked.name)
    if isinstance(part, type) and issubclass(part, NetworkRecipe):
        return part.tokens
    return asked.options.get("tokens") is True  # a recipe that is a function may take either


def draw_weights(module: nn.Module, gen: torch.Generator) -> nn.Module:
    """Draw every linear and convolutional weight of a module from U(+-1/sqrt(fan_in)), biases too, as torch does.

    Args:
        module: changed in place.
        gen: source of the weights.

    Returns:
        The module.
    """
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.Linear | nn.Conv2d):
                bound = part.weight[0].numel() ** -0.5
                part.weight.uniform_(-bound, bound, generator=gen)
                if part.bias is not None:
                    part.bias.uniform_(-bound, bound, generator=gen)
    return module


def require_positive(**sizes: int | Sequence[int]) -> None:
    """Refuse sizes below 1.

    Raises:
        NeurofaError: naming the first such size.
    """
    for key, value in sizes.items():
        for size in [value] if isinstance(value, int) else value:
            if size < 1:
                raise NeurofaError(f"got {key}={size}; expected at least 1; change {key}")


def image_shape(input_shape: Sequence[int]) -> tuple[int, int, int]:
    """Return channels, height and width of an image shape.

    Raises:
        NeurofaError: the samples are not images.
    """
    if len(input_shape) != 3:
        raise NeurofaError(
            f"got samples of shape {tuple(input_shape)}; expected images (C, H, W); use network mlp or other data"
        )
    return input_shape[0], input_shape[1], input_shape[2]
