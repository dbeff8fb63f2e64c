"""Which modes of a linear task does feedback of low rank learn: theory beside simulation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from experiments.charts.figure import Axis, Panel, draw_figure
from experiments.charts.marks import Curve
from experiments.runs.build import compute_device
from experiments.runs.spec import RunSpec
from experiments.sweeps.experiment import Checks, Experiment, Findings, above, at_least, at_most
from experiments.sweeps.setup import Setup
from experiments.tables import Record, mean
from hwmodels.errors import NeurofaError
from neurofa.core.randomness import generator
from neurofa.theory.lowrank.equations import Plasticity, Weights, mode_strengths, reachable_strengths
from neurofa.theory.lowrank.simulation import full_batches, initial_weights, random_teacher, simulate_weights
from neurofa.theory.lowrank.solution import solve_weights
from neurofa.theory.moments import Moments

LR, DECAY, BACK, KEPT = 2.5e-3, 1e-5, 1e-3, 0.999
"""Of the script: learning rate, decay a step, rate of P and Q, and what is left of it after a step."""
SHOWN, LEARNT, LOOKS = 8, 0.9, 100
"""Modes in pictures and errors; strength from which a mode counts as learnt; times at which strengths are measured."""
APART = 0.05
"""Root mean square of strengths: theory has to come nearer to its simulation, and stay further from another's."""
OJA = 0.03
"""Rate of Oja's rule in units of the learning rate: a choice, the texts' Adam has none."""

BP, FIXED, TOP = "bp", "Q kp, P fixed", "Q kp, P = top modes"
LABELS, ERRORS = "Q kp, P Oja on labels", "Q kp, P Oja on errors"
SCRIPT, STEADY, Q_TRACKS = "P, Q track W2, fading (script)", "P, Q track W2, steady", "Q tracks W2, P fixed"
METHODS = {"track": (BP, SCRIPT, STEADY, Q_TRACKS), "oja": (FIXED, TOP, LABELS, ERRORS)}
BEATEN = {"track": (STEADY, Q_TRACKS), "oja": (LABELS, FIXED)}
"""By part: learnt P, and the same with P fixed."""
STEP_RATES = (4 * LR, 2 * LR, LR, LR / 2)
"""Learning rates of the part step."""
COLUMNS = ["method", "modes_theory", "modes_simulation", "strength", "overlap", "error", "error_white", "n"]


@dataclass(frozen=True)
class _LinearTask:
    """A teacher, by the second moments of white inputs, with the weights that learning begins from."""

    white: Moments
    begin: Weights

    def samples(self, count: int) -> tuple[Tensor, Tensor]:
        """Return inputs (count, n) and the teacher's answers (count, m)."""
        gen = generator(0, "inputs")
        x = torch.randn(count, self.white.yx.shape[1], generator=gen, dtype=torch.float64)
        return x, x @ self.white.yx.t()

    def weights(self, method: str) -> Weights:
        """Return the weights from which a method begins."""
        if method != TOP:
            return self.begin
        return replace(self.begin, p=self.white.modes()[0][:, : len(self.begin.p)].t().contiguous())

    def strengths(self, path: Sequence[Weights]) -> Tensor:
        """Return the strengths of the teacher's modes, whatever the samples say, (times, modes)."""
        return mode_strengths(self.white, [weights.to(torch.float64) for weights in path])


@dataclass(frozen=True, kw_only=True)
class LDFALinear(Experiment, name="ldfa_linear"):
    """A deep linear network with an error of rank 2, as in the first author's script, by equations and by samples.

    Parts: ``track`` (v4: P and Q track W2^T, as the script does; P fixed beside it), ``oja`` (v1-v3: P by Oja on labels
    or on errors, fixed, or the task's leading modes; Q by Kolen-Pollack), ``step`` (how the distance between theory and
    simulation falls with the learning rate, at a tenth of the length). Mode strength sigma_j = (U^T W2 W1 V)_jj / s_j.
    The weights begin as in the script, and Q P as the leading parts of W2^T (the script turns P once more by U^T, which
    makes it another random start). Theory runs on every seed, the simulation on seed 0.

    Raises:
        NeurofaError: a rank that leaves nothing out.
    """

    source = "script linear_simulation.py of Hanut and Kadmon's public code (v4); rules also of arXiv 2502.20580 v1-v3"
    differs = "the start of P and Q is not turned once more by U^T, which makes it another random start"
    question = "Do moment equations predict learning from low-rank error, and which modes does only a learnt P find?"
    parts = ("track", "oja", "step")

    n: int = 128
    """Inputs."""
    k: int = 64
    """Hidden units."""
    m: int = 64
    """Outputs."""
    rank: int = 2
    """r, below m."""
    samples: int | None = None
    """Samples of the simulation, instead of 2000 (full: 100000, as in the script)."""
    steps: int = 5000
    """Steps of learning, as in the script."""

    def __post_init__(self) -> None:
        least = min(self.n, self.k, self.m)
        if not 1 <= self.rank < least:
            raise NeurofaError(
                f"got ldfa_linear(rank={self.rank}); expected 1 to {least - 1}, below all widths; change the rank"
            )

    def run(self, part: str, setup: Setup) -> Findings:
        if part == "step":
            return self._step(setup)
        tasks = [self._task(seed) for seed in range(setup.seeds)]
        simulated, theory, rows, panels = {}, {}, [], []
        for method in METHODS[part]:
            times, simulated[method], theory[method], white = self._curves(tasks[0], method, setup)
            row = {"part": part, "method": method, "error": _rms(theory[method], simulated[method])}
            row |= {"modes_simulation": int((simulated[method][-1] >= LEARNT).sum())}
            rows.append(row | {"error_white": _rms(white, simulated[method])} | self._theory(tasks, method))
            panels.append(_panel(method, times, simulated[method], theory[method]))
        sizes = f"{part}: {self.n}-{self.k}-{self.m}, rank {self.rank}, seed 0"
        title = f"{sizes}: the strongest modes (the darker, the stronger); lines: theory, dots: simulation"
        draw_figure(setup.folder / f"{part}.png", panels, title=title)
        learnt, fixed = BEATEN[part]
        apart = _rms(theory[fixed], simulated[learnt])
        what = f"{part}: control: theory of '{fixed}' against simulation of '{learnt}', rms"
        checks = [above(what, apart, APART), *(self._limit(tasks[0]) if part == "oja" else [])]
        return Findings(rows=rows, checks=checks, pictures=[f"{part}.png"], columns=COLUMNS)

    def _task(self, seed: int) -> _LinearTask:
        gen = generator(seed, "ldfa_linear")
        white = Moments.white(random_teacher(self.n, self.m, self.m, gen))
        return _LinearTask(white, initial_weights(self.n, self.k, self.m, self.rank, gen))

    def _curves(self, task: _LinearTask, method: str, setup: Setup) -> tuple[list[float], Tensor, Tensor, Tensor]:
        """Return times, and mode strengths (times, modes): simulated, by theory of the samples, and of white inputs."""
        x, y = task.samples(self.samples or (100_000 if setup.full else 2000))
        rule, begin = plasticity(method), task.weights(method)
        device = compute_device(RunSpec(compute=setup.compute).compute)  # the spec knows what auto is
        batches = full_batches(x.to(device, torch.float32), y.to(device, torch.float32))
        every = max(1, self.steps // LOOKS)
        start = begin.to(torch.float32, device)
        times, path = simulate_weights(batches, start, rule, lr=LR, steps=self.steps, every=every)
        theory, white = (solve_weights(moments, begin, rule, times) for moments in (Moments.of(x, y), task.white))
        return times, task.strengths(path), task.strengths(theory), task.strengths(white)

    def _theory(self, tasks: Sequence[_LinearTask], method: str) -> Record:
        """Return what the equations say of the end of learning, means over seeds."""
        rule = plasticity(method)
        ends = [solve_weights(task.white, task.weights(method), rule, [self.steps * LR])[0] for task in tasks]
        finals = [task.strengths([end])[0] for task, end in zip(tasks, ends, strict=True)]
        modes = [int((final >= LEARNT).sum()) for final in finals]
        overlaps = mean([overlap(task.white, end.p) for task, end in zip(tasks, ends, strict=True)])
        row = {"modes_theory": mean(modes), "modes_per_seed": modes, "n": len(tasks)}
        # backpropagation makes no use of P
        row |= {"overlap": None if rule.transport else overlaps}
        return row | {"strength": mean([float(final.sum()) for final in finals])}

    def _limit(self, task: _LinearTask) -> Checks:
        """Yield whether a fixed P leads from small weights to where the closed form says."""
        rule = replace(plasticity(FIXED), decay=0.0, decay_back=0.0)
        small = replace(task.begin, w1=task.begin.w1 * 1e-4, w2=task.begin.w2 * 1e-4)
        final = task.strengths(solve_weights(task.white, small, rule, [self.steps * LR]))[0]
        off = float((final - reachable_strengths(task.white, small.p)).abs().max())
        yield at_most("oja: P fixed, from small weights: largest distance of a mode from |Pi v_j|^2", off, 0.02)
        yield at_most("oja: P fixed, from small weights: the strongest mode", float(final.max()), LEARNT)

    def _step(self, setup: Setup) -> Findings:
        task = self._task(0)
        x, y = task.samples(self.samples or 500)
        ticks = {lr: f"{lr:g}" for lr in STEP_RATES}
        axis = Axis("learning rate", scale="log", ticks=ticks)
        panel, rows = Panel(x=axis, y=Axis("rms of mode strengths", scale="log")), []
        for method in (STEADY, LABELS):
            begin, rule = task.weights(method), plasticity(method)
            errors: list[float] = []
            for lr in STEP_RATES:
                steps = round(0.1 * self.steps * LR / lr)
                every = max(1, steps // 20)
                times, path = simulate_weights(full_batches(x, y), begin, rule, lr=lr, steps=steps, every=every)
                theory = solve_weights(Moments.of(x, y), begin, rule, times)
                errors.append(_rms(task.strengths(theory), task.strengths(path)))
                ratio = errors[-2] / errors[-1] if len(errors) > 1 else None
                rows.append({"part": "step", "method": method, "lr": lr, "error": errors[-1], "ratio": ratio})
            line = [errors[-1] * lr / STEP_RATES[-1] for lr in STEP_RATES]
            panel.marks.append(Curve(x=STEP_RATES, y=errors, label=method, style="-o"))
            panel.marks.append(Curve(x=STEP_RATES, y=line, label="in proportion", colour="0.6", style="--"))
        draw_figure(setup.folder / "step.png", [panel], title="step: distance of simulation from theory, seed 0")
        return Findings(rows=rows, pictures=["step.png"], columns=["method", "lr", "error", "ratio"])

    def checks(self, part: str, rows: Sequence[Record]) -> Checks:
        return _check_step(rows) if part == "step" else _check_modes(part, rows)


def _check_modes(part: str, rows: Sequence[Record]) -> Checks:
    by = {row["method"]: row for row in rows}
    for row in rows:
        yield at_most(f"{part}: {row['method']}: theory against simulation, rms", row["error"], APART)
    for learnt, fixed in [BEATEN[part], *([(SCRIPT, Q_TRACKS)] if part == "track" else [])]:
        more = by[learnt]["modes_theory"] - by[fixed]["modes_theory"]
        yield above(f"{part}: modes that '{learnt}' learns and '{fixed}' misses", more, 0)
    for method, of in ((LABELS, "labels"), (ERRORS, "errors")) if part == "oja" else ():
        yield at_least(f"oja: overlap of P with the leading modes, {of}", by[method]["overlap"], 0.99)


def _check_step(rows: Sequence[Record]) -> Checks:
    for row in [row for row in rows if row["lr"] == STEP_RATES[-1]]:
        name = f"step: {row['method']}: error at lr {LR:g} over that at {LR / 2:g}"
        yield at_least(name, row["ratio"], 1.8)
        yield at_most(name, row["ratio"], 2.2)


def plasticity(method: str) -> Plasticity:
    """Return the learning equations of one method of :data:`METHODS`.

    Decays of the first author's script are per step; those of the equations are per unit of time, hence divided by the
    learning rate.
    """
    decay, fading = DECAY / LR, -math.log(KEPT) / LR
    track = Plasticity(q="track", p="track", decay=decay, rate_q=BACK / LR, rate_p=BACK / LR)
    follow = Plasticity(q="kp", p="fixed", decay=decay, decay_back=decay)
    return {
        BP: Plasticity(q="fixed", p="fixed", transport=True, decay=decay),
        SCRIPT: replace(track, fading=fading),
        STEADY: track,
        Q_TRACKS: replace(track, p="fixed"),
        FIXED: follow,
        TOP: follow,
        LABELS: replace(follow, p="labels", rate_p=OJA),
        ERRORS: replace(follow, p="errors", rate_p=OJA),
    }[method]


def overlap(moments: Moments, p: Tensor) -> float:
    """Return the share of the r leading output modes in the row space of P, |P_orth U_r|^2 / r: 1 is all of them.

    Args:
        moments: second moments of the task.
        p: (r, m).
    """
    basis, _ = torch.linalg.qr(p.double().t())
    return float((basis.t() @ moments.modes()[0][:, : len(p)]).square().sum() / len(p))


def _rms(a: Tensor, b: Tensor) -> float:
    """Return the root mean square distance of the strongest modes, over modes and times."""
    return float((a - b)[:, :SHOWN].square().mean().sqrt())


def _panel(method: str, times: Sequence[float], simulated: Tensor, theory: Tensor) -> Panel:
    panel = Panel(title=method, x=Axis("steps", whole=True), y=Axis("mode strength", limits=(-0.05, 1.1)))
    steps = [time / LR for time in times]
    modes = min(SHOWN, theory.shape[1])
    for mode in reversed(range(modes)):
        colour = f"{0.05 + 0.75 * mode / modes:.3f}"
        dots = simulated[::4, mode].tolist()
        panel.marks.append(Curve(x=steps, y=theory[:, mode].tolist(), colour=colour))
        panel.marks.append(Curve(x=steps[::4], y=dots, colour=colour, style=".", size=5))
    return panel
