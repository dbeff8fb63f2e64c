"""Online and local rules on spiking networks, beside backpropagation through time and a readout alone."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from experiments.benchmarks.tasks import SPOKEN
from experiments.charts.figure import Axis, Panel, draw_figure
from experiments.charts.marks import Curve
from experiments.protocols.tables import tuned_table
from experiments.runs.spec import CHUNK, RunSpec
from experiments.runs.trainer import Trainer
from experiments.speed.peak_memory import method_peak
from experiments.sweeps.experiment import Checks, Experiment, Findings, at_least, at_most, cited, margin_checks
from experiments.sweeps.rows import SweepRow
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import CONTROL, Fields, Study
from experiments.tables import Record, percent
from hwmodels.errors import NeurofaError
from hwmodels.spec import Spec
from neurofa.costs.learning import trace_storage

ORACLE = "bptt"
RULES = (ORACLE, "eprop_symmetric", "eprop", "dfa", "drtp", CONTROL)
MORE = ("decolle", "stllr", "erbp", "ostl")
"""Rules that ``more`` adds."""
OPTIMIZERS = ("adam(lr=0.001)", "adam(lr=0.003)", "adam(lr=0.01)")
"""Chosen from on validation data."""
DECAYING = ("adam(lr=0.003)", "adam(lr=0.01)", "adamw(lr=0.01, weight_decay=0.2)")
"""The same where a hundred ticks of recurrence learn, which some rules would drive too far."""
VARIANTS = {"drtp": ("drtp", "drtp(centred=True)")}
"""Forms of a rule to choose from: the part that all targets share drives neurons one way for ever."""
BEHIND = 3.0
"""Points of accuracy by which a rule may stay behind backpropagation through time."""

LIF = "snn(hidden=[{n}])"
EVIDENCE = "evidence(cues=3, cue=20, pause=10, delay=30, recall=20, rate=200, samples=800, held=640)"
DATA = {
    "mnist": ("encoded(data=mnist(subset=4000, validation=1000), ticks=25)", "encoded(data=mnist, ticks=25)"),
    "spoken_digits": ("spoken_digits(binary=True)", "spoken_digits(binary=True)"),
    "nmnist_small": ("nmnist_small(pool=2, binary=True)", "nmnist_small(binary=True)"),
    "mackey_glass": ("mackey_glass", "mackey_glass"),
    "evidence": (EVIDENCE, "evidence"),
}
EPOCHS = {"mnist": (3, 15), "spoken_digits": (30, 100), "nmnist_small": (10, 40), "mackey_glass": (10, 60)}
EPOCHS |= {"evidence": (5, 30)}
"""Data, and epochs of the runs that count, by part, at the default and at the full size."""
NETWORKS = {
    "mnist": LIF.format(n=400),
    "spoken_digits": SPOKEN.format(n=32),
    "nmnist_small": LIF.format(n=256),
    "mackey_glass": "snn(hidden=[128], recurrent=True, readout=leaky(kappa=0.5))",
    "evidence": "snn(hidden=[60], recurrent=True, neuron=alif(rho=0.99, gain=0.2))",
}

TICKS = (100, 1000, 10000)
GROWING, FLAT = ("snntorch", "bptt"), ("dfa-events", "symmetric")
"""Methods of ``neurofa speed spikes`` whose memory grows with time, and whose does not."""
METHODS = (*GROWING, *FLAT)
TABLE_1 = ("Renner et al. 2024, table 1", "read")
REFERENCES = [
    *cited({"ST-DFA on an FPGA": 96.27}, "Lee et al. 2020, abstract; MNIST downsampled", "read"),
    *cited({"EM-STDP with DFA on Loihi, convolutional": 94.7, "SPOON, DRTP": 95.3}, *TABLE_1),
]
"""Figures of others for the part mnist."""


@dataclass(frozen=True, kw_only=True)
class SpikingRules(Experiment, name="spiking_rules"):
    """E-prop, direct feedback alignment and relatives on spikes, each tuned on validation data before its runs count.

    Parts: ``mnist`` (rate-coded, 784-400-10), ``spoken_digits``, ``nmnist_small``, ``mackey_glass`` (the loss of the
    next value), ``evidence`` (adaptive neurons, an answer after a delay), and ``memory`` (peaks of one update with 100,
    1000 and 10000 ticks, in processes of their own). In a network of one hidden layer without recurrence
    ``eprop_symmetric`` is backpropagation through time, but for rounding.

    Raises:
        NeurofaError: a number of ticks that no benchmark has.
    """

    source = "the rules' texts: Bellec et al. 2020, Frenkel et al. 2021, Kaiser et al. 2020, Apolinario and Roy 2025"
    differs = "networks, encodings, rates and epochs are ours; each rule's own text has another protocol"
    question = "Which online rules train hidden layers of spikes, how far behind bptt, and in what memory?"
    parts = (*DATA, "memory")

    more: bool = False
    """Also decolle, stllr, erbp and ostl."""
    data: Spec | str | None = None
    """Data instead of each part's own."""
    network: Spec | str | None = None
    """Network instead of each part's own."""
    epochs: int | None = None
    """Epochs of the runs that count, instead of each part's own."""
    tuning_epochs: int | None = None
    """Epochs of the runs that choose, instead of a third of those that count; for ``spoken_digits`` as many, since
    decay of the weights shows late."""
    ticks: tuple[int, ...] = TICKS
    """Lengths of the part ``memory``."""

    def __post_init__(self) -> None:
        for count in self.ticks:
            if count not in TICKS:
                expected = ", ".join(map(str, TICKS))
                raise NeurofaError(f"got spiking_rules(ticks=[{count}]); expected some of {expected}; change ticks")

    def run(self, part: str, setup: Setup) -> Findings:
        if part == "memory":
            return self._memory(setup)
        regression, decaying = part == "mackey_glass", part == "spoken_digits"
        epochs = self.epochs or EPOCHS[part][setup.full]
        common: Record = {"data": str(self.data or DATA[part][setup.full]), "schedule": "cosine", "epochs": epochs}
        common |= {"network": str(self.network or NETWORKS[part]), "batch_size": 32}
        common |= {"loss": "mse" if regression else "cross_entropy"}
        rules = [*RULES[:-1], *(MORE if self.more else ()), CONTROL]
        methods = {rule: rule_settings(rule, decaying=decaying) for rule in rules}
        tuning_epochs = self.tuning_epochs or (epochs if decaying else max(1, epochs // 3))
        study = Study(common=common, methods=methods, tuning_epochs=tuning_epochs)
        found = tuned_table(study, setup, part, measure=_traces)
        measured = ["test_loss"] if regression else ["test_accuracy", "margin", "validation_accuracy"]
        columns = ["method", *measured, "trace_bytes", "optimizer"]
        return replace(found, columns=columns, reference=REFERENCES if part == "mnist" else [])

    def _memory(self, setup: Setup) -> Findings:
        rows: list[Record] = []
        setup.progress.begin(len(self.ticks) * len(METHODS), "memory")
        for ticks in self.ticks:
            suite = "spikes_long" if ticks == TICKS[-1] else "spikes"
            for method in METHODS:
                peak = method_peak(suite, f"{ticks}-ticks", method, torch.device("cpu"), setup.threads)
                setup.progress.finish_run()
                rows.append({"part": "memory", "method": method, "ticks": ticks, "peak_mib": peak / 2**20})
        x, y = Axis("ticks", scale="log"), Axis("peak (MiB)", scale="log")
        panel = Panel(title="700-256-20, 32 sequences, input apart", x=x, y=y)
        for method in METHODS:
            peaks = [row["peak_mib"] for row in rows if row["method"] == method]
            panel.marks.append(Curve(label=method, x=self.ticks, y=peaks))
        draw_figure(setup.folder / "memory.png", [panel], title="memory of one update, in fresh processes")
        return Findings(rows=rows, pictures=["memory.png"], columns=["method", "ticks", "peak_mib"])

    def checks(self, part: str, rows: Sequence[Record]) -> Checks:
        if part == "memory":
            return _check_memory(rows)
        return _check_losses(part, rows) if part == "mackey_glass" else _check_accuracies(part, rows)


def rule_settings(rule: str, *, decaying: bool) -> list[Fields]:
    """Return the settings of a rule that validation data choose from.

    Args:
        rule: name of the rule.
        decaying: whether decay of the weights is one of them, and for backpropagation through time a small norm of all
            directions.
    """
    forms = VARIANTS.get(rule, (rule,))
    if not decaying:
        return [{"rule": form, "optimizer": optimizer} for form in forms for optimizer in OPTIMIZERS]
    clips = (None, 0.1) if rule == ORACLE else (None,)  # its gradient runs through the recurrence, and explodes
    grid = itertools.product(forms, DECAYING, clips)
    return [{"rule": form, "optimizer": optimizer, "clip": clip} for form, optimizer, clip in grid]


def _traces(runs: Sequence[SweepRow]) -> Record:
    """Return the bytes that a method carries through the ticks of one sample."""
    trainer = Trainer(RunSpec.from_json(runs[0].spec))
    ticks: int = trainer.dataset.ticks  # type: ignore[union-attr]
    return {"trace_bytes": trace_storage(trainer.learner, ticks, trainer.spec.chunk or CHUNK).bytes}


def _check_accuracies(part: str, rows: Sequence[Record]) -> Checks:
    """Yield whether each rule beats the readout alone, and stays near backpropagation through time."""
    yield from margin_checks(part, rows, CONTROL)
    oracle = next(row["test_accuracy"] for row in rows if row["method"] == ORACLE)
    for row in [row for row in rows if row["method"] not in (CONTROL, ORACLE)]:
        behind = percent(row["test_accuracy"] - oracle)
        yield at_least(f"{part}: {row['method']} less {ORACLE}, points", behind, -BEHIND)


def _check_losses(part: str, rows: Sequence[Record]) -> Checks:
    """Yield whether the loss of each rule is below the control's, and near that of backpropagation through time."""
    loss = {row["method"]: row["test_loss"] for row in rows}
    for reference, bound in ((CONTROL, 1.0), (ORACLE, 2.0)):
        for method in [method for method in loss if method not in (CONTROL, reference)]:
            yield at_most(f"{part}: loss of {method} over that of {reference}", loss[method] / loss[reference], bound)


def _check_memory(rows: Sequence[Record]) -> Checks:
    """Yield whether peaks of online rules stay flat, and those of backpropagation through time grow with the ticks."""
    peak = {(row["method"], row["ticks"]): row["peak_mib"] for row in rows}
    low, high = min(ticks for _, ticks in peak), max(ticks for _, ticks in peak)
    for method in (*FLAT, *GROWING) if low < high else ():
        grown = peak[method, high] / peak[method, low]
        what = f"memory: {method}, peak at {high} over peak at {low} ticks"
        yield at_most(what, grown, 1.5) if method in FLAT else at_least(what, grown, high / low / 3)
