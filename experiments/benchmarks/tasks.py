"""The tasks of ``neurofa benchmark``: runs with documented settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hwmodels.errors import NeurofaError, did_you_mean


@dataclass(frozen=True, kw_only=True)
class Task:
    """One benchmark task: the settings of its run, and the score that is reported."""

    about: str
    """One line for people."""
    fields: Mapping[str, object]
    """Settings of the run: fields of :class:`~experiments.runs.spec.RunSpec` by name."""
    measure: str = "accuracy"
    """Score: ``accuracy``, a share, or ``smape``, percent from 0 to 200."""
    needs: str = ""
    """Files that are not part of the package; empty: none."""


def _fields(
    data: str, network: str, *, lr: float, epochs: int, batch_size: int = 32, **more: object
) -> dict[str, object]:
    training = {"optimizer": f"adam(lr={lr})", "schedule": "cosine", "epochs": epochs, "batch_size": batch_size}
    return {"data": data, "network": network, "rule": "eprop", **training, **more}


SPOKEN = (
    "snn(hidden=[{n}], recurrent=True, neuron=lif(beta=0.95, surrogate=fast_sigmoid(slope=10.0)),"
    " readout=leaky(kappa=0.95))"
)
"""Decays of 0.2 s where a tick is 10 ms; a wider surrogate derivative lets the gradient through 100 ticks of recurrence
explode, and bptt with it."""
FORECASTING = "snn(hidden=[128], recurrent=True, neuron=lif(beta=0.9), readout=leaky(kappa=0.5))"
EVIDENCE = "evidence(cues=3, cue=20, pause=10, delay=30, recall=20, rate=200, samples=1600, held=640)"
ADAPTIVE = "snn(hidden=[60], recurrent=True, neuron=alif(beta=0.95, rho=0.99, gain=0.2))"

TASKS: Mapping[str, Task] = {
    "digits": Task(
        about="8 x 8 digits as Poisson spikes, 20 ticks; needs no files",
        fields=_fields("encoded(data=digits, ticks=20)", "snn(hidden=[128])", lr=0.005, epochs=10),
    ),
    "rate_mnist": Task(
        about="MNIST as Poisson spikes, 25 ticks, 784-400-10",
        fields=_fields("encoded(data=mnist, ticks=25)", "snn(hidden=[400])", lr=0.002, epochs=3, batch_size=64),
        needs="MNIST",
    ),
    "spoken_digits": Task(
        about="spoken digits through a cochlea model",
        fields=_fields("spoken_digits(binary=True)", SPOKEN.format(n=64), lr=0.01, epochs=30),
        needs="the Free Spoken Digit Dataset",
    ),
    "nmnist_small": Task(
        about="1100 recordings of N-MNIST, pixels in blocks of four, 60 ticks of 5 ms",
        fields=_fields("nmnist_small(pool=2, binary=True)", "snn(hidden=[256])", lr=0.002, epochs=15),
        needs="the N-MNIST sample file",
    ),
    "nmnist": Task(
        about="N-MNIST, pixels in blocks of four, 60 ticks of 5 ms",
        fields=_fields("nmnist(pool=2, binary=True)", "snn(hidden=[256])", lr=0.001, epochs=3, batch_size=64),
        needs="N-MNIST",
    ),
    "shd": Task(
        about="Spiking Heidelberg Digits, 100 ticks of 10 ms, 700-256-20 with recurrence",
        fields=_fields("shd(binary=True)", SPOKEN.format(n=256), lr=0.001, epochs=30, batch_size=64),
        needs="Spiking Heidelberg Digits",
    ),
    "mackey_glass": Task(
        about="Mackey-Glass series, the next value from the values so far; needs no files",
        fields=_fields("mackey_glass", FORECASTING, lr=0.005, epochs=20, loss="mse"),
        measure="smape",
    ),
    "evidence": Task(
        about="evidence accumulation over 140 ticks with adaptive neurons; needs no files",
        fields=_fields(EVIDENCE, ADAPTIVE, lr=0.01, epochs=10),
    ),
}
"""By name."""


def find_task(name: str) -> Task:
    """Return the task of that name.

    Raises:
        NeurofaError: there is none.
    """
    if name not in TASKS:
        raise NeurofaError(f"got task '{name}'; expected one of {', '.join(TASKS)}{did_you_mean(name, TASKS)}")
    return TASKS[name]
