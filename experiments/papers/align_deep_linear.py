"""Does direct feedback alignment confine a deep linear network to small alignment matrices, and how do these grow?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from experiments.charts.figure import Axis, Panel, draw_figure
from experiments.charts.marks import Curve, Mark
from experiments.sweeps.experiment import Experiment, ExperimentCheck, Findings, above, at_least, at_most
from experiments.sweeps.setup import Setup
from experiments.tables import Record, group_means
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa import Learner
from neurofa.core.randomness import generator
from neurofa.diagnostics.weight_alignment import feedback_matrices
from neurofa.linalg.spectra import condition_number, cosine_similarity, isotropy
from neurofa.theory.deep_linear import DeepLinear, leading_terms
from neurofa.theory.moments import Moments

INPUTS, OUTPUTS, SAMPLES = 30, 5, 200
EXACT = 1e-12
"""Largest difference, relative to the largest weight, that counts as none in float64."""
FAR = 1e-3
"""Smallest one that counts as a difference: what the controls have to show."""
TOLERANCE = 0.05
"""Of a measured exponent, relative."""


@dataclass(frozen=True)
class Case:
    """One network beside the theory."""

    name: str
    hidden: tuple[int, ...]
    activation: str = "identity"
    zero: bool = True
    """Whether the weights begin at zero."""
    feedback: str = "dense"
    steps: int = 500
    lr: float = 0.02


CASES = (
    Case("linear, 3 layers", (100, 100)),
    Case("linear, 4 layers", (100, 100, 100)),
    Case("linear, 5 layers", (80, 60, 50, 40), lr=0.01),
    Case("linear, orthogonal feedback", (100, 100, 100), feedback="orthogonal"),
    Case("linear, feedback of signs", (100, 100, 100), feedback="dense(values=sign)"),
)
CONTROLS = (
    Case("control: tanh", (100, 100, 100), activation="tanh"),
    Case("control: weights that begin at random", (100, 100, 100), zero=False),
)


class AlignDeepLinear(Experiment, name="align_deep_linear"):
    """Deep linear networks from zero weights: exact confinement, growth in early time, and conditioning.

    Parts: ``exact`` (weights of trained networks beside F_l A_l F_{l-1}^T, in float64, with two controls that must be
    far from it), ``early`` (A_l grows as t^(2^(l-1))), ``conditioning`` (isotropy and conditioning of the alignment
    matrices in training, for outputs of equal and of unequal variance, and the identity that makes isotropy the weight
    alignment).

    Args:
        layers: L of the parts early and conditioning, at least 3.
        width: of the hidden layers there.

    Raises:
        NeurofaError: fewer than three layers.
    """

    source = "after Refinetti et al. 2021, arXiv 2011.12428; the recursion and the exponents are derived in neurofa"
    question = (
        "Do the weights of a deep linear network stay exactly in the form F_l A_l F_{l-1}^T, do the layers align from"
        " the bottom to the top as t, t^2, t^4, t^8, and when are the alignment matrices well conditioned?"
    )
    parts = ("exact", "early", "conditioning")

    def __init__(self, *, layers: int = 4, width: int = 100) -> None:
        if layers < 3 or width < OUTPUTS:
            raise NeurofaError(
                f"got align_deep_linear(layers={layers}, width={width}); expected at least 3 layers of at least"
                f" {OUTPUTS} units; raise them"
            )
        self.layers, self.width = layers, width

    def run(self, part: str, setup: Setup) -> Findings:
        if part == "exact":
            return _exact(setup)
        width = 500 if setup.full else self.width
        return _early(setup, self.layers, width) if part == "early" else _conditioning(setup, self.layers, width)


def task(seed: int, scales: Sequence[float] | None = None) -> tuple[Tensor, Tensor]:
    """A linear teacher, float64: (P, n_0) and (P, o); ``scales`` multiply the outputs."""
    gen = generator(seed, "teacher")
    x = torch.randn(SAMPLES, INPUTS, generator=gen, dtype=torch.float64)
    y = x @ torch.randn(INPUTS, OUTPUTS, generator=gen, dtype=torch.float64) / math.sqrt(INPUTS)
    return x, y if scales is None else y * torch.tensor(scales, dtype=torch.float64)


def orthogonal(layers: int, width: int, seed: int) -> list[Tensor]:
    """F_1 ... F_{L-1} with F^T F = n / (3 o) I in float64: the power of ``dense``."""
    gen = generator(seed, "orthogonal")
    drawn = [torch.randn(width, OUTPUTS, generator=gen, dtype=torch.float64) for _ in range(layers - 1)]
    return [torch.linalg.qr(f)[0] * math.sqrt(width / (3 * OUTPUTS)) for f in drawn]


def compare(case: Case, seed: int) -> Record:
    """Train one network by the learner, and the recursion beside it.

    Args:
        case: the network.
        seed: of the task, the weights and the feedback.

    Returns:
        A row: ``off``, the largest difference of a weight from F_l A_l F_{l-1}^T in units of the layer's largest
        weight; ``loss_ratio``, what training left of the loss.
    """
    x, y = task(seed)
    spec = f"mlp(hidden={list(case.hidden)}, activation={case.activation}, bias=False)"
    network = build("network", spec, input_shape=(INPUTS,), outputs=OUTPUTS, seed=seed).double()
    if case.zero:
        with torch.no_grad():
            for weight in network.parameters():
                weight.zero_()
    optimizer = torch.optim.SGD(network.parameters(), lr=case.lr)
    learner = Learner(network, f"dfa(feedback={case.feedback})", optimizer=optimizer, loss="mse", seed=seed)
    feedback = feedback_matrices(learner.rule, generator(seed, "read"))
    theory = DeepLinear([feedback[name] for name in network.names if name in feedback], INPUTS)
    losses = []
    for _ in range(case.steps):
        losses.append(float(learner.step(x, y).loss))
        theory.step(x, y, case.lr)
    weights = [network.layer(name).synapses["weight"].weight.detach() for name in network.names]
    off = max(float((w - t).abs().max() / w.abs().max()) for w, t in zip(weights, theory.weights(), strict=True))
    return {
        "part": "exact", "method": case.name, "seed": seed, "layers": len(weights), "steps": case.steps,
        "off": off, "loss_ratio": losses[-1] / losses[0],
    }  # fmt: skip


def _exact(setup: Setup) -> Findings:
    rows: list[Record] = []
    checks: list[ExperimentCheck] = []
    for case in (*CASES, *CONTROLS):
        found = [compare(case, seed) for seed in range(setup.seeds)]
        rows += found
        off = [float(row["off"]) for row in found]
        if case in CONTROLS:
            checks.append(above(f"exact: {case.name}: smallest difference from F A F^T, relative", min(off), FAR))
        else:
            checks.append(at_most(f"exact: {case.name}: largest difference from F A F^T, relative", max(off), EXACT))
            left = max(float(row["loss_ratio"]) for row in found)
            checks.append(at_most(f"exact: {case.name}: loss that training left, share", left, 0.5))
    lines = group_means(rows, ["part", "method", "layers", "steps"], ["off", "loss_ratio"])
    return Findings(rows=lines, checks=checks, columns=["method", "layers", "steps", "off", "loss_ratio", "n"])


def _early(setup: Setup, layers: int, width: int) -> Findings:
    lr, marks = 1e-4, [125, 250, 500, 1000]
    rows: list[Record] = []
    curves: list[Mark] = []
    worst: dict[tuple[str, int], float] = {}
    for seed in range(setup.seeds):
        x, y = task(seed)
        theory = DeepLinear(orthogonal(layers, width, seed), INPUTS)
        laws = leading_terms(Moments.of(x, y).yx, theory.grams)
        sizes: list[list[float]] = []
        gaps: list[float] = []
        for step in range(1, marks[-1] + 1):
            theory.step(x, y, lr)
            if step in marks:
                sizes.append([float(a.norm()) for a in theory.matrices])
                pairs = zip(theory.matrices, laws, strict=True)
                gaps = [float((a / (k.coefficient * (lr * step) ** k.exponent).norm()).norm()) for a, k in pairs]
        times = [lr * step for step in marks]
        for index, law in enumerate(laws):
            curve = [size[index] for size in sizes]
            slopes = [math.log2(b / a) for a, b in itertools.pairwise(curve)]
            gap = abs(slopes[-1] / law.exponent - 1)
            worst["slope", index] = max(gap, worst.get(("slope", index), 0.0))
            worst["size", index] = max(abs(gaps[index] - 1), worst.get(("size", index), 0.0))
            rows.append({
                "part": "early", "method": f"A_{index + 1}", "seed": seed, "exponent": law.exponent,
                "slope": slopes[-1], "first_slope": slopes[0], "size_over_law": gaps[index],
            })  # fmt: skip
            if not seed:
                predicted = [float(law.coefficient.norm()) * t**law.exponent for t in times]
                label = f"A_{index + 1}: t^{law.exponent}"
                curves += [Curve(label=label, x=times, y=curve, style="o"), Curve(label=label, x=times, y=predicted)]
    checks = []
    for (what, index), gap in worst.items():
        said = "slope over 2^(l-1)" if what == "slope" else "size over that of the early law"
        checks.append(at_most(f"early: A_{index + 1}: {said}, distance from 1", gap, TOLERANCE))
    panel = Panel(
        title="dots: recursion; lines: early law", marks=curves,
        x=Axis("time η t", scale="log"), y=Axis("‖A_l‖", scale="log"),
    )  # fmt: skip
    draw_figure(setup.folder / "early.png", [panel], title=f"early: {layers} layers of {width} units, seed 0")
    measured = ["slope", "first_slope", "size_over_law"]
    return Findings(
        rows=group_means(rows, ["part", "method", "exponent"], measured), checks=checks, pictures=["early.png"],
        columns=["method", "exponent", *measured, "n"],
    )  # fmt: skip


TASKS = {"equal outputs": [1.0] * OUTPUTS, "unequal outputs": [1.0, 0.8, 0.6, 0.4, 0.2]}


@dataclass(frozen=True)
class Course:
    """Alignment matrices of one network in training: A_2 ... A_L at every time."""

    times: list[float]
    isotropy: list[list[float]]
    conditioning: list[list[float]]
    gap: float
    """Largest distance of the isotropy from cos(W_l, F_l F_{l-1}^T)."""


def follow(scales: Sequence[float], seed: int, *, layers: int, width: int, steps: int, lr: float = 0.01) -> Course:
    """Train by the recursion with orthogonal feedback, and look at about 8 times in every doubling."""
    x, y = task(seed, scales)
    theory = DeepLinear(orthogonal(layers, width, seed), INPUTS)
    marks = {round(2 ** (k / 8)) for k in range(8 * steps.bit_length())} | {steps}
    course = Course([], [], [], 0.0)
    gap = 0.0
    for step in range(1, steps + 1):
        theory.step(x, y, lr)
        # each layer waits one step for the one below
        if step >= layers and step in marks:
            course.times.append(lr * step)
            course.isotropy.append([isotropy(a) for a in theory.matrices[1:]])
            course.conditioning.append([condition_number(a) for a in theory.matrices[1:]])
            gap = max(gap, *_gaps(theory, course.isotropy[-1]))
    return replace(course, gap=gap)


def _conditioning(setup: Setup, layers: int, width: int) -> Findings:
    steps = 4000 if setup.full else 1000
    courses = {
        (name, seed): follow(scales, seed, layers=layers, width=width, steps=steps)
        for name, scales in TASKS.items()
        for seed in range(setup.seeds)
    }
    rows = [
        {
            "part": "conditioning", "method": f"{name}, A_{k + 2}", "seed": seed,
            "isotropy_early": course.isotropy[0][k], "isotropy": course.isotropy[-1][k],
            "conditioning_early": course.conditioning[0][k], "conditioning": course.conditioning[-1][k],
        }
        for (name, seed), course in courses.items()
        for k in range(layers - 1)
    ]  # fmt: skip

    def second(name: str, when: int) -> list[float]:
        return [courses[name, seed].isotropy[when][0] for seed in range(setup.seeds)]

    equal, unequal = TASKS
    gap = max(course.gap for course in courses.values())
    checks = [at_most("conditioning: isotropy minus cos(W_l, F_l F_{l-1}^T), largest", gap, EXACT)]
    for name in TASKS:
        least = min(e - b for b, e in zip(second(name, 0), second(name, -1), strict=True))
        checks.append(above(f"conditioning: {name}: what A_2's isotropy gains in training, smallest", least, 0))
    apart = min(a - b for a, b in zip(second(equal, 0), second(unequal, 0), strict=True))
    checks.append(above("conditioning: A_2's early isotropy, equal over unequal outputs, smallest", apart, 0))
    last = min(second(equal, -1))
    checks.append(at_least("conditioning: equal outputs: A_2's isotropy in the end, smallest", last, 0.95))
    panels = [
        Panel(
            title=name, x=Axis("time η t", scale="log"), y=y,
            marks=[
                Curve(label=f"A_{k + 2}", x=course.times, y=[f[k] for f in values]) for k in range(layers - 1)
            ],
        )
        for y in (Axis("isotropy = cos(W, F Fᵀ)"), Axis("conditioning s_max / s_min", scale="log"))
        for name in TASKS
        for course in [courses[name, 0]]
        for values in [course.conditioning if y.scale == "log" else course.isotropy]
    ]  # fmt: skip
    draw_figure(setup.folder / "conditioning.png", panels, title=f"{layers} layers of {width} units, seed 0")
    measured = ["isotropy_early", "isotropy", "conditioning_early", "conditioning"]
    lines = group_means(rows, ["part", "method"], measured)
    return Findings(rows=lines, checks=checks, pictures=["conditioning.png"], columns=["method", *measured, "n"])


def _gaps(theory: DeepLinear, found: Sequence[float]) -> list[float]:
    """Isotropy minus the cosine of the large matrices, layer by layer from the second."""
    strong = [a @ b.t() for b, a in itertools.pairwise(theory.feedback)] + [theory.feedback[-1].t()]
    pairs = zip(theory.weights()[1:], strong, found, strict=True)
    return [abs(cosine_similarity(w, s) - value) for w, s, value in pairs]
