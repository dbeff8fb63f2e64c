"""What every memory device keeps to."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from hwmodels.device import Cells, Device
from hwmodels.testing._tools import DTYPES, SHAPES, NoHost, copy, expect, generator, named, same, weights


def device_checks() -> list[tuple[str, Callable[[Device], None]]]:
    """Every check of the device contract, with its name."""
    return named(
        [
            device_keeps_shapes_and_dtypes,
            device_leaves_its_inputs_alone,
            device_repeats_with_the_seed,
            device_programs_near_the_target,
            device_programs_its_own_values_again,
            device_keeps_its_elements_when_reprogrammed,
            device_follows_the_sign_of_a_change,
            device_keeps_the_mean_without_a_change,
            device_saturates,
            device_keeps_through_no_time,
            device_never_waits_for_the_host,
        ]
    )


def check_device(device: Device) -> None:
    """Run every device check.

    Raises:
        AssertionError: the first part of the contract that does not hold.
    """
    for _, check in device_checks():
        check(device)


def device_keeps_shapes_and_dtypes(device: Device) -> None:
    """Weights keep shape and dtype through every function; cells keep theirs, so that they can be stored in place."""
    for shape in SHAPES:
        for dtype in DTYPES:
            gen = generator()
            target = weights(shape, dtype)
            cells = device.program(target, gen)
            kept = {key: (cell.shape, cell.dtype) for key, cell in cells.items()}
            after = device.write(cells, target * 0.1, gen)
            for step, now in (("write", after), ("relax", device.relax(after, 1.0, gen))):
                found = {key: (cell.shape, cell.dtype) for key, cell in now.items()}
                expect(found == kept, f"got cells {found} after {step}; expected {kept}")
            for step, w in (("value", device.value(cells)), ("read", device.read(cells, gen))):
                expect(w.shape == target.shape, f"got {step} of shape {tuple(w.shape)}; expected {tuple(target.shape)}")
                expect(w.dtype == dtype, f"got {step} in {w.dtype}; expected {dtype}")


def device_leaves_its_inputs_alone(device: Device) -> None:
    """Every function is pure: target, cells and change stay as they were, and programmed cells are no alias of it."""
    gen = generator()
    target = weights()
    change = target * 0.1
    cells = device.program(target, gen)
    for cell in cells.values():
        expect(cell.data_ptr() != target.data_ptr(), "got cells that share the target's memory; expected a copy")
    before = copy({**cells, "/target": target, "/change": change})
    device.value(cells)
    device.read(cells, gen)
    device.write(cells, change, gen)
    device.relax(cells, 1.0, gen)
    same(before, {**cells, "/target": target, "/change": change}, "an input that a device function changed")


def device_repeats_with_the_seed(device: Device) -> None:
    """The same seed gives the same cells and the same reads, bit for bit; the global seed has no part in it."""

    def run() -> Cells:
        gen = generator()
        cells = device.write(device.program(weights(), gen), weights(seed=2), gen)
        cells = device.relax(cells, 10.0, gen)
        return {**cells, "/read": device.read(cells, gen)}

    state = torch.random.get_rng_state()
    same(run(), run(), "two results of one seed that differ")
    expect(torch.equal(state, torch.random.get_rng_state()), "got draws from torch's global generator; expected none")


def device_programs_near_the_target(device: Device) -> None:
    """Programming and reading back keeps the direction of the weights (cosine above 0.5) and their scale (within 2)."""
    target = weights()
    value = device.value(device.program(target, generator()))
    cosine = torch.nn.functional.cosine_similarity(target.flatten(), value.flatten(), dim=0).item()
    ratio = (value.norm() / target.norm()).item()
    expect(cosine > 0.5, f"got programmed weights at cosine {cosine:.3f} to the target; expected more than 0.5")
    expect(0.5 < ratio < 2, f"got programmed weights {ratio:.3f} times the target's norm; expected 0.5 to 2")


def device_programs_its_own_values_again(device: Device) -> None:
    """Values that the device holds can be programmed again: exactly, unless programming is noisy; then as nearly."""
    target = weights()
    first = device.value(device.program(target, generator(1)))
    noise = (first - device.value(device.program(target, generator(2)))).abs().max().item()
    again = device.value(device.program(first, generator(1)))
    moved = (again - first).abs().max().item()
    bound = 4 * noise + 1e-6 * first.abs().max().item()
    expect(moved <= bound, f"got own values moved by {moved:.3g} when programmed again; expected at most {bound:.3g}")


def device_keeps_its_elements_when_reprogrammed(device: Device) -> None:
    """Programming again takes the same physical elements: they still end where they ended, but for write noise."""
    if not device.bounded:
        return
    cells = device.program(weights(), generator(1))
    huge = torch.full_like(weights(), 1e4)

    def end(start: Cells, seed: int) -> torch.Tensor:
        gen = generator(seed)
        for _ in range(50):
            start = device.write(start, huge, gen)
        return device.value(start)

    first = end(cells, 2)
    noise = (end(cells, 3) - first).abs().mean().item()
    moved = (end(device.reprogram(cells, weights(), generator(4)), 3) - first).abs().mean().item()
    bound = 1.2 * noise + 1e-5 * first.abs().mean().item()
    expect(moved <= bound, f"got ends moved by {moved:.3g} after reprogramming; expected at most {bound:.3g}")


def device_follows_the_sign_of_a_change(device: Device) -> None:
    """A large change moves the weights its way in the mean."""
    target = weights()
    cells = device.program(target, generator())
    change = torch.full_like(target, target.std().item())
    up = device.value(device.write(cells, change, generator())) - device.value(cells)
    down = device.value(device.write(cells, -change, generator())) - device.value(cells)
    expect(
        up.mean().item() > 0, f"got a mean move of {up.mean().item():.3g} for a positive change; expected it above 0"
    )
    expect(down.mean().item() < 0, f"got a mean move of {down.mean().item():.3g} for a negative one; expected below 0")


def device_keeps_the_mean_without_a_change(device: Device) -> None:
    """A change of zero moves nothing in the mean: |mean| <= 5 standard errors (0 for a device without write noise)."""
    cells = device.program(weights(), generator())
    before = device.value(cells)
    moved = device.value(device.write(cells, torch.zeros_like(before), generator())) - before
    bound = 5 * moved.std().item() / math.sqrt(moved.numel())
    mean = moved.mean().item()
    expect(abs(mean) <= bound, f"got a mean move of {mean:.3g} for no change; expected at most {bound:.3g} in size")


def device_saturates(device: Device) -> None:
    """Huge changes leave finite weights, and those of a bounded device stop there."""
    target = weights()
    for sign in (1.0, -1.0):
        gen = generator()
        cells = device.program(target, gen)
        huge = torch.full_like(target, sign * 1e4)
        for _ in range(50):
            cells = device.write(cells, huge, gen)
        once = device.value(cells)
        expect(bool(once.isfinite().all()), "got weights that are not finite after huge changes; expected a bound")
        if device.bounded:
            more = (device.value(device.write(cells, huge, gen)) - once).mean().abs().item()
            bound = 0.01 * once.abs().mean().item()
            expect(
                more <= bound, f"got weights that still move by {more:.3g} at their bound; expected at most {bound:.3g}"
            )


def device_keeps_through_no_time(device: Device) -> None:
    """Zero seconds change nothing."""
    cells = device.program(weights(), generator())
    same(device.value(cells), device.value(device.relax(cells, 0.0, generator())), "weights that moved in zero seconds")


def device_never_waits_for_the_host(device: Device) -> None:
    """Writing and reading decide nothing from a tensor's contents, so that an accelerator is never waited for."""
    gen = generator()
    cells = device.program(weights(), gen)
    change = weights(seed=2)
    with NoHost():
        after = device.write(cells, change, gen)
        device.read(after, gen)
        device.value(after)
