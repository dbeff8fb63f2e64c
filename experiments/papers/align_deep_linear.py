"""Does direct feedback alignment confine a deep linear network to small alignment matrices, and how do these grow?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.charts.figure import Axis, Panel, draw_figure
from experiments.charts.marks import Curve
from experiments.sweeps.experiment import Checks, Experiment, Findings, above, at_least, at_most
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
"""Smallest one that counts as a difference: the controls have to show it."""
TOLERANCE = 0.05
"""Relative tolerance of a measured exponent."""
EARLY_RATE, EARLY_STEPS = 1e-4, (125, 250, 500, 1000)
"""Learning rate of the part early, and the steps at which sizes are measured."""
TASKS = {"equal outputs": [1.0] * OUTPUTS, "unequal outputs": [1.0, 0.8, 0.6, 0.4, 0.2]}
"""Standard deviations of the outputs in the part conditioning."""
SPECTRA = {"isotropy": isotropy, "conditioning": condition_number}
TIME = Axis("time η t", scale="log")


@dataclass(frozen=True)
class LinearCase:
    """One network whose trained weights are compared with the theory of deep linear networks."""

    name: str
    hidden: tuple[int, ...]
    """Widths of the hidden layers."""
    activation: str = "identity"
    zero: bool = True
    """Whether the weights begin at zero."""
    feedback: str = "dense"
    """Spec of the feedback pathway."""
    steps: int = 500
    """Steps of gradient descent, on all samples at once."""
    lr: float = 0.02
    """Learning rate."""


CASES = (
    LinearCase("linear, 3 layers", (100, 100)),
    LinearCase("linear, 4 layers", (100, 100, 100)),
    LinearCase("linear, 5 layers", (80, 60, 50, 40), lr=0.01),
    LinearCase("linear, orthogonal feedback", (100, 100, 100), feedback="orthogonal"),
    LinearCase("linear, feedback of signs", (100, 100, 100), feedback="dense(values=sign)"),
)
CONTROLS = (
    LinearCase("control: tanh", (100, 100, 100), activation="tanh"),
    LinearCase("control: weights that begin at random", (100, 100, 100), zero=False),
)


@dataclass(frozen=True, kw_only=True)
class AlignDeepLinear(Experiment, name="align_deep_linear"):
    """Deep linear networks from zero weights: exact confinement, growth in early time, and conditioning.

    Parts: ``exact`` (weights of trained networks beside F_l A_l F_{l-1}^T, in float64, with two controls that must be
    far from it), ``early`` (A_l grows as t^(2^(l-1))), ``conditioning`` (isotropy and conditioning of the alignment
    matrices in training, for outputs of equal and of unequal variance, and the identity that makes isotropy the weight
    alignment).

    Raises:
        NeurofaError: fewer than three layers.
    """

    source = "after Refinetti et al. 2021, arXiv 2011.12428; the recursion and the exponents are derived in neurofa"
    differs = "no figure of the source: recursion and exponents are derived here, and sizes are ours"
    question = "Do deep linear weights stay in the form F_l A_l F_{l-1}^T, and how do their small matrices A_l grow?"
    parts = ("exact", "early", "conditioning")

    layers: int = 4
    """L of the parts early and conditioning, at least 3."""
    width: int = 100
    """Width of the hidden layers there (full: 500)."""

    def __post_init__(self) -> None:
        if self.layers < 3 or self.width < OUTPUTS:
            got, least = f"layers={self.layers}, width={self.width}", f"at least 3 layers of at least {OUTPUTS} units"
            raise NeurofaError(f"got align_deep_linear({got}); expected {least}; raise them")

    def run(self, part: str, setup: Setup) -> Findings:
        width = 500 if setup.full else self.width
        if part == "exact":
            return _exact(setup)
        return _early(setup, self.layers, width) if part == "early" else _conditioning(setup, self.layers, width)

    def checks(self, part: str, rows: Sequence[Record]) -> Checks:
        return {"exact": _check_exact, "early": _check_early, "conditioning": _check_conditioning}[part](rows)


def task(seed: int, scales: Sequence[float] | None = None) -> tuple[Tensor, Tensor]:
    """Return inputs (P, n_0) and answers (P, o) of a linear teacher, float64; ``scales`` multiply the outputs."""
    gen = generator(seed, "teacher")
    x = torch.randn(SAMPLES, INPUTS, generator=gen, dtype=torch.float64)
    y = x @ torch.randn(INPUTS, OUTPUTS, generator=gen, dtype=torch.float64) / math.sqrt(INPUTS)
    return x, y if scales is None else y * torch.tensor(scales, dtype=torch.float64)


def theory_of(layers: int, width: int, seed: int) -> DeepLinear:
    """Return the recursion of the alignment matrices for random feedback F_1 ... F_{L-1} with orthogonal columns.

    F^T F = n / (3 o) I in float64, so that F has the power of the feedback ``dense``.

    Args:
        layers: L.
        width: n, of the hidden layers.
        seed: of the feedback.
    """
    gen = generator(seed, "orthogonal")
    drawn = [torch.randn(width, OUTPUTS, generator=gen, dtype=torch.float64) for _ in range(layers - 1)]
    return DeepLinear([torch.linalg.qr(f)[0] * math.sqrt(width / (3 * OUTPUTS)) for f in drawn], INPUTS)


def compare_with_recursion(case: LinearCase, seed: int) -> Record:
    """Train one network by the learner, and step the recursion beside it.

    Args:
        case: the network.
        seed: of the task, the weights and the feedback.

    Returns:
        A row: ``off``, the largest difference of a weight from F_l A_l F_{l-1}^T in units of the layer's largest
        weight; ``loss_ratio``, the last loss over the first.
    """
    x, y = task(seed)
    spec = f"mlp(hidden={list(case.hidden)}, activation={case.activation}, bias=False)"
    network = build("network", spec, input_shape=(INPUTS,), outputs=OUTPUTS, seed=seed).double()
    if case.zero:
        with torch.no_grad():
            for weight in network.parameters():
                weight.zero_()
    optimizer = torch.optim.SGD(network.parameters(), lr=case.lr)
    rule = f"dfa(feedback={case.feedback})"
    learner = Learner(network, rule, optimizer=optimizer, loss="mse", seed=seed, feedback_scale="fixed")
    feedback = feedback_matrices(learner.rule, generator(seed, "read"))
    theory = DeepLinear([feedback[name] for name in network.names if name in feedback], INPUTS)
    losses = []
    for _ in range(case.steps):
        losses.append(float(learner.step(x, y).loss))
        theory.step(x, y, case.lr)
    weights = [network.layer(name).synapses["weight"].weight.detach() for name in network.names]
    off = max(float((w - t).abs().max() / w.abs().max()) for w, t in zip(weights, theory.weights(), strict=True))
    row = {"part": "exact", "method": case.name, "seed": seed, "layers": len(weights), "steps": case.steps}
    return {**row, "off": off, "loss_ratio": losses[-1] / losses[0]}


def _exact(setup: Setup) -> Findings:
    cases = itertools.product((*CASES, *CONTROLS), range(setup.seeds))
    runs = [compare_with_recursion(*case) for case in cases]
    rows = group_means(runs, ["part", "method", "layers", "steps"], ["off", "loss_ratio"])
    return Findings(rows=rows, columns=["method", "layers", "steps", "off", "loss_ratio", "n"])


def _check_exact(rows: Sequence[Record]) -> Checks:
    for row in rows:
        name = f"exact: {row['method']}"
        if row["method"] in [control.name for control in CONTROLS]:
            yield above(f"{name}: smallest difference from F A F^T, relative", min(row["off_each"]), FAR)
        else:
            yield at_most(f"{name}: largest difference from F A F^T, relative", max(row["off_each"]), EXACT)
            yield at_most(f"{name}: loss that training left, share", max(row["loss_ratio_each"]), 0.5)


def _early(setup: Setup, layers: int, width: int) -> Findings:
    rows: list[Record] = []
    panel = Panel(title="dots: recursion; lines: early law", x=TIME, y=Axis("‖A_l‖", scale="log"))
    times = [EARLY_RATE * step for step in EARLY_STEPS]
    for seed in range(setup.seeds):
        x, y = task(seed)
        theory = theory_of(layers, width, seed)
        laws = leading_terms(Moments.of(x, y).yx, theory.grams)
        sizes: list[list[float]] = []
        for step in range(1, EARLY_STEPS[-1] + 1):
            theory.step(x, y, EARLY_RATE)
            if step in EARLY_STEPS:
                sizes.append([float(a.norm()) for a in theory.matrices])
        for index, (law, a) in enumerate(zip(laws, theory.matrices, strict=True)):
            curve = [size[index] for size in sizes]
            # the steps double from one measurement to the next: this is the exponent of a power law
            slopes = [math.log2(after / before) for before, after in itertools.pairwise(curve)]
            size = float((a / (law.coefficient * times[-1] ** law.exponent).norm()).norm())
            row = {"part": "early", "method": f"A_{index + 1}", "seed": seed, "exponent": law.exponent}
            rows.append(row | {"slope": slopes[-1], "first_slope": slopes[0], "size_over_law": size})
            if not seed:
                predicted = [float(law.coefficient.norm()) * t**law.exponent for t in times]
                label = f"A_{index + 1}: t^{law.exponent}"
                curves = [Curve(label=label, x=times, y=curve, style="o"), Curve(label=label, x=times, y=predicted)]
                panel.marks.extend(curves)
    draw_figure(setup.folder / "early.png", [panel], title=f"early: {layers} layers of {width} units, seed 0")
    measured = ["slope", "first_slope", "size_over_law"]
    means = group_means(rows, ["part", "method", "exponent"], measured)
    return Findings(rows=means, pictures=["early.png"], columns=["method", "exponent", *measured, "n"])


def _check_early(rows: Sequence[Record]) -> Checks:
    for row in rows:
        slope = max(abs(slope / row["exponent"] - 1) for slope in row["slope_each"])
        size = max(abs(size - 1) for size in row["size_over_law_each"])
        for what, gap in (("slope over 2^(l-1)", slope), ("size over that of the early law", size)):
            yield at_most(f"early: {row['method']}: {what}, distance from 1", gap, TOLERANCE)


def train_recursion(
    scales: Sequence[float], seed: int, *, layers: int, width: int, steps: int, lr: float = 0.01
) -> list[Record]:
    """Train a deep linear network by the recursion, and measure its alignment matrices A_l, 8 times in every doubling.

    Args:
        scales: standard deviations of the outputs.
        seed: number from which the task and the feedback are drawn.
        layers: number of layers L.
        width: number of units of every hidden layer.
        steps: number of steps of gradient descent.
        lr: learning rate.

    Returns:
        One dict for each measurement: its ``time`` (lr times steps), lists ``isotropy`` and ``conditioning`` of A_2 ...
        A_L, and ``gap``, the largest distance of an isotropy from cos(W_l, F_l F_{l-1}^T).
    """
    x, y = task(seed, scales)
    theory = theory_of(layers, width, seed)
    strong = [a @ b.t() for b, a in itertools.pairwise(theory.feedback)] + [theory.feedback[-1].t()]
    marks = {round(2 ** (k / 8)) for k in range(8 * steps.bit_length())} | {steps}
    history = []
    for step in range(1, steps + 1):
        theory.step(x, y, lr)
        # each layer waits one step for the one below
        if step >= layers and step in marks:
            now: Record = {key: [f(a) for a in theory.matrices[1:]] for key, f in SPECTRA.items()}
            pairs = zip(theory.weights()[1:], strong, now["isotropy"], strict=True)
            gap = max(abs(cosine_similarity(w, s) - value) for w, s, value in pairs)
            history.append({"time": lr * step, **now, "gap": gap})
    return history


def _conditioning(setup: Setup, layers: int, width: int) -> Findings:
    size = {"layers": layers, "width": width, "steps": 4000 if setup.full else 1000}
    runs = itertools.product(TASKS, range(setup.seeds))
    histories = {(name, seed): train_recursion(TASKS[name], seed, **size) for name, seed in runs}
    rows = []
    for ((name, seed), history), k in itertools.product(histories.items(), range(layers - 1)):
        row = {"part": "conditioning", "method": f"{name}, A_{k + 2}", "seed": seed}
        for key in SPECTRA:
            row |= {f"{key}_early": history[0][key][k], key: history[-1][key][k]}
        rows.append(row)
    panels = []
    axes = {
        "isotropy": Axis("isotropy = cos(W, F Fᵀ)"),
        "conditioning": Axis("conditioning s_max / s_min", scale="log"),
    }
    for (key, y), name in itertools.product(axes.items(), TASKS):
        history = histories[name, 0]
        times, values = [now["time"] for now in history], zip(*[now[key] for now in history], strict=True)
        curves = [Curve(label=f"A_{k + 2}", x=times, y=curve) for k, curve in enumerate(values)]
        panels.append(Panel(title=name, x=TIME, y=y, marks=[*curves]))
    draw_figure(setup.folder / "conditioning.png", panels, title=f"{layers} layers of {width} units, seed 0")
    gap = max(now["gap"] for history in histories.values() for now in history)
    identity = at_most("conditioning: isotropy minus cos(W_l, F_l F_{l-1}^T), largest", gap, EXACT)
    measured = ["isotropy_early", "isotropy", "conditioning_early", "conditioning"]
    means = group_means(rows, ["part", "method"], measured)
    columns = ["method", *measured, "n"]
    return Findings(rows=means, checks=[identity], pictures=["conditioning.png"], columns=columns)


def _check_conditioning(rows: Sequence[Record]) -> Checks:
    second = {name: next(row for row in rows if row["method"] == f"{name}, A_2") for name in TASKS}
    for name, row in second.items():
        least = min(end - begin for begin, end in zip(row["isotropy_early_each"], row["isotropy_each"], strict=True))
        yield above(f"conditioning: {name}: what A_2's isotropy gains in training, smallest", least, 0)
    equal, unequal = second.values()
    apart = min(a - b for a, b in zip(equal["isotropy_early_each"], unequal["isotropy_early_each"], strict=True))
    yield above("conditioning: A_2's early isotropy, equal over unequal outputs, smallest", apart, 0)
    last = min(equal["isotropy_each"])
    yield at_least("conditioning: equal outputs: A_2's isotropy in the end, smallest", last, 0.95)
