"""Shared fixtures: thread settings, and the user's real data where there is some."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

# results are compared bit for bit, and small tensors are slower on many threads
torch.set_num_threads(1)

# a shell starts what it sends to the background with Ctrl-C ignored, and tests press it: numbers are then not to blame
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# a busy machine is no fault of a test
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as long what ``sample(n)`` leaves out: all but n cases of a test, evenly spaced over the collected ones."""
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("sample"):
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for family in cases.values():
        mark = family[0].get_closest_marker("sample")
        assert mark is not None
        wanted = int(mark.args[0])
        kept = {i * len(family) // wanted for i in range(wanted)}
        for i, item in enumerate(family):
            if i not in kept:
                item.add_marker("long")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data files that NEUROFA_DATA names."""
    named = os.environ.get("NEUROFA_DATA")
    if not named:
        pytest.skip("NEUROFA_DATA is not set: no real data files")
    folder = Path(named)
    if not folder.is_dir():
        pytest.skip(f"NEUROFA_DATA names {folder}, which is no folder: no real data files")
    return folder
