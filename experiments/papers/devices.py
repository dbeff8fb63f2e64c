"""On which memory devices does direct feedback alignment learn, and what helps where it does not?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.protocols.tables import grouped_table
from experiments.sweeps.candidates import rate_grid
from experiments.sweeps.experiment import Checks, Experiment, Findings, above, margin_checks
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import CONTROL, Fields
from experiments.tables import Record, percent
from hwmodels.errors import NeurofaError, did_you_mean
from hwmodels.spec import Spec

LARGE, SMALL = (0.1, 0.3, 1.0), (0.03, 0.1, 0.3)
DEVICES = {
    "digital": ("digital", LARGE),
    **{f"fixed {bits} bit": (f"fixed(bits={bits}, rounding=stochastic)", LARGE) for bits in (8, 6, 4)},
    "fixed 3 bit": ("fixed(bits=3, rounding=stochastic)", SMALL),
    "ReRamES": ("reram_es", LARGE),
    "ReRamSB": ("reram_sb", LARGE),
    "EcRam": ("ecram", LARGE),
    "PCM": ("pcm_gst", SMALL),
    "PCM, write-verify": ("pcm", LARGE),
    "array OM": ("reram_array_om", SMALL),
    "array HfO2": ("reram_array_hfo2", SMALL),
}
"""Spec and candidate learning rates by name."""

RESCUED = ("ReRamES", "ReRamSB", "PCM", "PCM, write-verify", "array OM", "array HfO2")
"""Devices that are shown with a digital accumulator and, where they are one pulsed step model, with two arrays."""

PAIRED = ("ReRamES", "ReRamSB", "array OM", "array HfO2")
"""Devices that can be the fast array of Tiki-Taka."""


@dataclass(frozen=True, kw_only=True)
class Devices(Experiment, name="devices"):
    """Direct feedback alignment and backpropagation on memory devices, beside a readout alone on the same device.

    Parts: ``plain`` (every device as it is, batch-aggregated expected pulses), ``rescued`` (devices with few states or
    much noise inside mixed precision and Tiki-Taka, by dfa). Every method is tuned on validation data with one seed of
    its own before its runs count; the optimizer is plain SGD, since momentum is digital state.

    Raises:
        NeurofaError: an unknown device.
    """

    source = "devices: aihwkit presets (Rasch et al. 2021, arXiv 2104.02184) and fixed point (Gupta et al. 2015)"
    differs = "no text has this table: network, tuning and the 20 epochs are ours; faults of the array presets are on"
    question = "On which devices does dfa beat a readout alone, how far behind bp, and do compositions help it?"
    parts = ("plain", "rescued")

    data: Spec | str = "mnist"
    """Data of both parts."""
    network: Spec | str = "mlp(hidden=[256], activation=tanh)"
    """Network of both parts."""
    epochs: int | None = None
    """Epochs of the runs that count, instead of 5 (full: 20)."""
    tuning_epochs: int = 1
    """Epochs of the runs that choose."""
    only: tuple[str, ...] = tuple(DEVICES)
    """Names of devices."""

    def __post_init__(self) -> None:
        for name in self.only:
            if name not in DEVICES:
                near = did_you_mean(name, DEVICES)
                raise NeurofaError(f"got device '{name}'; expected some of {', '.join(DEVICES)}{near}")

    def run(self, part: str, setup: Setup) -> Findings:
        epochs = self.epochs or (20 if setup.full else 5)
        common = {"data": str(self.data), "network": str(self.network), "schedule": "cosine", "batch_size": 64}
        names = [name for name in self.only if part == "plain" or name in RESCUED]
        methods = plain if part == "plain" else rescued
        groups = {name: methods(name) for name in names}
        return grouped_table(groups, common | {"epochs": epochs}, setup, part, tuning_epochs=self.tuning_epochs)

    def checks(self, part: str, rows: Sequence[Record]) -> Checks:
        yield from margin_checks(part, rows, CONTROL)
        for bare in [row for row in rows if part == "rescued" and row["variant"] == "dfa"]:
            group = bare["group"]
            best = max(row["test_accuracy"] for row in rows if row["group"] == group and ", " in row["variant"])
            what = f"rescued: {group}: the better composition over dfa as it is, points"
            yield above(what, percent(best - bare["test_accuracy"]), 0)


def plain(name: str) -> dict[str, list[Fields]]:
    """Return the candidate settings of bp, dfa and the readout-only control, with all weights on one device.

    Args:
        name: of the device, a key of :data:`DEVICES`.

    Returns:
        Candidate settings, one for each learning rate, by rule.
    """
    device, rates = DEVICES[name]
    return {rule: rate_grid(rule, rates, device=device) for rule in ("bp", "dfa", CONTROL)}


def rescued(name: str) -> dict[str, list[Fields]]:
    """Return the candidate settings of dfa on one device, alone and inside devices that make up for its weaknesses.

    These are mixed precision (a digital accumulator before it) and, for a pulsed step model, Tiki-Taka (two arrays).

    Args:
        name: of the device, one of :data:`RESCUED`.

    Returns:
        Candidate settings by method: ``dfa`` and ``readout_only`` on the bare device, ``dfa, mixed precision``, and
        ``dfa, Tiki-Taka v2`` where the device allows it.
    """
    device, rates = DEVICES[name]
    methods = {
        "dfa": rate_grid("dfa", rates, device=device),
        "dfa, mixed precision": rate_grid("dfa", LARGE, device=f"mixed_precision(device={device})"),
        CONTROL: rate_grid(CONTROL, rates, device=device),
    }
    if name in PAIRED:
        pair = f"tiki_taka_v2(fast={device}, slow={device}, columns=64, transfer_lr="
        slow, fast = rate_grid("dfa", (1.0,), device=f"{pair}0.03)"), rate_grid("dfa", (0.1, 0.3), device=f"{pair}0.1)")
        methods["dfa, Tiki-Taka v2"] = [*slow, *fast]
    return methods
