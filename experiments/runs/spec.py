"""What one training run is: every choice that decides its numbers, in canonical text, with a hash that names it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from hwmodels.errors import NeurofaError, did_you_mean
from hwmodels.registry import Registered
from hwmodels.spec import Spec, parse

PARTS = ("data", "network", "rule", "device", "periphery", "optimizer", "schedule", "loss")
"""Fields of a run that are specs of registered parts; each is named as its kind."""

LATER: dict[str, object] = {"periphery": "exact", "fused": False, "feedback_seed": None, "chunk": 64, "update": "end"}
"""Fields that came later, with what earlier runs had: they count for the key only when they differ from it."""

LOGS: dict[str, tuple[str, ...]] = {
    "none": (), "alignment": ("alignment",), "jacobian": ("jacobian",), "features": ("features",),
    "ends": ("jacobian", "features"), "all": ("alignment", "jacobian", "features"),
}  # fmt: skip
"""What the words of ``log`` measure."""

CHOICES = {
    "select": ("last", "best"),
    "update": ("end", "chunk", "tick"),
    "log": tuple(LOGS),
    "compute": ("cpu", "cuda", "auto"),
}
"""Fields of a run that are one of a few words."""


def canonical(spec: str | Spec | Registered) -> str:
    """Return one text for all ways to write a spec: spaces and the order of options do not count.

    Args:
        spec: its text, a :class:`Spec`, or a part, which stands for its own spec.

    >>> canonical("fixed( rounding=stochastic,bits = 4 )")
    'fixed(bits=4, rounding=stochastic)'
    """
    return str(_sorted(parse(str(spec))))


def _sorted(value: object) -> object:
    if isinstance(value, Spec):
        return Spec(value.name, {key: _sorted(value.options[key]) for key in sorted(value.options)})
    return [_sorted(v) for v in value] if isinstance(value, list) else value


class SpecField:
    """A field that takes a spec, its text or a part, and holds the canonical text.

    Args:
        default: text of the spec.
    """

    def __init__(self, default: str) -> None:
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, run: RunSpec | None, owner: type | None = None) -> str:
        return self.default if run is None else str(vars(run)[self.name])

    def __set__(self, run: RunSpec, value: str | Spec | Registered) -> None:
        vars(run)[self.name] = canonical(value)


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """One training run.

    Raises:
        NeurofaError: a malformed spec, or a number out of range.
    """

    data: SpecField = SpecField("digits")
    network: SpecField = SpecField("mlp")
    rule: SpecField = SpecField("dfa")
    device: SpecField = SpecField("digital")
    """Device on which the weights live."""
    periphery: SpecField = SpecField("exact")
    """Converters and noise around the arrays of weights, in training and in evaluation."""
    optimizer: SpecField = SpecField("sgd(lr=0.1)")
    schedule: SpecField = SpecField("constant")
    """Course of the learning rate."""
    loss: SpecField = SpecField("cross_entropy")
    epochs: int = 10
    batch_size: int = 32
    accumulate: int = 1
    """Batches whose directions are averaged into one update."""
    clip: float | None = None
    """Largest norm of all directions together."""
    seed: int = 0
    select: str = "last"
    """Epoch that is reported: the ``last``, or the ``best`` by validation (never by test)."""
    feedback_seed: int | None = None
    """Of the feedback alone, so that runs of several seeds can share it; None: the seed."""
    chunk: int = 100
    """Ticks of a sequence that are worked on at once: memory depends on it, not on the number of ticks."""
    update: str = "end"
    """When a sequence changes weights: at its ``end``, after every ``chunk``, or after every ``tick``."""
    log: str = "none"
    """What is measured beside loss and accuracy: ``none``, ``alignment``, ``jacobian``, ``features``, ``ends`` (the
    last two, which are measured at the ends of epochs), or ``all`` of it.

    ``alignment`` (:func:`neurofa.diagnostics.measure.measure`) is measured before the first step, at steps 2^(k/2)
    and at the end of every epoch; ``jacobian`` (the feedback beside the network's Jacobian,
    :mod:`neurofa.diagnostics.jacobian`) and
    ``features`` (:func:`experiments.runs.linear_probe.separability`) before the first step and at the end of every
    epoch.
    """
    fused: bool = False
    """Whether writes to devices are compiled into one kernel (needs a C++ compiler; other noise, of the same law)."""
    compute: str = "cpu"
    """Where the arithmetic runs; ``auto`` becomes ``cuda`` where there is one, else ``cpu``."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate", "chunk"):
            if getattr(self, name) < 1:
                raise NeurofaError(f"got {name}={getattr(self, name)}; expected at least 1; raise {name}")
        if self.clip is not None and not self.clip > 0:
            raise NeurofaError(f"got clip={self.clip}; expected a positive norm; leave it out for no clipping")
        for name, words in CHOICES.items():
            if getattr(self, name) not in words:
                got = getattr(self, name)
                raise NeurofaError(f"got {name}='{got}'; expected {' or '.join(words)}{did_you_mean(got, words)}")
        if self.compute == "auto":
            import torch

            object.__setattr__(self, "compute", "cuda" if torch.cuda.is_available() else "cpu")

    def to_json(self) -> dict[str, Any]:
        """All fields, as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunSpec:
        """The run that :meth:`to_json` wrote.

        Raises:
            NeurofaError: an unknown field.
        """
        known = {field.name for field in fields(cls)}
        for name in values:
            if name not in known:
                raise NeurofaError(
                    f"got field '{name}' of a run; expected {', '.join(sorted(known))}; use the version that wrote it"
                )
        return cls(**values)

    @property
    def key(self) -> str:
        """SHA-256 of the canonical JSON, 64 hexadecimal digits: equal runs have equal keys."""
        values = {name: value for name, value in self.to_json().items() if value != LATER.get(name, ...)}
        return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    @property
    def folder_name(self) -> str:
        """A name for the run's folder: ``<data>-<network>-<rule>-<seed>-<beginning of the key>``."""
        names = "-".join(parse(getattr(self, name)).name for name in ("data", "network", "rule"))
        return f"{names}-{self.seed}-{self.key[:8]}"

    def check(self) -> None:
        """Refuse unknown names before anything is loaded.

        Raises:
            NeurofaError: naming the part, with the nearest known name.
        """
        from hwmodels.registry import find

        for name in PARTS:
            find(name, parse(getattr(self, name)).name)

    def difference(self, other: RunSpec) -> str | None:
        """The first field in which two runs differ."""
        return next((f.name for f in fields(self) if getattr(self, f.name) != getattr(other, f.name)), None)
