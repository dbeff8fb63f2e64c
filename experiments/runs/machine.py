"""Versions and machine of a run: it repeats bit for bit only where these are the same."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

import neurofa


def machine_info() -> dict[str, Any]:
    """Return versions and machine for ``run.json``."""
    names = ("neurofa", "torch", "numpy", "safetensors")
    return {
        "versions": {name: _version(name) for name in names} | {"python": platform.python_version()},
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        if name != "neurofa":
            raise
        return neurofa.__version__  # a checkout that is not installed
