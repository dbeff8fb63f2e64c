"""Training and inference on memory devices, against plain torch on floating-point weights."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from experiments.speed.suite import SpeedCase, SpeedMethod, SpeedSuite
from experiments.speed.timing import Step
from experiments.speed.workloads import StepWorkload, learner_step, mlp_workload, torch_step
from hwmodels.projection import Projection
from hwmodels.registry import build
from neurofa.core.randomness import generator
from neurofa.core.recipes import draw_weights
from neurofa.maps.compiled_pass import compile_evaluation

STORES = ("constant_step", "soft_bounds", "exp_step", "reram_es", "reram_array_om", "fixed(bits=4)")
COMPOSED = ("mixed_precision(device=reram_es)", "tiki_taka_v2")
PERIPHERIES = ("standard", "training", "inference")
SIDE = 4096
"""Rows and columns of the projected matrix."""


class DevicesSuite(SpeedSuite, name="devices"):
    """A step of a 784-256-10 network, batch 64, whose weights live on devices; ``torch`` is the floating-point step.

    ``update``: batch-aggregated expected pulses (the batch is summed, then every device gets the count that a pulse
    train would bring); the rule is bp, which does the same products as torch, and dfa for one device; ``fused`` writes
    are compiled. ``exact-trains``: every pulse of every sample's stochastic trains, one after the other on each device,
    which is far more work. ``inference``: a forward pass through converters and noise; ``fused`` is compiled whole.
    ``projection``: y = e B for a batch of 8 with B of 4096 x 4096, stored against computed where it is needed.
    """

    def cases(self) -> tuple[SpeedCase, ...]:
        workload = mlp_workload([256], batch=64)
        baseline = SpeedMethod(name="torch", build=partial(torch_step, workload))
        stored = [
            *(_stored(workload, "bp", store, fused) for store in STORES for fused in (False, True)),
            _stored(workload, "dfa", "constant_step", True),
            *(_stored(workload, "bp", store, False) for store in COMPOSED),
        ]
        trains = [_stored(workload, "bp", f"pulse_trains(device={store})", False) for store in STORES[:3]]
        forward = [
            SpeedMethod(name="torch", build=partial(_forward, workload)),
            _analog(workload, "exact", False),
            *(_analog(workload, periphery, fused) for periphery in PERIPHERIES for fused in (False, True)),
        ]
        projections = [SpeedMethod(name=name, build=partial(_projected, name)) for name in ("stored", "matrix_free")]
        return (
            SpeedCase(name="update", methods=(baseline, *stored)),
            SpeedCase(name="exact-trains", methods=(baseline, *trains)),
            SpeedCase(name="inference", methods=tuple(forward)),
            SpeedCase(name="projection", methods=tuple(projections)),
        )


def _stored(workload: StepWorkload, rule: str, store: str, fused: bool) -> SpeedMethod:
    name = f"{rule} {store}{' fused' if fused else ''}"
    return SpeedMethod(name=name, build=partial(learner_step, workload, rule, store=store, fused=fused))


def _forward(workload: StepWorkload, device: torch.device) -> Step:
    model = nn.Sequential(*workload.modules()).to(device)
    draw_weights(model, generator(0, "weights", device=device))
    batches = workload.batches(device, torch.contiguous_format)

    @torch.no_grad()
    def step() -> object:
        return model(next(batches)[0])

    return step


def _analog(workload: StepWorkload, periphery: str, fused: bool) -> SpeedMethod:
    name = f"{periphery}{' fused' if fused else ''}"
    return SpeedMethod(name=name, build=partial(_analog_forward, workload, periphery, fused))


def _analog_forward(workload: StepWorkload, periphery: str, fused: bool, device: torch.device) -> Step:
    network = workload.network(periphery=periphery).to(device)
    network.eval()
    compile_evaluation(network, fused)
    batches, gen = workload.batches(device, torch.contiguous_format), generator(0, "noise", device=device)

    def step() -> object:
        return network(next(batches)[0], gen)

    return step


def _projected(name: str, device: torch.device) -> Step:
    gen = generator(0, "projection")
    matrix_free: Projection = build("projection", "matrix_free")
    matrix_free.open(SIDE, SIDE, gen)
    matrix_free.to(device)
    error = torch.randn(8, SIDE, generator=gen).to(device)
    if name == "matrix_free":
        return lambda: matrix_free(error)
    matrix = matrix_free.effective()
    assert matrix is not None  # noqa: S101 (the projection is linear)
    return lambda: error @ matrix
