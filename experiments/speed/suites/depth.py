"""Time and memory of a training step on text over the depth of a transformer: blocks whose graphs are kept, or not."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from experiments.speed.suite import SpeedCase, SpeedMethod, SpeedSuite
from experiments.speed.timing import Step
from experiments.speed.workloads import BATCHES, LR
from hwmodels.registry import build
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.training.learner import Learner

DEPTHS = (1, 2, 4, 8, 16)
TOKENS, CONTEXT, BATCH, WIDTH = 64, 64, 16, 64
"""Vocabulary, tokens S of a window, windows B of a batch, and width d of a token."""


class DepthSuite(SpeedSuite, name="depth"):
    """One step of ``gpt`` (width 64, 64 tokens, batch 16) with 1 to 16 blocks; 'peak' is the point of it.

    ``bp`` and ``dfa`` keep the autograd graph inside each block until it learns. ``dfa-recompute`` is
    ``Learner(recompute=True)``: under a direct rule no graph joins the blocks, so that a block computes again when its
    error is there and at most one graph exists. ``torch`` is plain torch, ``torch-checkpoint`` the same with
    ``torch.utils.checkpoint`` around every block, which has the same effect on backpropagation.
    """

    def cases(self) -> tuple[SpeedCase, ...]:
        return tuple(depth_case(depth) for depth in DEPTHS)


def depth_case(depth: int) -> SpeedCase:
    """Return the methods on a transformer of some blocks as one case."""
    builders = {
        "bp": partial(_learner_step, depth, "bp"),
        "dfa": partial(_learner_step, depth, "dfa"),
        "dfa-recompute": partial(_learner_step, depth, "dfa", recompute=True),
        "torch": partial(_torch_step, depth),
        "torch-checkpoint": partial(_torch_step, depth, again=True),
    }
    methods = tuple(SpeedMethod(name=name, build=builder) for name, builder in builders.items())
    return SpeedCase(name=f"gpt-{depth}", methods=methods)


def _network(depth: int, device: torch.device) -> Network:
    spec = f"gpt(width={WIDTH}, depth={depth})"
    network: Network = build("network", spec, input_shape=(CONTEXT,), outputs=TOKENS)
    return network.to(device)


def _batches(device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Return an endless iterator over a few batches of random tokens, (B, S), and their targets, (B, S)."""
    gen = generator(0, "batches", device=device)
    draws = [torch.randint(TOKENS, (BATCH, CONTEXT + 1), generator=gen, device=device) for _ in range(BATCHES)]
    return itertools.cycle([(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()) for tokens in draws])


def _learner_step(depth: int, rule: str, device: torch.device, *, recompute: bool = False) -> Step:
    network = _network(depth, device)
    optimizer = torch.optim.SGD(network.parameters(), lr=LR)
    learner, batches = Learner(network, rule, optimizer=optimizer, recompute=recompute), _batches(device)

    def step() -> None:
        learner.step(*next(batches))

    return step


def _torch_step(depth: int, device: torch.device, *, again: bool = False) -> Step:
    model = _network(depth, device).module()
    parameters = list(model.parameters())
    optimizer, batches = torch.optim.SGD(parameters, lr=LR), _batches(device)

    def forward(x: Tensor) -> Tensor:
        for part in model.children():
            x = checkpoint(part, x, use_reentrant=False) if again else part(x)
        return x

    def step() -> None:
        x, y = next(batches)
        loss = nn.functional.cross_entropy(forward(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step
