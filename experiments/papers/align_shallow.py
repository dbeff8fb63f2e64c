"""Align, then memorise: do the closed equations describe a shallow student, and the hardware that it learns on?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.charts.figure import draw_figure
from experiments.protocols import shallow
from experiments.protocols import shallow_report as report
from experiments.protocols.shallow import KINDS, TWO, Fields
from experiments.sweeps.experiment import Checks, Experiment, Findings, Reference, above, at_least, at_most
from experiments.sweeps.setup import Setup
from experiments.tables import Record
from hwmodels.errors import NeurofaError

RATE, SD, LABEL_NOISE = 0.1, 0.1, 0.3
IDEAL: Fields = {"rate": RATE}
NOISY = {"rate": RATE, "label_noise": LABEL_NOISE}
BP_NOISE, EXCHANGED = "bp, label noise", "sigma and eta exchanged"
FLOW: Mapping[str, Fields] = {
    "dfa": IDEAL,
    BP_NOISE: {**NOISY, "rule": "bp"},
    "dfa, label noise": NOISY,
    "dfa, linear units": {"rate": RATE, "activation": "linear"},
}
"""Problems of the part flow, of which the default size has the first two."""
WRONG: Mapping[str, Mapping[str, Fields]] = {
    BP_NOISE: {EXCHANGED: {"rate": LABEL_NOISE, "label_noise": RATE, "rule": "bp"}}
}
"""Theories that are wrong for a problem."""

ALL: Record = {"read_noise": 0.2, "readout_noise": 0.2, "feedback_noise": 0.5, "signal_noise": 0.2}
ALL |= {"pulse_noise": 2.0, "update_noise": 0.03, "feedback": "uniform(bits=3)"}
HARDWARE: Mapping[str, Fields] = {
    "ideal": {},
    "read noise 0.3": {"read_noise": 0.3},
    "readout noise 0.6": {"readout_noise": 0.6},
    "feedback noise 1": {"feedback_noise": 1.0},
    "signal noise 0.3": {"signal_noise": 0.3},
    "pulse noise 3.75": {"pulse_noise": 3.75},
    "update noise 0.05": {"update_noise": 0.05},
    "feedback of 3 bits": {"feedback": "uniform(bits=3)"},
    "all of them": ALL,
}
"""Hardware for which the equations close."""
STOPS: Mapping[str, Fields] = {
    "readout update noise 0.05": {"readout_update_noise": 0.05},
    "ternary error": {"error": "ternary(threshold=0.3)"},
}
"""Hardware for which they stop, shown beside the ideal equations."""
CLOSE = {"flow": 2.0, "hardware": 3.0}
"""Percent that simulation and theory may differ by, means over runs."""
LAW = "derived; the paper has an expansion of this kind (remembered, not read)"
COEFFICIENT = Reference("v_k / F_k over (eta t)^2 |A|^2 for T = I", 1 / 9.8696044, "1 / pi^2", LAW)


@dataclass(frozen=True, kw_only=True)
class AlignShallow(Experiment, name="align_shallow"):
    """A student with one hidden layer learns online from a teacher, K = M = 2, erf units, eta = 0.1.

    Parts: ``flow`` (the closed equations against simulation, dfa and bp), ``early`` (from zero weights v grows along
    the feedback), ``phases`` (align, then memorise: alignment and plateau), ``hardware`` (noise and number formats of
    the arrays, and where the equations stop). Theory starts from the overlaps of the very student that is simulated.
    When a finite student leaves its plateau is decided by small differences of its units: there it keeps to the
    equations only roughly, which the part phases shows and the checks of the other parts, which end before, leave out.

    Raises:
        NeurofaError: a size below 1.
    """

    source = "Refinetti et al. 2021, arXiv 2011.12428 (abstract read; equations of the code); noise terms derived"
    differs = "sizes N, times and numbers of students are ours; arrays with noise and few bits are not in the source"
    question = "Do closed equations describe how a shallow student aligns and memorises, also on noisy arrays?"
    parts = ("flow", "early", "phases", "hardware")

    inputs: int = 1000
    """N of every part but phases."""
    runs: int = 4
    """Students of a problem, in the parts flow and hardware (full: five times as many)."""
    early_runs: int = 1600
    """Students of the part early, in four batches."""
    until: float | None = None
    """Last time of the parts flow and hardware, steps / N, instead of 300 and 100 (full: both 300)."""
    solved: int = 24
    """Students of the part phases, of each kind."""
    horizon: float = 10_000.0
    """Last time of the part phases, steps / N."""

    def __post_init__(self) -> None:
        sizes = (self.inputs, self.runs, self.early_runs // 4, self.solved)
        if min(sizes) < 1 or self.horizon <= 0 or (self.until is not None and self.until <= 0):
            got = f"inputs={self.inputs}, runs={self.runs}, early_runs={self.early_runs}, solved={self.solved}"
            expected = "sizes >= 1 (early_runs >= 4) and times > 0"
            raise NeurofaError(f"got align_shallow({got}); expected {expected}; raise them")

    def run(self, part: str, setup: Setup) -> Findings:
        parts = {"flow": self._flow, "early": self._early, "phases": self._phases, "hardware": self._hardware}
        return parts[part](setup)

    def _flow(self, setup: Setup) -> Findings:
        problems = {name: FLOW[name] for name in list(FLOW)[: None if setup.full else 2]}
        theories = {name: {"theory": problem, **WRONG.get(name, {})} for name, problem in problems.items()}
        answers = self._simulate(setup, "flow", problems, theories, self.until or 300.0)
        rows = [row for name in problems for row in report.comparison("flow", name, answers[name])]
        wrong = [report.comparison("flow", name, answers[name], EXCHANGED) for name in problems if name in WRONG]
        what = f"flow: control: equations with {EXCHANGED}, off by, %"
        checks = [above(what, report.worst_mean(compared), CLOSE["flow"]) for compared in wrong]
        panels = [report.compared_panel(name, answers[name], list(theories[name])) for name in problems]
        title = f"Generalisation error, N = {self.inputs}, {self._runs(setup)} students: means"
        draw_figure(setup.folder / "flow.png", panels, title=title)
        return Findings(rows=rows, checks=checks, pictures=["flow.png"], columns=report.COMPARED)

    def _hardware(self, setup: Setup) -> Findings:
        problems = {name: {**IDEAL, "hardware": noise} for name, noise in {**HARDWARE, **STOPS}.items()}
        closed = {name: {"theory": problems[name]} for name in HARDWARE}
        theories = closed | {name: {"ideal": IDEAL} for name in STOPS}
        until = self.until or (300.0 if setup.full else 100.0)
        answers = self._simulate(setup, "hardware", problems, theories, until)
        rows, panels = [], []
        for name, answer in answers.items():
            rows += report.comparison("hardware", name, answer, *theories[name])
            title = name if name in HARDWARE else f"{name}: no closed equations"
            shown = ["theory"] if name in HARDWARE else []
            panels.append(report.compared_panel(title, answer, shown, answers["ideal"]))
        title = f"Hardware: N = {self.inputs}, {self._runs(setup)} students: means"
        draw_figure(setup.folder / "hardware.png", panels, columns=3, title=title)
        return Findings(rows=rows, pictures=["hardware.png"], columns=report.COMPARED)

    def _early(self, setup: Setup) -> Findings:
        t = 0.5
        problems = {"ideal": IDEAL, "feedback noise 1": {**IDEAL, "hardware": {"feedback_noise": 1.0}}}
        students = {"runs": self.early_runs // 4, "inputs": self.inputs, **TWO}
        cells = [{"problem": p, "seed": seed, **students, "t": t} for p in problems.values() for seed in range(4)]
        answers = shallow.run_students(shallow.first_steps, cells, setup, name="early")
        rows = [report.early_row(name, answers[4 * at : 4 * at + 4], t) for at, name in enumerate(problems)]
        columns = ["case", "t", "solved_off", "simulated_off", "deviation", "alignment"]
        return Findings(rows=rows, reference=[COEFFICIENT], columns=columns)

    def _phases(self, setup: Setup) -> Findings:
        students = {"inputs": 500, **TWO, "sd": SD, "times": report.log_times(self.horizon, 48), "stop": 1e-6}
        runs = {
            kind: shallow.solve_students(setup, "phases, solved", self.solved, 6, problem=IDEAL, feedback=f, **students)
            for kind, f in KINDS.items()
        }
        size, few, last = (500, 8, 3000.0) if setup.full else (200, 3, 2000.0)
        cell = {"problem": IDEAL, "theories": {"theory": IDEAL}, "seed": 0, "runs": few, "inputs": size, **TWO}
        cell |= {"sd": SD, "times": report.log_times(min(self.horizon, last)), "feedback": "signs"}
        (simulated,) = shallow.run_students(shallow.simulate_beside_theories, [cell], setup, name="phases, simulated")
        panels = report.phase_panels(runs, simulated, size)
        draw_figure(setup.folder / "phases.png", panels, title="Align, then memorise: K = M = 2, erf units, eta = 0.1")
        rows = [report.phase_row(kind, lines) for kind, lines in runs.items()]
        columns = ["case", "n", "entry", "level", "exit", "converged", "agree", "peak", "peak_t", "final"]
        return Findings(rows=rows, pictures=["phases.png"], columns=columns)

    def _runs(self, setup: Setup) -> int:
        return 5 * self.runs if setup.full else self.runs

    def _simulate(
        self, setup: Setup, part: str, problems: Mapping[str, Fields], theories: Mapping[str, Any], until: float
    ) -> dict[str, Record]:
        students: Record = {"seed": 0, "runs": self._runs(setup), "inputs": self.inputs, **TWO, "sd": SD}
        students |= {"times": report.log_times(until)}
        cells = [{"problem": problem, "theories": theories[name], **students} for name, problem in problems.items()]
        answers = shallow.run_students(shallow.simulate_beside_theories, cells, setup, name=part)
        return dict(zip(problems, answers, strict=True))

    def checks(self, part: str, rows: Sequence[Record]) -> Checks:
        judge = {"flow": _check_flow, "hardware": _check_hardware, "early": _check_early, "phases": _check_phases}
        return judge[part](rows)


def _check_flow(rows: Sequence[Record]) -> Checks:
    for name in dict.fromkeys(row["case"] for row in rows):
        yield report.closest("flow", name, rows, CLOSE["flow"])


def _check_hardware(rows: Sequence[Record]) -> Checks:
    bound = CLOSE["hardware"]
    for name in HARDWARE:
        yield report.closest("hardware", name, rows, bound)
    # a control: no hardware but the ideal one is so weak that the ideal equations would do
    ideal = {row["t"]: row["theory"] for row in rows if row["case"] == "ideal"}
    for name in [*list(HARDWARE)[1:], *STOPS]:
        off = max(abs(100 * (row["simulated"] / ideal[row["t"]] - 1)) for row in rows if row["case"] == name)
        yield above(f"hardware: {name}: the ideal machine is off by, %", off, bound)


def _check_early(rows: Sequence[Record]) -> Checks:
    for row in rows:
        yield at_most(f"early: {row['case']}: equations against the law, %", abs(row["solved_off"]), 1.0)
        yield at_most(f"early: {row['case']}: simulation against the law, %", abs(row["simulated_off"]), 1.0)


def _check_phases(rows: Sequence[Record]) -> Checks:
    for row in rows:
        what = f"phases: {row['case']}"
        yield at_least(f"{what}: mean cos(v, F) at its highest", row["peak"], 0.98)
        yield at_least(f"{what}: signs agree, of students that converged, %", row["agree"], 100)
    normal = rows[0]
    fall = normal["peak"] - normal["final"]
    yield above(f"phases: {normal['case']}: fall of the mean cos(v, F) after its peak", fall, 0)
    yield above("phases: mean peak of cos(v, F) before half the exits", normal["exit"], normal["peak_t"])
