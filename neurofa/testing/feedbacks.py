"""Contract of feedback pathways: shapes, slices, declared gain, reproducibility."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import torch
from torch import Tensor

from hwmodels.registry import build, options, parts
from hwmodels.testing.tools import require
from neurofa.core.feedback import Feedback
from neurofa.core.plan import Site
from neurofa.core.randomness import generator
from neurofa.core.window import Window
from neurofa.testing.contract import Contract, require_close, require_refused, snapshot

OUTPUTS = 10
SITES = (
    Site("first", (40,), {"weight": (40, 30)}, True),
    Site("second", (3, 5, 5), {"weight": (3, 2, 3, 3)}, True),
    Site("third", (4, 3, 3), {"weight": (4, 3, 3, 3)}, True, (), Window(3)),
    Site("fourth", (150,), {"weight": (150, 36)}, True),
)
"""Four hidden layers of 40, 75, 36 and 150 outputs; the third sees windows of the second."""

CONTRACT = Contract("feedback")


def _opened(spec: str, seed: int = 0) -> Feedback:
    """Build a pathway and open it to the layers of ``SITES``."""
    feedback: Feedback = build("feedback", spec)
    feedback.open(SITES, OUTPUTS, generator(seed, "feedback"))
    return feedback


def _matrices(feedback: Feedback) -> dict[str, Tensor]:
    """Measure B_l by unit errors: (o, n_l) by layer."""
    with torch.no_grad():
        signals = feedback(torch.eye(OUTPUTS), generator(0, "read"))
    return {name: rows.flatten(1) for name, rows in signals.items()}


@CONTRACT
def serves_every_layer(name: str) -> None:
    """Each layer gets a teaching signal of its own shape for every sample, for any batch size."""
    feedback = _opened(name)
    for n in (0, 1, 7):
        with torch.no_grad():
            signals = feedback(torch.randn(n, OUTPUTS, generator=generator(1, "error")), generator(2, "read"))
        require(list(signals) == [site.name for site in SITES], f"served {list(signals)}")
        for site in SITES:
            shape = tuple(signals[site.name].shape)
            require(shape == (n, *site.out_shape), f"layer {site.name} got {shape}")


@CONTRACT
def slices_fit(name: str) -> None:
    """Each layer's slice of the projection is as wide as the layer."""
    feedback = _opened(name)
    with torch.no_grad():
        m = feedback.project(torch.zeros(1, OUTPUTS), generator(0, "read")).shape[1]
    for site in SITES:
        columns = feedback.slices[site.name]
        width = columns.stop - columns.start
        require(width == site.width, f"layer {site.name} of width {site.width} has slice {columns}")
        require(columns.start >= 0 and columns.stop <= m, f"slice {columns} lies outside of {m} columns")


@CONTRACT
def is_linear(name: str) -> None:
    """The projection of a + 2 b is the projection of a plus twice that of b."""
    feedback = _opened(name)
    gen = generator(4, "error")
    a, b = (torch.randn(3, OUTPUTS, generator=gen) for _ in range(2))

    def send(error: Tensor) -> Tensor:
        with torch.no_grad():
            return feedback.project(error, generator(0, "read"))

    require_close(send(a + 2 * b), send(a) + 2 * send(b), "projection of a sum", 1e-5)


@CONTRACT
def gain_is_as_declared(name: str) -> None:
    """Entries have mean 0 and standard deviation gain / sqrt(3 o), whatever the format and distribution.

    A z-test over all entries, with the fourth moment taken from the entries themselves; |z| < 4.
    """
    known = options(parts("feedback")[name])
    require("gain" in known, f"feedback '{name}' declares no gain")
    settings = [("gain=1.0", 1.0), ("gain=2.5", 2.5)]
    settings += [("distribution=normal", float(known["gain"].default))] if "distribution" in known else []
    settings += [(f"values={fmt}, gain=0.5", 0.5) for fmt in parts("format")] if "values" in known else []
    for setting, gain in settings:
        spec = f"{name}({setting})"
        drawn = torch.cat([_opened(spec, seed).project(torch.eye(OUTPUTS)).detach().flatten() for seed in range(5)])
        require(float(drawn.max() - drawn.min()) > 0, f"{spec}: all entries are the same")
        _z_test(drawn.double(), gain / math.sqrt(3 * OUTPUTS), spec)


def _z_test(b: Tensor, std: float, what: str) -> None:
    root = math.sqrt(len(b))
    z_mean = float(b.mean()) / (std / root)
    squares = b.square()
    # a format that keeps the power exactly has a standard error of 0
    z_power = (float(squares.mean()) - std**2) / max(float(squares.std()) / root, 1e-5 * std**2)
    require(abs(z_mean) < 4, f"{what}: mean {float(b.mean()):.3g} is {z_mean:.1f} standard errors from 0")
    require(abs(z_power) < 4, f"{what}: std {float(squares.mean()) ** 0.5:.4g}, declared {std:.4g} (z = {z_power:.1f})")


@CONTRACT
def delivers_the_size_of_the_plan(name: str) -> None:
    """Delivered errors have the size that the plan states, within 20 %; with ``scale=fixed`` the plan is ignored."""
    sized = tuple(replace(site, error_size=size) for site, size in zip(SITES, (0.002, 0.3, 5.0, 0.04), strict=True))
    error = torch.randn(64, OUTPUTS, generator=generator(6, "error"))
    rms = error.square().mean().sqrt()
    settings = [(name, False)]
    settings += [(f"{name}(scale=fixed)", True)] if "scale" in options(parts("feedback")[name]) else []
    for spec, fixed in settings:
        feedback: Feedback = build("feedback", spec)
        feedback.open(sized, OUTPUTS, generator(0, "feedback"))
        with torch.no_grad():
            signals = feedback(error, generator(0, "read"))
        for site in sized:
            wanted = 1 / math.sqrt(3) if fixed else site.error_size
            found = float(signals[site.name].square().mean().sqrt() / rms)
            require(wanted is not None and abs(found / wanted - 1) < 0.2, f"{spec}: {found:.3g} for {wanted:.3g}")
            stated = feedback.delivered[site.name]
            require(abs(stated - (wanted or 0.0)) < 1e-6, f"{spec} states {stated:.3g} for {wanted:.3g}")


@CONTRACT
def seed_decides(name: str) -> None:
    """The same seed gives the same matrices, another seed others."""
    first, again, other = (_matrices(_opened(name, seed)) for seed in (0, 0, 1))
    require(all(torch.equal(first[k], again[k]) for k in first), "the same seed gave other matrices")
    require(all(not torch.equal(first[k], other[k]) for k in first), "another seed gave the same matrix")


@CONTRACT
def copies_and_persists(name: str) -> None:
    """A deep copy of a pathway is independent, and its state dict holds the matrices."""
    feedback = _opened(name)
    before = _matrices(feedback)

    def equal(pathway: Feedback) -> bool:
        return all(torch.equal(v, before[k]) for k, v in _matrices(pathway).items())

    twin = copy.deepcopy(feedback)
    require(equal(twin), "the copy projects otherwise")
    for value in (*twin.parameters(), *twin.buffers()):
        value.data.zero_()
    require(equal(feedback), "the copy shares its matrices")
    require(bool(snapshot(feedback)), "nothing would be saved")
    other = _opened(name, 5)
    other.load_state_dict(feedback.state_dict())
    require(equal(other), "loading did not bring the matrices")


@CONTRACT
def follows_dtype(name: str) -> None:
    """A pathway in double precision returns teaching signals in double precision."""
    feedback = _opened(name).double()
    with torch.no_grad():
        signals = feedback(torch.eye(OUTPUTS, dtype=torch.float64), generator(0, "read"))
    require(all(v.dtype == torch.float64 for v in signals.values()), "a signal is not float64")


@CONTRACT
def serves_chained_rules(name: str) -> None:
    """Drawn return weights have the shape of the forward weights and standard deviation gain / sqrt(3 fan_in)."""
    feedback: Feedback = build("feedback", f"{name}(gain=2.0)")
    for shape in ((200, 50), (32, 8, 3, 3)):
        drawn = feedback.draw(shape, generator(0, "return")).weight.detach()
        require(tuple(drawn.shape) == shape, f"drew {tuple(drawn.shape)} for {shape}")
        _z_test(drawn.flatten().double(), 2.0 / math.sqrt(3 * math.prod(shape[1:])), f"{name}.draw({shape})")


@CONTRACT
def refuses_bad_gain(name: str) -> None:
    """A gain of zero, below it, or infinite is an error."""
    require_refused("feedback", name, [f"gain={gain}" for gain in ("0.0", "-1.0", "1e999")])


feedback_checks, check_feedback = CONTRACT.named, CONTRACT.hold
