"""Speed suites: cases, the methods that do the same work, and the rows that measuring them gives."""

from __future__ import annotations

import functools
import statistics
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from experiments.speed.peak_memory import method_peak
from experiments.speed.timing import CLOCKS, Step, describe_machine, load_average, sample_times, torch_threads
from hwmodels.errors import NeurofaError, did_you_mean
from hwmodels.registry import Registered


@dataclass(frozen=True, kw_only=True)
class SpeedMethod:
    """One contender of a case: a rule, plain torch, or another way to do the same work."""

    name: str
    build: Callable[[torch.device], Step]
    """Make weights and batches, and return one step."""
    floor: str = ""
    """Name of the method of the same case that does this one's matrix products and nothing else."""


@dataclass(frozen=True, kw_only=True)
class SpeedCase:
    """A workload and the methods that are timed on it; the first method is the baseline of the others."""

    name: str
    methods: tuple[SpeedMethod, ...]
    beside: str = ""
    """Name of a method that is a second baseline."""


class SpeedSuite(Registered, ABC, kind="speed"):
    """A set of cases that are measured in the same way."""

    @abstractmethod
    def cases(self) -> tuple[SpeedCase, ...]:
        """Return all cases, without building what they measure."""


@dataclass(frozen=True, kw_only=True)
class SpeedRow:
    """The measurements of one method in one case of a speed suite; times are of one step, s."""

    suite: str
    case: str
    method: str
    baseline: str
    """Name of the method, in the same case, with which this one is compared."""
    median_s: float
    """Median time of a step over the samples, s."""
    spread_s: float
    """Interquartile range over the samples, s."""
    ratio: float
    """The baseline's median over this one: above 1 is faster than the baseline."""
    beside: str
    """Name of the second baseline; empty: none."""
    beside_ratio: float | None
    """The second baseline's median over this one."""
    clock: str
    """``wall``, or ``cpu``: the processor time of the process."""
    floor_fraction: float | None
    """Median of the matrix products alone over this one: 1 is as fast as it can be."""
    peak_bytes: int | None
    """Highest memory of the steps over that before weights and batches were made, in a process of its own."""
    samples: int
    """Number of timed samples."""
    steps_per_sample: int
    """Steps that were timed together as one sample."""
    load: float | None
    """Load average of the machine over the last minute, when the case ended: other work spoils the times."""
    machine: Mapping[str, object]
    """From :func:`experiments.speed.timing.describe_machine`."""

    def flat(self) -> dict[str, object]:
        """Return the row as plain values, for JSON."""
        return asdict(self)


def select_cases(suite: SpeedSuite, names: Sequence[str]) -> list[SpeedCase]:
    """Return the cases of those names, all when none is named.

    Raises:
        NeurofaError: unknown case.
    """
    known = {case.name: case for case in suite.cases()}
    for name in names:
        if name not in known:
            raise NeurofaError(f"got case '{name}'; expected one of {', '.join(known)}{did_you_mean(name, known)}")
    return [case for name, case in known.items() if not names or name in names]


def measure_case(
    suite: str,
    case: SpeedCase,
    *,
    device: torch.device,
    threads: int,
    seconds: float,
    memory: bool,
    clock: str = "wall",
) -> list[SpeedRow]:
    """Time the steps of every method of a case in turn, and measure their peak memory.

    Args:
        suite: registered name of the suite, under which a process of its own finds the method again.
        case: what is measured.
        device: where the steps run.
        threads: CPU threads of torch.
        seconds: time that each method is measured, s.
        memory: whether peaks of memory are measured too, one fresh process a method.
        clock: ``wall`` or ``cpu``.

    Returns:
        One row a method, the baseline first.

    Raises:
        NeurofaError: threads or seconds out of range, or a process that measures memory ended without an answer.
    """
    if threads < 1 or seconds <= 0:
        raise NeurofaError(f"got threads={threads}, seconds={seconds}; expected positive numbers; change them")
    if clock not in CLOCKS or (clock == "cpu" and device.type != "cpu"):
        raise NeurofaError(f"got clock '{clock}' on {device.type}; expected wall, or cpu on the CPU; choose one")
    with torch_threads(threads):
        steps = {method.name: method.build(device) for method in case.methods}
        times, repeats = sample_times(steps, seconds=seconds, device=device, clock=clock)
        steps.clear()
    machine, load = describe_machine(device, threads), load_average()
    medians = {name: statistics.median(samples) for name, samples in times.items()}
    baseline = case.methods[0].name
    names: dict[str, Any] = {"suite": suite, "case": case.name, "baseline": baseline, "beside": case.beside}
    make_row = functools.partial(SpeedRow, **names, clock=clock, load=load, machine=machine)
    rows = []
    for method in case.methods:
        median, samples = medians[method.name], times[method.name]
        low, _, high = statistics.quantiles(samples, n=4)
        row = make_row(
            method=method.name,
            median_s=median,
            spread_s=high - low,
            ratio=medians[baseline] / median,
            beside_ratio=medians[case.beside] / median if case.beside else None,
            floor_fraction=medians[method.floor] / median if method.floor else None,
            peak_bytes=method_peak(suite, case.name, method.name, device, threads) if memory else None,
            samples=len(samples),
            steps_per_sample=repeats[method.name],
        )
        rows.append(row)
    return rows
