"""Code files that specs name: imported only where the user has named them, never because a file does."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from hwmodels.errors import NeurofaError, did_you_mean
from hwmodels.files import file_digest
from hwmodels.spec import Spec, specs_in

PART = "module"
"""Name of the parts whose option ``path`` is a code file."""
_ALLOWED = "NEUROFA_ALLOWED_CODE"
"""Environment variable with the files that may be imported, which worker processes inherit: JSON, a list of paths."""
_ANY = "*"


@contextmanager
def allowed_code(*paths: Path | str, everything: bool = False) -> Iterator[None]:
    """Allow specs to import these code files for a while.

    The command line allows what stands on it. A path in a stored run, a study or an export needs this permission.

    Args:
        paths: the files.
        everything: allow every file.
    """
    before = os.environ.get(_ALLOWED)
    held = json.loads(before) if before else []
    os.environ[_ALLOWED] = json.dumps(
        [*held, *(str(Path(p).resolve()) for p in paths), *([_ANY] if everything else [])]
    )
    try:
        yield
    finally:
        if before is None:
            del os.environ[_ALLOWED]
        else:
            os.environ[_ALLOWED] = before


def load_code(path: str, name: str) -> Callable[..., Any]:
    """Return a function or class of a code file, which is imported.

    Args:
        path: of the file, which ends in ``.py``.
        name: of the function or class.

    Raises:
        NeurofaError: the file may not be imported, is missing, raises, or has no such function.
    """
    module = load_module(path)
    found = getattr(module, name, None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise NeurofaError(
            f"got '{name}' of '{Path(path).resolve()}', which has no such function; expected one of"
            f" {', '.join(known) or 'none'}{did_you_mean(name, known)}; correct name="
        )
    function: Callable[..., Any] = found
    return function


def load_module(path: str) -> ModuleType:
    """Return the module of a code file, which is imported once for every content that it has.

    Args:
        path: of the file, which ends in ``.py``.

    Raises:
        NeurofaError: the file may not be imported, is missing, or raises.
    """
    file = Path(path).resolve()
    held = json.loads(os.environ.get(_ALLOWED) or "[]")
    if _ANY not in held and str(file) not in held:
        raise NeurofaError(
            f"got code '{file}', which a stored run, a file or a script names and the command line does not; expected"
            " leave to run it; read it, then add --allow-code (in Python: with allowed_code(path))"
        )
    if file.suffix != ".py" or not file.is_file():
        raise NeurofaError(f"got code '{file}'; expected a file that ends in .py; check the path")
    # named by its content: another version of the file is another module
    module_name = f"{file.stem}_{file_digest(file)[-16:]}"
    module = sys.modules.get(module_name)
    if module is None:
        spec = importlib.util.spec_from_file_location(module_name, file)
        assert spec is not None  # noqa: S101 (narrows a type: the file ends in .py)
        assert spec.loader is not None  # noqa: S101
        module = sys.modules[module_name] = importlib.util.module_from_spec(spec)
        sys.path.insert(0, str(file.parent))  # modules beside it
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[module_name]
            reason = " ".join(str(error).split())
            raise NeurofaError(
                f"got code '{file}' that cannot be imported ({type(error).__name__}: {reason}); expected a module; run"
                " it alone first"
            ) from error
        finally:
            sys.path.remove(str(file.parent))
    return module


def code_named(texts: Iterable[object]) -> list[Spec]:
    """Return the parts of specs that are made by code files.

    Args:
        texts: specs; other texts name none.

    >>> code_named(["encoded(data=module(path=data.py, name=make_data))", "not a spec"])
    [Spec(name='module', options={'path': 'data.py', 'name': 'make_data'})]
    """
    found = (spec for text in texts for spec in specs_in(text))
    return [s for s in found if s.name == PART and isinstance(s.options.get("path"), str) and s.options["path"]]
