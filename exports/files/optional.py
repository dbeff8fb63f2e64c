"""Optional libraries, with the command that installs them."""

from __future__ import annotations

import importlib
from typing import Any

from hwmodels.errors import NeurofaError


def require_library(name: str) -> Any:
    """Import the library of that name.

    Raises:
        NeurofaError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise NeurofaError(
            f"got no {name}; expected it installed for exports; run: pip install 'neurofa[exports]'"
        ) from None
