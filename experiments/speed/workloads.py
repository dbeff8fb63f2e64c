"""Workloads of training steps: a network in both forms, a step in plain torch, and a step of the learner."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from experiments.speed.floors import conv_floor, dense_floor
from experiments.speed.timing import Step
from hwmodels.registry import build
from hwmodels.spec import render
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.core.recipes import draw_weights
from neurofa.training.learner import Learner

CLASSES = 10
LR = 1e-6
"""So small that no rule's numbers grow, however many steps are timed: the arithmetic is the same."""
BATCHES = 4
"""Different batches, taken in turn."""


@dataclass(frozen=True, kw_only=True)
class StepWorkload:
    """A network for training steps, as a spec and in plain torch, with random batches."""

    input_shape: tuple[int, ...]
    """Shape of one sample."""
    batch: int
    """Samples B in a batch."""
    spec: str
    """Spec of the network."""
    modules: Callable[[], list[nn.Module]]
    """Make the modules of the same network in plain torch."""
    floor: Callable[..., Step] | None = None
    """Make a step of nothing but the matrix products, from ``direct`` and ``device``: :mod:`experiments.speed.floors`;
    None: there is none."""

    def batches(self, device: torch.device, memory_format: torch.memory_format) -> Iterator[tuple[Tensor, Tensor]]:
        """Return an endless iterator over a few batches: random inputs (B, *input_shape) and labels (B,).

        They are the same for every method.

        Args:
            device: of the tensors.
            memory_format: of the inputs, such as ``torch.channels_last``.
        """
        gen = generator(0, "batches", device=device)
        shape = (self.batch, *self.input_shape)
        x = [torch.randn(shape, generator=gen, device=device) for _ in range(BATCHES)]
        y = [torch.randint(CLASSES, shape[:1], generator=gen, device=device) for _ in range(BATCHES)]
        return itertools.cycle([(a.contiguous(memory_format=memory_format), b) for a, b in zip(x, y, strict=True)])

    def network(self, **options: object) -> Network:
        """Build the network of the spec, with initial weights.

        Args:
            options: further arguments of the network, such as ``device`` (the memory device of its weights).
        """
        network: Network = build("network", self.spec, input_shape=self.input_shape, outputs=CLASSES, **options)
        return network


def torch_step(
    workload: StepWorkload,
    device: torch.device,
    *,
    momentum: float = 0.0,
    fused: bool = False,
    channels_last: bool = False,
) -> Step:
    """Return a function that makes one training step in plain torch, by backpropagation with autograd.

    Args:
        workload: the network and its batches.
        device: where it runs.
        momentum: momentum of SGD.
        fused: whether the optimizer's kernel is fused.
        channels_last: whether the channel is innermost in weights and inputs.
    """
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    with torch.device("meta"):
        model = nn.Sequential(*workload.modules())
    model.to_empty(device=device)
    model.to(memory_format=memory_format)  # type: ignore[call-overload]
    draw_weights(model, generator(0, "weights", device=device))
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=momentum, fused=fused or None)
    batches = workload.batches(device, memory_format)

    def step() -> None:
        x, y = next(batches)
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def learner_step(
    workload: StepWorkload,
    rule: str,
    device: torch.device,
    *,
    momentum: float = 0.0,
    lr: float = LR,
    store: str = "digital",
    fused: bool = False,
) -> Step:
    """Return a function that makes one training step with the :class:`~neurofa.training.learner.Learner`.

    Args:
        workload: the network and its batches.
        rule: spec of the rule.
        device: where it runs.
        momentum: momentum of SGD.
        lr: learning rate.
        store: spec of the memory device of the weights.
        fused: whether writes are compiled.
    """
    network = workload.network(device=store)
    network.to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=momentum)
    learner = Learner(network, rule, optimizer=optimizer, fused=fused)
    batches = workload.batches(device, torch.contiguous_format)

    def step() -> None:
        learner.step(*next(batches))

    return step


def mlp_workload(hidden: list[int], *, n_in: int = 784, batch: int = 128) -> StepWorkload:
    """Return the workload of a fully connected tanh network on vectors.

    Args:
        hidden: widths of the hidden layers.
        n_in: inputs.
        batch: samples B.
    """
    widths = [n_in, *hidden, CLASSES]

    def modules() -> list[nn.Module]:
        layers: list[nn.Module] = []
        for i, o in itertools.pairwise(widths):
            layers += [nn.Linear(i, o), nn.Tanh()]
        return layers[:-1]

    spec = f"mlp(hidden={render(hidden)}, activation=tanh)"
    floor = functools.partial(dense_floor, widths, batch)
    return StepWorkload(input_shape=(n_in,), batch=batch, spec=spec, modules=modules, floor=floor)


def vgg_workload(
    plan: list[int | str], *, input_shape: tuple[int, int, int] = (3, 32, 32), batch: int = 64
) -> StepWorkload:
    """Return the workload of a ReLU network of 3x3 convolutions and 2x2 poolings on images, with a dense readout.

    Args:
        plan: output channels of each convolution, and ``"M"`` for each pooling.
        input_shape: channels, height and width.
        batch: samples B.
    """
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
        layers: list[nn.Module] = []
        before = input_shape[0]
        for part in plan:
            if isinstance(part, int):
                layers += [nn.Conv2d(before, part, 3, padding=1), nn.ReLU()]
                before = part
            else:
                layers.append(nn.MaxPool2d(2))
        return [*layers, nn.Flatten(), nn.Linear(*readout)]

    spec = f"vgg(plan={render(plan)}, norm=None, activation=relu)"
    floor = functools.partial(conv_floor, maps, readout, batch)
    return StepWorkload(input_shape=input_shape, batch=batch, spec=spec, modules=modules, floor=floor)


def cnn_workload(
    channels: tuple[int, int] = (16, 32), *, side: int = 32, hidden: int = 128, batch: int = 64
) -> StepWorkload:
    """Return the workload of ``cnn`` on colour images: two 5x5 convolutions with ReLU and pooling, one hidden layer.

    Args:
        channels: of the two convolutions.
        side: height and width of the images, pixels.
        hidden: units of the hidden layer.
        batch: samples B.
    """
    first, second = channels
    flat = second * (side // 4) ** 2

    def modules() -> list[nn.Module]:
        layers: list[nn.Module] = []
        for before, after in ((3, first), (first, second)):
            layers += [nn.Conv2d(before, after, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
        return [*layers, nn.Flatten(), nn.Linear(flat, hidden), nn.ReLU(), nn.Linear(hidden, CLASSES)]

    spec = f"cnn(channels={render(list(channels))}, hidden={hidden})"
    return StepWorkload(input_shape=(3, side, side), batch=batch, spec=spec, modules=modules)
