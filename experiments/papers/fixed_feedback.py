"""Do rules with fixed or simply learnt feedback train real networks, and do they survive four-bit weights?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from experiments.charts.accuracies import accuracy_chart
from experiments.sweeps.experiment import (
    Experiment,
    ExperimentCheck,
    Findings,
    Reference,
    above,
    at_least,
    at_most,
    margin_checks,
)
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import Fields, Study, run_study
from experiments.tables import Record, percent
from hwmodels.spec import Spec

CONTROL = "readout_only"
SMALL_STEPS = "4 bits, nearest, lr 0.03"

TARGETS = {
    "mnist": {"bp": 98.3, "fa": 97.5, "dfa": 97.5, "tdfa": 97.5, "drtp": 94.0},
    "bits": {"4 bits, stochastic": 96.0},
}
"""Test accuracy that a method has to reach, percent."""

BY_HAND = "hand-written loop in plain torch: one seed, 784-800-800-10, batch 64, 10 epochs"
BIOTORCH = "BioTorch's benchmark table: LeNet on CIFAR-10, 250 epochs, Adam (another net: for orientation)"

REFERENCES = {
    "mnist": [
        Reference(f"{method} test accuracy, %", value, BY_HAND, "measured here by hand")
        for method, value in {
            "bp": 98.51, "fa": 97.80, "dfa": 97.96, "tdfa": 98.18, "drtp": 94.13, "readout_only": 95.29,
        }.items()
    ],
    "bits": [
        Reference(f"{method}: test accuracy, %", value, "hand-written loop in plain torch: one seed, 6 epochs",
                  "measured here by hand")
        for method, value in {"4 bits, stochastic": 96.8, SMALL_STEPS: 12.8}.items()
    ],
    "cnn": [
        Reference(f"{method} test accuracy, %", value, BIOTORCH, "read, not measured here")
        for method, value in {"bp": 84.08, "fa": 59.33, "dfa": 62.41, "usf": 83.66}.items()
    ],
    "vit": [],
}  # fmt: skip


class FixedFeedback(Experiment, name="fixed_feedback"):
    """Rules of the feedback-alignment family beside backpropagation and the readout-only control.

    Parts: ``mnist`` (rules on an MLP of 784-800-800-10), ``bits`` (dfa with four-bit weights), ``cnn`` and ``vit``
    (CIFAR-10). Every method is tuned on validation data with one seed of its own before its runs count.

    Args:
        digits: data of the parts mnist and bits.
        images: data of the parts cnn and vit.
        epochs: of the runs that count, instead of each part's own.
        tuning_epochs: of the runs that choose, instead of each part's own.
    """

    source = "after Nokland 2016, arXiv 1609.01596; Lillicrap et al. 2016; Launay et al. 2020, arXiv 2006.01475"
    question = (
        "Do rules without weight transport train MLPs, convolutional nets and transformers better than a readout on"
        " random features, and does direct feedback alignment train four-bit weights?"
    )
    parts = ("mnist", "bits", "cnn", "vit")

    def __init__(
        self, *, digits: Spec | str = "mnist", images: Spec | str = "cifar10", epochs: int | None = None,
        tuning_epochs: int | None = None,
    ) -> None:  # fmt: skip
        self.digits, self.images, self.epochs, self.tuning_epochs = str(digits), str(images), epochs, tuning_epochs

    def run(self, part: str, setup: Setup) -> Findings:
        plan: Callable[[bool], _Plan] = {"mnist": _mnist, "bits": _bits, "cnn": _cnn, "vit": _vit}[part]
        study = plan(setup.full).study(
            self.digits if part in ("mnist", "bits") else self.images, self.epochs, self.tuning_epochs
        )
        found = run_study(study, setup, name=part)
        picture = f"{part}.png"
        accuracy_chart(
            setup.folder / picture, found.lines, title=f"{part}: {study.common['data']}, {setup.seeds} seeds",
            control=study.control, targets=TARGETS.get(part),
        )  # fmt: skip
        return Findings(
            rows=found.lines, tuning=found.tuning, reference=REFERENCES[part], checks=checks(part, found.lines),
            pictures=[picture],
        )  # fmt: skip


@dataclass(frozen=True)
class _Plan:
    """Sizes and candidate settings of one part."""

    epochs: int
    tuning_epochs: int
    common: Fields
    methods: Mapping[str, Sequence[Fields]]

    def study(self, data: str, epochs: int | None, tuning_epochs: int | None) -> Study:
        return Study(
            common={"data": data, "schedule": "cosine", **self.common, "epochs": epochs or self.epochs},
            methods=self.methods, tuning_epochs=tuning_epochs or self.tuning_epochs,
            control=CONTROL if CONTROL in self.methods else None,
        )  # fmt: skip


def _setting(rule: str, optimizer: str, **more: str) -> Fields:
    return {"rule": rule, "optimizer": optimizer, **more}


def _momentum(lr: float, decay: float = 0.0) -> str:
    return f"sgd(lr={lr}, momentum=0.9" + (f", weight_decay={decay})" if decay else ")")


def _mlp(activation: str) -> str:
    return f"mlp(hidden=[800, 800], activation={activation})"


def _mnist(full: bool) -> _Plan:
    def with_momentum(rule: str, activation: str, *rates: float, decay: float = 0.0) -> list[Fields]:
        return [_setting(rule, _momentum(lr, decay), network=_mlp(activation)) for lr in rates]

    def gain(rule: str, gain: float) -> str:
        return f"{rule}(feedback=dense(gain={gain}))"

    # weight decay lets forward weights forget their start and turn towards the feedback
    methods = {
        "bp": with_momentum("bp", "relu", 0.02, 0.05, 0.1),
        "fa": [
            *with_momentum("fa", "relu", 0.02), *with_momentum("fa", "tanh", 0.1, decay=5e-4),
            *with_momentum(gain("fa", 2.0), "tanh", 0.05), *with_momentum(gain("fa", 2.0), "tanh", 0.05, decay=5e-4),
        ],
        "dfa": [
            *with_momentum("dfa", "tanh", 0.01, 0.02), *with_momentum("dfa", "tanh", 0.02, decay=5e-4),
            *with_momentum(gain("dfa", 2.0), "tanh", 0.02),
        ],
        "kp": [*with_momentum("kp(decay=0.0001)", "relu", 0.05, 0.1), *with_momentum("kp", "relu", 0.05, 0.1)],
        "tdfa": [
            _setting(rule, f"sgd(lr={lr})", network=_mlp("tanh"))
            for rule, lr in (("tdfa", 0.02), ("tdfa", 0.05), ("tdfa", 0.1), (gain("tdfa", 2.0), 0.05))
        ],
        "drtp": [*with_momentum("drtp", "tanh", 0.01, 0.03), *with_momentum(gain("drtp", 0.3), "tanh", 0.03, 0.1)],
        CONTROL: [*with_momentum(CONTROL, "relu", 0.1, 0.3), *with_momentum(CONTROL, "tanh", 0.1, 0.3)],
    }  # fmt: skip
    return _Plan(20 if full else 10, 3, {"batch_size": 64}, methods)


def _bits(full: bool) -> _Plan:
    devices = {
        "float": "digital",
        "4 bits, stochastic": "fixed(bits=4, rounding=stochastic)",
        "4 bits, nearest": "fixed(bits=4, rounding=nearest)",
    }
    # plain SGD: momentum is digital state that chips with four-bit weights do not have
    methods = {
        name: [_setting("dfa", f"sgd(lr={lr})", device=device) for lr in (0.03, 0.1, 0.3)]
        for name, device in devices.items()
    }
    # A change below half a level is lost: with a large rate enough changes survive to learn something, with the rate
    # that suits stochastic rounding nearly none.
    methods[SMALL_STEPS] = [_setting("dfa", "sgd(lr=0.03)", device=devices["4 bits, nearest"])]
    return _Plan(10 if full else 6, 2, {"batch_size": 64, "network": _mlp("tanh")}, methods)


def _cnn(full: bool) -> _Plan:
    network = "cnn(channels=[32, 64], kernel=5, norm=batch)" if full else "cnn(channels=[16, 32], kernel=3, norm=batch)"
    rates = {"bp": (0.01, 0.03), "fa": (0.003, 0.01, 0.03), "dfa": (0.001, 0.003, 0.01), "kp": (0.01, 0.03),
             "usf": (0.01, 0.03), CONTROL: (0.003, 0.01, 0.03)}  # fmt: skip
    methods = {rule: [_setting(rule, _momentum(lr)) for lr in found] for rule, found in rates.items()}
    return _Plan(30 if full else 3, 3 if full else 1, {"batch_size": 64, "network": network}, methods)


def _vit(full: bool) -> _Plan:
    network = "vit(patch=4, width=128, depth=6)" if full else "vit(patch=8, width=64, depth=3)"
    rates = {"bp": (0.0005, 0.002), "dfa": (0.0002, 0.0005, 0.002), CONTROL: (0.0005, 0.002, 0.01)}
    methods = {rule: [_setting(rule, f"adam(lr={lr})") for lr in found] for rule, found in rates.items()}
    return _Plan(30 if full else 4, 3 if full else 1, {"batch_size": 64, "network": network}, methods)


def checks(part: str, lines: Sequence[Record]) -> list[ExperimentCheck]:
    """The statements of one part about its table.

    Args:
        part: one of the experiment's parts.
        lines: one a method, accuracies as shares.
    """
    measured = {str(line["method"]): percent(line["test_accuracy"]) for line in lines}
    made = [
        at_least(f"{part}: {method} test accuracy, %", measured[method], bound)
        for method, bound in TARGETS.get(part, {}).items()
    ]
    bp, kp = measured.get("bp"), measured.get("kp")
    if part == "mnist":
        behind = None if bp is None or kp is None else abs(bp - kp)
        made.append(at_most("mnist: distance of kp from bp, points", behind, 0.3))
    if part == "bits":
        nearest, drawn = measured.get("4 bits, nearest"), measured.get("4 bits, stochastic")
        gained = None if nearest is None or drawn is None else drawn - nearest
        made.append(at_most(f"bits: {SMALL_STEPS} stalls: test accuracy, %", measured.get(SMALL_STEPS), 30))
        made.append(above("bits: stochastic over nearest rounding, each at its best rate, points", gained, 0))
    made += margin_checks(part, lines, CONTROL)
    return made
