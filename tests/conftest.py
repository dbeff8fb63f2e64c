"""Shared fixtures: thread settings, and the user's real data where there is some."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch

# results are compared bit for bit, and small tensors are slower on many threads
torch.set_num_threads(1)

# a shell starts what it sends to the background with Ctrl-C ignored, and tests press it: numbers are then not to blame
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
