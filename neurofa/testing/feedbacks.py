"""The contract of feedback pathways: shapes, slices, declared gain, reproducibility."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.registry import build, options, parts
from hwmodels.testing.tools import require
from neurofa.core.feedback import Feedback
from neurofa.core.plan import Site
from neurofa.core.randomness import generator
from neurofa.core.window import Window
from neurofa.testing.tools import Check, close, run_all, snapshot

OUTPUTS = 10
SITES = (
    Site("first", (40,), {"weight": (40, 30)}, True),
    Site("second", (3, 5, 5), {"weight": (3, 2, 3, 3)}, True),
    Site("third", (4, 3, 3), {"weight": (4, 3, 3, 3)}, True, (), Window(3)),
    Site("fourth", (150,), {"weight": (150, 36)}, True),
)


def opened(spec: str, seed: int = 0) -> Feedback:
    """The pathway to four layers of 40, 75, 36 and 150 outputs."""
    feedback: Feedback = build("feedback", spec)
    feedback.open(SITES, OUTPUTS, generator(seed, "feedback"))
    return feedback


def matrices(feedback: Feedback, gen: torch.Generator | None = None) -> dict[str, Tensor]:
    """B_l by layer, (o, n_l), from unit errors."""
    with torch.no_grad():
        found = feedback(torch.eye(OUTPUTS), gen or generator(0, "read"))
    return {name: rows.flatten(1) for name, rows in found.items()}


def serves_every_layer(name: str) -> None:
    """Each layer gets an error of its own shape, per sample, for any batch."""
    feedback = opened(name)
    for n in (0, 1, 7):
        with torch.no_grad():
            found = feedback(torch.randn(n, OUTPUTS, generator=generator(1, "error")), generator(2, "read"))
        require(list(found) == [site.name for site in SITES], f"served {list(found)}")
        for site in SITES:
            shape = tuple(found[site.name].shape)
            require(shape == (n, *site.out_shape), f"layer {site.name} got {shape}")


def slices_fit(name: str) -> None:
    """Each layer's slice of the projection is as wide as the layer."""
    feedback = opened(name)
    with torch.no_grad():
        m = feedback.project(torch.zeros(1, OUTPUTS), generator(0, "read")).shape[1]
    for site in SITES:
        at = feedback.slices[site.name]
        require(at.stop - at.start == site.width, f"layer {site.name} of width {site.width} has slice {at}")
        require(at.start >= 0 and at.stop <= m, f"slice {at} lies outside of {m} columns")


def is_linear(name: str) -> None:
    """Twice the error, or the sum of two errors, is projected to twice the signal, or the sum of the two."""
    feedback = opened(name)
    gen = generator(4, "error")
    a, b = (torch.randn(3, OUTPUTS, generator=gen) for _ in range(2))

    def send(error: Tensor) -> Tensor:
        with torch.no_grad():
            return feedback.project(error, generator(0, "read"))

    close(send(a + 2 * b), send(a) + 2 * send(b), "projection of a sum", 1e-5)


def gain_is_as_declared(name: str) -> None:
    """Entries have mean 0 and standard deviation gain / sqrt(3 o), whatever the format and distribution.

    A z-test over all entries, with the fourth moment taken from the entries themselves; |z| < 4.
    """
    known = options(parts("feedback")[name])
    if "gain" not in known:
        raise AssertionError(f"feedback '{name}' declares no gain")
    settings = ["gain=1.0", "gain=2.5"]
    settings += ["distribution=normal"] if "distribution" in known else []
    settings += [f"values={fmt}, gain=0.5" for fmt in parts("format")] if "values" in known else []
    for setting in settings:
        spec = f"{name}({setting})"
        gain = getattr(opened(spec), "gain", math.nan)
        drawn = torch.cat([opened(spec, seed).project(torch.eye(OUTPUTS)).detach().flatten() for seed in range(5)])
        require(float(drawn.max() - drawn.min()) > 0, f"{spec}: all entries are the same")
        _z_test(drawn.double(), gain / math.sqrt(3 * OUTPUTS), spec)


def _z_test(b: Tensor, std: float, what: str) -> None:
    root = math.sqrt(len(b))
    z_mean = float(b.mean()) / (std / root)
    squares = b.square()
    # A format that keeps the power exactly leaves no spread to test by.
    z_power = (float(squares.mean()) - std**2) / max(float(squares.std()) / root, 1e-5 * std**2)
    require(abs(z_mean) < 4, f"{what}: mean {float(b.mean()):.3g} is {z_mean:.1f} standard errors from 0")
    require(abs(z_power) < 4, f"{what}: std {float(squares.mean()) ** 0.5:.4g}, declared {std:.4g} (z = {z_power:.1f})")


def seed_decides(name: str) -> None:
    """The same seed gives the same matrices, another seed others."""
    ours, again, other = (matrices(opened(name, seed)) for seed in (0, 0, 1))
    require(all(torch.equal(ours[k], again[k]) for k in ours), "the same seed gave other matrices")
    require(all(not torch.equal(ours[k], other[k]) for k in ours), "another seed gave the same matrix")


def copies_and_persists(name: str) -> None:
    """A deep copy is independent; a state dict carries the matrices."""
    ours = opened(name)
    before = matrices(ours)
    twin = copy.deepcopy(ours)
    require(all(torch.equal(v, before[k]) for k, v in matrices(twin).items()), "the copy projects otherwise")
    for value in (*twin.parameters(), *twin.buffers()):
        value.data.zero_()
    require(all(torch.equal(v, before[k]) for k, v in matrices(ours).items()), "the copy shares its matrices")
    require(bool(snapshot(ours)), "nothing would be saved")
    other = opened(name, 5)
    other.load_state_dict(ours.state_dict())
    require(all(torch.equal(v, before[k]) for k, v in matrices(other).items()), "loading did not bring the matrices")


def follows_dtype(name: str) -> None:
    """In double precision errors and signals are double."""
    feedback = opened(name).double()
    with torch.no_grad():
        found = feedback(torch.eye(OUTPUTS, dtype=torch.float64), generator(0, "read"))
    require(all(v.dtype == torch.float64 for v in found.values()), "a signal is not float64")


def serves_chained_rules(name: str) -> None:
    """Return weights have the forward shape and standard deviation gain / sqrt(3 fan_in)."""
    feedback: Feedback = build("feedback", f"{name}(gain=2.0)")
    for shape in ((200, 50), (32, 8, 3, 3)):
        drawn = feedback.draw(shape, generator(0, "return")).weight.detach()
        require(tuple(drawn.shape) == shape, f"drew {tuple(drawn.shape)} for {shape}")
        _z_test(drawn.flatten().double(), 2.0 / math.sqrt(3 * math.prod(shape[1:])), f"{name}.draw({shape})")


def refuses_bad_gain(name: str) -> None:
    """A gain of zero, below it, or infinite is an error."""
    for gain in ("0.0", "-1.0", "1e999"):
        try:
            build("feedback", f"{name}(gain={gain})")
        except NeurofaError:
            continue
        raise AssertionError(f"gain={gain} was accepted")


def feedback_checks() -> list[tuple[str, Check]]:
    """All checks of a feedback pathway, by name."""
    plain: list[Check] = [
        serves_every_layer, slices_fit, is_linear, gain_is_as_declared, seed_decides, copies_and_persists,
        follows_dtype, serves_chained_rules, refuses_bad_gain,
    ]  # fmt: skip
    return [(check.__name__, check) for check in plain]


def check_feedback(name: str) -> None:
    """Hold one registered feedback pathway to the whole contract.

    Raises:
        AssertionError: naming what is broken.
    """
    run_all("feedback", name, feedback_checks())
