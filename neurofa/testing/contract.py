"""Contracts: named checks of one kind of part, and the comparisons that checks use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.registry import build, parts
from hwmodels.testing.tools import require
from neurofa.testing.exceptions import EXCEPTIONS

Check = Callable[[str], None]
"""Takes the name of a registered part; raises when the part breaks the contract."""


class Contract:
    """The checks of one kind of part, in the order in which they were added.

    Used as a decorator it adds a function under its own name. Each kind of part offers two of its methods:
    ``<kind>_checks`` is :meth:`named`, and ``check_<kind>`` is :meth:`hold`.

    Args:
        kind: of the parts (``"rule"``, ``"layer"``).
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._checks: dict[str, Check] = {}

    def __call__(self, check: Check) -> Check:
        """Add a check under the name of the function."""
        self._checks[check.__name__] = check
        return check

    def add(self, name: str, check: Check) -> None:
        """Add a check under a given name.

        Args:
            name: of the check.
            check: function of the name of a part, which raises when the part breaks the contract.
        """
        self._checks[name] = check

    def include(self, other: Contract) -> None:
        """Add all checks of another contract."""
        self._checks |= other._checks

    def is_documented(self, part: str) -> None:
        """A check: the part has a docstring and a source, and can be built from its name alone."""
        cls = parts(self.kind)[part]
        build(self.kind, part)
        require(bool(cls.__doc__), f"{self.kind} '{part}' has no docstring")
        require(bool(getattr(cls, "source", "")), f"{self.kind} '{part}' names no source")

    def named(self) -> list[tuple[str, Check]]:
        """Return all checks with their names."""
        return list(self._checks.items())

    def hold(self, part: str) -> None:
        """Run all checks of the contract on one registered part.

        Args:
            part: its registered name.

        Raises:
            AssertionError: names what the first broken check found; see :func:`run_check`.
        """
        for name, check in self._checks.items():
            run_check(self.kind, part, name, check)


def run_check(kind: str, part: str, name: str, check: Check) -> None:
    """Run one check on one part. If an exception is declared for them, require that the check still fails.

    Args:
        kind: of the part (``"rule"``, ``"layer"``).
        part: its registered name.
        name: of the check, as in ``EXCEPTIONS``.
        check: from ``<kind>_checks()``.

    Raises:
        AssertionError: the contract is broken, or the declared exception is not needed.
    """
    reason = EXCEPTIONS.get((kind, part, name))
    if reason is None:
        check(part)
        return
    try:
        check(part)
    except (AssertionError, NeurofaError):
        return
    raise AssertionError(f"{kind} '{part}' holds '{name}' although an exception is declared ({reason}); remove it")


def require_close(ours: Tensor, theirs: Tensor, what: str, tolerance: float) -> None:
    """Raise an ``AssertionError`` unless two tensors have the same shape and nearly the same numbers.

    Args:
        ours: any shape.
        theirs: the expected numbers.
        what: name of the quantity, for the message.
        tolerance: largest difference, in units of the largest expected number (at least 1).
    """
    require(ours.shape == theirs.shape, f"{what}: shape {tuple(ours.shape)}, expected {tuple(theirs.shape)}")
    if not ours.numel():
        return
    off = float((ours - theirs).abs().max())
    size = max(1.0, float(theirs.abs().max()))
    require(off <= tolerance * size, f"{what}: off by {off:.3g} at size {size:.3g}, tolerance {tolerance:g}")


def require_finite(values: Mapping[str, Tensor]) -> None:
    """Raise an ``AssertionError`` unless all numbers in the named tensors are finite."""
    bad = [key for key, value in values.items() if not bool(value.isfinite().all())]
    require(not bad, f"numbers that are not finite in {bad}")


def require_change(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> None:
    """Raise an ``AssertionError`` unless at least one of the named tensors differs before and after."""
    require(any(not torch.equal(value, before[key]) for key, value in after.items()), "nothing changed")


def require_refused(kind: str, part: str, settings: Iterable[str]) -> None:
    """Require that a part refuses bad options with a message of the form *got X; expected Y; do Z*.

    Args:
        kind: of the part.
        part: its registered name.
        settings: options as in a spec (``"gain=0.0"``), each on its own an error.
    """
    for setting in settings:
        try:
            build(kind, f"{part}({setting})")
        except NeurofaError as error:
            require("; expected" in str(error) and "\n" not in str(error), f"{setting}: the message is '{error}'")
            continue
        raise AssertionError(f"{part}({setting}) was accepted")


def snapshot(module: torch.nn.Module) -> dict[str, Tensor]:
    """Return a copy of the state dict of a module."""
    return {key: value.detach().clone() for key, value in module.state_dict().items()}
