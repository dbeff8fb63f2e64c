"""On which memory devices does direct feedback alignment learn, and what helps where it does not?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments.charts.accuracies import grid_chart
from experiments.sweeps.experiment import Experiment, ExperimentCheck, Findings, above, margin_checks
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import Fields, Study, run_study
from experiments.tables import Record, percent
from hwmodels.errors import NeurofaError, did_you_mean
from hwmodels.spec import Spec

CONTROL = "readout_only"

DEVICES: Mapping[str, tuple[str, Sequence[float]]] = {
    "digital": ("digital", (0.1, 0.3, 1.0)),
    "fixed 8 bit": ("fixed(bits=8, rounding=stochastic)", (0.1, 0.3, 1.0)),
    "fixed 6 bit": ("fixed(bits=6, rounding=stochastic)", (0.1, 0.3, 1.0)),
    "fixed 4 bit": ("fixed(bits=4, rounding=stochastic)", (0.1, 0.3, 1.0)),
    "fixed 3 bit": ("fixed(bits=3, rounding=stochastic)", (0.03, 0.1, 0.3)),
    "ReRamES": ("reram_es", (0.1, 0.3, 1.0)),
    "ReRamSB": ("reram_sb", (0.1, 0.3, 1.0)),
    "EcRam": ("ecram", (0.1, 0.3, 1.0)),
    "PCM": ("pcm_gst", (0.03, 0.1, 0.3)),
    "PCM, write-verify": ("pcm", (0.1, 0.3, 1.0)),
    "array OM": ("reram_array_om", (0.03, 0.1, 0.3)),
    "array HfO2": ("reram_array_hfo2", (0.03, 0.1, 0.3)),
}
"""Spec and candidate learning rates by name."""

RESCUED = ("ReRamES", "ReRamSB", "PCM", "PCM, write-verify", "array OM", "array HfO2")
"""Devices that are shown with a digital accumulator and, where they are one pulsed step model, with two arrays."""

PAIRED = ("ReRamES", "ReRamSB", "array OM", "array HfO2")
"""Devices that can be the fast array of Tiki-Taka."""


class Devices(Experiment, name="devices"):
    """Direct feedback alignment and backpropagation on memory devices, beside a readout alone on the same device.

    Parts: ``plain`` (every device as it is, batch-aggregated expected pulses), ``rescued`` (devices with few states or
    much noise inside mixed precision and Tiki-Taka, by dfa). Every method is tuned on validation data with one seed of
    its own before its runs count; the optimizer is plain SGD, since momentum is digital state.

    Args:
        data: what is learnt.
        network: spec of the network.
        epochs: of the runs that count.
        tuning_epochs: of the runs that choose.
        only: names of some devices; none: all.
    """

    source = "devices: aihwkit presets (Rasch et al. 2021, arXiv 2104.02184) and fixed point (Gupta et al. 2015)"
    question = (
        "On which memory devices does direct feedback alignment beat a readout on random features, how far behind"
        " backpropagation on the same device, and do mixed precision and Tiki-Taka help where it fails?"
    )
    parts = ("plain", "rescued")

    def __init__(
        self, *, data: Spec | str = "mnist", network: Spec | str = "mlp(hidden=[256], activation=tanh)",
        epochs: int | None = None, tuning_epochs: int = 1, only: list[str] | None = None,
    ) -> None:  # fmt: skip
        self.data, self.network, self.epochs, self.tuning_epochs = str(data), str(network), epochs, tuning_epochs
        for name in only or ():
            if name not in DEVICES:
                near = did_you_mean(name, DEVICES)
                raise NeurofaError(f"got device '{name}'; expected some of {', '.join(DEVICES)}{near}")
        self.only = tuple(only or DEVICES)

    def run(self, part: str, setup: Setup) -> Findings:
        found, epochs = Findings(), self.epochs or (20 if setup.full else 5)
        common: Fields = {
            "data": self.data, "network": self.network, "schedule": "cosine", "batch_size": 64, "epochs": epochs,
        }  # fmt: skip
        names = [name for name in self.only if part == "plain" or name in RESCUED]
        for name in names:
            spec, rates = DEVICES[name]
            methods = plain(spec, rates) if part == "plain" else rescued(spec, rates, paired=name in PAIRED)
            study = Study(common=common, methods=methods, tuning_epochs=self.tuning_epochs, control=CONTROL)
            outcome = run_study(study, setup, name=f"{part}: {name}")
            for lines, kept in ((outcome.lines, found.rows), (outcome.tuning, found.tuning)):
                kept += [_named(line, part, name) for line in lines]
        if names:
            found.checks = checks(part, found.rows)
            picture = f"{part}.png"
            grid_chart(setup.folder / picture, found.rows, title=f"{part}: {self.data}, {setup.seeds} seeds")
            found.pictures = [picture]
        return found


def plain(device: str, rates: Sequence[float]) -> dict[str, list[Fields]]:
    """Both rules and the control on one device."""
    return {rule: _tuned(rule, device, rates) for rule in ("bp", "dfa", CONTROL)}


def rescued(device: str, rates: Sequence[float], *, paired: bool) -> dict[str, list[Fields]]:
    """Dfa on one device as it is and in compositions, and the control on the device as it is."""
    methods = {
        "dfa": _tuned("dfa", device, rates),
        "dfa, mixed precision": _tuned("dfa", f"mixed_precision(device={device})", (0.1, 0.3, 1.0)),
        CONTROL: _tuned(CONTROL, device, rates),
    }
    if paired:
        pair = f"tiki_taka_v2(fast={device}, slow={device}, columns=64, transfer_lr="
        methods["dfa, Tiki-Taka v2"] = [
            *_tuned("dfa", f"{pair}0.03)", (1.0,)), *_tuned("dfa", f"{pair}0.1)", (0.1, 0.3)),
        ]  # fmt: skip
    return methods


def _tuned(rule: str, device: str, rates: Sequence[float]) -> list[Fields]:
    return [{"rule": rule, "device": device, "optimizer": f"sgd(lr={lr})"} for lr in rates]


def _named(line: Record, part: str, name: str) -> Record:
    method = str(line["method"])
    return {**line, "part": part, "group": name, "variant": method, "method": f"{name}: {method}"}


def checks(part: str, lines: Sequence[Record]) -> list[ExperimentCheck]:
    """Whether each method beats the readout alone on the same device, and compositions the device as it is.

    Args:
        part: of the experiment.
        lines: one a device and method, accuracies as shares.
    """
    made = margin_checks(part, lines, CONTROL)
    if part == "rescued":
        bare = {line["group"]: line["test_accuracy"] for line in lines if line["variant"] == "dfa"}
        for group, accuracy in bare.items():
            best = max(
                float(str(line["test_accuracy"]))
                for line in lines
                if line["group"] == group and ", " in str(line["variant"])
            )
            made.append(
                above(
                    f"rescued: {group}: the better composition over dfa as it is, points",
                    percent(best - accuracy),
                    0,
                )
            )
    return made
