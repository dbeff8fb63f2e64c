"""Contract of projections; the checks take a spec, because a projection has state."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial
from unittest.mock import patch

import torch
from torch import Tensor

from hwmodels.arrays import product
from hwmodels.errors import NeurofaError
from hwmodels.projection import Projection
from hwmodels.registry import build
from hwmodels.spec import Spec, parse
from hwmodels.testing.tools import NoHost, named, require, require_equal, seeded

N_IN, N_OUT = 10, 200

TOLERANCE = 0.02
"""Of a mean cosine against its closed form."""


def open_projection(spec: str, seed: int = 0, gain: float | None = None) -> Projection:
    """Build the projection of a spec from 10 to 200.

    Args:
        spec: of the projection.
        seed: seed of the matrix.
        gain: replaces that of the spec; None keeps it.
    """
    wanted = parse(spec)
    options = dict(wanted.options) | ({} if gain is None else {"gain": gain})
    projection: Projection = build("projection", Spec(wanted.name, options))
    projection.open(N_IN, N_OUT, seeded(seed))
    return projection


def errors(n: int = 6, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return errors (n, 10) of -1 and +1, which no encoding changes."""
    return torch.randint(0, 2, (n, N_IN), generator=seeded(3)).mul_(2).sub_(1).to(dtype)


def projection_checks() -> list[tuple[str, Callable[[str], None]]]:
    """Return every check of the projection contract, with its name."""
    return named(
        [
            projection_keeps_shapes_and_dtypes,
            projection_repeats_with_the_seed,
            projection_leaves_its_input_alone,
            projection_has_its_declared_gain,
            projection_is_its_effective_map_in_the_mean,
            projection_is_unchanged_by_no_time,
            projection_noise_matches_its_closed_form,
            projection_drift_matches_its_closed_form,
            projection_copies_and_persists,
            projection_never_waits_for_the_host,
            projection_refuses_bad_gains_and_sizes,
        ]
    )


def check_projection(spec: str) -> None:
    """Run every projection check.

    Raises:
        AssertionError: the first part of the contract that does not hold.
    """
    for _, check in projection_checks():
        check(spec)


def projection_keeps_shapes_and_dtypes(spec: str) -> None:
    """(B, n_in) becomes finite (B, n_out) in the module's dtype, for any batch, and for errors of zero."""
    for dtype in (torch.float32, torch.float64):
        projection = open_projection(spec).to(dtype)
        for n in (0, 1, 5):
            for error in (errors(n, dtype), torch.zeros(n, N_IN, dtype=dtype)):
                y = projection(error, seeded())
                require(y.shape == (n, N_OUT), f"got shape {tuple(y.shape)}; expected ({n}, {N_OUT})")
                require(y.dtype == dtype, f"got {y.dtype}; expected {dtype}")
                require(bool(y.isfinite().all()), "got numbers that are not finite; expected finite ones")


def projection_repeats_with_the_seed(spec: str) -> None:
    """The same seeds give the same matrix and the same pass, another seed another matrix; no global randomness."""
    state = torch.random.get_rng_state()
    ours, repeated, other = (open_projection(spec, seed)(errors(), seeded()) for seed in (0, 0, 1))
    require_equal(ours, repeated, "two results of one seed that differ")
    require(not torch.equal(ours, other), "got the same projection from another seed; expected another")
    require(torch.equal(state, torch.random.get_rng_state()), "got draws from torch's global generator; expected none")


def projection_leaves_its_input_alone(spec: str) -> None:
    """A pass does not change the error that is projected."""
    error = errors() * 0.3
    before = error.clone()
    open_projection(spec)(error, seeded())
    require_equal(before, error, "an error that a pass changed")


def projection_has_its_declared_gain(spec: str) -> None:
    """Entries of the effective map have mean 0 and standard deviation gain / sqrt(3 n_in): |z| < 4 for both."""
    for gain in (1.0, 2.5):
        maps = [open_projection(spec, seed, gain).effective() for seed in range(3)]
        if any(b is None for b in maps):
            return
        # three matrices, so that the standard errors are small; the second moment is compared, not the deviation
        b = torch.cat([b.flatten() for b in maps if b is not None]).double()
        std, root, squares = gain / math.sqrt(3 * N_IN), math.sqrt(b.numel()), b.square()
        z_mean = b.mean().item() / (std / root)
        z_power = (squares.mean().item() - std**2) / max(squares.std().item() / root, 1e-5 * std**2)
        require(abs(z_mean) < 4, f"got a mean {z_mean:.1f} standard errors from 0; expected fewer than 4")
        require(abs(z_power) < 4, f"got a power {z_power:.1f} standard errors from {std**2:.4g}; expected fewer than 4")


def projection_is_its_effective_map_in_the_mean(spec: str) -> None:
    """Passes average to the effective map: cosine above 0.95 and scale within a tenth; without one, to no linear map.

    Control: the map of another seed is refused.
    """
    projection, error = open_projection(spec), errors()
    b = projection.effective()
    if b is None:
        _expect_no_linear_map(projection)
        return
    require(b.shape == (N_IN, N_OUT), f"got effective() of shape {tuple(b.shape)}; expected ({N_IN}, {N_OUT})")
    wanted = error @ b
    y = projection(error.repeat_interleave(200, 0), seeded()).view(len(error), 200, -1).mean(1)
    cosine = _cosine(wanted, y)
    slope = ((wanted * y).sum() / wanted.square().sum()).item()
    require(cosine > 0.95, f"got passes at cosine {cosine:.3f} to the effective map; expected more than 0.95")
    require(0.9 < slope < 1.1, f"got passes {slope:.3f} times the effective map; expected 0.9 to 1.1")
    stranger = open_projection(spec, 1).effective()
    require(stranger is not None and _cosine(error @ stranger, y) < 0.3, "got passes like those of another seed")


def _expect_no_linear_map(projection: Projection) -> None:
    """The projections of two errors do not add up to that of their sum."""
    whole = torch.ones(200, N_IN)
    first = whole.clone()
    first[:, N_IN // 2 :] = 0
    y, a, b = (projection(e, seeded()).mean(0) for e in (whole, first, whole - first))
    require(
        (y - a - b).norm().item() > 0.2 * y.norm().item(), "got a linear projection; expected effective() to say so"
    )


def _cosine(a: Tensor, b: Tensor) -> float:
    return torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0).item()


def projection_is_unchanged_by_no_time(spec: str) -> None:
    """Zero seconds change nothing, and a second changes no shape."""
    projection = open_projection(spec)
    if projection.ageing is None:
        return
    before = {key: value.clone() for key, value in projection.state_dict().items()}
    projection.ageing.relax(0.0, seeded())
    require_equal(before, dict(projection.state_dict()), "a projection that moved in zero seconds")
    projection.ageing.relax(1.0, seeded())
    shapes = {key: (value.shape, value.dtype) for key, value in projection.state_dict().items()}
    require(shapes == {k: (v.shape, v.dtype) for k, v in before.items()}, "got other shapes after a second")


def projection_noise_matches_its_closed_form(spec: str) -> None:
    """Every source of noise has the cosine of its closed form, within 0.02, unless it declares itself outside of it."""
    error = torch.rand(40, N_IN, generator=seeded(5)) * 2 - 1
    for noise, run in open_projection(spec).dynamics(error) or ():
        assert noise.signal is not None  # noqa: S101
        require(noise.signal.shape == (40, N_OUT), f"{noise.name} has no signal of the shape of a pass")
        cosines = torch.stack([torch.cosine_similarity(run(seeded(6 + i)), noise.signal, dim=1) for i in range(4)])
        off = float((cosines.double().mean(0) - noise.cosine(error)).mean())
        holds = bool(noise.outside) or abs(off) < TOLERANCE
        require(
            holds, f"got {noise.name} with a cosine {off:.3f} above its closed form; expected less than {TOLERANCE}"
        )


def projection_drift_matches_its_closed_form(spec: str) -> None:
    """After an hour the signals have the cosine of the closed form, within 0.02."""
    projection = open_projection(spec)
    if projection.ageing is None:
        return
    error = torch.rand(40, N_IN, generator=seeded(5)) * 2 - 1
    before, noise = projection.clean(error), projection.ageing.drifted(error, 3600.0)
    projection.ageing.relax(3600.0, seeded(6))
    if noise is not None:
        after = projection.clean(error)
        off = float((torch.cosine_similarity(before, after, dim=1).double() - noise.cosine(error)).mean())
        require(abs(off) < TOLERANCE, f"got a drift {off:.3f} above its closed form; expected less than {TOLERANCE}")


def projection_copies_and_persists(spec: str) -> None:
    """A deep copy is independent, and a state dict carries everything."""
    ours = open_projection(spec)
    before = copy.deepcopy(ours)(errors(), seeded())
    other = open_projection(spec, 5)
    other.load_state_dict(ours.state_dict())
    require_equal(other(errors(), seeded()), before, "a loaded projection that differs")
    twin = copy.deepcopy(ours)
    for value in (*twin.parameters(), *twin.buffers()):
        value.data.zero_()
    require_equal(ours(errors(), seeded()), before, "a projection that shares its matrix with a copy")


def projection_never_waits_for_the_host(spec: str) -> None:
    """A pass never depends on the contents of a tensor on the host, so that no accelerator is waited for."""
    projection, error, gen = open_projection(spec), errors(), seeded()
    # as on an accelerator: on a CPU a pass may read numbers, because it waits for nothing
    with patch.object(product, "FREE_TO_LOOK", frozenset()), NoHost():
        projection(error, gen)


def projection_refuses_bad_gains_and_sizes(spec: str) -> None:
    """A gain that is not positive and finite, and a size below 1, are errors."""
    attempts: list[Callable[[], object]] = [
        *(partial(open_projection, spec, 0, gain) for gain in (0.0, -1.0, math.inf)),
        *(partial(open_projection(spec).open, n_in, n_out, seeded()) for n_in, n_out in ((0, 3), (3, 0))),
    ]
    for attempt in attempts:
        try:
            attempt()
        except NeurofaError:
            continue
        raise AssertionError("got no refusal of a bad gain or size; expected a NeurofaError")
