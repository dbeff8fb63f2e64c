"""What decides the numbers of a run beside its spec: data, code of other people's parts, revisions of this package's.

Rows and folders of runs hold the digests; they are taken again only where these are still the same.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import secrets
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from torch import Tensor

from experiments.data import Dataset, Sequences
from experiments.runs.build import load_data
from experiments.runs.spec import PARTS, RunSpec
from hwmodels.errors import NeurofaError
from hwmodels.files import file_digest
from hwmodels.registry import kinds, parts
from hwmodels.registry.code import code_named, load_module
from hwmodels.spec import Spec, specs_in

Ingredients = dict[str, str]
"""Digests: ``data``, and ``code`` where parts of other people are used; ``parts``: corrected parts, by revision."""

OWN = ("hwmodels", "neurofa", "exports", "experiments", "torch")
"""Packages whose code is known by the version."""
WITHOUT_PARTS = ("speed", "experiment")
"""Kinds that no run holds."""


def run_ingredients(spec: RunSpec) -> Ingredients:
    """Return the digests of a run; without ``data`` where these are missing.

    Args:
        spec: the run.
    """
    texts = tuple(str(getattr(spec, name)) for name in PARTS)
    found = code_ingredients(texts) | revised_parts(texts)
    try:
        return found | {"data": _data_digest(spec.data)}
    except NeurofaError:
        return found


def run_code(spec: RunSpec) -> str | None:
    """Return the digest of other people's code that a run uses; None where there is none."""
    return code_ingredients(tuple(str(getattr(spec, name)) for name in PARTS)).get("code")


def same_ingredients(stored: Any, present: Ingredients) -> bool:
    """Return whether a stored run was made of what is there now.

    Runs of earlier versions say nothing: they are the same where no part of other people and no corrected part is used,
    since the data of this package are known by their checksums.

    Args:
        stored: what the run says.
        present: what is there.
    """
    if not isinstance(stored, Mapping):
        return "code" not in present and "parts" not in present
    keys = {"code", "parts"} | (stored.keys() & present.keys())
    return all(stored.get(key) == present.get(key) for key in keys)


def code_ingredients(texts: tuple[str, ...], functions: Sequence[Callable[..., Any]] = ()) -> Ingredients:
    """Return the digest of other people's code; empty where there is none.

    Args:
        texts: specs, which may name their parts.
        functions: that are called beside them.
    """
    foreign = [function for function in functions if not _is_own(function.__module__)]
    digests = sorted({digest for part in [*_foreign_parts(texts), *foreign] for digest in _sources(part)})
    digests += sorted({digest for spec in code_named(texts) for digest in _code_files(spec)})
    return {"code": hashlib.sha256("\n".join(digests).encode()).hexdigest()} if digests else {}


def revised_parts(texts: tuple[str, ...]) -> Ingredients:
    """Return the parts whose corrections changed the numbers of runs, with their revisions; empty where there are none.

    Args:
        texts: specs, which may name such parts.
    """
    calls = [call for text in texts for call in specs_in(text)]
    revised = {}
    for name, part in _named_parts(texts):
        given = [call.options for call in calls if call.name == name] or [{}]
        of = getattr(part, "revision_of", lambda _, part=part: getattr(part, "revision", 1))
        revised[name] = max(of(options) for options in given)
    found = ", ".join(f"{name} {revision}" for name, revision in sorted(revised.items()) if revision > 1)
    return {"parts": found} if found else {}


def _foreign_parts(texts: tuple[str, ...]) -> list[Callable[..., Any]]:
    return [part for _, part in _named_parts(texts) if not _is_own(part.__module__)]


def _named_parts(texts: tuple[str, ...]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the parts, of any kind, whose names stand in the specs."""
    names = set(re.findall(r"\w+", " ".join(texts)))
    for kind in kinds():
        if names and kind not in WITHOUT_PARTS:
            yield from ((name, part) for name, part in parts(kind).items() if name in names)


def _is_own(module: str) -> bool:
    return module.partition(".")[0] in OWN


def _sources(part: Callable[..., Any]) -> Iterator[str]:
    """Yield the digests of the modules that define a part: its own, and those of the same author that it uses."""
    classes = part.__mro__ if isinstance(part, type) else (part,)
    for name, file in _files_of([cls.__module__ for cls in classes if not _is_own(cls.__module__)]):
        yield f"{name} {_text_digest(part) if file is None else file_digest(file)}"


def _files_of(modules: list[str]) -> Iterator[tuple[str, Path | None]]:
    """Yield the names and files of modules, and of those of the same author that they use; None: it has no file."""
    waiting, seen = list(modules), set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen or name == "builtins":
            continue
        seen.add(name)
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None)
        if module is None or file is None or not Path(file).is_file():
            yield name, None
            continue
        yield name, Path(file)
        waiting += [other.__name__ for other in _used_modules(module) if _same_author(module, other)]


def _code_files(spec: Spec) -> Iterator[str]:
    """Yield the digests of the files that make a part: its code, what that uses beside it, and its weights."""
    module = load_module(str(spec.options["path"]))
    yield from (f"{name} {file_digest(file)}" for name, file in _files_of([module.__name__]) if file is not None)
    weights = spec.options.get("weights")
    if isinstance(weights, str) and Path(weights).is_file():
        yield f"weights {file_digest(Path(weights))}"


def _used_modules(module: ModuleType) -> Iterator[ModuleType]:
    for value in list(vars(module).values()):
        name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        other = sys.modules.get(name) if isinstance(name, str) else None
        if other is not None and not _is_own(other.__name__):
            yield other


def _same_author(module: ModuleType, other: ModuleType) -> bool:
    """Return whether two modules lie in one package, or in one folder."""
    if module.__name__.partition(".")[0] == other.__name__.partition(".")[0]:
        return True
    ours, theirs = (getattr(each, "__file__", None) for each in (module, other))
    return ours is not None and theirs is not None and Path(ours).parent == Path(theirs).parent


def _text_digest(part: Callable[..., Any]) -> str:
    """Return the digest of a part that has no file; a new one every time where its text is not known."""
    try:
        return hashlib.sha256(inspect.getsource(part).encode()).hexdigest()
    except (OSError, TypeError):
        return secrets.token_hex(32)


_DIGESTS: weakref.WeakKeyDictionary[Dataset | Sequences, str] = weakref.WeakKeyDictionary()
"""Digests of data sets that are in memory."""


def _data_digest(text: str) -> str:
    """Return the digest of a data set: of what its files are, and of its numbers where other people's code made it."""
    dataset = load_data(text)
    if dataset not in _DIGESTS:
        _DIGESTS[dataset] = _digest_of(text, dataset)
    return _DIGESTS[dataset]


def _digest_of(text: str, dataset: Dataset | Sequences) -> str:
    digest = hashlib.sha256(json.dumps(dict(dataset.provenance), sort_keys=True, default=str).encode())
    if _foreign_parts((text,)) or code_named((text,)) or not _is_own(type(dataset).__module__):
        _add_numbers(digest, dataset, set())
    return digest.hexdigest()


def _add_numbers(digest: Any, value: object, seen: set[int]) -> None:
    """Add all numbers and texts that an object holds to a digest."""
    match value:
        case Tensor():
            digest.update(f"{value.dtype} {tuple(value.shape)}".encode())
            digest.update(np.ascontiguousarray(value.detach().cpu().numpy()))
        case np.ndarray():
            digest.update(f"{value.dtype} {value.shape}".encode())
            digest.update(np.ascontiguousarray(value) if value.dtype.kind in "fiubc" else repr(value.tolist()).encode())
        case str() | bytes() | int() | float() | bool() | None:
            digest.update(repr(value).encode())
        case Path():
            about = value.stat() if value.is_file() else None
            digest.update(f"{value.name} {about and (about.st_size, about.st_mtime_ns)}".encode())
        case _ if id(value) in seen:
            return
        case Mapping():
            seen.add(id(value))
            for key, item in value.items():
                digest.update(repr(key).encode())
                _add_numbers(digest, item, seen)
        case list() | tuple():
            seen.add(id(value))
            for item in value:
                _add_numbers(digest, item, seen)
        case Dataset() | Sequences() | object(__dict__=_):
            seen.add(id(value))
            _add_numbers(digest, {k: v for k, v in vars(value).items() if not callable(v)}, seen)
