"""Times of steps: contenders in turn, without garbage collection, and the machine described.

torch.utils.benchmark is not used: its timer measures one statement at a time, where ratios need samples of all
contenders in turn.
"""

from __future__ import annotations

import gc
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

Step = Callable[[], object]
"""One unit of the work that is measured."""

CLOCKS: Mapping[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
"""Time that passes, or time that processors spend on this process: with one thread other work hardly touches it."""

SAMPLE_S = 0.05
"""A sample repeats fast steps until it lasts about that long, s, far above the clock's resolution."""
MIN_ROUNDS = 5
"""Fewest samples of each method."""
WARM_UP = 3
"""Steps before the first sample: lazily loaded kernels, memory pools, optimizer state."""


def sample_times(
    steps: Mapping[str, Step], *, seconds: float, device: torch.device, clock: str = "wall"
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Sample steps in turn, A B C A B C, so that a change of the machine's speed affects all of them.

    Args:
        steps: the contenders by name.
        seconds: time that each contender is sampled, s.
        device: where they run; an accelerator is waited for at both ends of a sample.
        clock: a key of ``CLOCKS``.

    Returns:
        Samples, s a step, and the steps in each sample, by name.
    """
    repeats: dict[str, int] = {}
    for name, step in steps.items():
        for _ in range(WARM_UP):
            step()
        once = min(_sample(step, 1, device, CLOCKS[clock]) for _ in range(2))
        repeats[name] = max(1, round(SAMPLE_S / max(once, 1e-9)))
    times: dict[str, list[float]] = {name: [] for name in steps}
    with garbage_collection_off():
        end = time.perf_counter() + seconds * len(steps)
        rounds = 0
        while rounds < MIN_ROUNDS or time.perf_counter() < end:
            for name, step in steps.items():
                times[name].append(_sample(step, repeats[name], device, CLOCKS[clock]))
            rounds += 1
    return times, repeats


def _sample(step: Step, repeats: int, device: torch.device, clock: Callable[[], float]) -> float:
    _synchronise(device)
    start = clock()
    for _ in range(repeats):
        step()
    _synchronise(device)
    return (clock() - start) / repeats


def _synchronise(device: torch.device) -> None:
    """Wait until an accelerator has finished its queue; nothing to wait for on the CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def garbage_collection_off() -> Iterator[None]:
    """Collect garbage now and not while samples are taken."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Give torch that many threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def load_average() -> float | None:
    """Return the mean number of processes that wanted a core over the last minute, where the system counts them."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def describe_machine(device: torch.device, threads: int) -> dict[str, object]:
    """Describe the machine and software on which times are measured.

    Args:
        device: where the steps run.
        threads: CPU threads of torch.

    Returns:
        ``processor`` (name), ``cores``, ``threads``, ``system``, versions of ``python`` and ``torch``, and ``device``,
        the name of the GPU or ``cpu``.
    """
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
    }


def _processor() -> str:
    table = Path("/proc/cpuinfo")
    if table.is_file():
        for line in table.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
