"""Which modes of a linear task does feedback of low rank learn: theory beside simulation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from experiments.charts.figure import Axis, Panel, draw_figure
from experiments.charts.marks import Curve
from experiments.runs.build import compute_device
from experiments.runs.spec import RunSpec
from experiments.sweeps.experiment import Experiment, ExperimentCheck, Findings, above, at_least, at_most
from experiments.sweeps.setup import Setup
from experiments.tables import Record, mean
from hwmodels.errors import NeurofaError
from neurofa.core.randomness import generator

if TYPE_CHECKING:
    from torch import Tensor

    from neurofa.theory.lowrank.equations import Plasticity, Weights
    from neurofa.theory.moments import Moments

LR, DECAY, BACK, KEPT = 2.5e-3, 1e-5, 1e-3, 0.999
"""Of the script: learning rate, decay a step, rate of P and Q, and what is left of it after a step."""
SHOWN, LEARNT, LOOKS = 8, 0.9, 100
"""Modes in pictures and errors; strength from which a mode counts as learnt; times at which one looks."""
APART = 0.05
"""Root mean square of strengths: theory has to come nearer to its simulation, and stay further from another's."""
OJA = 0.03
"""Rate of Oja's rule in units of the learning rate: a choice, the texts' Adam has none."""

BP, FIXED, TOP = "bp", "Q kp, P fixed", "Q kp, P = top modes"
LABELS, ERRORS = "Q kp, P Oja on labels", "Q kp, P Oja on errors"
SCRIPT, STEADY, Q_TRACKS = "P, Q track W2, fading (script)", "P, Q track W2, steady", "Q tracks W2, P fixed"
METHODS: Mapping[str, Sequence[str]] = {
    "track": (BP, SCRIPT, STEADY, Q_TRACKS),
    "oja": (FIXED, TOP, LABELS, ERRORS),
}
BEATEN = {"track": (STEADY, Q_TRACKS), "oja": (LABELS, FIXED)}
"""By part: learnt P, and the same with P fixed."""


@dataclass(frozen=True)
class _Task:
    """A teacher with the weights that learning begins from."""

    teacher: Tensor
    white: Moments
    begin: Weights


@dataclass(frozen=True)
class _Curves:
    """Mode strengths on seed 0, (times, modes)."""

    times: list[float]
    simulated: Tensor
    theory: Tensor
    """With the moments of the samples."""
    white: Tensor
    """With those of white inputs."""


class LDFALinear(Experiment, name="ldfa_linear"):
    """A deep linear network with an error of rank 2, as in the first author's script, by equations and by samples.

    Parts: ``track`` (v4: P and Q track W2^T, as the script does; P fixed beside it), ``oja`` (v1-v3: P by Oja on labels
    or on errors, fixed, or the task's leading modes; Q by Kolen-Pollack), ``step`` (how the distance between theory and
    simulation falls with the learning rate, at a tenth of the length). Mode strength sigma_j = (U^T W2 W1 V)_jj / s_j.
    The weights begin as in the script, and Q P as the leading parts of W2^T (the script turns P once more by U^T, which
    makes it another random start). Theory runs on every seed, the simulation on seed 0.

    Args:
        n: inputs.
        k: hidden units.
        m: outputs.
        rank: r, below m.
        samples: of the simulation; none: 2000, in full 100000 as in the script.
        steps: of learning; none: 5000 as in the script.

    Raises:
        NeurofaError: a rank that leaves nothing out.
    """

    source = "script linear_simulation.py of Hanut and Kadmon's public code (v4); rules also of arXiv 2502.20580 v1-v3"
    question = (
        "Do equations of second moments predict how a linear network learns from an error of low rank, and which modes"
        " does a learnt P find that a fixed P misses?"
    )
    parts = ("track", "oja", "step")

    def __init__(
        self, *, n: int = 128, k: int = 64, m: int = 64, rank: int = 2, samples: int | None = None,
        steps: int | None = None,
    ) -> None:  # fmt: skip
        if not 1 <= rank < min(n, k, m):
            raise NeurofaError(
                f"got ldfa_linear(rank={rank}); expected 1 to {min(n, k, m) - 1}, below all widths; change the rank"
            )
        self.n, self.k, self.m, self.rank, self.samples = n, k, m, rank, samples
        self.steps = steps or 5000

    def run(self, part: str, setup: Setup) -> Findings:
        if part == "step":
            return self._step(setup)
        columns = ["method", "modes_theory", "modes_simulation", "strength", "overlap", "error", "error_white", "n"]
        found, curves = Findings(columns=columns), {}
        tasks = [self._task(seed) for seed in range(setup.seeds)]
        for method in METHODS[part]:
            curves[method] = self._curves(tasks[0], method, setup)
            found.rows.append(self._row(part, method, tasks, curves[method]))
        found.checks = checks(part, found.rows)
        learnt, fixed = BEATEN[part]
        apart = _rms(curves[fixed].theory, curves[learnt].simulated)
        found.checks.append(
            above(f"{part}: control: theory of '{fixed}' against simulation of '{learnt}', rms", apart, APART)
        )
        if part == "oja":
            found.checks += self._limit(tasks[0])
        title = (
            f"{part}: {self.n}-{self.k}-{self.m}, rank {self.rank}, seed 0: the strongest modes (the darker, the"
            " stronger); lines: theory, dots: simulation"
        )
        panels = [_panel(method, drawn) for method, drawn in curves.items()]
        draw_figure(setup.folder / f"{part}.png", panels, title=title)
        found.pictures = [f"{part}.png"]
        return found

    def _task(self, seed: int) -> _Task:
        from neurofa.theory.lowrank.simulation import initial_weights, random_teacher
        from neurofa.theory.moments import Moments

        gen = generator(seed, "ldfa_linear")
        made = random_teacher(self.n, self.m, self.m, gen)
        return _Task(made, Moments.white(made), initial_weights(self.n, self.k, self.m, self.rank, gen))

    def _inputs(self, task: _Task, samples: int) -> tuple[Tensor, Tensor]:
        import torch

        x = torch.randn(samples, self.n, generator=generator(0, "inputs"), dtype=torch.float64)
        return x, x @ task.teacher.t()

    def _curves(self, task: _Task, method: str, setup: Setup) -> _Curves:
        import torch

        from neurofa.theory.lowrank.equations import mode_strengths
        from neurofa.theory.lowrank.simulation import full_batches, simulate_weights
        from neurofa.theory.lowrank.solution import solve_weights
        from neurofa.theory.moments import Moments

        x, y = self._inputs(task, self.samples or (100_000 if setup.full else 2000))
        rule, begin = plasticity(method), _begin(task, method)
        where = compute_device(RunSpec(compute=setup.compute).compute)  # which knows what auto is
        batches = full_batches(x.to(where, torch.float32), y.to(where, torch.float32))
        start, every = begin.to(torch.float32, where), max(1, self.steps // LOOKS)
        times, path = simulate_weights(batches, start, rule, lr=LR, steps=self.steps, every=every)
        theory, white = (solve_weights(moments, begin, rule, times) for moments in (Moments.of(x, y), task.white))
        # the modes are those of the teacher, whatever the samples say
        found = [mode_strengths(task.white, [w.to(torch.float64) for w in p]) for p in (path, theory, white)]
        return _Curves(times, *found)

    def _row(self, part: str, method: str, tasks: Sequence[_Task], curves: _Curves) -> Record:
        from neurofa.theory.lowrank.equations import mode_strengths
        from neurofa.theory.lowrank.solution import solve_weights

        rule, finals, overlaps = plasticity(method), [], []
        for task in tasks:
            (end,) = solve_weights(task.white, _begin(task, method), rule, [self.steps * LR])
            finals.append(mode_strengths(task.white, [end])[0])
            overlaps.append(overlap(task.white, end.p))
        learnt = [int((final >= LEARNT).sum()) for final in finals]
        return {
            "part": part, "method": method, "modes_theory": mean(learnt),
            "modes_simulation": int((curves.simulated[-1] >= LEARNT).sum()),
            "strength": mean([float(final.sum()) for final in finals]),
            # backpropagation makes no use of P
            "overlap": None if rule.transport else mean(overlaps),
            "error": _rms(curves.theory, curves.simulated), "error_white": _rms(curves.white, curves.simulated),
            "modes_per_seed": learnt, "n": len(tasks),
        }  # fmt: skip

    def _limit(self, task: _Task) -> list[ExperimentCheck]:
        """Whether a fixed P leads from small weights to where the closed form says."""
        from neurofa.theory.lowrank.equations import mode_strengths, reachable_strengths
        from neurofa.theory.lowrank.solution import solve_weights

        rule = replace(plasticity(FIXED), decay=0.0, decay_back=0.0)
        small = replace(task.begin, w1=task.begin.w1 * 1e-4, w2=task.begin.w2 * 1e-4)
        (end,) = solve_weights(task.white, small, rule, [self.steps * LR])
        final, closed = mode_strengths(task.white, [end])[0], reachable_strengths(task.white, small.p)
        return [
            at_most("oja: P fixed, from small weights: largest distance of a mode from |Pi v_j|^2",
                    float((final - closed).abs().max()), 0.02),
            at_most("oja: P fixed, from small weights: the strongest mode", float(final.max()), LEARNT),
        ]  # fmt: skip

    def _step(self, setup: Setup) -> Findings:
        from neurofa.theory.lowrank.equations import mode_strengths
        from neurofa.theory.lowrank.simulation import full_batches, simulate_weights
        from neurofa.theory.lowrank.solution import solve_weights
        from neurofa.theory.moments import Moments

        task, found = self._task(0), Findings(columns=["method", "lr", "error", "ratio"])
        steps_of = (4 * LR, 2 * LR, LR, LR / 2)
        x_axis = Axis("learning rate", scale="log", ticks={lr: f"{lr:g}" for lr in steps_of})
        panel = Panel(x=x_axis, y=Axis("rms of mode strengths", scale="log"))
        x, y = self._inputs(task, self.samples or 500)
        moments = Moments.of(x, y)
        for colour, method in (("tab:blue", STEADY), ("tab:orange", LABELS)):
            errors: list[float] = []
            for lr in steps_of:
                steps = round(0.1 * self.steps * LR / lr)
                begin, rule = _begin(task, method), plasticity(method)
                batches, every = full_batches(x, y), max(1, steps // 20)
                times, path = simulate_weights(batches, begin, rule, lr=lr, steps=steps, every=every)
                theory = solve_weights(moments, begin, rule, times)
                errors.append(_rms(mode_strengths(task.white, theory), mode_strengths(task.white, path)))
                ratio = errors[-2] / errors[-1] if len(errors) > 1 else None
                found.rows.append({"part": "step", "method": method, "lr": lr, "error": errors[-1], "ratio": ratio})
            name = f"step: {method}: error at lr {LR:g} over that at {LR / 2:g}"
            found.checks += [at_least(name, errors[-2] / errors[-1], 1.8), at_most(name, errors[-2] / errors[-1], 2.2)]
            rates = [row["lr"] for row in found.rows if row["method"] == method]
            panel.marks.append(Curve(x=rates, y=errors, label=method, colour=colour, style="-o"))
            line = [errors[-1] * rate / rates[-1] for rate in rates]
            panel.marks.append(Curve(x=rates, y=line, label="in proportion", colour="0.6", style="--"))
        draw_figure(setup.folder / "step.png", [panel], title="step: distance of simulation from theory, seed 0")
        found.pictures = ["step.png"]
        return found


def plasticity(method: str) -> Plasticity:
    """The equations of a method; the script's decay is per step, theirs per unit of time."""
    from neurofa.theory.lowrank.equations import Plasticity

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


def _begin(task: _Task, method: str) -> Weights:
    if method != TOP:
        return task.begin
    rank = len(task.begin.p)
    return replace(task.begin, p=task.white.modes()[0][:, :rank].t().contiguous())


def overlap(moments: Moments, p: Tensor) -> float:
    """How much of the r leading output modes lies in the row space of P, |P_orth U_r|^2 / r: 1 is all of them."""
    import torch

    basis, _ = torch.linalg.qr(p.double().t())
    return float((basis.t() @ moments.modes()[0][:, : len(p)]).square().sum() / len(p))


def checks(part: str, rows: Sequence[Record]) -> list[ExperimentCheck]:
    """The statements of one part about its table.

    Args:
        part: ``track`` or ``oja``.
        rows: one a method.
    """
    by = {row["method"]: row for row in rows}
    learnt, fixed = BEATEN[part]
    made = [at_most(f"{part}: {row['method']}: theory against simulation, rms", row["error"], APART) for row in rows]
    more = by[learnt]["modes_theory"] - by[fixed]["modes_theory"]
    made.append(above(f"{part}: modes that '{learnt}' learns and '{fixed}' misses", more, 0))
    if part == "track":
        more = by[SCRIPT]["modes_theory"] - by[Q_TRACKS]["modes_theory"]
        made.append(above(f"track: modes that '{SCRIPT}' learns and '{Q_TRACKS}' misses", more, 0))
        return made
    made.append(at_least("oja: overlap of P with the leading modes, labels", by[LABELS]["overlap"], 0.99))
    made.append(at_least("oja: overlap of P with the leading modes, errors", by[ERRORS]["overlap"], 0.99))
    return made


def _rms(a: Tensor, b: Tensor) -> float:
    """Distance of the strongest modes, over modes and times."""
    return float((a - b)[:, :SHOWN].square().mean().sqrt())


def _panel(method: str, curves: _Curves) -> Panel:
    panel = Panel(title=method, x=Axis("steps", whole=True), y=Axis("mode strength", limits=(-0.05, 1.1)))
    steps = [time / LR for time in curves.times]
    modes = min(SHOWN, curves.theory.shape[1])
    for mode in reversed(range(modes)):
        colour = f"{0.05 + 0.75 * mode / modes:.3f}"
        panel.marks.append(Curve(x=steps, y=curves.theory[:, mode].tolist(), colour=colour))
        dots = curves.simulated[::4, mode].tolist()
        panel.marks.append(Curve(x=steps[::4], y=dots, colour=colour, style=".", size=5))
    return panel
