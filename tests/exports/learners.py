"""Small learners for tests of exports, trained for a few steps so that nothing is as it was drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from exports.describe.learners import describe_learner
from exports.graph.model import Model
from exports.hdf5.write import Content, write_hdf5
from exports.programming.conductances import TileMapping
from exports.programming.integers import NumberFormat
from exports.programming.probes import probe_learner
from hwmodels.registry import build
from neurofa.training.learner import Learner

SHAPES = {"mlp": (1, 6, 6), "cnn": (1, 12, 12), "vit": (1, 8, 8)}
NETWORKS = {
    "mlp": "mlp(hidden=[12, 9])",
    "cnn": "cnn(channels=[3, 4], hidden=8, norm=batch)",
    "vit": "vit(depth=1, width=8, heads=2)",
}


def recipe(network: str = "mlp", rule: str = "dfa", device: str = "digital", **more: Any) -> dict[str, Any]:
    head = network.partition("(")[0]
    return {
        "network": NETWORKS.get(network, network),
        "input_shape": SHAPES[head],
        "outputs": 10,
        "seed": 0,
        "device": device,
        "periphery": "exact",
        "rule": rule,
        "loss": "cross_entropy",
        "feedback_scale": "backprop",
        **more,
    }


def learner(
    network: str = "mlp", rule: str = "dfa", device: str = "digital", *, steps: int = 3, **options: Any
) -> Learner:
    r = recipe(network, rule, device)
    made = build(
        "network", r["network"], input_shape=r["input_shape"], outputs=10, seed=0, device=device, periphery="exact"
    )
    found = Learner(made, rule, optimizer=torch.optim.SGD(made.parameters(), **({"lr": 0.1} | options)))
    gen = torch.Generator().manual_seed(5)
    for _ in range(steps):
        found.step(torch.randn(8, *r["input_shape"], generator=gen), torch.randint(10, (8,), generator=gen))
    return found


def model(found: Learner, network: str = "mlp", rule: str = "dfa", device: str = "digital") -> Model:
    return describe_learner(found, rule, {"seed": 0, "recipe": recipe(network, rule, device)})


def exported(path: Path, network: str = "mlp", rule: str = "dfa", device: str = "digital", **content: Any) -> Learner:
    """Write a learner with everything, and give it back."""
    found = learner(network, rule, device)
    whole: dict[str, Any] = {"mapping": TileMapping(tile=(16, 16)), "numbers": NumberFormat(bits=8)} | content
    probes = probe_learner(found, count=3, repeats=4, seed=0)
    write_hdf5(path, model(found, network, rule, device), probes, Content(**whole))
    return found
