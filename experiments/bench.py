"""Measuring speed: methods side by side in one process, interleaved, with medians and the machine described."""

from __future__ import annotations

import gc
import os
import platform
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from experiments.benchmarks._memory import peak_of_method
from hwmodels.errors import NeurofaError, did_you_mean
from hwmodels.registry import Registered, kind_of_parts

kind_of_parts("bench", "experiments.benchmarks")

Step = Callable[[], object]
"""One unit of the work that is measured."""

SAMPLE_S = 0.05
"""A sample repeats fast steps until it lasts about that long, s, far above the clock's resolution."""
MIN_ROUNDS = 5
"""Fewest samples of each method."""
WARM_UP = 3
"""Steps before the first sample: lazily loaded kernels, memory pools, optimizer state."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to do the work of a case."""

    name: str
    build: Callable[[torch.device], Step]
    """Makes everything that is needed (weights, batches) and returns one step."""
    floor: str = ""
    """Name of the method of the same case that does this one's matrix products and nothing else."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One piece of work and the ways to do it; the first method is the baseline of the others."""

    name: str
    methods: tuple[Method, ...]


class Suite(Registered, ABC, kind="bench"):
    """A set of cases that are measured in the same way."""

    @abstractmethod
    def cases(self) -> tuple[Case, ...]:
        """All cases, cheap to make: nothing is built before it is measured."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured of one method in one case; times are of one step, s."""

    suite: str
    case: str
    method: str
    baseline: str
    median_s: float
    spread_s: float
    """Interquartile range over the samples."""
    ratio: float
    """The baseline's median over this one: above 1 is faster than the baseline."""
    floor_fraction: float | None
    """Median of the matrix products alone over this one: 1 is as fast as it can be."""
    peak_bytes: int | None
    """Highest memory of the steps over that before weights and batches were made, in a process of its own."""
    samples: int
    steps_per_sample: int
    load: float | None
    """Load average of the machine over the last minute, when the case ended: other work spoils the times."""
    machine: Mapping[str, object]

    def flat(self) -> dict[str, object]:
        """The row as plain values, for JSON."""
        return asdict(self)


def select(suite: Suite, names: Sequence[str]) -> list[Case]:
    """The cases of those names, all when none is named.

    Raises:
        NeurofaError: unknown case.
    """
    known = {case.name: case for case in suite.cases()}
    for name in names:
        if name not in known:
            raise NeurofaError(
                f"got case '{name}'; expected one of {', '.join(known)}{did_you_mean(name, known)}"
            )
    return [case for name, case in known.items() if not names or name in names]


def run_case(
    suite: str, case: Case, *, device: torch.device, threads: int, seconds: float, memory: bool
) -> list[Row]:
    """Measure one case.

    Args:
        suite: registered name of the suite, under which a process of its own finds the method again.
        case: the work.
        device: where the steps run.
        threads: of torch on the CPU.
        seconds: of measuring for each method, s.
        memory: whether peaks of memory are measured too, one fresh process a method.

    Returns:
        One row a method, the baseline first.

    Raises:
        NeurofaError: threads or seconds out of range, or a process that measures memory ended without an answer.
    """
    if threads < 1 or seconds <= 0:
        raise NeurofaError(f"got threads={threads}, seconds={seconds}; expected positive numbers; change them")
    with torch_threads(threads):
        steps = {method.name: method.build(device) for method in case.methods}
        times, repeats = measure(steps, seconds=seconds, device=device)
        steps.clear()
    described, load = machine(device, threads), load_average()
    medians = {name: statistics.median(samples) for name, samples in times.items()}
    rows = []
    for method in case.methods:
        median, samples = medians[method.name], times[method.name]
        low, _, high = statistics.quantiles(samples, n=4)
        rows.append(
            Row(
                suite=suite, case=case.name, method=method.name, baseline=case.methods[0].name, median_s=median,
                spread_s=high - low, ratio=medians[case.methods[0].name] / median,
                floor_fraction=medians[method.floor] / median if method.floor else None,
                peak_bytes=peak_of_method(suite, case.name, method.name, device, threads) if memory else None,
                samples=len(samples), steps_per_sample=repeats[method.name], load=load, machine=described,
            )  # fmt: skip
        )
    return rows


def measure(
    steps: Mapping[str, Step], *, seconds: float, device: torch.device
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Sample steps in turn, A B C A B C, so that a change of the machine's speed meets all of them.

    Args:
        steps: by name.
        seconds: of sampling for each, s.
        device: where they run; an accelerator is waited for at both ends of a sample.

    Returns:
        Samples, s a step, and the steps in each sample, by name.
    """
    repeats: dict[str, int] = {}
    for name, step in steps.items():
        for _ in range(WARM_UP):
            step()
        once = min(_sample(step, 1, device) for _ in range(2))
        repeats[name] = max(1, round(SAMPLE_S / max(once, 1e-9)))
    times: dict[str, list[float]] = {name: [] for name in steps}
    with no_collection():
        end = time.perf_counter() + seconds * len(steps)
        rounds = 0
        while rounds < MIN_ROUNDS or time.perf_counter() < end:
            for name, step in steps.items():
                times[name].append(_sample(step, repeats[name], device))
            rounds += 1
    return times, repeats


def _sample(step: Step, repeats: int, device: torch.device) -> float:
    wait(device)
    start = time.perf_counter()
    for _ in range(repeats):
        step()
    wait(device)
    return (time.perf_counter() - start) / repeats


def wait(device: torch.device) -> None:
    """Let an accelerator finish what it was given; nothing to wait for on the CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def no_collection() -> Iterator[None]:
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
    """Processes that wanted a core over the last minute, where the system counts them."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def machine(device: torch.device, threads: int) -> dict[str, Any]:
    """What the times were taken on."""
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
