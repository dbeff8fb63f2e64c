"""Studies: methods compared on one task, each tuned on validation data before the runs that count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments import tables
from experiments.runs.spec import RunSpec
from experiments.sweeps.edges import rate_edge
from experiments.sweeps.rows import SweepRow
from experiments.sweeps.setup import Setup
from experiments.sweeps.sweep import run_sweep
from hwmodels.errors import NeurofaError
from hwmodels.registry import build

Fields = Mapping[str, object]
"""Some fields of a run, by name."""

CONTROL = "readout_only"
"""The control of most studies: a rule that trains the readout on random features, and nothing else."""

TUNING_SEED = 1000
"""Settings are chosen on this seed; the runs that count have seeds 0, 1, 2, ..."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """Methods with their candidate settings, and what all of them share.

    Raises:
        NeurofaError: no candidates for a method, or a control that is none of the methods.
    """

    common: Fields
    """Fields that all runs share: data, batch size, schedule, epochs."""
    methods: Mapping[str, Sequence[Fields]]
    """Candidate settings by method; with more than one, validation accuracy decides, or loss without labels."""
    tuning_epochs: int
    """Epochs of the runs that choose; the schedule of the learning rate is as long as they are."""
    control: str | None = None
    """Method whose accuracy is subtracted to give the margin of the others; None: ``readout_only``, if it is one."""
    by_loss: bool = False
    """Whether the validation loss chooses, as where perplexity is reported, although there are labels."""

    def __post_init__(self) -> None:
        if self.control is None and CONTROL in self.methods:
            object.__setattr__(self, "control", CONTROL)
        for method, candidates in self.methods.items():
            if not candidates:
                raise NeurofaError(f"got method '{method}' without settings; expected one or more; add a candidate")
        if self.control is not None and self.control not in self.methods:
            raise NeurofaError(
                f"got control '{self.control}'; expected one of {', '.join(self.methods)}; name one of the methods"
            )


@dataclass(frozen=True)
class StudyResult:
    """The tables and runs of a study."""

    lines: list[tables.Record]
    """A line for each method: its winning setting, means and spreads over seeds, margin over the control, and
    ``rate_edge`` where the winner has the lowest or highest rate that was tried."""
    tuning: list[tables.Record]
    """A line for each candidate: setting and validation accuracy after ``tuning_epochs``."""
    runs: Mapping[str, Sequence[SweepRow]]
    """The runs that count by method, one for each seed, with all that they logged."""


def run_study(study: Study, setup: Setup, *, name: str, keep: bool = False) -> StudyResult:
    """Tune every method on validation data with one seed, then run the winners on all seeds.

    Args:
        study: what is compared.
        setup: how the runs are done.
        name: of the part, for the progress and for the lines.
        keep: keep the folders of the runs that count, see :func:`~experiments.sweeps.sweep.run_sweep`.

    Raises:
        NeurofaError: the data are missing, every candidate of a method failed, or a run that counts did.
    """
    # downloaded once, before workers need them side by side; what is missing is refused before anything runs
    build("data", study.common.get("data", RunSpec().data))
    common = {**study.common, "compute": setup.compute}
    winners: dict[str, Fields] = {}
    trials = {
        method: [_spec(common, c, seed=TUNING_SEED, epochs=study.tuning_epochs, log="none") for c in candidates]
        for method, candidates in study.methods.items()
    }
    contested = {method: specs for method, specs in trials.items() if len(specs) > 1}
    tried = _rows([spec for specs in contested.values() for spec in specs], setup, f"{name}: tuning")
    tuning = []
    for method, candidates in study.methods.items():
        rows = [tried[spec.key] for spec in contested.get(method, ())]
        winners[method] = candidates[_best(method, rows, study.by_loss)] if rows else candidates[0]
        part = {"part": name, "method": method}
        tuning += [part | _trial(candidate, row) for candidate, row in zip(candidates, rows, strict=bool(rows))]
    counting = {
        method: [_spec(common, setting, seed=seed) for seed in range(setup.seeds)]
        for method, setting in winners.items()
    }
    counted = _rows([spec for specs in counting.values() for spec in specs], setup, name, keep)
    for row in counted.values():
        if not row.done:
            raise NeurofaError(
                f"got a failed run of {name} ({row.spec['rule']}, seed {row.spec['seed']}: {row.error}); expected all"
                " to finish; start the experiment again"
            )
    runs = {method: [counted[spec.key] for spec in specs] for method, specs in counting.items()}
    lines = []
    for method, setting in winners.items():
        against = None if study.control in (None, method) else runs[str(study.control)]
        edge = rate_edge(setting, study.methods[method])
        lines.append({"part": name, "method": method, **_line(runs[method], setting, against), "rate_edge": edge})
    return StudyResult(lines, tuning, runs)


def _spec(common: Fields, setting: Fields, **more: object) -> RunSpec:
    # published rates and the targets of the experiments belong to feedback of one size for every network
    return RunSpec.from_json({"feedback_scale": "fixed", **common, **setting, **more})


def _rows(specs: Sequence[RunSpec], setup: Setup, title: str, keep: bool = False) -> dict[str, SweepRow]:
    return {row.key: row for row in run_sweep(specs, setup, title=title, keep=keep)} if specs else {}


def _number(row: SweepRow, measure: str) -> float | None:
    value = (row.result or {}).get(measure)
    return float(value) if isinstance(value, int | float) else None


def _best(method: str, rows: Sequence[SweepRow], by_loss: bool) -> int:
    """Return the index of the candidate that is best on validation data, the first of equals; diverged ones are out."""
    scores = {}
    for index, row in enumerate(rows):
        accuracy, loss = _number(row, "validation_accuracy"), _number(row, "validation_loss")
        if accuracy is not None and not by_loss:
            scores[index] = accuracy
        elif loss is not None:
            scores[index] = -loss
    if not scores:
        raise NeurofaError(
            f"got no candidate of '{method}' that ran ({rows[0].error}); expected one; change its settings"
        )
    return max(scores, key=lambda index: scores[index])


def _line(rows: Sequence[SweepRow], setting: Fields, against: Sequence[SweepRow] | None) -> tables.Record:
    """Return the means and spreads of one method, and its margin over the runs of the control."""
    records = [row.flat() for row in rows]
    line = tables.summarise_runs(records, ["status"])[0]
    accuracies, losses = (tables.column_numbers(records, measure) for measure in ("test_accuracy", "test_loss"))
    theirs = tables.column_numbers([row.flat() for row in against or ()], "test_accuracy")
    # seed by seed: runs of one seed share the order of the data and, in equal networks, the initial weights
    margins = [a - b for a, b in zip(accuracies, theirs, strict=True)] if against is not None else []
    for measure, values in (("margin", margins), ("test_loss", losses)):
        line |= {measure: tables.mean(values), f"{measure}_std": tables.standard_deviation(values)}
    del line["status"], line["failed"]
    return {**setting, "epochs": records[0]["epochs"], "test_accuracies": accuracies, **line}


def _trial(setting: Fields, row: SweepRow) -> tables.Record:
    measured = {measure: _number(row, measure) for measure in ("validation_accuracy", "validation_loss")}
    return {**setting, **measured, "error": row.error}
