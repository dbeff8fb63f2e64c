"""Methods compared on one task: each is tuned on validation data before its own runs count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from experiments import tables
from experiments.runs.spec import RunSpec
from experiments.sweeps.sweep import Row, sweep
from experiments.sweeps.watch import Unwatched, Watch
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
    """What is compared, and on what.

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


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How the runs of an experiment are done."""

    folder: Path
    """Rows and pictures are written here."""
    seeds: int = 3
    """Runs that count, a method."""
    workers: int = 2
    """Processes; 0: none but this one."""
    threads: int = 1
    """Of torch in each process."""
    compute: str = "cpu"
    """Where the arithmetic runs: cpu, cuda or auto."""
    full: bool = False
    """The large sizes instead of those that take minutes."""
    watch: Watch = field(default_factory=Unwatched)


@dataclass(frozen=True)
class Outcome:
    """What a study found."""

    lines: list[tables.Record]
    """A line a method: its winning setting, means and spreads over seeds, margin over the control."""
    tuning: list[tables.Record]
    """A line a candidate: setting and validation accuracy after ``tuning_epochs``."""
    runs: Mapping[str, Sequence[Row]]
    """The runs that count by method, a seed each, with all that they logged."""


def run_study(study: Study, setup: Setup, *, name: str, keep: bool = False) -> Outcome:
    """Tune every method on validation data with one seed, then run the winners on all seeds.

    Args:
        study: what is compared.
        setup: how.
        name: of the part, for the bar and for the lines.
        keep: keep the folders of the runs that count, see :func:`~experiments.sweeps.sweep.sweep`.

    Raises:
        NeurofaError: the data is missing, every candidate of a method failed, or a run that counts did.
    """
    # fetched once, before workers ask for it side by side; what is missing is told before anything runs
    build("data", study.common.get("data", RunSpec().data))
    common = {**study.common, "compute": setup.compute}
    trials = {
        method: [_spec(common, c, seed=TUNING_SEED, epochs=study.tuning_epochs, log="none") for c in candidates]
        for method, candidates in study.methods.items()
    }
    contested = [spec for specs in trials.values() if len(specs) > 1 for spec in specs]
    tried = _rows(contested, setup, f"{name}: tuning")
    winners = {}
    for method, specs in trials.items():
        winners[method] = study.methods[method][_best(method, specs, tried)]

    counting = {
        method: [_spec(common, setting, seed=seed) for seed in range(setup.seeds)]
        for method, setting in winners.items()
    }
    rows = _rows([spec for specs in counting.values() for spec in specs], setup, name, keep)
    for row in rows.values():
        if not row.done:
            raise NeurofaError(
                f"got a failed run of {name} ({row.spec['rule']}, seed {row.spec['seed']}: {row.error}); expected all"
                " to finish; start the experiment again"
            )
    done = {method: [rows[spec.key].flat() for spec in specs] for method, specs in counting.items()}
    against = done.get(study.control or "")
    lines = [{"part": name, "method": method, **_line(runs, winners[method], against)} for method, runs in done.items()]
    trial_lines = [_trial(name, m, c, tried.get(s.key)) for m in trials for c, s in _pairs(study, trials, m)]
    return Outcome(lines, trial_lines, {method: [rows[s.key] for s in specs] for method, specs in counting.items()})


def _spec(common: Fields, setting: Fields, **more: object) -> RunSpec:
    return RunSpec.from_json({**common, **setting, **more})


def _rows(specs: Sequence[RunSpec], setup: Setup, what: str, keep: bool = False) -> dict[str, Row]:
    if not specs:
        return {}
    rows = sweep(
        specs, setup.folder, workers=setup.workers, threads=setup.threads, watch=setup.watch, what=what, keep=keep
    )
    return {row.key: row for row in rows}


def _validation(row: Row | None, measure: str = "validation_accuracy") -> float | None:
    value = row.result.get(measure) if row is not None and row.result is not None else None
    return float(value) if isinstance(value, int | float) else None


def _score(row: Row) -> float | None:
    """What is to be large: accuracy or, where there are no labels, minus the loss."""
    accuracy, loss = _validation(row), _validation(row, "validation_loss")
    return accuracy if accuracy is not None or loss is None else -loss


def _best(method: str, specs: Sequence[RunSpec], tried: Mapping[str, Row]) -> int:
    """Index of the candidate that is best on validation data, the first of equals; diverged ones are out."""
    if len(specs) == 1:
        return 0
    scores = {index: score for index, s in enumerate(specs) if (score := _score(tried[s.key])) is not None}
    if not scores:
        raise NeurofaError(
            f"got no candidate of '{method}' that ran ({tried[specs[0].key].error}); expected one; change its settings"
        )
    return max(scores, key=lambda index: scores[index])


def _line(
    runs: Sequence[tables.Record], setting: Fields, against: Sequence[tables.Record] | None
) -> tables.Record:  # fmt: skip
    line = tables.summarise_runs(runs, ["status"])[0]
    margins = []
    if against is not None and against is not runs:
        theirs, ours = tables.column_numbers(against, "test_accuracy"), tables.column_numbers(runs, "test_accuracy")
        margins = [a - b for a, b in zip(ours, theirs, strict=True)]
    del line["status"], line["failed"]
    line |= {"margin": tables.mean(margins), "margin_std": tables.standard_deviation(margins)}
    losses = tables.column_numbers(runs, "test_loss")
    line |= {"test_loss": tables.mean(losses), "test_loss_std": tables.standard_deviation(losses)}
    per_seed = tables.column_numbers(runs, "test_accuracy")
    return {**setting, "epochs": runs[0]["epochs"], "test_accuracies": per_seed, **line}


def _pairs(study: Study, trials: Mapping[str, Sequence[RunSpec]], method: str) -> list[tuple[Fields, RunSpec]]:
    contested = len(trials[method]) > 1
    return list(zip(study.methods[method], trials[method], strict=True)) if contested else []


def _trial(name: str, method: str, setting: Fields, row: Row | None) -> tables.Record:
    error = row.error if row is not None else None
    measured = {"validation_accuracy": _validation(row), "validation_loss": _validation(row, "validation_loss")}
    return {"part": name, "method": method, **setting, **measured, "error": error}
