"""What a chip chooses for a spiking network: number formats, widths, surrogate derivative, rule and rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.reports.chips import fill
from hwmodels.profile import Profile
from hwmodels.registry import find, options
from hwmodels.spec import Spec, parse

MEMBRANE_RANGE = 16.0
"""Full scale of a membrane potential, in thresholds of 1: no source gave one."""
TRACE_RANGE = 10.0
"""Full scale of a trace: where spikes at every tick take it with a decay of 0.9."""


def spiking_fill(profile: Profile, task: Mapping[str, object], given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a task's run as a chip has them.

    The rule is e-prop without a filter, whose traces are those of the inputs: the only ones that have a number format.
    Where the chip has no other feedback weights than the readout's, it is the symmetric one. The optimizer becomes
    plain SGD where the chip has no state for the task's.

    Args:
        profile: the chip.
        task: the task's own fields.
        given: fields that the user chose; they stay, options of a network too.

    Raises:
        NeurofaError: the chip takes no error.
    """
    # a schedule would take the rate out of the chip's form
    left = ("network", "rule", "optimizer", "batch_size", "schedule")
    own = {key: value for key, value in task.items() if key not in left}
    symmetric = profile.feedback_weights == "readout"
    rule = "eprop_symmetric(filtered=False)" if symmetric else "eprop(filtered=False)"
    network = fitted(profile, str(task["network"])) if "network" not in given else str(given["network"])
    chosen = {**own, "rule": rule, **given, "network": network_on(profile, network)}
    return fill(profile, chosen)


def network_on(profile: Profile, network: str) -> str:
    """A spiking network whose membranes, traces and surrogate derivative are a chip's where they were left open.

    Args:
        profile: the chip.
        network: spec of a network; without such options it stays as it is.
    """
    spec = parse(network)
    known = options(find("network", spec.name))
    chosen: dict[str, Any] = dict(spec.options)
    if "neuron" in known:
        neuron = _spec(chosen.get("neuron", "lif"))
        added: dict[str, Any] = {}
        if profile.surrogate_segments is not None:
            added["surrogate"] = Spec("table", {})
        chosen["neuron"] = Spec(neuron.name, {**added, **_membrane(profile), **neuron.options})
    if "readout" in known:
        readout = _spec(chosen.get("readout", "leaky"))
        chosen["readout"] = Spec(readout.name, {**_membrane(profile), **readout.options})
    if "traces" in known and profile.trace_bits is not None:
        chosen.setdefault("traces", _format(profile.trace_bits, TRACE_RANGE))
    return str(Spec(spec.name, chosen))


def fitted(profile: Profile, network: str) -> str:
    """A spiking network no deeper and wider than a chip.

    Args:
        profile: the chip.
        network: spec of a network with a list of hidden widths; another one stays as it is.
    """
    spec = parse(network)
    hidden = spec.options.get("hidden")
    if not isinstance(hidden, list):
        return network
    kept = hidden[: profile.hidden_layers]
    widths = kept if profile.layer_width is None else [min(n, profile.layer_width) for n in kept]
    return str(Spec(spec.name, {**spec.options, "hidden": widths}))


def _membrane(profile: Profile) -> dict[str, Any]:
    return {} if profile.membrane_bits is None else {"membrane": _format(profile.membrane_bits, MEMBRANE_RANGE)}


def _format(bits: int, full: float) -> Spec:
    return Spec("uniform", {"bits": min(bits, 24), "range": full})


def _spec(value: object) -> Spec:
    return value if isinstance(value, Spec) else parse(str(value))
