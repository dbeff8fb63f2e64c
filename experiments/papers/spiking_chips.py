"""Spiking networks that learn on chips and on memory devices, and which limit costs how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from experiments.benchmarks.report import with_write_counter
from experiments.benchmarks.spiking_chip import spiking_chip_fields
from experiments.charts.accuracies import accuracy_chart
from experiments.protocols.tables import Methods, title_of
from experiments.reports.chips import build_profile, chip_findings
from experiments.runs.spec import RunSpec
from experiments.sweeps.candidates import rate_grid
from experiments.sweeps.experiment import Checks, Experiment, Findings, margin_checks
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import CONTROL, Fields, Study, run_study
from experiments.tables import Record
from hwmodels.profile import Profile
from hwmodels.registry import find, options
from hwmodels.spec import Spec, parse

CHIPS = ("loihi1", "reckon")
MEMRISTIVE = ("reram_sb", "ecram")
BEHIND = 0.02
"""Share of the test data by which a run may stay behind floating-point words before its limits are lifted."""
BATCH = 32
"""Samples in a batch where no chip limits it."""
TELLING = 0.01
"""Share of the test data that lifting a limit has to gain before the limit is to blame."""

RECURRENT = "snn(hidden=[32], recurrent=True, neuron=lif(beta=0.95), readout=leaky(kappa=0.95))"
NETWORKS = {"digits": "snn(hidden=[64])", "mnist": "snn(hidden=[100])", "spoken_digits": RECURRENT}
SPOKEN = "spoken_digits(binary=True, ticks=50, tick=0.02, channels=50)"
DATA = {
    "digits": ("encoded(data=digits, ticks=20)", "encoded(data=digits, ticks=20)"),
    "mnist": ("encoded(data=mnist(subset=4000, validation=1000), ticks=25)", "encoded(data=mnist, ticks=25)"),
    "spoken_digits": (SPOKEN, "spoken_digits(binary=True)"),
}
EPOCHS = {"digits": (5, 20), "mnist": (4, 10), "spoken_digits": (8, 60)}
"""Data, and epochs of the runs that count, by part, at the default and at the full size."""

EPROP = "eprop(filtered=False)"
ADAM = (0.001, 0.003, 0.01)
SGD = (0.1, 0.3, 1.0)
"""Learning rates for a batch of 32, chosen from on validation data."""
ONE_BY_ONE = (0.00025, 0.001, 0.004, 0.016)
"""Learning rates of SGD where every sample is an update."""
GAINS = (1.0, 0.1)
"""Gains of the feedback onto devices: plain SGD has one rate for all layers, and hidden devices want smaller steps."""


@dataclass(frozen=True, kw_only=True)
class SpikingChips(Experiment, name="spiking_chips"):
    """E-prop on chips and on memory devices: floating-point words, Loihi 1, ReckOn, and two memristive presets.

    Every target has a control of its own in which only the readout learns, and its own rate, chosen on validation data.
    A chip has its number formats, batch, rates, rule and errors from its profile. Where a target falls behind floats,
    its limits are lifted one at a time, those that the profile's validator finds broken by the run in floats; of a
    device, its kinds of noise, spread, coarseness and curvature; rates stay, where their form allows it. The limit
    whose lifting gains most is to blame.

    Parts: ``digits`` (embedded), ``mnist`` (both rate-coded) and ``spoken_digits`` (with recurrence). Chips learn from
    one sample at a time, in number formats tick by tick: on two cores ``spoken_digits`` takes more than an hour.
    """

    source = "the chips' own documents (see neurofa check --profile), and the devices' sources (neurofa list device)"
    differs = "no text has this table: networks, data, epochs and the lifting of limits are ours"
    question = "What do number formats, learning engines and memory devices cost, and which limit is to blame?"
    parts = tuple(DATA)

    data: Spec | str | None = None
    """Data instead of each part's own."""
    network: Spec | str | None = None
    """Network instead of each part's own."""
    epochs: int | None = None
    """Epochs of the runs that count, instead of each part's own."""
    tuning_epochs: int | None = None
    """Epochs of the runs that choose, instead of a quarter of those that count."""
    lift: bool = True
    """Whether limits are lifted."""

    def run(self, part: str, setup: Setup) -> Findings:
        epochs = self.epochs or EPOCHS[part][setup.full]
        base: Record = {"data": str(self.data or DATA[part][setup.full]), "epochs": epochs}
        base |= {"network": str(self.network or NETWORKS[part])}
        tuning_epochs = self.tuning_epochs or max(1, epochs // 4)
        found = Findings(columns=["method", "test_accuracy", "behind", "margin", "optimizer", "blame"])

        def study(target: str, methods: Methods) -> Record:
            """Study one target; add its rows to the table and return that of the rule."""
            common = {"batch_size": BATCH, "schedule": "cosine", **base}
            target_study = Study(common=common, methods=methods, tuning_epochs=tuning_epochs)
            outcome = run_study(target_study, setup, name=f"{part}: {target}")
            names = {CONTROL: f"{target}, {CONTROL}"}
            for lines, rows in ((outcome.lines, found.rows), (outcome.tuning, found.tuning)):
                rows.extend({**line, "part": part, "method": names.get(line["method"], target)} for line in lines)
            row = found.rows[-len(outcome.lines)]
            if target != "floats":
                row["behind"] = found.rows[0]["test_accuracy"] - row["test_accuracy"]
            return row

        floats = study("floats", {rule: rate_grid(rule, ADAM, "adam(lr={lr})") for rule in (EPROP, CONTROL)})
        for name in (*CHIPS, *MEMRISTIVE):
            chip = build_profile(name) if name in CHIPS else None
            methods = on_device(parse(name)) if chip is None else on_chip(chip, base)
            row = study(name, methods)
            row["limits"] = [] if chip is None else broken_limits(chip, base, floats)
            if self.lift and row["behind"] > BEHIND:
                lifted = lifted_device(name) if chip is None else lifted_chip(chip, row["limits"], base)
                gains = {}
                for limit, alone in lifted.items():
                    free = study(f"{name} without {limit}", at_rate(alone, next(iter(methods.values())), row))
                    gains[limit] = free["test_accuracy"] - row["test_accuracy"]
                row["blame"] = blame(gains)
        found.pictures = [f"{part}.png"]
        accuracy_chart(setup.folder / f"{part}.png", found.rows, title=title_of(part, base, setup))
        return found

    def checks(self, part: str, rows: Sequence[Record]) -> Checks:
        return margin_checks(part, rows, CONTROL)


def on_chip(chip: Profile, base: Fields) -> dict[str, list[Fields]]:
    """Return the candidate settings of e-prop and of the readout-only control within the limits of a chip.

    Number formats, batch size and rule are those of the chip's profile, learning rates those that it can represent.

    Args:
        chip: profile with the limits of the chip.
        base: data, network and epochs.
    """
    filled = spiking_chip_fields(chip, base, {})
    own = ("device", "network", "rule", "batch_size", "periphery")
    # a schedule would take the rate out of a chip's form; without that limit it stays, so that one thing changes
    fields: Record = {key: filled[key] for key in own if key in filled} | {"schedule": "constant"}
    if chip.synapse_state is None or chip.synapse_state >= 2:
        optimizers = [f"adam(lr={chip.rate_below(rate)!r})" for rate in ADAM]
    else:
        rates = SGD if chip.batch is None else ONE_BY_ONE
        optimizers = [f"sgd(lr={chip.rate_below(rate)!r})" for rate in rates]
    rules = (str(filled["rule"]), CONTROL)
    return {rule: [{**fields, "rule": rule, "optimizer": optimizer} for optimizer in optimizers] for rule in rules}


def on_device(device: Spec) -> dict[str, list[Fields]]:
    """Return the candidate settings of e-prop and of the readout-only control with weights on a memory device.

    The device counts its writes. Settings differ in the learning rate and, of e-prop, in the gain of the feedback.
    """
    counted = with_write_counter(str(device))
    rules = [f"eprop(filtered=False, feedback=dense(gain={gain}))" for gain in GAINS]
    eprop = [setting for rule in rules for setting in rate_grid(rule, SGD, device=counted)]
    return {EPROP: eprop, CONTROL: rate_grid(CONTROL, SGD, device=counted)}


def broken_limits(chip: Profile, base: Fields, floats: Record) -> list[str]:
    """Return the limits of a chip that the run in floats breaks, by the profile's validator.

    Args:
        chip: profile with the limits of the chip.
        base: data, network and epochs.
        floats: row of the run in floats.
    """
    spec = RunSpec.from_json({**base, "batch_size": BATCH, "rule": floats["rule"], "optimizer": floats["optimizer"]})
    return list(dict.fromkeys(finding.limit for finding in chip_findings(chip, spec) if finding.verdict == "broken"))


def lifted_chip(chip: Profile, broken: Sequence[str], base: Fields) -> dict[str, dict[str, list[Fields]]]:
    """Return the candidate settings of e-prop on a chip from which one limit at a time is removed.

    Args:
        chip: profile with the limits of the chip.
        broken: names of the limits to remove.
        base: data, network and epochs.

    Returns:
        Candidate settings by rule, by the name of the removed limit; a limit whose removal changes no setting is left
        out.
    """
    limited = on_chip(chip, base)
    unlimited = {limit: on_chip(replace(chip, **{limit: None}), base) for limit in broken}  # type: ignore[arg-type]
    return {limit: _rule_alone(methods) for limit, methods in unlimited.items() if methods != limited}


def lifted_device(name: str) -> dict[str, dict[str, list[Fields]]]:
    """Return the candidate settings of e-prop on a device from which one imperfection at a time is removed.

    Args:
        name: of the device.

    Returns:
        Candidate settings by rule, by the imperfection: ``noise of writes``, ``spread of devices``, ``coarse steps``
        (made ten times finer) or ``curvature``; those that the device does not have are left out.
    """
    known = {key: parameter.default for key, parameter in options(find("device", name)).items()}

    def nothing(*ends: str) -> dict[str, object]:
        return {key: 0.0 for key, value in known.items() if key.endswith(ends) and value}

    lifts: dict[str, dict[str, object]] = {
        "noise of writes": nothing("dw_min_std", "write_noise_std"),
        "spread of devices": nothing("_dtod"),
        "coarse steps": {"dw_min": known["dw_min"] / 10},
        "curvature": nothing("gamma_up", "gamma_down"),
    }
    return {what: _rule_alone(on_device(Spec(name, changed))) for what, changed in lifts.items() if changed}


def _rule_alone(methods: Mapping[str, list[Fields]]) -> dict[str, list[Fields]]:
    return {rule: settings for rule, settings in methods.items() if rule != CONTROL}


def at_rate(lifted: Methods, own: Sequence[Fields], chosen: Mapping[str, object]) -> dict[str, Sequence[Fields]]:
    """Keep, of the candidates without a limit, the one with the learning rate that was chosen with the limit.

    So only the limit differs between the two runs. Where the removal changes optimizers or batch sizes, rates do not
    compare, and all candidates are kept.

    Args:
        lifted: candidates without a limit, by rule.
        own: candidates with all limits, in the same order.
        chosen: the one of these that validation data chose.
    """
    place = [(setting["rule"], setting["optimizer"]) for setting in own].index((chosen["rule"], chosen["optimizer"]))

    def forms(settings: Sequence[Fields]) -> list[tuple[object, str]]:
        return [(setting.get("batch_size"), parse(str(setting["optimizer"])).name) for setting in settings]

    return {rule: [free[place]] if forms(free) == forms(own) else free for rule, free in lifted.items()}


def blame(gains: Mapping[str, float]) -> str:
    """Return, in words, the limit whose removal gains the most accuracy, or that none gains enough to be blamed.

    Args:
        gains: gain in test accuracy, as a share, by removed limit.
    """
    worst = max(gains, key=lambda limit: gains[limit], default=None)
    if worst is None:
        return "no limit that could be lifted"
    verdict = f"{worst} ({100 * gains[worst]:+.1f} points)"
    return verdict if gains[worst] >= TELLING else f"none alone; at most {verdict}"
