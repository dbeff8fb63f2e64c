"""Runs on chips: what a profile chooses where the user has not, and whether a run fits the chip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.runs.spec import RunSpec
from experiments.runs.trainer import Trainer
from hwmodels.errors import NeurofaError
from hwmodels.profile import Profile
from hwmodels.registry import build, find, options
from hwmodels.spec import Spec, parse
from neurofa.chips.fit import Finding, check_limits
from neurofa.chips.requirements import requirements_of


def profile_of(text: str) -> Profile:
    """The profile of that spec.

    Raises:
        NeurofaError: unknown name or option.
    """
    found: Profile = build("profile", text)
    return found


def fill(profile: Profile, given: Mapping[str, Any]) -> dict[str, Any]:
    """Choose what a run leaves open as the chip has it: device, converters, error, feedback, batch, rate and more.

    Where the chip learns from every sample, the default learning rate is divided by the default batch, so that a pass
    over the data moves the weights as far; it is then brought to the chip's form from above.

    Args:
        profile: the chip.
        given: fields of a run that the user chose; they stay, options of a rule too.

    Returns:
        Fields of a run, those given among them, that say everything: the profile is not needed to repeat it.

    Raises:
        NeurofaError: the chip takes no error, so that nothing here can be trained on it.
    """
    if profile.error_path == "none":
        raise NeurofaError(
            f"got --profile {profile.name} for training; expected a chip that takes an error, and this one does not;"
            f" see neurofa check --profile {profile.name}"
        )
    chosen, default = dict(given), RunSpec()
    for key, part in (("device", profile.device()), ("periphery", profile.periphery())):
        if part is not None:
            chosen.setdefault(key, part)
    if profile.hidden_layers is not None or profile.layer_width is not None or profile.surrogate_segments is not None:
        chosen.setdefault("network", _network(profile))
    chosen["rule"] = _rule(profile, chosen.get("rule"))
    rate = parse(default.optimizer).options["lr"]
    assert isinstance(rate, float)  # noqa: S101 (the default's own number)
    if profile.batch is not None and "batch_size" not in chosen:
        chosen["batch_size"] = profile.batch
        rate *= profile.batch / default.batch_size
    chosen.setdefault("optimizer", str(Spec("sgd", {"lr": profile.rate_below(rate)})))
    return chosen


def _network(profile: Profile) -> str:
    """The default perceptron, no deeper and wider than the chip, with a derivative that it has."""
    hidden = [256, 256][: profile.hidden_layers]
    if profile.layer_width is not None:
        hidden = [min(width, profile.layer_width) for width in hidden]
    chosen: dict[str, object] = {"hidden": hidden}
    if profile.surrogate_segments is not None:
        chosen["activation"] = "relu"
    return str(Spec("mlp", chosen))


def _rule(profile: Profile, given: str | None) -> str:
    """The rule with the chip's error format and pathway, where it has such options and they were left open."""
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


def examine(profile: Profile, spec: RunSpec) -> list[Finding]:
    """Build the learner of a run and compare it with a chip.

    Args:
        profile: the chip.
        spec: the run; every learning rate of its schedule counts, looked at four times an epoch.

    Raises:
        NeurofaError: an unknown or impossible part.
    """
    trainer = Trainer(spec, None)
    times = [(quarter + 0.5) / 4 for quarter in range(4 * spec.epochs)]
    rates = {rate * trainer.schedule(t, spec.epochs) for rate in trainer.rates for t in times}
    needs = requirements_of(trainer.learner, batch_size=spec.batch_size, rates=tuple(sorted(rates)))
    return check_limits(profile, needs)
