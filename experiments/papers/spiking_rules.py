"""Online and local rules on spiking networks, beside backpropagation through time and a readout alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from experiments.benchmarks.tasks import SPOKEN
from experiments.charts.accuracies import accuracy_chart
from experiments.charts.figure import Axis, Panel, draw_figure
from experiments.charts.marks import Curve, Mark
from experiments.runs.spec import RunSpec
from experiments.runs.trainer import Trainer
from experiments.speed.peak_memory import method_peak
from experiments.sweeps.experiment import (
    Experiment,
    ExperimentCheck,
    Findings,
    Reference,
    at_least,
    at_most,
    margin_checks,
)
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import Fields, Study, run_study
from experiments.tables import Record, percent
from hwmodels.errors import NeurofaError
from hwmodels.spec import Spec, parse
from neurofa.costs.learning import trace_storage

CONTROL, ORACLE = "readout_only", "bptt"
RULES = (ORACLE, "eprop_symmetric", "eprop", "dfa", "drtp", CONTROL)
MORE = ("decolle", "stllr", "erbp", "ostl")
"""Rules that ``more`` adds."""
OPTIMIZERS = ("adam(lr=0.001)", "adam(lr=0.003)", "adam(lr=0.01)")
"""Chosen from on validation data."""
DECAYING = ("adam(lr=0.003)", "adam(lr=0.01)", "adamw(lr=0.01, weight_decay=0.2)")
"""The same where a hundred ticks of recurrence are taught, which some rules would drive too far."""
VARIANTS: Mapping[str, tuple[str, ...]] = {"drtp": ("drtp", "drtp(centred=True)")}
"""Forms of a rule to choose from: what all targets share drives neurons one way for ever."""
BEHIND = 3.0
"""Points of accuracy by which a rule may stay behind backpropagation through time."""

LIF = "snn(hidden=[{n}])"
SHORT = "evidence(cues=3, cue=20, pause=10, delay=30, recall=20, rate=200, samples={n}, held=640)"
PARTS: Mapping[str, tuple[str, str, str, int, int]] = {
    "mnist": ("encoded(data=mnist(subset=4000, validation=1000), ticks=25)", "encoded(data=mnist, ticks=25)",
              LIF.format(n=400), 3, 15),
    "spoken_digits": ("spoken_digits(binary=True)", "spoken_digits(binary=True)", SPOKEN.format(n=32), 30, 100),
    "nmnist_small": ("nmnist_small(pool=2, binary=True)", "nmnist_small(binary=True)", LIF.format(n=256), 10, 40),
    "mackey_glass": ("mackey_glass", "mackey_glass", "snn(hidden=[128], recurrent=True, readout=leaky(kappa=0.5))",
                     10, 60),
    "evidence": (SHORT.format(n=800), "evidence", "snn(hidden=[60], recurrent=True, neuron=alif(rho=0.99, gain=0.2))",
                 5, 30),
}  # fmt: skip
"""Data of the default and of the full size, network, and epochs of both."""

TICKS = (100, 1000, 10000)
GROWING, FLAT = ("snntorch", "bptt"), ("dfa-events", "symmetric")
"""Methods of ``neurofa speed spikes`` whose memory grows with time, and whose does not."""
COLOURS = {"snntorch": "tab:red", "bptt": "tab:orange", "dfa-events": "tab:blue", "symmetric": "tab:green"}


class SpikingRules(Experiment, name="spiking_rules"):
    """E-prop, direct feedback alignment and relatives on spikes, each tuned on validation data before its runs count.

    Parts: ``mnist`` (rate-coded, 784-400-10), ``spoken_digits``, ``nmnist_small``, ``mackey_glass`` (the loss of the
    next value), ``evidence`` (adaptive neurons, an answer after a delay), and ``memory`` (peaks of one update with 100,
    1000 and 10000 ticks, in processes of their own). In a network of one hidden layer without recurrence
    ``eprop_symmetric`` is backpropagation through time, but for rounding.

    Args:
        more: also decolle, stllr, erbp and ostl.
        data: instead of each part's own.
        network: instead of each part's own.
        epochs: of the runs that count, instead of each part's own.
        tuning_epochs: of the runs that choose, instead of a third of those that count; for ``spoken_digits`` as many,
            since decay of the weights shows late.
        ticks: lengths of the part ``memory``.
    """

    source = (
        "the rules' own texts: Bellec et al. 2020, Frenkel et al. 2021, Kaiser et al. 2020, Apolinario and Roy 2025"
    )
    question = (
        "Which online rules train the hidden layers of a spiking network, how far behind backpropagation through time,"
        " and in what memory?"
    )
    parts = (*PARTS, "memory")

    def __init__(
        self, *, more: bool = False, data: Spec | str | None = None, network: Spec | str | None = None,
        epochs: int | None = None, tuning_epochs: int | None = None, ticks: list[int] | None = None,
    ) -> None:  # fmt: skip
        self.rules = (*RULES[:-1], *(MORE if more else ()), CONTROL)
        self.data, self.network, self.epochs, self.tuning_epochs = data, network, epochs, tuning_epochs
        self.ticks = tuple(ticks or TICKS)
        for count in self.ticks:
            if count not in TICKS:
                raise NeurofaError(
                    f"got spiking_rules(ticks=[{count}]); expected some of {', '.join(map(str, TICKS))}; change ticks"
                )

    def run(self, part: str, setup: Setup) -> Findings:
        if part == "memory":
            return self._memory(setup)
        small, full, network, few, many = PARTS[part]
        regression, decaying = part == "mackey_glass", part == "spoken_digits"
        epochs = self.epochs or (many if setup.full else few)
        common: Fields = {
            "data": str(self.data or (full if setup.full else small)), "network": str(self.network or network),
            "batch_size": 32, "schedule": "cosine", "epochs": epochs,
            "loss": "mse" if regression else "cross_entropy",
        }  # fmt: skip
        study = Study(
            common=common, control=CONTROL,
            tuning_epochs=self.tuning_epochs or (epochs if decaying else max(1, epochs // 3)),
            methods={rule: candidates(rule, decaying=decaying) for rule in self.rules},
        )  # fmt: skip
        found = run_study(study, setup, name=part)
        lines = [line | {"trace_bytes": _traces(common, line)} for line in found.lines]
        if regression:
            return Findings(
                rows=lines, tuning=found.tuning, checks=loss_checks(part, lines),
                columns=["method", "test_loss", "trace_bytes", "optimizer"],
            )  # fmt: skip
        picture = f"{part}.png"
        accuracy_chart(setup.folder / picture, lines, control=CONTROL, title=_title(part, common, setup))
        return Findings(
            rows=lines, tuning=found.tuning, checks=checks(part, lines), pictures=[picture],
            reference=REFERENCES.get(part, []),
            columns=["method", "test_accuracy", "margin", "validation_accuracy", "trace_bytes", "optimizer"],
        )  # fmt: skip

    def _memory(self, setup: Setup) -> Findings:
        rows: list[Record] = []
        setup.progress.begin(len(self.ticks) * len(COLOURS), "memory")
        for ticks in self.ticks:
            suite = "spikes_long" if ticks == TICKS[-1] else "spikes"
            for method in COLOURS:
                peak = method_peak(suite, f"{ticks}-ticks", method, torch.device("cpu"), setup.threads)
                setup.progress.finish_run()
                rows.append({"part": "memory", "method": method, "ticks": ticks, "peak_mib": peak / 2**20})
        peaks = {method: [row["peak_mib"] for row in rows if row["method"] == method] for method in COLOURS}
        lines: list[Mark] = [Curve(label=m, colour=COLOURS[m], x=self.ticks, y=peak) for m, peak in peaks.items()]
        panel = Panel(
            title="700-256-20, 32 sequences, input apart", marks=lines,
            x=Axis("ticks", scale="log"), y=Axis("peak (MiB)", scale="log"),
        )  # fmt: skip
        draw_figure(setup.folder / "memory.png", [panel], title="memory of one update, in fresh processes")
        return Findings(
            rows=rows, checks=memory_checks(rows), pictures=["memory.png"], columns=["method", "ticks", "peak_mib"]
        )


REFERENCES = {
    "mnist": [
        Reference(f"{name}: test accuracy, %", value, source, certainty)
        for name, value, source, certainty in (
            ("ST-DFA on an FPGA", 96.27, "Lee et al. 2020, abstract; MNIST downsampled", "read"),
            ("EM-STDP with DFA on Loihi, convolutional", 94.7, "Renner et al. 2024, table 1", "read"),
            ("SPOON, DRTP", 95.3, "Renner et al. 2024, table 1", "read"),
        )
    ],
}


def _title(part: str, common: Fields, setup: Setup) -> str:
    return f"{part}: {parse(str(common['data'])).name}, {common['epochs']} epochs, {setup.seeds} seeds"


def candidates(rule: str, *, decaying: bool) -> list[Fields]:
    """Settings of a rule that validation data choose from.

    Args:
        rule: by name.
        decaying: whether decay of the weights is one of them, and for backpropagation through time a small norm of all
            directions.
    """
    forms = VARIANTS.get(rule, (rule,))
    if not decaying:
        return [{"rule": form, "optimizer": optimizer} for form in forms for optimizer in OPTIMIZERS]
    clips = (None, 0.1) if rule == ORACLE else (None,)  # its gradient runs through the recurrence, and explodes
    return [
        {"rule": form, "optimizer": optimizer, "clip": clip}
        for form in forms
        for optimizer in DECAYING
        for clip in clips
    ]


def _traces(common: Fields, line: Mapping[str, Any]) -> int:
    """Bytes that a method carries through the ticks of one sample."""
    fields = {**common, "rule": line["rule"], "optimizer": line["optimizer"]}
    trainer = Trainer(RunSpec.from_json(fields), None)
    ticks: int = trainer.dataset.ticks  # type: ignore[union-attr]
    return trace_storage(trainer.learner, ticks, trainer.spec.chunk).bytes


def checks(part: str, lines: Sequence[Record]) -> list[ExperimentCheck]:
    """Whether each rule beats the readout alone, and stays near backpropagation through time.

    Args:
        part: of the experiment.
        lines: one a rule, accuracies as shares.
    """
    best = next(line["test_accuracy"] for line in lines if line["method"] == ORACLE)
    others = [line for line in lines if line["method"] != CONTROL]
    return margin_checks(part, others, CONTROL) + [
        at_least(f"{part}: {line['method']} less {ORACLE}, points", percent(line["test_accuracy"] - best), -BEHIND)
        for line in others
        if line["method"] != ORACLE
    ]


def loss_checks(part: str, lines: Sequence[Record]) -> list[ExperimentCheck]:
    """The same for a forecast: its loss beside those of the control and of backpropagation through time.

    Args:
        part: of the experiment.
        lines: one a rule, with ``test_loss``.
    """
    loss = {line["method"]: line["test_loss"] for line in lines}
    others = [method for method in loss if method != CONTROL]
    made = [at_most(f"{part}: loss of {m} over that of {CONTROL}", loss[m] / loss[CONTROL], 1.0) for m in others]
    return made + [
        at_most(f"{part}: loss of {m} over that of {ORACLE}", loss[m] / loss[ORACLE], 2.0)
        for m in others
        if m != ORACLE
    ]


def memory_checks(rows: Sequence[Record]) -> list[ExperimentCheck]:
    """Whether peaks of online rules stay flat, and those of backpropagation through time grow with the ticks.

    Args:
        rows: one a method and length.
    """
    ticks = sorted({row["ticks"] for row in rows})
    if len(ticks) < 2:
        return []
    peak = {(row["method"], row["ticks"]): row["peak_mib"] for row in rows}
    low, high = ticks[0], ticks[-1]
    grown = {method: peak[method, high] / peak[method, low] for method in COLOURS}
    return [
        *[at_most(f"memory: {m}, peak at {high} over peak at {low} ticks", grown[m], 1.5) for m in FLAT],
        *[at_least(f"memory: {m}, peak at {high} over peak at {low} ticks", grown[m], high / low / 3) for m in GROWING],
    ]
