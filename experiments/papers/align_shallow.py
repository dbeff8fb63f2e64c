"""Align, then memorise: do the closed equations describe a shallow student, and the hardware that it learns on?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments.charts.figure import draw_figure
from experiments.papers import _shallow as shallow
from experiments.papers._shallow import Fields
from experiments.papers._shallow_report import (
    COMPARED,
    closest,
    compared_panel,
    comparison,
    early_row,
    log_times,
    phase_panels,
    phase_row,
    worst,
)
from experiments.sweeps.experiment import Experiment, Findings, Reference, above, at_least, at_most
from experiments.sweeps.function_sweep import run_function_sweep
from experiments.sweeps.setup import Setup
from experiments.tables import Record
from hwmodels.errors import NeurofaError

RATE, SD = 0.1, 0.1
TWO = {"hidden": 2, "teacher": 2}
LABEL_NOISE = 0.3
EXCHANGED = "sigma and eta exchanged"
IDEAL: Fields = {"rate": RATE}
CASES: Mapping[str, tuple[Fields, Mapping[str, Fields]]] = {
    "dfa": (IDEAL, {}),
    "bp, label noise": (
        {"rate": RATE, "rule": "bp", "label_noise": LABEL_NOISE},
        {EXCHANGED: {"rate": LABEL_NOISE, "rule": "bp", "label_noise": RATE}},
    ),
    "dfa, label noise": ({"rate": RATE, "label_noise": LABEL_NOISE}, {}),
    "dfa, linear units": ({"rate": RATE, "activation": "linear"}, {}),
}
"""What is simulated, and theories that are wrong for it."""

HARDWARE: Mapping[str, Fields] = {
    "ideal": {},
    "read noise 0.3": {"read_noise": 0.3},
    "readout noise 0.6": {"readout_noise": 0.6},
    "feedback noise 1": {"feedback_noise": 1.0},
    "signal noise 0.3": {"signal_noise": 0.3},
    "pulse noise 3.75": {"pulse_noise": 3.75},
    "update noise 0.05": {"update_noise": 0.05},
    "feedback of 3 bits": {"feedback": "uniform(bits=3)"},
    "all of them": {
        "read_noise": 0.2, "readout_noise": 0.2, "feedback_noise": 0.5, "signal_noise": 0.2, "pulse_noise": 2.0,
        "update_noise": 0.03, "feedback": "uniform(bits=3)",
    },
}  # fmt: skip
"""Where the equations close."""
STOPS: Mapping[str, Fields] = {
    "readout update noise 0.05": {"readout_update_noise": 0.05},
    "ternary error": {"error": "ternary(threshold=0.3)"},
}
"""Where they stop; shown beside the ideal equations."""
CLOSE = {"flow": 2.0, "hardware": 3.0}
"""Percent that simulation and theory may differ by, means over runs."""
LAW = "derived; the paper has an expansion of this kind (remembered, not read)"


class AlignShallow(Experiment, name="align_shallow"):
    """A student with one hidden layer learns online from a teacher, K = M = 2, erf units, eta = 0.1.

    Parts: ``flow`` (the closed equations against simulation, dfa and bp), ``early`` (from zero weights v grows along
    the feedback), ``phases`` (align, then memorise: alignment and plateau), ``hardware`` (noise and number formats of
    the arrays, and where the equations stop). Theory starts from the overlaps of the very student that is simulated.
    When a finite student leaves its plateau is decided by small differences of its units: there it keeps to the
    equations only roughly, which the part phases shows and the checks of the other parts, which end before, leave out.

    Args:
        inputs: N, of every part but phases.
        runs: students of a case, of the parts flow and hardware.
        early_runs: students of the part early, in four batches.
        until: last time of the parts flow and hardware, steps / N; none: 300 and 100, both 300 when full.
        solved: students of the part phases, of each kind.
        horizon: last time of the part phases.

    Raises:
        NeurofaError: a size below 1.
    """

    source = (
        "Refinetti et al. 2021, arXiv 2011.12428 (abstract and code read; equations of the code); noise terms derived"
    )
    question = (
        "Do the closed equations of direct feedback alignment describe a shallow student while it aligns and while it"
        " memorises, and do they still where its arrays are noisy?"
    )
    parts = ("flow", "early", "phases", "hardware")

    def __init__(
        self, *, inputs: int = 1000, runs: int = 4, early_runs: int = 1600, until: float | None = None,
        solved: int = 24, horizon: float = 10_000.0,
    ) -> None:  # fmt: skip
        if min(inputs, runs, early_runs // 4, solved) < 1 or horizon <= 0 or (until is not None and until <= 0):
            raise NeurofaError(
                f"got align_shallow(inputs={inputs}, runs={runs}, early_runs={early_runs}, solved={solved}); expected"
                " sizes >= 1 (early_runs >= 4) and times > 0; raise them"
            )
        self.inputs, self.runs, self.early_runs, self.until = inputs, runs, early_runs, until
        self.solved, self.horizon = solved, horizon

    def run(self, part: str, setup: Setup) -> Findings:
        return {"flow": self._flow, "early": self._early, "phases": self._phases, "hardware": self._hardware}[part](
            setup
        )

    def _flow(self, setup: Setup) -> Findings:
        names = list(CASES) if setup.full else list(CASES)[:2]
        times = log_times(self.until or 300.0)
        answers = self._compared(
            setup, "flow", {n: (CASES[n][0], {"theory": CASES[n][0], **CASES[n][1]}) for n in names}, times
        )
        rows = [row for name in names for row in comparison("flow", name, answers[name])]
        wrong = [comparison("flow", name, answers[name], EXCHANGED) for name in names if CASES[name][1]]
        made = [closest("flow", name, rows, CLOSE["flow"]) for name in names]
        made += [above(f"flow: control: equations with {EXCHANGED}, off by, %", worst(r), CLOSE["flow"]) for r in wrong]
        panels = [compared_panel(name, answers[name], ["theory", *CASES[name][1]]) for name in names]
        draw_figure(
            setup.folder / "flow.png", panels,
            title=f"Generalisation error, N = {self.inputs}, {self._runs(setup)} students: means",
        )  # fmt: skip
        return Findings(rows=rows, checks=made, pictures=["flow.png"], columns=COMPARED)

    def _hardware(self, setup: Setup) -> Findings:
        cases = {}
        for name, io in {**HARDWARE, **STOPS}.items():
            problem = {**IDEAL, "hardware": io}
            cases[name] = (problem, {"theory": problem} if name in HARDWARE else {"ideal": IDEAL})
        times = log_times(self.until or (300.0 if setup.full else 100.0))
        answers = self._compared(setup, "hardware", cases, times)
        rows = [
            row for name in cases
            for row in comparison("hardware", name, answers[name], "theory" if name in HARDWARE else "ideal")
        ]  # fmt: skip
        made = [closest("hardware", name, rows, CLOSE["hardware"]) for name in HARDWARE]
        # a control: no case but the ideal one is so weak that the ideal equations would do
        ideal = {row["t"]: row["theory"] for row in rows if row["case"] == "ideal"}
        for name in [*list(HARDWARE)[1:], *STOPS]:
            off = max(abs(100 * (row["simulated"] / ideal[row["t"]] - 1)) for row in rows if row["case"] == name)
            made.append(above(f"hardware: {name}: the ideal machine is off by, %", off, CLOSE["hardware"]))
        panels = [
            compared_panel(name, answers[name], ["theory"], answers["ideal"])
            if name in HARDWARE
            else compared_panel(f"{name}: no closed equations", answers[name], [], answers["ideal"])
            for name in cases
        ]
        draw_figure(
            setup.folder / "hardware.png", panels, columns=3,
            title=f"Hardware: N = {self.inputs}, {self._runs(setup)} students: means",
        )  # fmt: skip
        return Findings(rows=rows, checks=made, pictures=["hardware.png"], columns=COMPARED)

    def _early(self, setup: Setup) -> Findings:
        problems = {
            "ideal": IDEAL, "feedback noise 1": {**IDEAL, "hardware": {"feedback_noise": 1.0}},
        }  # fmt: skip
        t = 0.5
        cells = [
            {"problem": problem, "seed": seed, "runs": self.early_runs // 4, "inputs": self.inputs, **TWO, "t": t}
            for problem in problems.values() for seed in range(4)
        ]  # fmt: skip
        answers = run_function_sweep(shallow.first_steps, cells, setup, name="early")
        rows = [early_row(name, answers[4 * at : 4 * at + 4], t) for at, name in enumerate(problems)]
        made = []
        for row in rows:
            made.append(at_most(f"early: {row['case']}: equations against the law, %", abs(row["solved_off"]), 1.0))
            made.append(at_most(f"early: {row['case']}: simulation against the law, %", abs(row["simulated_off"]), 1.0))
        reference = [Reference("v_k / F_k over (eta t)^2 |A|^2 for T = I", 1 / 9.8696044, "1 / pi^2", LAW)]
        columns = ["case", "t", "solved_off", "simulated_off", "deviation", "alignment"]
        return Findings(rows=rows, checks=made, reference=reference, columns=columns)

    def _phases(self, setup: Setup) -> Findings:
        times = log_times(self.horizon, 48)
        kinds = {"F from N(0, 1)": "normal", "|F| = 1": "signs"}
        batches = [list(range(self.solved))[at : at + 6] for at in range(0, self.solved, 6)]
        cells = [
            {
                "problem": IDEAL, "seeds": seeds, "inputs": 500, **TWO, "sd": SD, "times": times,
                "feedback": feedback, "stop": 1e-6,
            }
            for feedback in kinds.values() for seeds in batches
        ]  # fmt: skip
        answers = run_function_sweep(shallow.solved_runs, cells, setup, name="phases, solved")
        runs = {
            kind: [line for answer in answers[at * len(batches) : (at + 1) * len(batches)] for line in answer["runs"]]
            for at, kind in enumerate(kinds)
        }
        size, few = (500, 8) if setup.full else (200, 3)
        seen_times = log_times(min(self.horizon, 3000.0 if setup.full else 2000.0))
        (seen,) = run_function_sweep(
            shallow.compare,
            [
                {
                    "problem": IDEAL, "theories": {"theory": IDEAL}, "seed": 0, "runs": few, "inputs": size, **TWO,
                    "sd": SD, "times": seen_times, "feedback": "signs",
                }
            ],
            setup, name="phases, simulated",
        )  # fmt: skip
        rows = [phase_row(kind, lines) for kind, lines in runs.items()]
        made = []
        for row in rows:
            made.append(at_least(f"phases: {row['case']}: mean cos(v, F) at its highest", row["peak"], 0.98))
            made.append(
                at_least(f"phases: {row['case']}: signs agree, of students that converged, %", row["agree"], 100)
            )
        made.append(
            above(
                "phases: F from N(0, 1): fall of the mean cos(v, F) after its peak",
                rows[0]["peak"] - rows[0]["final"],
                0,
            )
        )
        made.append(above("phases: mean peak of cos(v, F) before half the exits", rows[0]["exit"], rows[0]["peak_t"]))
        draw_figure(
            setup.folder / "phases.png",
            phase_panels(runs, seen, size),
            title="Align, then memorise: K = M = 2, erf units, eta = 0.1",
        )
        columns = ["case", "n", "entry", "level", "exit", "converged", "agree", "peak", "peak_t", "final"]
        return Findings(rows=rows, checks=made, pictures=["phases.png"], columns=columns)

    def _runs(self, setup: Setup) -> int:
        return 5 * self.runs if setup.full else self.runs

    def _compared(
        self, setup: Setup, part: str, cases: Mapping[str, tuple[Fields, Mapping[str, Fields]]], times: Sequence[float]
    ) -> dict[str, Record]:  # fmt: skip
        cells = [
            {
                "problem": problem, "theories": theories, "seed": 0, "runs": self._runs(setup), "inputs": self.inputs,
                **TWO, "sd": SD, "times": times,
            }
            for problem, theories in cases.values()
        ]  # fmt: skip
        return dict(zip(cases, run_function_sweep(shallow.compare, cells, setup, name=part), strict=True))
