"""Training and inference on memory devices, against plain torch on floating-point weights."""

from __future__ import annotations

import functools

import torch
from torch import nn

from experiments.benchmarks._measure import Step
from experiments.benchmarks._suite import Case, Method, Suite
from experiments.benchmarks._work import CLASSES, Work, learned, mlp, plain
from hwmodels.projection import Projection
from hwmodels.registry import build
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.core.recipes import draw_weights

STORES = ("constant_step", "soft_bounds", "exp_step", "reram_es", "reram_array_om", "fixed(bits=4)")
COMPOSED = ("mixed_precision(device=reram_es)", "tiki_taka_v2")
PERIPHERIES = ("standard", "training", "inference")
SIDE = 4096
"""Rows and columns of the projected matrix."""


class DevicesSuite(Suite, name="devices"):
    """A step of a 784-256-10 network, batch 64, whose weights live on devices; ``torch`` is the floating-point step.

    ``update``: batch-aggregated expected pulses (the batch is summed, then every device gets the count that a pulse
    train would bring); the rule is bp, which does the same products as torch, and dfa for one device; ``fused`` writes
    are compiled. ``exact-trains``: every pulse of every sample's stochastic trains, one after the other on each device,
    which is far more work. ``inference``: a forward pass through converters and noise; ``fused`` is compiled whole.
    ``projection``: y = e B for a batch of 8 with B of 4096 x 4096, stored
    against computed where it is needed.
    """

    def cases(self) -> tuple[Case, ...]:
        work = mlp([256], batch=64)
        torch_step = Method(name="torch", build=functools.partial(plain, work, 0.0))
        written = [
            _stored(work, rule, store, fused)
            for rule, store, fused in (
                *(("bp", store, fused) for store in STORES for fused in (False, True)),
                ("dfa", "constant_step", True),
                *(("bp", store, False) for store in COMPOSED),
            )
        ]
        return (
            Case(name="update", methods=(torch_step, *written)),
            Case(
                name="exact-trains",
                methods=(torch_step, *(_stored(work, "bp", f"pulse_trains(device={d})", False) for d in STORES[:3])),
            ),
            Case(
                name="inference",
                methods=(
                    Method(name="torch", build=functools.partial(_forward, work)),
                    *(
                        Method(
                            name=f"{io}{' fused' if fused else ''}", build=functools.partial(_analog, work, io, fused)
                        )
                        for io, fused in (("exact", False), *((io, f) for io in PERIPHERIES for f in (False, True)))
                    ),
                ),
            ),
            Case(
                name="projection",
                methods=tuple(
                    Method(name=name, build=functools.partial(_projected, name)) for name in ("stored", "matrix_free")
                ),
            ),
        )


def _stored(work: Work, rule: str, store: str, fused: bool) -> Method:
    return Method(
        name=f"{rule} {store}{' fused' if fused else ''}",
        build=functools.partial(learned, work, 0.0, rule, store=store, fused=fused),
    )


def _forward(work: Work, device: torch.device) -> Step:
    model = nn.Sequential(*work.modules()).to(device)
    draw_weights(model, generator(0, "weights", device=device))
    batches = work.batches(device, torch.contiguous_format)

    @torch.no_grad()
    def step() -> object:
        return model(next(batches)[0])

    return step


def _analog(work: Work, periphery: str, fused: bool, device: torch.device) -> Step:
    network: Network = build(
        "network", work.recipe, input_shape=work.input_shape, outputs=CLASSES, periphery=periphery
    ).to(device)
    network.eval()
    network.fuse(fused, whole=fused)
    batches, gen = work.batches(device, torch.contiguous_format), generator(0, "noise", device=device)

    def step() -> object:
        return network(next(batches)[0], gen)

    return step


def _projected(name: str, device: torch.device) -> Step:
    gen = generator(0, "projection")
    free: Projection = build("projection", "matrix_free")
    free.open(SIDE, SIDE, gen)
    free.to(device)
    error = torch.randn(8, SIDE, generator=gen).to(device)
    if name == "matrix_free":
        return lambda: free(error)
    matrix = free.effective()
    assert matrix is not None  # noqa: S101 (the projection is linear)
    return lambda: error @ matrix
