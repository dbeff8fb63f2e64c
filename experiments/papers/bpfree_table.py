"""Every learning rule of the package on the same four tasks."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.charts.accuracies import accuracy_chart
from experiments.sweeps.experiment import Experiment, ExperimentCheck, Findings, Reference, at_least, margin_checks
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import Fields, Study, run_study
from experiments.tables import Record
from hwmodels.errors import NeurofaError
from hwmodels.registry import parts as registered
from hwmodels.spec import Spec

CONTROL = "readout_only"
MLP = "mlp(hidden=[256, 256], activation=tanh)"
CNN = "cnn(channels=[16, 32], kernel=3, norm=batch)"
OPTIMIZERS = (
    "sgd(lr=0.003, momentum=0.9)",
    "sgd(lr=0.01, momentum=0.9)",
    "sgd(lr=0.03, momentum=0.9)",
    "adam(lr=0.001)",
)
"""What every rule may choose from, on validation data."""
TASKS = {"mnist_mlp": MLP, "mnist_cnn": CNN, "cifar10_mlp": MLP, "cifar10_cnn": CNN}
"""Networks by part."""

GRAPE = "GrAPE 2026 (others' notes on it): CNN, settings not given"
PEPITA = "Dellaferrera and Kreiman 2022 and its repository: 100 epochs"
REFERENCES = {
    "mnist_mlp": [
        Reference(f"{rule}: test accuracy, %", v, f"{PEPITA}, fully connected", "remembered, not verified")
        for rule, v in {"bp": 98.63, "fa": 98.42, "drtp": 95.10, "pepita": 98.01}.items()
    ],
    "mnist_cnn": [
        Reference(f"{rule}: test accuracy, %", v, GRAPE, "second hand")
        for rule, v in {"bp": 99.03, "fa": 98.7, "dfa": 98.6, "grape2026": 98.8}.items()
    ] + [Reference("pepita: test accuracy, %", 98.29, f"{PEPITA}, convolutional", "second hand")],
    "cifar10_mlp": [Reference("pepita: test accuracy, %", 52.6, f"{PEPITA}, its notebook", "read")],
    "cifar10_cnn": [
        Reference(f"{rule}: test accuracy, %", v, GRAPE, "second hand")
        for rule, v in {"bp": 74.66, "fa": 71.05, "dfa": 69.34, "grape2026": 73.1}.items()
    ] + [Reference("pepita: test accuracy, %", 56.33, f"{PEPITA}, convolutional", "second hand")],
}  # fmt: skip


class BackpropagationFreeTable(Experiment, name="bpfree_table"):
    """All registered rules, with their default options, on MNIST and CIFAR-10 with an MLP and a CNN.

    Parts: ``mnist_mlp``, ``mnist_cnn``, ``cifar10_mlp``, ``cifar10_cnn``. Each rule chooses optimizer and rate out of
    four on validation data; rules that are sensitive to their own options could do better than with the defaults. The
    default size trains on 10,000 images for 3 epochs; ``full`` on all of them for 30.

    Args:
        digits: data of the first two parts.
        images: data of the others.
        only: rules; None: all that are registered. The control is always among them.
        epochs: of the runs that count, instead of each size's own.
        tuning_epochs: of the runs that choose, instead of each size's own.
    """

    source = "tables of Dellaferrera and Kreiman 2022, Frenkel et al. 2021 and Caillon et al. 2026, in one place"
    question = "Which rules train hidden layers, beside backpropagation and a readout on random features?"
    parts = tuple(TASKS)

    def __init__(
        self, *, digits: Spec | str | None = None, images: Spec | str | None = None, only: list[str] | None = None,
        epochs: int | None = None, tuning_epochs: int | None = None,
    ) -> None:  # fmt: skip
        self.digits, self.images, self.epochs, self.tuning_epochs = digits, images, epochs, tuning_epochs
        known = registered("rule")
        for name in only or ():
            if name not in known:
                raise NeurofaError(f"got bpfree_table(only=[{name}]); expected some of {', '.join(known)}; change only")
        self.rules = [name for name in known if only is None or name in only or name == CONTROL]

    def run(self, part: str, setup: Setup) -> Findings:
        share = "" if setup.full else "subset=10000"
        digits, images = self.digits or f"mnist({share})", self.images or f"cifar10(flip=True, {share})"
        study = Study(
            common={
                "data": str(digits if part.startswith("mnist") else images), "network": TASKS[part], "batch_size": 64,
                "schedule": "cosine", "epochs": self.epochs or (30 if setup.full else 3),
            },
            methods={rule: _candidates(rule) for rule in self.rules}, control=CONTROL,
            tuning_epochs=self.tuning_epochs or (3 if setup.full else 1),
        )  # fmt: skip
        found = run_study(study, setup, name=part)
        lines = sorted(found.lines, key=lambda line: -line["test_accuracy"])
        accuracy_chart(
            setup.folder / f"{part}.png", lines, control=CONTROL,
            title=f"{part}: {study.common['data']}, {study.common['epochs']} epochs, {setup.seeds} seeds",
        )  # fmt: skip
        return Findings(
            rows=lines, tuning=found.tuning, reference=REFERENCES[part], checks=checks(part, lines),
            pictures=[f"{part}.png"],
        )  # fmt: skip


def _candidates(rule: str) -> list[Fields]:
    return [{"rule": rule, "optimizer": optimizer} for optimizer in OPTIMIZERS]


def checks(part: str, lines: Sequence[Record]) -> list[ExperimentCheck]:
    """Whether every rule beats the control.

    Args:
        part: one of the experiment's parts.
        lines: one a rule, margins as shares.
    """
    made = margin_checks(part, lines, CONTROL)
    winners = sum(check.holds for check in made)
    return [
        *made,
        at_least(f"{part}: share of rules that beat the control", winners / len(made) if made else None, 0.5),
    ]
