"""Does feedback that learns still learn when weights and feedback live on coarse and noisy devices?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.protocols.tables import Methods, grouped_table
from experiments.sweeps.candidates import rate_grid
from experiments.sweeps.experiment import Checks, Experiment, Findings, above, margin_checks
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import CONTROL
from experiments.tables import Record, percent
from hwmodels.spec import Spec

DEVICES = {"digital": "digital", "fixed 6 bit": "fixed(bits=6)", "ReRamES": "reram_es", "EcRam": "ecram"}
"""Devices of the table: weights and feedback matrices alike."""
RULES = {
    "bp": "bp",
    "dfa": "dfa(feedback=dense(device={device}))",
    "raf": "raf(rank=10, step=None, feedback=dense(device={device}))",
    "fdfa": "fdfa(feedback=dense(device={device}))",
    "grape2026": "grape2026(feedback=dense(distribution=normal, device={device}))",
    CONTROL: CONTROL,
}
"""Rules of the table; the device takes the place of ``{device}``, so that B, P and Q live where the weights do."""
PHOTONIC = {
    "dfa, microring": "dfa(feedback=microring)",
    "dfa, opu": "dfa(feedback=opu)",
    "dfa, crossbar of PCM": "dfa(feedback=crossbar(device=pcm))",
    **{rule: rule for rule in ("dfa", "bp", CONTROL)},
}
RATES = (0.05, 0.1, 0.2)


@dataclass(frozen=True, kw_only=True)
class AdaptiveDevices(Experiment, name="adaptive_devices"):
    """Rules whose feedback learns, with forward weights and feedback (B, P, Q) on the same kind of device.

    Parts: ``devices`` (784-256-10 on MNIST; feedback on the device of the weights), ``photonic`` (digital weights,
    fixed feedback through simulated photonic and memristive projections, for comparison). Plain SGD: momentum would be
    digital state. Rates are chosen on validation data for every rule and device.
    """

    source = "after Hanut and Kadmon 2025 (raf), Bacho and Chu 2024 (fdfa), Caillon et al. 2026 (grape2026)"
    differs = "no text has this table: network, devices, rates and the 10 epochs are ours"
    question = "Do raf, fdfa and grape2026 keep their lead over fixed random feedback on six bits and on memristors?"
    parts = ("devices", "photonic")

    data: Spec | str = "mnist"
    """Data of both parts."""
    network: Spec | str = "mlp(hidden=[256], activation=tanh)"
    """Network of both parts."""
    only: tuple[str, ...] = tuple(DEVICES)
    """Devices of the part devices."""
    epochs: int | None = None
    """Epochs of the runs that count, instead of 3 (full: 10)."""
    tuning_epochs: int = 1
    """Epochs of the runs that choose."""

    def run(self, part: str, setup: Setup) -> Findings:
        epochs = self.epochs or (10 if setup.full else 3)
        common = {"data": str(self.data), "network": str(self.network), "batch_size": 64, "epochs": epochs}
        groups = {name: _on_device(DEVICES[name]) for name in DEVICES if name in self.only}
        if part == "photonic":
            groups = {"digital": {name: rate_grid(rule, RATES) for name, rule in PHOTONIC.items()}}
        return grouped_table(groups, common, setup, part, tuning_epochs=self.tuning_epochs)

    def checks(self, part: str, rows: Sequence[Record]) -> Checks:
        for group in dict.fromkeys(row["group"] for row in rows):
            on_device = {row["variant"]: row for row in rows if row["group"] == group}
            yield from margin_checks(group, [{**row, "method": rule} for rule, row in on_device.items()], CONTROL)
            for rule in ("raf", "fdfa", "grape2026"):
                if rule in on_device and "dfa" in on_device:
                    gained = on_device[rule]["test_accuracy"] - on_device["dfa"]["test_accuracy"]
                    yield above(f"{group}: {rule} over dfa, points", percent(gained), 0)


def _on_device(device: str) -> Methods:
    return {name: rate_grid(rule.format(device=device), RATES, device=device) for name, rule in RULES.items()}
