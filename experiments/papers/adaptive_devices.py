"""Does feedback that learns still learn when weights and feedback live on coarse and noisy devices?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments.charts.accuracies import grid_chart
from experiments.sweeps.experiment import Experiment, ExperimentCheck, Findings, above
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import Fields, Study, run_study
from experiments.tables import Record, percent
from hwmodels.spec import Spec

CONTROL = "readout_only"
DEVICES: Mapping[str, str] = {
    "digital": "digital",
    "fixed 6 bit": "fixed(bits=6)",
    "ReRamES": "reram_es",
    "EcRam": "ecram",
}
"""Devices of the table: weights and feedback matrices alike."""
RULES: Mapping[str, str] = {
    "bp": "bp",
    "dfa": "dfa(feedback=dense(device={device}))",
    "raf": "raf(rank=10, feedback=dense(device={device}))",
    "fdfa": "fdfa(feedback=dense(device={device}))",
    "grape2026": "grape2026(feedback=dense(distribution=normal, device={device}))",
    CONTROL: CONTROL,
}
"""Rules of the table; the device takes the place of ``{device}``, so that B, P and Q live where the weights do."""
PHOTONIC: Mapping[str, str] = {
    "dfa, microring": "dfa(feedback=microring)",
    "dfa, opu": "dfa(feedback=opu)",
    "dfa, crossbar of PCM": "dfa(feedback=crossbar(device=pcm))",
}


class AdaptiveDevices(Experiment, name="adaptive_devices"):
    """Rules whose feedback learns, with forward weights and feedback (B, P, Q) on the same kind of device.

    Parts: ``devices`` (784-256-10 on MNIST; feedback on the device of the weights), ``photonic`` (digital weights,
    fixed feedback through simulated photonic and memristive projections, for comparison). Plain SGD: momentum would be
    digital state. Rates are chosen on validation data for every cell.

    Args:
        data: of both parts.
        network: of both parts.
        only: devices of the part devices; None: all.
        epochs: of the runs that count, instead of 3 (full: 10).
        tuning_epochs: of the runs that choose.
    """

    source = "after Hanut and Kadmon 2025 (raf), Bacho and Chu 2024 (fdfa), Caillon et al. 2026 (grape2026)"
    question = "Do raf, fdfa and grape2026 keep their lead over fixed random feedback on six bits and on memristors?"
    parts = ("devices", "photonic")

    def __init__(
        self, *, data: Spec | str = "mnist", network: Spec | str = "mlp(hidden=[256], activation=tanh)",
        only: list[str] | None = None, epochs: int | None = None, tuning_epochs: int = 1,
    ) -> None:  # fmt: skip
        self.data, self.network, self.epochs, self.tuning_epochs = str(data), str(network), epochs, tuning_epochs
        self.only = list(DEVICES) if only is None else only

    def run(self, part: str, setup: Setup) -> Findings:
        common = {
            "data": self.data, "network": self.network, "batch_size": 64,
            "epochs": self.epochs or (10 if setup.full else 3),
        }  # fmt: skip
        findings = Findings()
        for group, methods in (self._devices() if part == "devices" else {"digital": self._photonic()}).items():
            study = Study(common=common, methods=methods, tuning_epochs=self.tuning_epochs, control=CONTROL)
            found = run_study(study, setup, name=f"{part}: {group}")
            lines = [
                {
                    **line,
                    "part": part,
                    "group": group,
                    "variant": line["method"],
                    "method": f"{group}: {line['method']}",
                }
                for line in found.lines
            ]
            findings.rows += lines
            findings.tuning += found.tuning
            findings.checks += checks(group, lines)
        picture = f"{part}.png"
        grid_chart(setup.folder / picture, findings.rows, title=f"{part}: {self.data}, {setup.seeds} seeds")
        findings.pictures.append(picture)
        return findings

    def _devices(self) -> dict[str, dict[str, list[Fields]]]:
        return {
            name: {
                rule: [
                    {"rule": text.format(device=device), "optimizer": f"sgd(lr={lr})", "device": device}
                    for lr in (0.05, 0.1, 0.2)
                ]
                for rule, text in RULES.items()
            }
            for name, device in DEVICES.items()
            if name in self.only
        }

    def _photonic(self) -> dict[str, list[Fields]]:
        return {
            rule: [{"rule": text, "optimizer": f"sgd(lr={lr})"} for lr in (0.05, 0.1, 0.2)]
            for rule, text in {**PHOTONIC, "dfa": "dfa", "bp": "bp", CONTROL: CONTROL}.items()
        }


def checks(group: str, lines: Sequence[Record]) -> list[ExperimentCheck]:
    """Whether every rule beats the control, and whether feedback that learns beats the fixed one.

    Args:
        group: the device.
        lines: one a rule, with ``variant``, accuracies and margins as shares.
    """
    at = {line["variant"]: line for line in lines}
    made = [
        above(f"{group}: margin of {rule} over {CONTROL}, points", percent(line["margin"]), 0)
        for rule, line in at.items()
        if rule != CONTROL
    ]
    for rule in ("raf", "fdfa", "grape2026"):
        if rule in at and "dfa" in at:
            gained = at[rule]["test_accuracy"] - at["dfa"]["test_accuracy"]
            made.append(above(f"{group}: {rule} over dfa, points", percent(gained), 0))
    return made
