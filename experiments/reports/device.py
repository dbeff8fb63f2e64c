"""What a memory device does, measured: its response to pulses or changes, programming error, read noise, drift."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields, is_dataclass

import torch
from torch import Tensor

from hwmodels.device import Device, relaxed
from hwmodels.device_models.pulses import PulseDriven
from hwmodels.registry import parts

DEVICES = 1000
"""Devices that a band is taken over."""
BAND = (0.05, 0.5, 0.95)
"""Quantiles: the band's edges, and the median."""
TARGETS = (-0.8, -0.4, 0.1, 0.4, 0.8)
"""Programmed weights whose drift is followed; with a fan-in of 1 initial weights lie within +-1."""
YEAR = 3.156e7
"""Seconds of a year."""


@dataclass(frozen=True)
class Panel:
    """One picture: lines with bands over devices."""

    name: str
    title: str
    x_label: str
    y_label: str
    lines: dict[str, tuple[list[float], list[list[float]]]]
    """By label: x, and y at the three quantiles of each x."""
    log: bool = False
    traces: list[list[float]] = field(default_factory=list)
    """Single devices over the x of the first line."""


def constants(device: Device) -> list[dict[str, str]]:
    """Every constant of a device with its value and its meaning, from the docstrings of its classes."""
    if not is_dataclass(device):
        return []
    said: dict[str, str] = {}
    for part in (*reversed(type(device).__mro__), parts("device").get(device.name)):
        said |= meanings(part.__doc__ or "") if part is not None else {}
    return [
        {"name": f.name, "value": str(getattr(device, f.name)), "meaning": said.get(f.name, "")}
        for f in fields(device)
        if not f.name.startswith("_")
    ]


def meanings(doc: str) -> dict[str, str]:
    r"""The entries of a docstring's Args section.

    >>> meanings("A part.\n\n    Args:\n        gain: how strong,\n            > 0.\n")
    {'gain': 'how strong, > 0.'}
    """
    found: dict[str, str] = {}
    name = ""
    for line in doc.partition("Args:\n")[2].splitlines():
        if not line.strip():
            break
        entry = re.fullmatch(r" {8}(\w+): (.*)", line)
        if entry:
            name, found[entry[1]] = entry[1], entry[2]
        elif name:
            found[name] += " " + line.strip()
    return found


def panels(device: Device, *, pulses: int | None = None, seed: int = 0) -> list[Panel]:
    """Everything about a device that can be drawn; panels in which nothing varies are left out.

    Args:
        device: any memory device.
        pulses: pulses up and then down, of a pulse-driven device; None: as many as go from -1 to 1, at most 1000.
        seed: of the devices and their noise.
    """
    gen = torch.Generator().manual_seed(seed)
    response = _pulsed(device, pulses, gen) if isinstance(device, PulseDriven) else _changed(device, gen)
    made = [response, _programming(device, gen), _read(device, gen), _drift(device, gen)]
    return [panel for panel in made if panel is not None]


def _pulsed(device: PulseDriven, pulses: int | None, gen: torch.Generator) -> Panel:
    cells = device.program(torch.zeros(DEVICES, 1), gen)
    step = float(device.granularity(cells))
    count = pulses or int(min(1000, max(20, 2 / step)))
    stride = max(1, count // 100)  # a picture shows no more
    at, seen = [0], [device.value(cells)]
    up, down = torch.full((DEVICES, 1), 1.0), torch.full((DEVICES, 1), -1.0)
    for n in range(1, 2 * count + 1):
        cells = device.settle(device.pulse(cells, up if n <= count else down, gen), gen)
        if n % stride == 0:
            at.append(n)
            seen.append(device.value(cells))
    y = torch.cat(seen, 1)
    return Panel(
        "response", f"{count} pulses up, {count} down", "pulse", "weight",
        {"devices": ([float(n) for n in at], bands(y))}, traces=y[:3].tolist(),
    )  # fmt: skip


def _changed(device: Device, gen: torch.Generator) -> Panel | None:
    asked = torch.linspace(-0.5, 0.5, 41)
    cells = device.program(torch.zeros(DEVICES, 1).expand(DEVICES, 41).reshape(-1, 1), gen)
    change = asked.expand(DEVICES, 41).reshape(-1, 1)
    y = (device.value(device.write(cells, change, gen)) - device.value(cells)).view(DEVICES, 41)
    if torch.allclose(y, asked.expand_as(y), atol=1e-6):
        return None
    lines = {"devices": (asked.tolist(), bands(y)), "asked": (asked.tolist(), [[v] * 3 for v in asked.tolist()])}
    return Panel("response", "a change of the weight", "change that is asked for", "change that is made", lines)


def _programming(device: Device, gen: torch.Generator) -> Panel | None:
    target = torch.linspace(-1, 1, 41)
    cells = device.program(target.expand(DEVICES, 41).reshape(-1, 1), gen)
    y = device.value(cells).view(DEVICES, 41) - target
    if y.abs().max() < 1e-6:
        return None
    return Panel(
        "programming", "programming error", "target weight", "weight - target",
        {"devices": (target.tolist(), bands(y))},
    )  # fmt: skip


def _read(device: Device, gen: torch.Generator) -> Panel | None:
    target = torch.linspace(-1, 1, 41)
    cells = device.program(target.expand(DEVICES, 41).reshape(-1, 1), gen)
    y = (device.read(cells, gen) - device.value(cells)).view(DEVICES, 41)
    if y.abs().max() < 1e-6:
        return None
    lines = {"reads": (target.tolist(), bands(y))}
    return Panel("read", "noise of a read, just after programming", "target weight", "read - weight", lines)


def _drift(device: Device, gen: torch.Generator) -> Panel | None:
    seconds = torch.logspace(0, torch.tensor(YEAR).log10().item(), 40, dtype=torch.float64).tolist()
    target = torch.tensor(TARGETS)
    cells = device.program(target.expand(DEVICES, len(TARGETS)).reshape(-1, 1), gen)
    start, now, seen = device.value(cells), 0.0, []
    for second in seconds:
        cells, now = relaxed(device, cells, second - now, gen), second
        seen.append(device.value(cells))
    y = torch.stack([s.view(DEVICES, -1) for s in seen], 2)
    if torch.allclose(y[..., -1], start.view(DEVICES, -1)):
        return None
    lines = {f"target {t:g}": (seconds, bands(y[:, k])) for k, t in enumerate(TARGETS)}
    return Panel("drift", "drift", "time since programming (s)", "weight", lines, log=True)


def bands(y: Tensor) -> list[list[float]]:
    """The quantiles over devices, (devices, points) to a triple for each point."""
    found: list[list[float]] = y.quantile(torch.tensor(BAND), dim=0).t().tolist()
    return found


def moments(device: Device, *, seed: int = 0) -> dict[str, float]:
    """Figures of the device at weight zero, with a fan-in of 1: weights in units of the largest initial one.

    Pulse-driven devices: ``step up``, ``step down`` (mean), ``step spread`` (of all devices and pulses, relative),
    ``states`` (range over mean step), ``upper bound``, ``lower bound`` (medians), ``stuck`` (share that nothing moves).
    All: ``programming sigma`` at a weight of 0.5, where it is not zero.
    """
    gen = torch.Generator().manual_seed(seed)
    found: dict[str, float] = {}
    if isinstance(device, PulseDriven):
        cells = device.program(torch.zeros(20 * DEVICES, 1), gen)
        ends = []
        for name, sign in (("up", 1.0), ("down", -1.0)):
            one = torch.full((20 * DEVICES, 1), sign)
            step = device.value(device.pulse(cells, one, gen)) - device.value(cells)
            found[f"step {name}"] = step.mean().item()
            if sign > 0:
                found["step spread"] = (step.std() / step.mean().abs()).item()
            far = cells
            for _ in range(30):
                far = device.write(far, one * 1e3, gen)
            ends.append(device.value(far))
        top, bottom = (end.median().item() for end in ends)
        mean = (found["step up"] - found["step down"]) / 2
        found |= {"upper bound": top, "lower bound": bottom, "states": (top - bottom) / mean if mean else 0.0}
        if "top" in cells:
            found["stuck"] = (cells["top"] == cells["bottom"]).double().mean().item()
    half = torch.full((20 * DEVICES, 1), 0.5)
    found["programming sigma"] = device.value(device.program(half, gen)).std().item()
    return {key: value for key, value in found.items() if abs(value) > 1e-6}
