"""The memory that a method needs, measured in a process that does nothing else."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from exports.files.heap import trim
from hwmodels.errors import NeurofaError

STEPS = 4
"""Steps whose peak is taken: the second one reuses what the first allocated, optimizer state included."""

HAND_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536"}
"""Makes the GNU C library hand every freed tensor back at once, so that resident memory is memory in use, bytes."""


def peak_of_method(suite: str, case: str, method: str, device: torch.device, threads: int) -> int:
    """Peak memory of one method in a fresh process, bytes.

    Raises:
        NeurofaError: the process ended without an answer.
    """
    words = [sys.executable, "-m", __name__, suite, case, method, str(device), str(threads)]
    # the interpreter's own search path, so that an uninstalled checkout is found too
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)} | HAND_BACK
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)  # noqa: S603
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise NeurofaError(
            f"got no memory peak of '{method}' in case '{case}' ({reason}); expected an answer; measure times alone"
            " with --no-memory"
        )
    return int(json.loads(done.stdout)["peak_bytes"])


def peak_of(build: Callable[[torch.device], Callable[[], object]], device: torch.device) -> int:
    """Highest memory of the steps over what the process held before ``build``, bytes.

    Weights, feedback, batches, gradients and activations count. Copies that only the building makes do not, nor do the
    parts of torch that the first steps load, which a rehearsal takes out. Without Linux's ``/proc`` the high-water
    mark cannot be lowered, and building counts too. On an accelerator torch's own allocator is asked.
    """
    _rehearse(build, device)
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        step = build(device)
        torch.cuda.reset_peak_memory_stats(device)
        for _ in range(STEPS):
            step()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    before = _lowered_mark()
    step = build(device)
    _lowered_mark()
    for _ in range(STEPS):
        step()
    return _mark() - before


def _rehearse(build: Callable[[torch.device], Callable[[], object]], device: torch.device) -> None:
    """Do everything once and hand all memory back."""
    step = build(device)
    for _ in range(STEPS):
        step()
    del step
    gc.collect()
    trim()  # what small tensors leave on the heap would make a tape of many of them seem to be free
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _lowered_mark() -> int:
    """Bring the high-water mark of resident memory down to what is resident now, and return it."""
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5", encoding="ascii")
    return _mark()


def _mark() -> int:
    """High-water mark of resident memory, bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count the parent's memory too, which Linux hands on to a new process
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main(words: list[str]) -> None:
    """Answer for one method: suite, case, method, device, threads."""
    from experiments.benchmarks._suite import select
    from hwmodels.registry import build

    suite, case, method, device, threads = words
    torch.set_num_threads(int(threads))
    methods = {m.name: m for m in select(build("speed", suite), [case])[0].methods}
    sys.stdout.write(json.dumps({"peak_bytes": peak_of(methods[method].build, torch.device(device))}))


if __name__ == "__main__":
    main(sys.argv[1:])
