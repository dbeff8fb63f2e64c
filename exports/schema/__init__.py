"""The schema of exported HDF5 files, and the check of a file against it.

The schema is a JSON table of our own: JSON Schema describes JSON documents, and no maintained library checks the
groups, attributes and units of HDF5.
"""

from __future__ import annotations

import fnmatch
import functools
import json
from importlib.resources import files
from typing import Any

from exports.files.optional import require_library


def readme_text() -> str:
    """Return the text that explains a file to its reader, the attribute README of every file."""
    return files("exports.schema").joinpath("IN_EVERY_FILE.md").read_text(encoding="utf-8")


@functools.cache
def load_schema() -> dict[str, Any]:
    """Return the schema of version 1, as in ``v1.json``."""
    content: dict[str, Any] = json.loads(files("exports.schema").joinpath("v1.json").read_text(encoding="utf-8"))
    return content


def path_matches(path: str, pattern: str) -> bool:
    """Return whether a path fits a pattern: ``*`` is one piece between slashes, ``**`` at the end anything below."""
    if pattern.endswith("/**"):
        return path.startswith(pattern[:-2])
    pieces, wanted = path.split("/"), pattern.split("/")
    return len(pieces) == len(wanted) and all(map(fnmatch.fnmatchcase, pieces, wanted))


def schema_faults(file: Any, kind: str) -> list[str]:
    """Return every violation of the schema in an open file, one line each.

    Args:
        file: open file of h5py.
        kind: ``network`` or ``measured``.
    """
    schema, dataset_class = load_schema(), require_library("h5py").Dataset
    faults = [f"the root has no attribute '{key}'" for key in schema["root_attributes"] if key not in file.attrs]
    if kind not in schema["kinds"]:
        return [*faults, f"kind '{kind}' is unknown; expected {' or '.join(schema['kinds'])}"]
    rules, matched = schema["kinds"][kind], set[str]()

    def check(path: str, item: Any) -> None:
        part = "datasets" if isinstance(item, dataset_class) else "groups"
        rule = next((r for r in rules[part] if path_matches(path, r["path"])), None)
        if rule is None:
            if part == "datasets":
                faults.append(f"dataset '{path}' has no place in the schema")
            return
        matched.add(rule["path"])
        faults.extend(f"'{path}' has no attribute '{key}'" for key in rule["attributes"] if key not in item.attrs)
        if part == "datasets":
            faults.extend(_dataset_faults(path, item, rule))

    file.visititems(check)
    required = [rule["path"] for part in ("groups", "datasets") for rule in rules[part] if rule.get("required")]
    return faults + [f"nothing stands at '{path}'" for path in required if path not in matched]


def _dataset_faults(path: str, item: Any, rule: dict[str, Any]) -> list[str]:
    faults = []
    if item.dtype.kind not in rule["dtype"]:
        faults.append(f"'{path}' holds {item.dtype}; expected kind {' or '.join(rule['dtype'])}")
    if "units" in rule and item.attrs.get("unit") not in rule["units"]:
        faults.append(f"'{path}' is in unit '{item.attrs.get('unit')}'; expected {' or '.join(rule['units'])}")
    if "axes" in rule and not rule["axes"][0] <= item.ndim <= rule["axes"][1]:
        faults.append(f"'{path}' has {item.ndim} axes; expected {rule['axes'][0]} to {rule['axes'][1]}")
    return faults
