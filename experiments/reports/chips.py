"""Runs on chips: the fields that a profile decides where the user has not, and whether a run fits the chip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.runs.recommended import PLAIN
from experiments.runs.spec import RunSpec
from experiments.runs.trainer import Trainer
from hwmodels.errors import NeurofaError
from hwmodels.profile import Profile
from hwmodels.registry import build, find, options
from hwmodels.spec import Spec, parse
from neurofa.chips.fit import Finding, check_limits
from neurofa.chips.requirements import requirements_of


def build_profile(text: str) -> Profile:
    """Return the profile of that spec.

    Raises:
        NeurofaError: unknown name or option.
    """
    profile: Profile = build("profile", text)
    return profile


def chip_fields(profile: Profile, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a run on a chip: device, converters, error, feedback, batch, learning rate and more.

    The optimizer is plain SGD, since chips hold no moments. Where the chip learns from every sample, the recommended
    learning rate is divided by the default batch, so that a pass over the data moves the weights as far; it is then
    rounded down to a rate that the chip can represent.

    Args:
        profile: the chip.
        given: fields of a run that the user chose, options of a rule included; they stay.

    Returns:
        Fields that determine the run without the profile, the given ones among them.

    Raises:
        NeurofaError: the chip takes no error, so that nothing here can be trained on it.
    """
    if profile.error_path == "none":
        raise NeurofaError(
            f"got --profile {profile.name} for training; expected a chip that takes an error, and this one does not;"
            f" see neurofa check --profile {profile.name}"
        )
    fields, default = dict(given), RunSpec()
    for key, part in (("device", profile.device()), ("periphery", profile.periphery())):
        if part is not None:
            fields.setdefault(key, part)
    if profile.hidden_layers is not None or profile.layer_width is not None or profile.surrogate_segments is not None:
        fields.setdefault("network", _network(profile))
    fields["rule"] = _rule(profile, fields.get("rule"))
    rate = _plain_rate(RunSpec(**{key: fields[key] for key in ("rule", "network") if key in fields}))
    if profile.batch is not None and "batch_size" not in fields:
        fields["batch_size"] = profile.batch
        rate *= profile.batch / default.batch_size
    fields.setdefault("optimizer", str(Spec("sgd", {"lr": profile.rate_below(rate)})))
    return fields


def _plain_rate(run: RunSpec) -> float:
    """Return the learning rate of plain SGD that a run's rule recommends, else the one that most rules do.

    Chips hold no moments: where the rule recommends an optimizer with a state, there is no better guess.
    """
    plain = [parse(optimizer) for optimizer in (run.optimizer, PLAIN)]
    return float(str(next(spec.options["lr"] for spec in plain if list(spec.options) == ["lr"] and spec.name == "sgd")))


def _network(profile: Profile) -> str:
    """Return the default perceptron, no deeper and wider than the chip, with a derivative that the chip has."""
    hidden = [256, 256][: profile.hidden_layers]
    if profile.layer_width is not None:
        hidden = [min(width, profile.layer_width) for width in hidden]
    activation = {} if profile.surrogate_segments is None else {"activation": "relu"}
    return str(Spec("mlp", {"hidden": hidden, **activation}))


def _rule(profile: Profile, given: str | None) -> str:
    """Return the rule with the chip's error format and pathway, where it has such options and does not state them."""
    if given is None:
        given = "bp" if profile.feedback_weights == "readout" else RunSpec().rule
    spec = parse(given)
    known = options(find("rule", spec.name))
    added: dict[str, object] = {
        key: parse(value)
        for key, value in (("error", profile.error()), ("feedback", profile.feedback))
        if value is not None and key in known and key not in spec.options
    }
    return str(Spec(spec.name, {**spec.options, **added}))


def chip_findings(profile: Profile, spec: RunSpec) -> list[Finding]:
    """Build the learner of a run and compare it with the limits of a chip.

    Args:
        profile: the chip.
        spec: the run; every learning rate of its schedule counts, sampled four times an epoch.

    Raises:
        NeurofaError: an unknown or impossible part.
    """
    trainer = Trainer(spec)
    times = [(quarter + 0.5) / 4 for quarter in range(4 * spec.epochs)]
    rates = {rate * trainer.schedule(t, spec.epochs) for rate in trainer.rates for t in times}
    requirements = requirements_of(trainer.learner, batch_size=spec.batch_size, rates=tuple(sorted(rates)))
    return check_limits(profile, requirements)
