"""The JSON files of a run, with every value looked at before it is used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.files import read_json
from experiments.runs.result import EpochRow
from experiments.runs.spec import RunSpec, stored_key
from hwmodels.errors import NeurofaError

_REMEDY = "copy the whole folder again, or train again with --overwrite"
_NUMBER, _MEASURE = (int, float), (int, float, type(None))
_ABOUT: Mapping[str, tuple[type, ...]] = {"spec": (dict,), "key": (str,), "seed": (int,)}
_RESULT: Mapping[str, tuple[type, ...]] = {
    "test_accuracy": _MEASURE,
    "test_loss": _MEASURE,
    "epoch": (int,),
    "samples": (int,),
    "key": (str,),
    "spec": (dict,),
}
_ROW: Mapping[str, tuple[type, ...]] = {
    "epoch": (int,),
    "seconds": _NUMBER,
    "lr": _NUMBER,
    **dict.fromkeys(("train_loss", "train_accuracy", "validation_loss", "validation_accuracy"), _MEASURE),
}
"""Values that a file must have, with their types."""


def read_about(path: Path) -> dict[str, Any]:
    """Return the content of ``run.json``.

    Raises:
        NeurofaError: no such file, a damaged one, or a run that is not the one that its key names.
    """
    content = read_json(path)
    _require(path, content, _ABOUT)
    if stored_key(content["spec"]) != content["key"] or content["spec"].get("seed") != content["seed"]:
        raise NeurofaError(
            f"got '{path}' whose spec is not the run that its key names; expected them as they were written; {_REMEDY}"
        )
    return content


def read_spec(path: Path) -> RunSpec:
    """Return the run of ``run.json``.

    Raises:
        NeurofaError: as :func:`read_about`.
    """
    return RunSpec.from_stored(read_about(path)["spec"])


def read_rows(path: Path) -> tuple[EpochRow, ...]:
    """Return the rows of ``metrics.jsonl``.

    Raises:
        NeurofaError: no such file, or a damaged one.
    """
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise NeurofaError(f"got '{path}' ({error.strerror}); expected the rows of a run; {_REMEDY}") from None
    except (ValueError, RecursionError):
        raise NeurofaError(f"got '{path}', whose lines are no JSON; expected the rows of a run; {_REMEDY}") from None
    return check_rows(path, rows)


def check_rows(path: Path, rows: Any) -> tuple[EpochRow, ...]:
    """Return rows of epochs that are what a run writes.

    Args:
        path: of their file, for messages.
        rows: as read.

    Raises:
        NeurofaError: they are something else.
    """
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise NeurofaError(f"got '{path}' without rows of epochs; expected one a finished epoch; {_REMEDY}")
    for number, row in enumerate(rows, start=1):
        _require(path, row, _ROW)
        if row["epoch"] != number:
            raise NeurofaError(f"got row {number} of '{path}' for epoch {row['epoch']}; expected {number}; {_REMEDY}")
    return tuple(rows)


def read_figures(path: Path, key: str, rows: tuple[EpochRow, ...]) -> dict[str, Any]:
    """Return the content of ``result.json``.

    Args:
        path: of the file.
        key: of the run.
        rows: of its epochs.

    Raises:
        NeurofaError: no such file, a damaged one, or the result of another run.
    """
    content = read_json(path)
    _require(path, content, _RESULT)
    if content["key"] != key:
        raise NeurofaError(
            f"got '{path}' of the run {content['key'][:8]} in the folder of {key[:8]}; expected files of one run:"
            f" somebody else wrote into it; {_REMEDY}"
        )
    if not rows and content["epoch"] == 0:
        return content
    if not 1 <= content["epoch"] <= len(rows):
        raise NeurofaError(f"got '{path}' of epoch {content['epoch']} of {len(rows)}; expected one of them; {_REMEDY}")
    row = rows[content["epoch"] - 1]
    same = {"loss": "train_loss"} | {name: name for name in ("train_accuracy", "validation_accuracy")}
    for name, measure in same.items():
        if name in content and content[name] != row[measure]:
            raise NeurofaError(
                f"got {name}={content[name]} in '{path}' where its row has {row[measure]}; expected the same; {_REMEDY}"
            )
    return content


def _require(path: Path, content: Mapping[str, Any], types: Mapping[str, tuple[type, ...]]) -> None:
    for name, wanted in types.items():
        value = content.get(name, ...)
        if not isinstance(value, wanted) or isinstance(value, bool):
            got = "nothing" if value is ... else f"{value!r:.40}"
            words = " or ".join("null" if kind is type(None) else kind.__name__ for kind in wanted)
            raise NeurofaError(f"got {got} for '{name}' in '{path}'; expected {words}; {_REMEDY}")
