"""Spiking networks that learn on chips and on memory devices, and which limit costs how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from experiments.benchmarks.report import with_write_counter
from experiments.benchmarks.spiking_chip import spiking_chip_fields
from experiments.charts.accuracies import accuracy_chart
from experiments.reports.chips import build_profile, chip_findings
from experiments.runs.spec import RunSpec
from experiments.sweeps.experiment import Experiment, Findings, margin_checks
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import Fields, Study, run_study
from experiments.tables import Record
from hwmodels.profile import Profile
from hwmodels.registry import find, options
from hwmodels.spec import Spec, parse

CONTROL = "readout_only"
CHIPS = ("loihi1", "reckon")
MEMRISTIVE = ("reram_sb", "ecram")
BEHIND = 0.02
"""Share of the test data by which a run may stay behind floating-point words before its limits are lifted."""
BATCH = 32
"""Where nothing limits it."""

TELLING = 0.01
"""Share of the test data below which nothing is blamed."""

FEED = "snn(hidden=[{n}])"
RECURRENT = "snn(hidden=[{n}], recurrent=True, neuron=lif(beta=0.95), readout=leaky(kappa=0.95))"
PARTS: Mapping[str, tuple[str, str, str, int, int]] = {
    "digits": ("encoded(data=digits, ticks=20)", "encoded(data=digits, ticks=20)", FEED.format(n=64), 5, 20),
    "mnist": ("encoded(data=mnist(subset=4000, validation=1000), ticks=25)", "encoded(data=mnist, ticks=25)",
              FEED.format(n=100), 4, 10),
    "spoken_digits": ("spoken_digits(binary=True, ticks=50, tick=0.02, channels=50)", "spoken_digits(binary=True)",
                      RECURRENT.format(n=32), 8, 60),
}  # fmt: skip
"""Data of the default and of the full size, network, and epochs of both."""

ADAM = (0.001, 0.003, 0.01)
SGD = (0.1, 0.3, 1.0)
"""Rates for a batch of 32, chosen from on validation data."""
ONE_BY_ONE = (0.00025, 0.001, 0.004, 0.016)
"""Of SGD where every sample is an update."""
GAINS = (1.0, 0.1)
"""Of the feedback onto devices: plain SGD has one rate for all layers, and hidden devices want smaller steps."""


class SpikingChips(Experiment, name="spiking_chips"):
    """E-prop on chips and on memory devices: floating-point words, Loihi 1, ReckOn, and two memristive presets.

    Every target has a control of its own in which only the readout learns, and its own rate, chosen on validation data.
    A chip has its number formats, batch, rates, rule and errors from its profile. Where a target falls behind floats,
    its limits are lifted one at a time, those that the profile's validator finds broken by the run in floats; of a
    device, its kinds of noise, spread, coarseness and curvature; rates stay, where their form allows it. The limit
    whose lifting gains most is to blame.

    Parts: ``digits`` (embedded), ``mnist`` (both rate-coded) and ``spoken_digits`` (with recurrence). Chips learn from
    one sample at a time, in number formats tick by tick: on two cores ``spoken_digits`` takes more than an hour.

    Args:
        data: instead of each part's own.
        network: instead of each part's own.
        epochs: of the runs that count, instead of each part's own.
        tuning_epochs: of the runs that choose, instead of a quarter of those that count.
        lift: whether limits are lifted.
    """

    source = "the chips' own documents (see neurofa check --profile), and the devices' sources (neurofa list device)"
    question = "What do number formats, learning engines and memory devices cost, and which limit is to blame?"
    parts = tuple(PARTS)

    def __init__(
        self, *, data: Spec | str | None = None, network: Spec | str | None = None, epochs: int | None = None,
        tuning_epochs: int | None = None, lift: bool = True,
    ) -> None:  # fmt: skip
        self.data, self.network, self.epochs, self.tuning_epochs = data, network, epochs, tuning_epochs
        self.lift = lift

    def run(self, part: str, setup: Setup) -> Findings:
        small, full, network, few, many = PARTS[part]
        base: Fields = {
            "data": str(self.data or (full if setup.full else small)), "network": str(self.network or network),
            "epochs": self.epochs or (many if setup.full else few),
        }  # fmt: skip
        found = Findings(columns=["method", "test_accuracy", "behind", "margin", "optimizer", "blame"])
        floats = self._take(part, "floats", on_floats(), base, setup, found)
        for name in (*CHIPS, *MEMRISTIVE):
            chip = build_profile(name) if name in CHIPS else None
            methods = on_device(parse(name)) if chip is None else on_chip(chip, base)
            line = self._take(part, name, methods, base, setup, found, floats)
            line["limits"] = [] if chip is None else broken_limits(chip, base, floats)
            if self.lift and line["behind"] > BEHIND:
                freed = lifted_device(name) if chip is None else lifted_chip(chip, line["limits"], base)
                gains = {}
                for limit, alone in freed.items():
                    settings = at_rate(alone, next(iter(methods.values())), line)
                    free = self._take(part, f"{name} without {limit}", settings, base, setup, found, floats)
                    gains[limit] = free["test_accuracy"] - line["test_accuracy"]
                line["blame"] = blame(gains)
        accuracy_chart(
            setup.folder / f"{part}.png", found.rows, title=f"{part}: {base['epochs']} epochs, {setup.seeds} seeds"
        )
        found.pictures, found.checks = [f"{part}.png"], margin_checks(part, found.rows, CONTROL)
        return found

    def _take(
        self, part: str, target: str, methods: Mapping[str, Sequence[Fields]], base: Fields, setup: Setup,
        found: Findings, floats: Record | None = None,
    ) -> Record:  # fmt: skip
        """Study one target; its rows go into the table, that of the rule comes back."""
        epochs = int(str(base["epochs"]))
        study = Study(
            common={"batch_size": BATCH, "schedule": "cosine", **base}, methods=methods,
            tuning_epochs=self.tuning_epochs or max(1, epochs // 4),
            control=CONTROL if CONTROL in methods else None,
        )  # fmt: skip
        outcome = run_study(study, setup, name=f"{part}: {target}")
        names = {CONTROL: f"{target}, {CONTROL}"}
        rows, tried = (
            [{**line, "part": part, "method": names.get(line["method"], target)} for line in lines]
            for lines in (outcome.lines, outcome.tuning)
        )
        rule = rows[0]
        if floats is not None:
            rule["behind"] = floats["test_accuracy"] - rule["test_accuracy"]
        found.rows += rows
        found.tuning += tried
        return rule


def on_floats() -> dict[str, list[Fields]]:
    """E-prop and the control with nothing limited."""
    return {
        rule: [{"rule": rule, "optimizer": f"adam(lr={lr})"} for lr in ADAM]
        for rule in ("eprop(filtered=False)", CONTROL)
    }


def on_chip(chip: Profile, base: Fields) -> dict[str, list[Fields]]:
    """E-prop and the control as a chip has them, each at rates of the chip's form."""
    filled = spiking_chip_fields(chip, base, {})
    own = ("device", "network", "rule", "batch_size", "periphery")
    fields: Fields = {key: filled[key] for key in own if key in filled}
    if chip.synapse_state is None or chip.synapse_state >= 2:
        optimizers = [f"adam(lr={chip.rate_below(rate)!r})" for rate in ADAM]
    else:
        rates = SGD if chip.batch is None else ONE_BY_ONE
        optimizers = [f"sgd(lr={chip.rate_below(rate)!r})" for rate in rates]
    # a schedule would take the rate out of a chip's form; without that limit it stays, so that one thing changes
    return {
        rule: [{**fields, "rule": rule, "optimizer": optimizer, "schedule": "constant"} for optimizer in optimizers]
        for rule in (str(filled["rule"]), CONTROL)
    }


def on_device(device: Spec) -> dict[str, list[Fields]]:
    """E-prop and the control on a memory device."""
    fields: Fields = {"device": with_write_counter(str(device))}
    optimizers = [f"sgd(lr={lr})" for lr in SGD]
    return {
        "eprop(filtered=False)": [
            {**fields, "rule": f"eprop(filtered=False, feedback=dense(gain={gain}))", "optimizer": optimizer}
            for gain in GAINS
            for optimizer in optimizers
        ],
        CONTROL: [{**fields, "rule": CONTROL, "optimizer": optimizer} for optimizer in optimizers],
    }


def broken_limits(chip: Profile, base: Fields, floats: Record) -> list[str]:
    """Limits of a chip that the run in floats breaks, by the profile's validator."""
    spec = RunSpec.from_json({**base, "batch_size": BATCH, "rule": floats["rule"], "optimizer": floats["optimizer"]})
    return list(dict.fromkeys(finding.limit for finding in chip_findings(chip, spec) if finding.verdict == "broken"))


def lifted_chip(chip: Profile, broken: Sequence[str], base: Fields) -> dict[str, dict[str, list[Fields]]]:
    """The rule on a chip without one of its limits at a time; limits that decide nothing here are left out."""
    whole = on_chip(chip, base)
    found = {}
    for limit in broken:
        lifted: dict[str, Any] = {limit: None}
        methods = on_chip(replace(chip, **lifted), base)
        if methods != whole:
            found[limit] = _rule_alone(methods)
    return found


def lifted_device(name: str) -> dict[str, dict[str, list[Fields]]]:
    """The rule on a device without one of its imperfections at a time."""
    known = {key: parameter.default for key, parameter in options(find("device", name)).items()}

    def nothing(*ends: str) -> dict[str, object]:
        return {key: 0.0 for key, value in known.items() if key.endswith(ends) and value}

    lifts: dict[str, dict[str, object]] = {
        "noise of writes": nothing("dw_min_std", "write_noise_std"), "spread of devices": nothing("_dtod"),
        "coarse steps": {"dw_min": known["dw_min"] / 10}, "curvature": nothing("gamma_up", "gamma_down"),
    }  # fmt: skip
    return {what: _rule_alone(on_device(Spec(name, changed))) for what, changed in lifts.items() if changed}


def _rule_alone(methods: Mapping[str, list[Fields]]) -> dict[str, list[Fields]]:
    return {rule: settings for rule, settings in methods.items() if rule != CONTROL}


def at_rate(
    lifted: Mapping[str, Sequence[Fields]], own: Sequence[Fields], chosen: Mapping[str, object]
) -> dict[str, Sequence[Fields]]:
    """The one of the lifted settings whose rate is as the chosen one's, where rates count alike; else all of them.

    Args:
        lifted: candidates without a limit, by rule.
        own: candidates with all limits.
        chosen: the one of these that validation data chose.
    """
    at = next(i for i, fields in enumerate(own) if all(fields[key] == chosen[key] for key in ("rule", "optimizer")))

    def form(fields: Fields) -> tuple[object, str]:
        return fields.get("batch_size"), parse(str(fields["optimizer"])).name

    return {
        rule: [settings[at]] if list(map(form, settings)) == list(map(form, own)) else settings
        for rule, settings in lifted.items()
    }


def blame(gains: Mapping[str, float]) -> str:
    """The limit whose lifting gains most, if it gains as much as can be told from nothing.

    Args:
        gains: share of the test data that each lifted limit gains.
    """
    worst = max(gains, key=lambda limit: gains[limit], default=None)
    if worst is None:
        return "no limit that could be lifted"
    verdict = f"{worst} ({100 * gains[worst]:+.1f} points)"
    return verdict if gains[worst] >= TELLING else f"none alone; at most {verdict}"
