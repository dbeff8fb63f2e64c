"""What benchmarks of training measure: a network for both sides, plain torch, and the learner."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from experiments.benchmarks._floors import conv_floor, dense_floor
from experiments.benchmarks._measure import Step
from hwmodels.registry import build
from hwmodels.spec import render
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.core.recipes import draw_weights
from neurofa.training.learner import Learner

CLASSES = 10
LR = 0.01
BATCHES = 4
"""Different batches, taken in turn."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """One network for both sides, and its batches."""

    input_shape: tuple[int, ...]
    batch: int
    recipe: str
    """Spec of the network."""
    modules: Callable[[], list[nn.Module]]
    """The same network in plain torch."""
    floor: Callable[..., Step] | None = None
    """Makes the products of a step; takes ``direct`` and ``device``."""

    def batches(self, device: torch.device, memory_format: torch.memory_format) -> Iterator[tuple[Tensor, Tensor]]:
        """Random inputs (B, *input_shape) and labels (B,), the same for every method, in an endless turn."""
        gen = generator(0, "batches", device=device)
        shape = (self.batch, *self.input_shape)
        x = [torch.randn(shape, generator=gen, device=device) for _ in range(BATCHES)]
        y = [torch.randint(CLASSES, shape[:1], generator=gen, device=device) for _ in range(BATCHES)]
        return itertools.cycle([(a.contiguous(memory_format=memory_format), b) for a, b in zip(x, y, strict=True)])


def plain(
    work: Work, momentum: float, device: torch.device, *, fused: bool = False,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Step:  # fmt: skip
    """The baseline: backpropagation by autograd."""
    with torch.device("meta"):
        model = nn.Sequential(*work.modules())
    model.to_empty(device=device)
    model.to(memory_format=memory_format)  # type: ignore[call-overload]
    draw_weights(model, generator(0, "weights", device=device))
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=momentum, fused=fused or None)
    batches = work.batches(device, memory_format)

    def step() -> None:
        x, y = next(batches)
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def learned(
    work: Work, momentum: float, rule: str, device: torch.device, *, store: str = "digital", fused: bool = False,
    lr: float = LR,
) -> Step:  # fmt: skip
    """The learner with a rule, its weights on the memory device ``store``."""
    network: Network = build("network", work.recipe, input_shape=work.input_shape, outputs=CLASSES, device=store)
    network.to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=momentum)
    learner = Learner(network, rule, optimizer=optimizer, fused=fused)
    batches = work.batches(device, torch.contiguous_format)

    def step() -> None:
        learner.step(*next(batches))

    return step


def mlp(hidden: list[int], *, n_in: int = 784, batch: int = 128) -> Work:
    """A tanh network on vectors."""
    widths = [n_in, *hidden, CLASSES]

    def modules() -> list[nn.Module]:
        made: list[nn.Module] = []
        for i, o in itertools.pairwise(widths):
            made += [nn.Linear(i, o), nn.Tanh()]
        return made[:-1]

    return Work(
        input_shape=(n_in,), batch=batch, recipe=f"mlp(hidden={render(hidden)}, activation=tanh)", modules=modules,
        floor=functools.partial(dense_floor, widths, batch),
    )  # fmt: skip


def vgg(plan: list[int | str], *, input_shape: tuple[int, int, int] = (3, 32, 32), batch: int = 64) -> Work:
    """A ReLU network of 3x3 convolutions and 2x2 poolings (M) on images, with a dense readout."""
    channels, side, _ = input_shape
    maps: list[tuple[int, int, int]] = []
    for part in plan:
        if isinstance(part, int):
            maps.append((channels, part, side))
            channels = part
        else:
            side //= 2
    readout = (channels * side * side, CLASSES)

    def modules() -> list[nn.Module]:
        made: list[nn.Module] = []
        before = input_shape[0]
        for part in plan:
            if isinstance(part, int):
                made += [nn.Conv2d(before, part, 3, padding=1), nn.ReLU()]
                before = part
            else:
                made.append(nn.MaxPool2d(2))
        return [*made, nn.Flatten(), nn.Linear(*readout)]

    return Work(
        input_shape=input_shape, batch=batch, recipe=f"vgg(plan={render(plan)}, norm=None, activation=relu)",
        modules=modules, floor=functools.partial(conv_floor, maps, readout, batch),
    )  # fmt: skip


def cnn(channels: tuple[int, int] = (16, 32), *, side: int = 32, hidden: int = 128, batch: int = 64) -> Work:
    """The network ``cnn`` on colour images: two 5x5 convolutions with ReLU and pooling, one hidden layer."""
    first, second = channels
    flat = second * (side // 4) ** 2

    def modules() -> list[nn.Module]:
        made: list[nn.Module] = []
        for before, after in ((3, first), (first, second)):
            made += [nn.Conv2d(before, after, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
        return [*made, nn.Flatten(), nn.Linear(flat, hidden), nn.ReLU(), nn.Linear(hidden, CLASSES)]

    recipe = f"cnn(channels={render(list(channels))}, hidden={hidden})"
    return Work(input_shape=(3, side, side), batch=batch, recipe=recipe, modules=modules)
