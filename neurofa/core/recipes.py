"""How a network recipe registers itself, and the initial weights that recipes draw."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from hwmodels.arrays.periphery import Periphery
from hwmodels.errors import NeurofaError
from hwmodels.registry import recipe
from hwmodels.spec import Spec
from neurofa.core.network import Network

Recipe = Callable[..., Network]


def network(name: str, source: str = "") -> Callable[[Recipe], Recipe]:
    """Register a recipe of a network, and let the networks that it makes know their spec.

    The function takes ``input_shape``, ``outputs``, ``seed`` and ``device`` from the caller; every other keyword is an
    option of the spec. The ``periphery`` of the caller is attached to what the function returns.
    """

    def add(function: Recipe) -> Recipe:
        @functools.wraps(function)
        def build_it(
            *,
            input_shape: tuple[int, ...],
            outputs: int,
            seed: int = 0,
            device: str = "digital",
            periphery: Periphery | str = "exact",
            **options: Any,
        ) -> Network:
            if outputs < 1 or not input_shape or min(input_shape) < 1:
                raise NeurofaError(
                    f"got input shape {tuple(input_shape)} and {outputs} outputs; expected sizes of at least 1;"
                    " take them from the data set"
                )
            # Torch modules draw their first weights from the global generator; the user's must not notice.
            with torch.random.fork_rng(devices=[]):
                made = function(input_shape=input_shape, outputs=outputs, seed=seed, device=device, **options)
            made.spec = str(Spec(name, options))
            made.attach(periphery)
            return made

        recipe("network", name, source)(build_it)
        return build_it

    return add


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


def positive(**values: int) -> None:
    """Refuse sizes below 1.

    Raises:
        NeurofaError: naming the first one.
    """
    for key, value in values.items():
        if value < 1:
            raise NeurofaError(f"got {key}={value}; expected at least 1; change {key}")


def image(input_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Channels, height and width.

    Raises:
        NeurofaError: the samples are no images.
    """
    if len(input_shape) != 3:
        raise NeurofaError(
            f"got samples of shape {tuple(input_shape)}; expected images (C, H, W); use network mlp or other data"
        )
    return input_shape[0], input_shape[1], input_shape[2]
