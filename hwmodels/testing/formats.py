"""Contract of number formats."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from hwmodels.format import Format, straight_through
from hwmodels.testing.tools import DTYPES, SHAPES, NoHost, layer_weights, named, require, require_equal, seeded


def format_checks() -> list[tuple[str, Callable[[Format], None]]]:
    """Return every check of the number-format contract, with its name."""
    return named(
        [
            format_keeps_shape_dtype_and_input,
            format_repeats_with_the_seed,
            format_has_no_more_values_than_its_bits,
            format_keeps_its_own_values,
            format_keeps_zero_sign_and_nan,
            format_passes_the_gradient_inside,
            format_never_waits_for_the_host,
        ]
    )


def check_format(fmt: Format) -> None:
    """Run every format check.

    Raises:
        AssertionError: the first part of the contract that does not hold.
    """
    for _, check in format_checks():
        check(fmt)


def format_keeps_shape_dtype_and_input(fmt: Format) -> None:
    """Shape and dtype are kept, those of half-width floats included, and the input is not changed."""
    for shape in SHAPES:
        for dtype in (*DTYPES, torch.float16, torch.bfloat16):
            x = layer_weights(shape, dtype)
            before = x.clone()
            y = fmt.quantize(x, seeded())
            require(y.shape == x.shape, f"got shape {tuple(y.shape)}; expected {tuple(x.shape)}")
            require(y.dtype == dtype, f"got {y.dtype}; expected {dtype}")
            require(torch.equal(x, before), "got an input that was changed; expected a new tensor")


def format_repeats_with_the_seed(fmt: Format) -> None:
    """The same seed gives the same numbers; the global seed has no part in it."""
    state = torch.random.get_rng_state()
    require_equal(
        fmt.quantize(layer_weights(), seeded()),
        fmt.quantize(layer_weights(), seeded()),
        "two results of one seed that differ",
    )
    require(torch.equal(state, torch.random.get_rng_state()), "got draws from torch's global generator; expected none")


def format_has_no_more_values_than_its_bits(fmt: Format) -> None:
    """At most 2^bits values occur in a vector (sign sends 0 for an exact zero, which does not occur here)."""
    if fmt.bits <= 12:
        count = len(set(fmt.quantize(layer_weights((1, 20000)) * math.sqrt(20000), seeded()).flatten().tolist()))
        require(count <= round(2**fmt.bits), f"got {count} values from {fmt.bits:.3g} bits; expected at most 2^bits")


def format_keeps_its_own_values(fmt: Format) -> None:
    """Numbers of the grid are mapped onto themselves, but for rounding."""
    for scale in (1.0, 1e-3):
        once = fmt.quantize(layer_weights() * scale, seeded())
        twice = fmt.quantize(once, seeded())
        near = torch.allclose(twice, once, rtol=1e-5, atol=1e-6 * once.abs().max().item())
        require(near, "got numbers of the grid that moved when quantized again; expected them to stay")


def format_keeps_zero_sign_and_nan(fmt: Format) -> None:
    """Zero is exact (an all-zero tensor too), no sign flips, and NaN stays visible."""
    x = layer_weights()
    x[0] = 0
    y = fmt.quantize(x, seeded())
    require(bool((y[0] == 0).all()), "got numbers other than 0 from 0; expected exact zeros")
    require(bool((x * y >= 0).all()), "got a flipped sign; expected sign(Q(x)) = sign(x) or 0")
    zeros = torch.zeros_like(x)
    require(
        torch.equal(fmt.quantize(zeros, seeded()), zeros),
        "got other numbers from an all-zero tensor; expected zeros",
    )
    x[1, 1] = math.nan
    require(bool(fmt.quantize(x, seeded())[1, 1].isnan()), "got a number from NaN; expected NaN")


def format_passes_the_gradient_inside(fmt: Format) -> None:
    """The straight-through gradient is the identity where the format does not clip, and zero where it does."""
    x = (layer_weights() * 3).requires_grad_()
    error = layer_weights(seed=2)
    y = straight_through(fmt, x, seeded())
    require_equal(
        y.detach(),
        fmt.quantize(x.detach(), seeded()),
        "a straight-through value that differs from the quantized one",
    )
    (gradient,) = torch.autograd.grad(y, x, error)
    inside = fmt.inside(x.detach())
    wanted = error if inside is None else error * inside
    require_equal(gradient, wanted, "a gradient other than that of the identity inside and zero outside")


def format_never_waits_for_the_host(fmt: Format) -> None:
    """Quantizing never depends on the contents of a tensor on the host, so that no accelerator is waited for."""
    x, gen = layer_weights(), seeded()
    with NoHost():
        fmt.quantize(x, gen)
        fmt.inside(x)
