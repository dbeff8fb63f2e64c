"""Whether a setting that was chosen lies at the end of the rates that were tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hwmodels.spec import Spec, parse

Fields = Mapping[str, object]


def rate_edge(setting: Fields, candidates: Sequence[Fields]) -> str | None:
    """Return ``lowest`` or ``highest`` where the chosen learning rate is the last one tried on that side, else None.

    A method that was cut off by its candidates may do better beyond them. Only candidates that differ from the setting
    in the learning rate alone are compared; without any there are no ends.

    Args:
        setting: the winner, with its ``optimizer``.
        candidates: all settings that were tried, the winner included.

    >>> tried = [{"optimizer": f"sgd(lr={lr})"} for lr in (0.01, 0.1, 1)]
    >>> rate_edge(tried[2], tried), rate_edge(tried[1], tried)
    ('highest', None)
    """
    kind, own = _split(setting)
    rates = [rate for other, rate in map(_split, candidates) if other == kind and rate is not None]
    if own is None or len(set(rates)) < 2:
        return None
    return "lowest" if own == min(rates) else "highest" if own == max(rates) else None


def _split(setting: Fields) -> tuple[dict[str, str], float | None]:
    """Return a setting without its learning rate, and the rate."""
    spec = parse(str(setting.get("optimizer", "sgd")))
    rate = spec.options.get("lr")
    rest = Spec(spec.name, {key: value for key, value in spec.options.items() if key != "lr"})
    others = {key: str(value) for key, value in setting.items()} | {"optimizer": str(rest)}
    return others, float(rate) if isinstance(rate, int | float) else None
