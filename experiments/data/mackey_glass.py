r"""Mackey and Glass's delayed equation: a chaotic series, of which each next value is to be predicted.

dx/dt = beta x(t - tau) / (1 + x(t - tau)^n) - gamma x(t), with beta = 0.2, gamma = 0.1, n = 10.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from experiments.data.sequences import Sequences, SequenceSplit
from hwmodels.errors import NeurofaError
from hwmodels.registry import recipe

BETA, GAMMA = 0.2, 0.1
_TRANSIENT = 1000
"""Units of time before the data begin, so that they lie on the attractor."""


@recipe("data", "mackey_glass", source="Mackey, Glass, Science 197 (1977) 287; a task of NeuroBench (Yik et al. 2025)")
def mackey_glass(
    *,
    tau: int = 17,
    ticks: int = 200,
    washout: int = 50,
    stride: int = 10,
    ahead: int = 1,
    start: float = 1.2,
    train: int = 6000,
    validation: int = 1500,
    test: int = 1500,
    standardise: bool = True,
    tick: float = 1e-3,
) -> Sequences:
    """Windows of one trajectory, sampled once in a unit of time; the target in every tick is the value that follows.

    Train, validation and test are consecutive pieces of the trajectory and share no value. The target counts from
    tick ``washout`` on (``teach``), when the state of a network has forgotten its start. For autonomous forecasts feed
    the answer back, see :func:`experiments.reports.forecast.closed_loop_forecast`, and measure
    :func:`experiments.reports.forecast.smape` in the units of the series: ``provenance`` has mean and deviation. Each
    of the many arguments is one option of the task.

    Args:
        tau: delay; 17 is chaotic, below about 4 the series comes to rest.
        ticks: T of a window.
        washout: ticks in which the target does not count.
        stride: ticks from the beginning of a window to that of the next.
        ahead: ticks from an input to its target.
        start: x of all times up to 0.
        train: values in the training piece.
        validation: values in the next piece.
        test: values in the last piece.
        tick: length of a tick, s: the unit of time of the equation, which has none, for the neurons.
        standardise: whether values are scaled to mean 0 and deviation 1 of the training piece.

    Returns:
        Sequences of shape (1,) with targets (T, B, 1).

    Raises:
        NeurofaError: an option out of range, or a piece too short for a window.
    """
    sizes = {"tau": tau, "ticks": ticks, "stride": stride, "ahead": ahead}
    for name, value in sizes.items():
        if value < 1:
            raise NeurofaError(f"got mackey_glass({name}={value}); expected 1 or more; raise {name}")
    pieces = {"train": train, "validation": validation, "test": test}
    for name, length in pieces.items():
        if length < ticks + ahead:
            raise NeurofaError(
                f"got mackey_glass({name}={length}); expected at least {ticks + ahead} values, a window with what"
                f" follows; raise {name}"
            )
    if not 0 <= washout < ticks:
        raise NeurofaError(f"got mackey_glass(washout={washout}); expected 0 to {ticks - 1}; change washout")
    series = trajectory(_TRANSIENT + sum(pieces.values()), tau=tau, start=start)[_TRANSIENT:]
    mean, std = (float(series[:train].mean()), float(series[:train].std())) if standardise else (0.0, 1.0)
    if not std > 1e-6:
        raise NeurofaError(f"got mackey_glass(tau={tau}), which comes to rest; expected motion; raise tau")
    values = ((series - mean) / std).float()
    windows = {}
    for name, piece in zip(pieces, torch.split(values, list(pieces.values())), strict=True):
        starts = torch.arange(0, len(piece) - ticks - ahead + 1, stride)
        windows[name] = WindowSplit(series=piece, starts=starts, ticks=ticks, ahead=ahead)
    provenance = {"origin": "synthetic", "tau": str(tau), "mean": repr(mean), "std": repr(std)}
    teach = (washout, ticks)
    return Sequences.of("mackey_glass", windows, classes=1, tick=tick, provenance=provenance, teach=teach)


def trajectory(length: int, *, tau: int, start: float = 1.2, substeps: int = 10) -> Tensor:
    """Return the values x at times 0, 1, ..., length - 1, from x(t) = start for t <= 0.

    Classical Runge-Kutta with ``substeps`` steps a unit of time. The delayed value in the middle of a step comes from
    the cubic Hermite polynomial through both ends and their slopes, so that the order stays 4.

    Args:
        length: number of values.
        tau: delay.
        start: x of all times up to 0.
        substeps: steps of integration in a unit of time.

    Returns:
        (length,) float64.

    Raises:
        NeurofaError: a start below 0, where the equation has no meaning.
    """
    if not start >= 0:
        raise NeurofaError(f"got a start of {start}; expected 0 or more; change start")
    h, lag = 1.0 / substeps, tau * substeps
    # entry j belongs to time (j - lag) h; up to `lag` they are the past, which is flat
    x, slopes = [float(start)] * (lag + 1), [0.0] * (lag + 1)

    def slope(now: float, delayed: float) -> float:
        # products alone, since a library's power may round differently on another machine, and chaos would show it
        square = delayed * delayed
        fifth = square * square * delayed
        return BETA * delayed / (1 + fifth * fifth) - GAMMA * now

    for i in range((length - 1) * substeps):
        now, old, new = x[-1], x[i], x[i + 1]
        k1 = slope(now, old)
        slopes[-1] = k1  # at time 0 it jumps from the flat past: the slope to the right counts
        bend = 0.0 if i < lag else h / 8 * (slopes[i] - slopes[i + 1])
        middle = (old + new) / 2 + bend
        k2 = slope(now + h / 2 * k1, middle)
        k3 = slope(now + h / 2 * k2, middle)
        k4 = slope(now + h * k3, new)
        x.append(now + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
        slopes.append(0.0)
    return torch.tensor(x[lag::substeps][:length], dtype=torch.float64)


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowSplit(SequenceSplit):
    """Windows of one series, cut from it batch by batch.

    Args:
        series: (L,) float32 values.
        starts: (N,) int64 first ticks of the windows.
        ticks: T.
        ahead: ticks from an input to its target.
    """

    series: Tensor
    starts: Tensor
    ticks: int
    ahead: int

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def input_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """One value."""
        return (1,)

    @property
    def labels(self) -> None:
        return None

    @property
    def regression(self) -> bool:
        return True

    @property
    def nbytes(self) -> int:
        return self.series.nbytes + self.starts.nbytes

    def cut(self, index: Tensor, gen: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        at = torch.arange(self.ticks, device=self.series.device)[:, None] + self.starts[index.to(self.starts.device)]
        return self.series[at].unsqueeze(2), self.series[at + self.ahead].unsqueeze(2)

    def to(self, device: torch.device) -> WindowSplit:
        return replace(self, series=self.series.to(device), starts=self.starts.to(device))
