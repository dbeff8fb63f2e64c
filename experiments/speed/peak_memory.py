"""The peak memory of steps, in this process or in one that does nothing else."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from experiments.speed.timing import Step
from exports.files.heap import trim_heap
from hwmodels.errors import NeurofaError

STEPS = 4
"""Steps whose peak is taken: the second one reuses what the first allocated, optimizer state included."""

PROCESS = "experiments.speed.peak_process"
"""Module that measures one method when it is run."""
HAND_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536"}
"""Makes the GNU C library hand every freed tensor back at once, so that resident memory is memory in use, bytes."""


def method_peak(suite: str, case: str, method: str, device: torch.device, threads: int) -> int:
    """Return the peak memory of one method in a fresh process, bytes.

    Args:
        suite: registered name of the speed suite.
        case: name of a case of the suite.
        method: name of a method of the case.
        device: where its steps run.
        threads: CPU threads of torch.

    Raises:
        NeurofaError: the process ended without an answer.
    """
    command = [sys.executable, "-m", PROCESS, suite, case, method, str(device), str(threads)]
    # the interpreter's own search path, so that an uninstalled checkout is found too
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)} | HAND_BACK
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)  # noqa: S603
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise NeurofaError(
            f"got no memory peak of '{method}' in case '{case}' ({reason}); expected an answer; measure times alone"
            " with --no-memory"
        )
    return int(json.loads(done.stdout)["peak_bytes"])


def peak_bytes(build: Callable[[torch.device], Step], device: torch.device) -> int:
    """Return the highest memory of the steps over what the process held before ``build``, bytes.

    Weights, feedback, batches, gradients and activations count. Copies that only the building makes do not, nor do the
    parts of torch that the first steps load, which a rehearsal takes out. Without Linux's ``/proc`` the high-water
    mark cannot be lowered, and building counts too. On an accelerator torch's own allocator reports the peak.
    """
    _rehearse(build, device)
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        step = build(device)
        torch.cuda.reset_peak_memory_stats(device)
        _repeat(step)
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    before = _lowered_mark()
    step = build(device)
    _lowered_mark()
    _repeat(step)
    return _high_water_mark() - before


def _rehearse(build: Callable[[torch.device], Step], device: torch.device) -> None:
    """Do everything once and hand all memory back."""
    step = build(device)
    _repeat(step)
    del step
    gc.collect()
    trim_heap()  # what small tensors leave on the heap would make a tape of many of them seem to be free
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _repeat(step: Step) -> None:
    for _ in range(STEPS):
        step()


def _lowered_mark() -> int:
    """Bring the high-water mark of resident memory down to what is resident now, and return it."""
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5", encoding="ascii")
    return _high_water_mark()


def _high_water_mark() -> int:
    """Return the high-water mark of resident memory, bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count the parent's memory too, which Linux hands on to a new process
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
