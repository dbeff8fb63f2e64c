"""Contract of memory devices."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from hwmodels.device import Cells, Device, relaxed
from hwmodels.testing.tools import DTYPES, SHAPES, NoHost, layer_weights, named, require, require_equal, seeded


def device_checks() -> list[tuple[str, Callable[[Device], None]]]:
    """Return every check of the device contract, with its name."""
    return named(
        [
            device_keeps_shapes_and_dtypes,
            device_leaves_its_inputs_alone,
            device_repeats_with_the_seed,
            device_declares_its_read_noise,
            device_programs_near_the_target,
            device_programs_its_own_values,
            device_keeps_its_elements_when_reprogrammed,
            device_follows_the_sign_of_a_change,
            device_keeps_the_mean_without_a_change,
            device_saturates,
            device_is_unchanged_by_no_time,
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
            gen = seeded()
            target = layer_weights(shape, dtype)
            cells = device.program(target, gen)
            kept = {key: (cell.shape, cell.dtype) for key, cell in cells.items()}
            after = device.write(cells, target * 0.1, gen)
            for step, now in (("write", after), ("relax", relaxed(device, after, 1.0, gen))):
                changed = {key: (cell.shape, cell.dtype) for key, cell in now.items()}
                require(changed == kept, f"got cells {changed} after {step}; expected {kept}")
            for step, w in (("value", device.value(cells)), ("read", device.read(cells, gen))):
                require(
                    w.shape == target.shape, f"got {step} of shape {tuple(w.shape)}; expected {tuple(target.shape)}"
                )
                require(w.dtype == dtype, f"got {step} in {w.dtype}; expected {dtype}")


def device_leaves_its_inputs_alone(device: Device) -> None:
    """Every function is pure: target, cells and change stay as they were, and programmed cells are no alias of it."""
    gen = seeded()
    target = layer_weights()
    change = target * 0.1
    cells = device.program(target, gen)
    for cell in cells.values():
        require(cell.data_ptr() != target.data_ptr(), "got cells that share the target's memory; expected a copy")
    before = {key: tensor.clone() for key, tensor in {**cells, "/target": target, "/change": change}.items()}
    device.value(cells)
    device.read(cells, gen)
    device.write(cells, change, gen)
    relaxed(device, cells, 1.0, gen)
    require_equal(before, {**cells, "/target": target, "/change": change}, "an input that a device function changed")


def device_repeats_with_the_seed(device: Device) -> None:
    """The same seed gives the same cells and the same reads, bit for bit; the global seed has no part in it."""

    def run() -> Cells:
        gen = seeded()
        cells = device.write(device.program(layer_weights(), gen), layer_weights(seed=2), gen)
        cells = relaxed(device, cells, 10.0, gen)
        return {**cells, "/read": device.read(cells, gen)}

    state = torch.random.get_rng_state()
    require_equal(run(), run(), "two results of one seed that differ")
    require(torch.equal(state, torch.random.get_rng_state()), "got draws from torch's global generator; expected none")


def device_declares_its_read_noise(device: Device) -> None:
    """A device that declares no read noise reads its values, bit for bit."""
    cells = device.program(layer_weights(), seeded())
    if not device.noisy:
        require_equal(device.read(cells, seeded()), device.value(cells), "reads that differ from the values")


def device_programs_near_the_target(device: Device) -> None:
    """Programming and reading back keeps the direction of the weights (cosine above 0.5) and their scale (within 2)."""
    target = layer_weights()
    value = device.value(device.program(target, seeded()))
    cosine = torch.nn.functional.cosine_similarity(target.flatten(), value.flatten(), dim=0).item()
    ratio = (value.norm() / target.norm()).item()
    require(cosine > 0.5, f"got programmed weights at cosine {cosine:.3f} to the target; expected more than 0.5")
    require(0.5 < ratio < 2, f"got programmed weights {ratio:.3f} times the target's norm; expected 0.5 to 2")


def device_programs_its_own_values(device: Device) -> None:
    """Values of the device can be programmed again: exactly, or within the noise of programming."""
    target = layer_weights()
    first = device.value(device.program(target, seeded(1)))
    noise = (first - device.value(device.program(target, seeded(2)))).abs().max().item()
    again = device.value(device.program(first, seeded(1)))
    moved = (again - first).abs().max().item()
    bound = 4 * noise + 1e-6 * first.abs().max().item()
    require(moved <= bound, f"got own values moved by {moved:.3g} when programmed again; expected at most {bound:.3g}")


def device_keeps_its_elements_when_reprogrammed(device: Device) -> None:
    """Reprogramming uses the same physical elements: their bounds stay where they were, but for write noise."""
    if not device.bounded:
        return
    cells = device.program(layer_weights(), seeded(1))
    huge = torch.full_like(layer_weights(), 1e4)

    def end(start: Cells, seed: int) -> torch.Tensor:
        gen = seeded(seed)
        for _ in range(50):
            start = device.write(start, huge, gen)
        return device.value(start)

    first = end(cells, 2)
    noise = (end(cells, 3) - first).abs().mean().item()
    moved = (end(device.reprogram(cells, layer_weights(), seeded(4)), 3) - first).abs().mean().item()
    bound = 1.2 * noise + 1e-5 * first.abs().mean().item()
    require(moved <= bound, f"got ends moved by {moved:.3g} after reprogramming; expected at most {bound:.3g}")


def device_follows_the_sign_of_a_change(device: Device) -> None:
    """A large change moves the weights in its direction in the mean."""
    target = layer_weights()
    cells = device.program(target, seeded())
    change = torch.full_like(target, target.std().item())
    up = device.value(device.write(cells, change, seeded())) - device.value(cells)
    down = device.value(device.write(cells, -change, seeded())) - device.value(cells)
    require(
        up.mean().item() > 0, f"got a mean move of {up.mean().item():.3g} for a positive change; expected it above 0"
    )
    require(down.mean().item() < 0, f"got a mean move of {down.mean().item():.3g} for a negative one; expected below 0")


def device_keeps_the_mean_without_a_change(device: Device) -> None:
    """A change of zero moves nothing in the mean: |mean| <= 5 standard errors (0 for a device without write noise)."""
    cells = device.program(layer_weights(), seeded())
    before = device.value(cells)
    moved = device.value(device.write(cells, torch.zeros_like(before), seeded())) - before
    bound = 5 * moved.std().item() / math.sqrt(moved.numel())
    mean = moved.mean().item()
    require(abs(mean) <= bound, f"got a mean move of {mean:.3g} for no change; expected at most {bound:.3g} in size")


def device_saturates(device: Device) -> None:
    """Huge changes leave finite weights, and those of a bounded device stop there."""
    target = layer_weights()
    for sign in (1.0, -1.0):
        gen = seeded()
        cells = device.program(target, gen)
        huge = torch.full_like(target, sign * 1e4)
        for _ in range(50):
            cells = device.write(cells, huge, gen)
        once = device.value(cells)
        require(bool(once.isfinite().all()), "got weights that are not finite after huge changes; expected a bound")
        if device.bounded:
            more = (device.value(device.write(cells, huge, gen)) - once).mean().abs().item()
            bound = 0.01 * once.abs().mean().item()
            require(
                more <= bound, f"got weights that still move by {more:.3g} at their bound; expected at most {bound:.3g}"
            )


def device_is_unchanged_by_no_time(device: Device) -> None:
    """Zero seconds change nothing."""
    cells = device.program(layer_weights(), seeded())
    require_equal(
        device.value(cells), device.value(relaxed(device, cells, 0.0, seeded())), "weights that moved in zero seconds"
    )


def device_never_waits_for_the_host(device: Device) -> None:
    """No write and no read depends on the contents of a tensor on the host, so that no accelerator is waited for."""
    gen = seeded()
    cells = device.program(layer_weights(), gen)
    change = layer_weights(seed=2)
    with NoHost():
        after = device.write(cells, change, gen)
        device.read(after, gen)
        device.value(after)
