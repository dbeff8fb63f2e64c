"""Search of a learning rate: a short run for each rate of a grid, from the same initial weights, on validation data."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from experiments.runs.divergence import DivergedError
from experiments.runs.recommended import AUTO, RECOMMENDED
from experiments.runs.run import CONTROL
from experiments.runs.spec import RunSpec
from experiments.runs.trainer import Trainer
from hwmodels.errors import NeurofaError
from hwmodels.registry import find, options
from hwmodels.spec import Spec, parse
from neurofa.training.finite import NotFiniteError

FACTORS = (0.1, 0.32, 1.0, 3.2, 10.0)
"""Tried rates in units of the recommended one."""
BEYOND = 3
"""Further rates that are tried, each 3.2 times beyond the last, while the best one lies at an edge."""
STEPS = 100
"""Steps of a short run."""
SAMPLES = 1000
"""Validation samples that decide."""


@dataclass(frozen=True)
class Tried:
    """One rate, and what a short run with it came to."""

    optimizer: str
    """Its spec."""
    loss: float | None
    """Validation loss; None: the run diverged."""
    accuracy: float | None
    """Validation accuracy, 0 to 1; None for regression, and where the run diverged."""


@dataclass(frozen=True)
class RateSearch:
    """The optimizer that was found, and all that were tried, by rising rate."""

    optimizer: str
    tried: tuple[Tried, ...]

    def to_json(self) -> list[dict[str, Any]]:
        """Return what was tried as JSON values."""
        return [asdict(each) for each in self.tried]

    @property
    def line(self) -> str:
        """One line that says what was found among what."""
        losses = [f"{_rate(t.optimizer):.3g}: {'diverges' if t.loss is None else f'{t.loss:.3g}'}" for t in self.tried]
        return f"optimizer {self.optimizer}: best validation loss after {STEPS} steps (lr {', '.join(losses)})"


def search_rate(spec: RunSpec) -> RateSearch:
    """Find the learning rate of a run's optimizer by short runs around its present one.

    All of them start from the same weights and see the same batches. The lowest validation loss wins; of equal ones the
    smaller rate.

    Args:
        spec: the run, whose optimizer is the middle of the grid.

    Raises:
        NeurofaError: no validation data, or every rate diverges.
    """
    middle, found = _rate(spec.optimizer), dict[float, Tried]()

    def attempt(rate: float) -> None:
        found[rate] = _tried(spec, float(f"{rate:.3g}"))

    for factor in FACTORS:
        attempt(middle * factor)
    for _ in range(BEYOND):
        best, rates = _best(found), sorted(found)
        if best not in (rates[0], rates[-1]):
            break
        attempt(best * (3.2 if best == rates[-1] else 1 / 3.2))
    tried = tuple(found[rate] for rate in sorted(found))
    return RateSearch(found[_best(found)].optimizer, tried)


def search_rates(spec: RunSpec, *, control: bool) -> dict[str, RateSearch]:
    """Find the learning rates of a run and of its readout-only control.

    Args:
        spec: the run, with the optimizer that its rule recommends.
        control: whether there is a control; it gets a search of its own, lest it is tuned less than the rule.

    Returns:
        The search of the ``run``, and that of the ``control``.
    """
    searches = {"run": search_rate(spec)}
    if control and spec.rule != CONTROL:
        searches["control"] = search_rate(replace(spec, rule=CONTROL, optimizer=RECOMMENDED))
    return searches


def _best(found: dict[float, Tried]) -> float:
    """Return the rate of the lowest loss.

    Raises:
        NeurofaError: there is none.
    """
    losses = {rate: math.inf if each.loss is None else each.loss for rate, each in found.items()}
    best = min(sorted(losses), key=losses.__getitem__)
    if math.isinf(losses[best]):
        rates = ", ".join(f"{rate:.3g}" for rate in sorted(found))
        raise NeurofaError(
            f"got optimizer {AUTO} where every learning rate diverges ({rates}); expected one that learns; choose a"
            " smaller one with --optimizer, scale the data, or take another rule"
        )
    return best


def _tried(spec: RunSpec, rate: float) -> Tried:
    own = parse(spec.optimizer)
    optimizer = str(Spec(own.name, {**own.options, "lr": rate}))
    trainer = Trainer(replace(spec, optimizer=optimizer))
    if not len(trainer.dataset.validation):
        raise NeurofaError(
            f"got optimizer {AUTO} for data '{spec.data}' without validation data; expected some to choose by; hold"
            " data out, or choose an optimizer"
        )
    try:
        score = trainer.trial(STEPS, SAMPLES)
    except (DivergedError, NotFiniteError):
        return Tried(optimizer, None, None)
    return Tried(optimizer, score.loss, score.accuracy)


def _rate(optimizer: str) -> float:
    """Return the learning rate of an optimizer's spec, or the default of its recipe."""
    spec = parse(optimizer)
    rate = spec.options.get("lr", options(find("optimizer", spec.name))["lr"].default)
    assert isinstance(rate, int | float)  # noqa: S101 (narrows a type: recipes declare it as a number)
    return float(rate)
