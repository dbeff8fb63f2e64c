"""The written schema of exported HDF5 files, and the check against it."""

from __future__ import annotations

import fnmatch
import functools
import json
from importlib.resources import files
from typing import Any


@functools.cache
def schema() -> dict[str, Any]:
    """The schema of the present version, as ``v1.json`` says it."""
    found: dict[str, Any] = json.loads(files("exports.schema").joinpath("v1.json").read_text(encoding="utf-8"))
    return found


def matches(path: str, pattern: str) -> bool:
    """Whether a path fits a pattern: ``*`` is a piece between slashes, ``**`` at the end anything below."""
    if pattern.endswith("/**"):
        return path.startswith(pattern[:-2])
    pieces, wanted = path.split("/"), pattern.split("/")
    return len(pieces) == len(wanted) and all(map(fnmatch.fnmatchcase, pieces, wanted))


def faults(file: Any, kind: str) -> list[str]:
    """Everything in which an open file does not follow the schema, one line each.

    Args:
        file: of h5py.
        kind: ``network`` or ``measured``.
    """
    written, found = schema(), list[str]()
    for key in written["root_attributes"]:
        if key not in file.attrs:
            found.append(f"the root has no attribute '{key}'")
    if kind not in written["kinds"]:
        return [*found, f"kind '{kind}' is unknown; expected {' or '.join(written['kinds'])}"]
    rules = written["kinds"][kind]
    seen: set[str] = set()

    def see(path: str, item: Any) -> None:
        part = "datasets" if hasattr(item, "dtype") else "groups"
        rule = next((r for r in rules[part] if matches(path, r["path"])), None)
        if rule is None:
            if part == "datasets":
                found.append(f"dataset '{path}' has no place in the schema")
            return
        seen.add(rule["path"])
        found.extend(f"'{path}' has no attribute '{key}'" for key in rule["attributes"] if key not in item.attrs)
        if part == "datasets":
            found.extend(_dataset(path, item, rule))

    file.visititems(see)
    for part in ("groups", "datasets"):
        found += [
            f"nothing stands at '{rule['path']}'" for rule in rules[part]
            if rule.get("required") and rule["path"] not in seen
        ]  # fmt: skip
    return found


def _dataset(path: str, item: Any, rule: dict[str, Any]) -> list[str]:
    found = []
    if item.dtype.kind not in rule["dtype"]:
        found.append(f"'{path}' holds {item.dtype}; expected kind {' or '.join(rule['dtype'])}")
    if "units" in rule and item.attrs.get("unit") not in rule["units"]:
        found.append(f"'{path}' is in unit '{item.attrs.get('unit')}'; expected {' or '.join(rule['units'])}")
    if "axes" in rule and not rule["axes"][0] <= item.ndim <= rule["axes"][1]:
        found.append(f"'{path}' has {item.ndim} axes; expected {rule['axes'][0]} to {rule['axes'][1]}")
    return found
