"""Benchmarks: suites of cases, the methods that do the same work, and the rows that measuring them gives."""

from __future__ import annotations

import statistics
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import torch

from experiments.benchmarks._measure import CLOCKS, Step, load_average, machine, measure, torch_threads
from experiments.benchmarks._memory import peak_of_method
from hwmodels.errors import NeurofaError, did_you_mean
from hwmodels.registry import Registered


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
    beside: str = ""
    """Name of a method that is a second baseline."""


class Suite(Registered, ABC, kind="speed"):
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
            raise NeurofaError(f"got case '{name}'; expected one of {', '.join(known)}{did_you_mean(name, known)}")
    return [case for name, case in known.items() if not names or name in names]


def run_case(
    suite: str, case: Case, *, device: torch.device, threads: int, seconds: float, memory: bool, clock: str = "wall"
) -> list[Row]:
    """Measure one case.

    Args:
        suite: registered name of the suite, under which a process of its own finds the method again.
        case: the work.
        device: where the steps run.
        threads: of torch on the CPU.
        seconds: of measuring for each method, s.
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
        times, repeats = measure(steps, seconds=seconds, device=device, clock=clock)
        steps.clear()
    described, load = machine(device, threads), load_average()
    medians = {name: statistics.median(samples) for name, samples in times.items()}
    rows = []
    for method in case.methods:
        median, samples = medians[method.name], times[method.name]
        low, _, high = statistics.quantiles(samples, n=4)
        rows.append(
            Row(
                suite=suite,
                case=case.name,
                method=method.name,
                baseline=case.methods[0].name,
                median_s=median,
                spread_s=high - low,
                ratio=medians[case.methods[0].name] / median,
                beside=case.beside,
                beside_ratio=medians[case.beside] / median if case.beside else None,
                clock=clock,
                floor_fraction=medians[method.floor] / median if method.floor else None,
                peak_bytes=peak_of_method(suite, case.name, method.name, device, threads) if memory else None,
                samples=len(samples),
                steps_per_sample=repeats[method.name],
                load=load,
                machine=described,
            )
        )
    return rows
