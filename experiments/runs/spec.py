"""The settings of one training run: every choice that decides its numbers, in canonical text, with a hash as its name.

A field of :class:`RunSpec` is declared once, with its type, default and help text; the options of the commands are
made from these declarations (:mod:`experiments.commands._options`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, get_args, get_type_hints

from experiments.runs.recommended import PLAIN, RECOMMENDED, recommended_optimizer
from hwmodels.errors import NeurofaError, did_you_mean
from hwmodels.registry import Registered, find
from hwmodels.spec import Spec, parse, with_defaults

LOGS: dict[str, tuple[str, ...]] = {
    "none": (),
    "alignment": ("alignment",),
    "jacobian": ("jacobian",),
    "features": ("features",),
    "ends": ("jacobian", "features"),
    "all": ("alignment", "jacobian", "features"),
}
"""Measurements that each word of ``log`` means."""
CHUNK = 100
"""Ticks of a chunk that None stands for in keys."""
UPDATES = ("end", "chunk", "tick")
"""When a sequence may change weights."""


@dataclass(frozen=True)
class Option:
    """Description of a field of :class:`RunSpec`, beside its type and default.

    Args:
        help: one line of ``--help``: what the field is, with an example.
        words: the values that are allowed; empty: any.
        least: smallest value that is allowed; None: any.
        most: largest value that is allowed, of a whole number with a smallest one.
        none: what a default of None means, for ``--help``.
        earlier: value that runs had before the field existed. It is left out of the key, so that those runs keep
            theirs; ``...``: the field is as old as the key.
        flags: further names on the command line.
    """

    help: str
    words: tuple[str, ...] = ()
    least: int | None = None
    most: int = 10**9
    none: str = ""
    earlier: object = ...
    flags: tuple[str, ...] = ()


def canonical(spec: str | Spec | Registered) -> str:
    """Return one text for all ways to write a spec: without needless spaces, options sorted by name.

    Args:
        spec: the text of a spec, a :class:`Spec`, or a part, whose own spec is taken.

    >>> canonical("fixed( rounding=stochastic,bits = 4 )")
    'fixed(bits=4, rounding=stochastic)'
    """
    return str(_sorted(parse(str(spec))))


def _sorted(value: object) -> object:
    if isinstance(value, Spec):
        return Spec(value.name, {key: _sorted(value.options[key]) for key in sorted(value.options)})
    return [_sorted(v) for v in value] if isinstance(value, list) else value


class SpecField:
    """A field that takes the spec of a registered part (its text, or the part), and holds the canonical text.

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
    """All settings that decide the numbers of one training run; each field is described by its :class:`Option`.

    The optimizer is the one that the rule recommends for the network, unless another one is chosen; the field holds
    what was found, so that a stored run keeps its meaning when a recommendation changes.

    ``chunk`` bounds the memory of a sequence, whatever its number of ticks; None has the key of 100, the default
    before. With ``fused`` the noise of writes has the same law and other draws. Runs of several seeds share their
    feedback where ``feedback_seed`` is given. ``feedback_scale`` is that of a direct pathway that names none by itself;
    runs of the time before it existed were ``fixed``.

    ``log`` adds measurements that leave the numbers of the run as they are. ``alignment``
    (:func:`neurofa.diagnostics.measure.measure_alignment`) is measured before the first step, at steps 2^(k/2) and at
    the end of every epoch; ``jacobian`` (feedback beside the network's Jacobian, :mod:`neurofa.diagnostics.jacobian`)
    and ``features`` (:func:`experiments.runs.linear_probe.probe_scores`) before the first step and at the end of every
    epoch. ``ends`` means the last two, ``all`` all three.

    Raises:
        NeurofaError: a malformed spec, a number out of range, or a word that is not allowed.
    """

    data: Annotated[SpecField, Option("Data set, such as mnist.")] = SpecField("digits")
    network: Annotated[SpecField, Option('Network, such as "mlp(hidden=[800, 800])".')] = SpecField("mlp")
    rule: Annotated[SpecField, Option('Learning rule, such as bp or "dfa(error=sign)".')] = SpecField("dfa")
    device: Annotated[SpecField, Option('Device that stores weights, such as "fixed(bits=4)".')] = SpecField("digital")
    periphery: Annotated[
        SpecField, Option("Converters and noise around products with weights, such as training.", earlier="exact")
    ] = SpecField("exact")
    epochs: Annotated[int, Option("Passes over the training data.", least=0, most=10**7)] = 10
    batch_size: Annotated[int, Option("Samples in a step.", least=1, flags=("--batch",))] = 32
    optimizer: Annotated[
        SpecField,
        Option('Optimizer, such as "adam(lr=0.003)"; recommended: that of the rule; auto: its rate by short runs.'),
    ] = SpecField(RECOMMENDED)
    schedule: Annotated[SpecField, Option("Learning rate over time, such as cosine.")] = SpecField("constant")
    loss: Annotated[SpecField, Option("Loss: cross_entropy, bce for several labels, mse for regression.")] = SpecField(
        "cross_entropy"
    )
    accumulate: Annotated[int, Option("Batches averaged into one update.", least=1)] = 1
    clip: Annotated[float | None, Option("Largest norm of an update, such as 1.0.", none="no clipping")] = None
    fused: Annotated[bool, Option("Compile writes and analog products; needs a C++ compiler.", earlier=False)] = False
    seed: Annotated[int, Option("Seed of weights, feedback, data order and noise.")] = 0
    select: Annotated[str, Option("Epoch to report: last, or best by validation.", words=("last", "best"))] = "last"
    feedback_seed: Annotated[int | None, Option("Seed of the feedback alone.", none="the seed", earlier=None)] = None
    feedback_scale: Annotated[
        str,
        Option("Size of delivered errors: backprop or fixed.", words=("backprop", "fixed"), earlier="fixed"),
    ] = "backprop"
    chunk: Annotated[
        int | None,
        Option("Ticks of a sequence computed at once.", least=1, none="100, or more as memory allows", earlier=64),
    ] = None
    update: Annotated[
        str, Option("When a sequence changes weights: end, chunk or tick.", words=UPDATES, earlier="end")
    ] = "end"
    log: Annotated[str, Option(f"Measured beside loss and accuracy: {', '.join(LOGS)}.", words=tuple(LOGS))] = "none"
    compute: Annotated[str, Option("Where to compute: cpu, cuda or auto.", words=("cpu", "cuda", "auto"))] = "cpu"

    def __post_init__(self) -> None:
        # the default error of sdfa was ternary once: a stored spec says which one it means
        object.__setattr__(self, "rule", with_defaults(self.rule, "sdfa", error="sign"))
        types = types_of(type(self))
        if self.optimizer == RECOMMENDED:
            object.__setattr__(self, "optimizer", recommended_optimizer(self.rule, self.network))
        for name, option in options_of(type(self)).items():
            value = getattr(self, name)
            if not _fits(value, types[name]):
                words = " or ".join("None" if kind is type(None) else kind.__name__ for kind in types[name])
                raise NeurofaError(f"got {name}={value!r:.60}; expected {words}; change {name}")
            if value is None:
                continue
            if option.least is not None and value < option.least:
                raise NeurofaError(f"got {name}={value}; expected at least {option.least}; raise {name}")
            if option.least is not None and value > option.most:
                raise NeurofaError(f"got {name}={value}; expected at most {option.most:,}; lower {name}")
            if option.words and value not in option.words:
                words = " or ".join(option.words)
                raise NeurofaError(f"got {name}='{value}'; expected {words}{did_you_mean(value, option.words)}")
        if self.clip is not None and not self.clip > 0:
            raise NeurofaError(f"got clip={self.clip}; expected a positive norm; leave it out for no clipping")
        if self.compute == "auto":
            import torch

            object.__setattr__(self, "compute", "cuda" if torch.cuda.is_available() else "cpu")

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunSpec:
        """Build a run from fields by name; those that are missing take their defaults.

        Raises:
            NeurofaError: an unknown field.
        """
        known = sorted(options_of(cls))
        for name in values:
            if name not in known:
                raise NeurofaError(
                    f"got field '{name}' of a run; expected {', '.join(known)}; use the version that wrote it"
                )
        return cls(**values)

    @classmethod
    def from_stored(cls, values: Mapping[str, Any]) -> RunSpec:
        """Build the run that :meth:`to_json` wrote, also by an earlier version: see :func:`stored_meaning`.

        Raises:
            NeurofaError: an unknown field, a value of another type, or a field that every run has is missing.
        """
        for name, option in options_of(cls).items():
            if name not in values and option.earlier is ...:
                raise NeurofaError(
                    f"got a stored run without '{name}'; expected all of its fields; train again, or copy it again"
                )
        return cls.from_json(stored_meaning(values))

    @property
    def key(self) -> str:
        """SHA-256 of the canonical JSON, 64 hexadecimal digits: equal runs have equal keys."""
        return stored_key(self.to_json())

    @property
    def folder_name(self) -> str:
        """Name of the run's folder: ``<data>-<network>-<rule>-<seed>-<first 8 digits of the key>``."""
        names = "-".join(parse(getattr(self, name)).name for name in ("data", "network", "rule"))
        return f"{names}-{self.seed}-{self.key[:8]}"

    def check(self) -> None:
        """Refuse unknown names of parts before anything is loaded.

        Raises:
            NeurofaError: naming the part, with the nearest known name.
        """
        for name in PARTS:
            find(name, parse(getattr(self, name)).name)

    def difference(self, other: RunSpec) -> str | None:
        """Return the name of the first field in which two runs differ; None where they are equal."""
        return next((f.name for f in fields(self) if getattr(self, f.name) != getattr(other, f.name)), None)


def stored_meaning(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a stored run, changed where a default has changed since the run was written.

    ``sdfa`` without an error format was written when its default was ternary; since then the format is written out. A
    chunk of 100 was the default, which now is None. Fields that did not exist have the value that all runs had; a run
    without an optimizer had plain SGD, whatever its rule. Before ``feedback_scale`` existed, P of ``raf`` took
    the optimizer's steps.
    """
    rule = {}
    if isinstance(values.get("rule"), str):
        rule = {"rule": with_defaults(values["rule"], "sdfa", error="ternary")}
        if "feedback_scale" not in values:
            rule = {"rule": with_defaults(rule["rule"], "raf", step=None)}
    chunk = {"chunk": None} if values.get("chunk") == CHUNK else {}
    earlier = {name: o.earlier for name, o in options_of(RunSpec).items() if o.earlier is not ...}
    return {"optimizer": PLAIN, **earlier, **values, **rule, **chunk}


def stored_key(values: Mapping[str, Any]) -> str:
    """Return the key of a run from its stored fields, as they were written; a chunk of None counts as 100."""
    known = options_of(RunSpec)
    if "chunk" in values and values["chunk"] is None:
        values = {**values, "chunk": CHUNK}
    own = {name: value for name, value in values.items() if name not in known or value != known[name].earlier}
    return hashlib.sha256(json.dumps(own, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


_OPTIONS: dict[type[RunSpec], dict[str, Option]] = {}
"""Descriptions of fields, which take milliseconds to read, by class of runs."""


def options_of(spec: type[RunSpec]) -> dict[str, Option]:
    """Return the description of every field of a class of runs, by name and in order."""
    if spec not in _OPTIONS:
        hints = get_type_hints(spec, include_extras=True)
        _OPTIONS[spec] = {field.name: hints[field.name].__metadata__[0] for field in fields(spec)}
    return _OPTIONS[spec]


def types_of(spec: type[RunSpec]) -> dict[str, tuple[type, ...]]:
    """Return the types that every field of a class of runs may have, by name."""
    if spec not in _TYPES:
        hints = get_type_hints(spec)
        kinds = {field.name: hints[field.name] for field in fields(spec)}
        _TYPES[spec] = {
            name: (str,) if kind is SpecField else get_args(kind) or (kind,) for name, kind in kinds.items()
        }
    return _TYPES[spec]


_TYPES: dict[type[RunSpec], dict[str, tuple[type, ...]]] = {}


def _fits(value: object, types: tuple[type, ...]) -> bool:
    """Return whether a value has one of these types; True is no number, and a whole number is one."""
    if isinstance(value, bool):
        return bool in types
    return isinstance(value, types) or (float in types and isinstance(value, int))


PARTS = tuple(name for name, hint in get_type_hints(RunSpec).items() if hint is SpecField)
"""Fields of a run that are specs of registered parts; each is named as its kind."""
