"""Which parts of feedback that aligns itself matter, and what would have been there without it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.charts.accuracies import accuracy_chart
from experiments.sweeps.experiment import Experiment, ExperimentCheck, Findings, Reference, above
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import Fields, Study, run_study
from experiments.tables import Record, mean, percent
from hwmodels.spec import Spec

CONTROL, DFA, BP = "readout_only", "dfa", "bp"
FROZEN, CALIBRATED = "dfa, convolutions frozen", "dfa, calibrated"
WITH_NORM = "cnn(channels=[16, 32], kernel=3, norm=batch)"
BARE = "cnn(channels=[16, 32], kernel=3)"
CONVOLUTIONS = "[conv2d0, conv2d2]"
PAPER = "submission oRPXPoTXYz, AlexNet on CIFAR-100, 100 epochs"

REFERENCES = [
    Reference(f"{what}: top accuracy, %", value, PAPER, "read")
    for what, value in {
        "dfa": 29.75, "grape2025": 40.43, "without rescaling": 32.31, "without batch norm": 34.7, "eta 0.0001": 39.57,
        "eta 0.001": 40.43, "eta 0.01": 40.34, "eta 0.05": 38.5,
    }.items()
]  # fmt: skip


class GrAPEAblation(Experiment, name="grape_ablation"):
    """Arms of grape2025 and grape2026 on a convolutional net, with the controls that reviewers asked for.

    Parts: ``grape2025`` (step eta, rescaling, noise, batch normalisation), ``grape2026`` (perturbed space, calibration
    by a step of backpropagation every epoch, and that calibration alone with random feedback). Controls of both: bp,
    dfa, dfa whose convolutions are frozen, readout_only. All arms choose between the same rates on validation data.
    The table also tells cos(B, J) and the linear separability of the features of the last convolution at the end of
    training: what convolutions learn shows there, not in the accuracy of the dense layers above. Times of a step are
    compared by ``neurofa speed rules``.

    Args:
        data: images.
        epochs: of the runs that count, instead of 3 (full: 30).
        tuning_epochs: of the runs that choose.
        steps: steps of an epoch, from one calibration to the next; None: of the default data.
    """

    source = "questions of the reviews of oRPXPoTXYz (ICLR 2025) and kasbbmwk3s (ICLR 2026)"
    question = (
        "What do step, rescaling, noise, normalisation, perturbed space and calibration do, beside plain controls?"
    )
    parts = ("grape2025", "grape2026")

    def __init__(
        self, *, data: Spec | str | None = None, epochs: int | None = None, tuning_epochs: int = 1,
        steps: int | None = None,
    ) -> None:  # fmt: skip
        self.data, self.epochs, self.tuning_epochs, self.steps = data, epochs, tuning_epochs, steps

    def run(self, part: str, setup: Setup) -> Findings:
        full = setup.full
        images = "cifar10(flip=True)" if full else "cifar10(subset=8000, flip=True)"
        arms = _of_2025() if part == "grape2025" else _of_2026(self.steps or (704 if full else 125))
        study = Study(
            common={
                "data": str(self.data or images), "batch_size": 64, "epochs": self.epochs or (30 if full else 3),
                "schedule": "cosine", "log": "ends",
            },
            methods={name: _candidates(*arm) for name, arm in {**_controls(), **arms}.items()},
            tuning_epochs=self.tuning_epochs, control=CONTROL,
        )  # fmt: skip
        found = run_study(study, setup, name=part)
        lines = [line | _end([run.metrics for run in found.runs[line["method"]]]) for line in found.lines]
        accuracy_chart(
            setup.folder / f"{part}.png", lines, control=CONTROL,
            title=f"{part}: {study.common['data']}, {study.common['epochs']} epochs, {setup.seeds} seeds",
        )  # fmt: skip
        return Findings(
            rows=lines, tuning=found.tuning, reference=REFERENCES if part == "grape2025" else [],
            checks=checks(part, lines), pictures=[f"{part}.png"],
            columns=["method", "test_accuracy", "cos_B_J", "separable_below", "separable_top", "optimizer", "n"],
        )  # fmt: skip


def _controls() -> dict[str, tuple[str, str]]:
    return {
        BP: (BP, WITH_NORM), DFA: (DFA, WITH_NORM), FROZEN: (f"dfa(frozen={CONVOLUTIONS})", WITH_NORM),
        CONTROL: (CONTROL, WITH_NORM),
    }  # fmt: skip


def _of_2025() -> dict[str, tuple[str, str]]:
    def arm(options: str) -> tuple[str, str]:
        return f"grape2025(window=1000, {options})", WITH_NORM

    return {
        **{f"eta {eta:g}": arm(f"eta={eta:g}") for eta in (1e-4, 1e-3, 1e-2, 5e-2)},
        "no rescaling": arm("eta=0.01, rescale=False"),
        "no noise": arm("eta=0.01, noise=0.0"),
        "noise 0.1": arm("eta=0.01, noise=0.1"),
        "alternative 2": arm("eta=0.01, alternative=2"),
        "no batch norm": ("grape2025(window=1000, eta=0.01)", BARE),
        "dfa, no batch norm": (DFA, BARE),
    }


def _of_2026(steps: int) -> dict[str, tuple[str, str]]:
    def arm(options: str) -> tuple[str, str]:
        return f"grape2026({options})", WITH_NORM

    return {
        "activity": arm("space=activity"),
        "weight": arm("space=weight"),
        "smaller": arm("space=smaller"),
        "activity, mean of 1000 steps": arm("space=activity, window=1000"),
        "pooled feedback": arm("space=activity, feedback=pooled(distribution=normal)"),
        "smaller, calibrated": arm(f"space=smaller, calibrate={steps}"),
        CALIBRATED: (f"dfa(calibrate={steps})", WITH_NORM),
        "fdfa": ("fdfa", WITH_NORM),
    }


def _candidates(rule: str, network: str) -> list[Fields]:
    return [
        {"rule": rule, "network": network, "optimizer": f"sgd(lr={lr}, momentum=0.9)"} for lr in (0.001, 0.003, 0.01)
    ]


def _end(seeds: Sequence[Sequence[Mapping[str, Any]]]) -> Record:
    """Means over seeds at the end of training: of cos(B, J) over layers, and of what a linear probe reads."""
    ends = [rows[-1] for rows in seeds]
    layers = [end["jacobian"]["layers"] for end in ends]
    cosines = [row["matrix_cosine"] for each in layers for row in each.values() if row["matrix_cosine"] is not None]
    features = [list(end["features"]["layers"].values()) for end in ends]
    return {
        "cos_B_J": mean(cosines),
        "separable_below": mean([each[-2] for each in features]),
        "separable_top": mean([each[-1] for each in features]),
    }


def checks(part: str, lines: Sequence[Record]) -> list[ExperimentCheck]:
    """What each arm is worth beside its controls.

    Args:
        part: one of the experiment's parts.
        lines: one an arm, accuracies as shares.
    """
    at = {line["method"]: line["test_accuracy"] for line in lines}
    made = [
        above(f"{part}: {arm} over {DFA}, points", percent(at[arm] - at[DFA]), 0)
        for arm in at
        if arm not in (BP, DFA, CONTROL, FROZEN)
    ]
    made.append(above(f"{part}: what dfa's convolutions learn is worth, points", percent(at[DFA] - at[FROZEN]), 0))
    if CALIBRATED in at:
        gained = percent(at["smaller, calibrated"] - at[CALIBRATED])
        made.append(above(f"{part}: calibrated grape2026 over calibration alone, points", gained, 0))
    return made
