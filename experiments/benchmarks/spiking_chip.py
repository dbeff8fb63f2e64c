"""Fields of a spiking run that a chip decides: number formats, widths, surrogate derivative, rule and rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.data import Sequences
from experiments.reports.chips import chip_fields
from experiments.runs.build import load_data
from experiments.runs.spec import RunSpec, canonical
from hwmodels.profile import Profile
from hwmodels.registry import find, options
from hwmodels.spec import Spec, parse

MEMBRANE_RANGE = 16.0
"""Full scale of a membrane potential, in thresholds of 1: no source states one."""
TRACE_RANGE = 10.0
"""Full scale of a trace: the limit for a spike at every tick and a decay of 0.9."""


def spiking_chip_fields(profile: Profile, task: Mapping[str, object], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a task's run on a chip.

    The rule is e-prop without a filter, whose traces are those of the inputs: the only ones that have a number format.
    Where the chip has no other feedback weights than the readout's, it is the symmetric one. The optimizer becomes
    plain SGD where the chip has no state for the task's.

    Args:
        profile: the chip.
        task: the task's own fields.
        given: fields that the user chose, options of a network included; they stay.

    Raises:
        NeurofaError: the chip takes no error.
    """
    # a schedule would move the learning rate away from what the chip can represent
    decided = ("network", "rule", "optimizer", "batch_size", "schedule")
    kept = {key: value for key, value in task.items() if key not in decided}
    symmetric = profile.feedback_weights == "readout"
    rule = "eprop_symmetric(filtered=False)" if symmetric else "eprop(filtered=False)"
    network = str(given["network"]) if "network" in given else within_chip_size(profile, str(task["network"]))
    return chip_fields(profile, {**kept, "rule": rule, **given, "network": with_chip_formats(profile, network)})


def train_fields(profile: Profile, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a run of ``neurofa train`` on a chip: of a spiking run where the data are sequences.

    Args:
        profile: the chip.
        given: fields that the user chose; they stay, and a network that does not spike makes the run one of its kind.

    Raises:
        NeurofaError: the chip takes no error, or the data cannot be loaded.
    """
    network = parse(canonical(given["network"])).name if "network" in given else "snn"
    spikes = getattr(find("network", network), "trains_as", "") == "spiking"
    if spikes and isinstance(load_data(canonical(given.get("data", RunSpec.data))), Sequences):
        return spiking_chip_fields(profile, {"network": "snn(hidden=[256])"}, given)
    return chip_fields(profile, given)


def with_chip_formats(profile: Profile, network: str) -> str:
    """Return a spiking network with the chip's formats of membranes, traces and surrogate derivative.

    Args:
        profile: the chip.
        network: spec of a network; options that it states stay, and a network without such options stays whole.
    """
    spec = parse(network)
    known = options(find("network", spec.name))
    chosen: dict[str, Any] = dict(spec.options)
    if "neuron" in known:
        neuron = _spec(chosen.get("neuron", "lif"))
        surrogate = {} if profile.surrogate_segments is None else {"surrogate": Spec("table", {})}
        chosen["neuron"] = Spec(neuron.name, {**surrogate, **_membrane(profile), **neuron.options})
    if "readout" in known:
        readout = _spec(chosen.get("readout", "leaky"))
        chosen["readout"] = Spec(readout.name, {**_membrane(profile), **readout.options})
    if "traces" in known and profile.trace_bits is not None:
        chosen.setdefault("traces", _format(profile.trace_bits, TRACE_RANGE))
    return str(Spec(spec.name, chosen))


def within_chip_size(profile: Profile, network: str) -> str:
    """Return a spiking network no deeper and wider than a chip.

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
