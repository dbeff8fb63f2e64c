"""What a memory device does, measured: its response to pulses or changes, programming error, read noise, drift."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields, is_dataclass

import torch
from torch import Tensor

from experiments.charts.figure import Axis, Panel
from experiments.charts.marks import Curve, Mark
from hwmodels.device import Device, relaxed
from hwmodels.device_models.pulses import PulseDriven
from hwmodels.registry import parts

DEVICES = 1000
"""Devices that a band is taken over."""
BAND = (0.05, 0.5, 0.95)
"""Quantiles: the band's edges, and the median."""
UNIT = "of the largest initial one"
"""Unit of the weights in pictures: with a fan-in of 1 initial weights lie within +-1."""
TARGETS = (-0.8, -0.4, 0.1, 0.4, 0.8)
"""Programmed weights whose drift is measured."""
REPEATS = 10
"""Pulses of each device that the mean step is taken over."""
YEAR = 3.156e7
"""Seconds of a year."""


def device_constants(device: Device) -> list[dict[str, str]]:
    """Return name, value and meaning of every constant of a device; meanings are those of its classes' docstrings."""
    if not is_dataclass(device):
        return []
    meanings: dict[str, str] = {}
    for part in (*reversed(type(device).__mro__), parts("device").get(device.name)):
        meanings |= args_section(part.__doc__ or "") if part is not None else {}
    return [
        {"name": f.name, "value": str(getattr(device, f.name)), "meaning": meanings.get(f.name, "")}
        for f in fields(device)
        if not f.name.startswith("_")
    ]


def args_section(doc: str) -> dict[str, str]:
    r"""Return the entries of a docstring's Args section.

    >>> args_section("A part.\n\n    Args:\n        gain: how strong,\n            > 0.\n")
    {'gain': 'how strong, > 0.'}
    """
    entries: dict[str, str] = {}
    name = ""
    for line in doc.partition("Args:\n")[2].splitlines():
        if not line.strip():
            break
        entry = re.fullmatch(r" {8}(\w+): (.*)", line)
        if entry:
            name, entries[entry[1]] = entry[1], entry[2]
        elif name:
            entries[name] += " " + line.strip()
    return entries


def device_panels(device: Device, *, pulses: int | None = None, seed: int = 0) -> dict[str, Panel]:
    """Return the panels that show how a device behaves, by name: ``response``, ``programming``, ``read``, ``drift``.

    Panels in which nothing varies are left out. Curves are medians over devices with bands from 5 to 95 %.

    Args:
        device: any memory device.
        pulses: pulses up and then down, of a pulse-driven device; None: as many as go from -1 to 1, at most 1000.
        seed: of the devices and their noise.
    """
    gen = torch.Generator().manual_seed(seed)
    panels = {
        "response": _pulsed(device, pulses, gen) if isinstance(device, PulseDriven) else _changed(device, gen),
        "programming": _programming(device, gen),
        "read": _read(device, gen),
        "drift": _drift(device, gen),
    }
    return {name: panel for name, panel in panels.items() if panel is not None}


def _pulsed(device: PulseDriven, pulses: int | None, gen: torch.Generator) -> Panel:
    cells = device.program(torch.zeros(DEVICES, 1), gen)
    step = float(device.granularity(cells))
    count = pulses or int(min(1000, max(20, 2 / step)))
    stride = max(1, count // 100)  # a picture shows no more
    at, values = [0.0], [device.value(cells)]
    up, down = torch.full((DEVICES, 1), 1.0), torch.full((DEVICES, 1), -1.0)
    for n in range(1, 2 * count + 1):
        cells = device.settle(device.pulse(cells, up if n <= count else down, gen), gen)
        if n % stride == 0:
            at.append(float(n))
            values.append(device.value(cells))
    y = torch.cat(values, 1)
    single: list[Mark] = [
        Curve(label="three single devices", x=at, y=trace, colour="0.55", width=0.6) for trace in y[:3].tolist()
    ]
    marks = [*single, _median("median and 5 to 95 % of the devices", at, y)]
    title = f"{count} pulses up, {count} down"
    return Panel(title=title, x=Axis("pulse", whole=True), y=Axis(f"weight ({UNIT})"), marks=marks)


def _changed(device: Device, gen: torch.Generator) -> Panel | None:
    requested = torch.linspace(-0.5, 0.5, 41)
    cells = device.program(torch.zeros(DEVICES, 1).expand(DEVICES, 41).reshape(-1, 1), gen)
    change = requested.expand(DEVICES, 41).reshape(-1, 1)
    y = (device.value(device.write(cells, change, gen)) - device.value(cells)).view(DEVICES, 41)
    if torch.allclose(y, requested.expand_as(y), atol=1e-6):
        return None
    x = requested.tolist()
    marks = [
        _median("median and 5 to 95 % of the devices", x, y),
        Curve(label="requested", x=x, y=x, colour="0.3", style="--"),
    ]
    x_axis, y_axis = Axis(f"requested change ({UNIT})"), Axis(f"realised change ({UNIT})")
    return Panel(title="a change of the weight", x=x_axis, y=y_axis, marks=marks)


def _programming(device: Device, gen: torch.Generator) -> Panel | None:
    target, cells = _programmed(device, gen)
    y = device.value(cells).view(DEVICES, 41) - target
    return _error_panel("programming error", "weight - target", target, y)


def _read(device: Device, gen: torch.Generator) -> Panel | None:
    target, cells = _programmed(device, gen)
    y = (device.read(cells, gen) - device.value(cells)).view(DEVICES, 41)
    return _error_panel("noise of a read, just after programming", "read - weight", target, y)


def _programmed(device: Device, gen: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    target = torch.linspace(-1, 1, 41)
    return target, device.program(target.expand(DEVICES, 41).reshape(-1, 1), gen)


def _error_panel(title: str, label: str, target: Tensor, error: Tensor) -> Panel | None:
    if error.abs().max() < 1e-6:
        return None
    marks = [_median("median and 5 to 95 % of the devices", target.tolist(), error)]
    return Panel(title=title, x=Axis(f"target weight ({UNIT})"), y=Axis(f"{label} ({UNIT})"), marks=marks)


def _drift(device: Device, gen: torch.Generator) -> Panel | None:
    seconds = torch.logspace(0, torch.tensor(YEAR).log10().item(), 40, dtype=torch.float64).tolist()
    target = torch.tensor(TARGETS)
    cells = device.program(target.expand(DEVICES, len(TARGETS)).reshape(-1, 1), gen)
    start, now, values = device.value(cells), 0.0, []
    for second in seconds:
        cells, now = relaxed(device, cells, second - now, gen), second
        values.append(device.value(cells))
    y = torch.stack([value.view(DEVICES, -1) for value in values], 2)
    if torch.allclose(y[..., -1], start.view(DEVICES, -1)):
        return None
    marks: list[Mark] = [_median(f"target {t:g}", seconds, y[:, k]) for k, t in enumerate(TARGETS)]
    x = Axis("time since programming (s)", scale="log")
    return Panel(title="drift", x=x, y=Axis(f"weight ({UNIT})"), marks=marks)


def _median(label: str, x: Sequence[float], y: Tensor) -> Mark:
    """Return the median over devices with its band, from values (devices, points)."""
    low, middle, high = y.quantile(torch.tensor(BAND), dim=0).tolist()
    return Curve(label=label, x=x, y=middle, band=(low, high))


def without_write_noise(device: PulseDriven) -> PulseDriven:
    """Return the device, and those inside it, without noise between the state of a cell and what it shows."""
    options = device.chosen()
    changes: dict[str, object] = {"write_noise_std": 0.0} if options.get("write_noise_std") else {}
    changes |= {key: without_write_noise(part) for key, part in options.items() if isinstance(part, PulseDriven)}
    return type(device)(**options | changes) if changes else device


def device_moments(device: Device, *, seed: int = 0) -> dict[str, float]:
    """Return figures of the device at weight zero, with a fan-in of 1: weights in units of the largest initial one.

    Pulse-driven devices: ``step up``, ``step down`` (mean of the state, without write noise), ``step spread`` (of all
    devices and pulses, relative), ``write noise`` (standard deviation of what a pulsed device shows about its state),
    ``states`` (range over mean step), ``upper bound``, ``lower bound`` (medians), ``stuck`` (share that nothing moves).
    All: ``programming sigma`` at a weight of 0.5, where it is not zero.
    """
    gen = torch.Generator().manual_seed(seed)
    moments: dict[str, float] = {}
    if isinstance(device, PulseDriven):
        # the noise of what is shown would bury a step: steps are those of the hidden state
        silent = without_write_noise(device)
        cells = device.program(torch.zeros(20 * DEVICES, 1), gen)
        hidden = silent.program(torch.zeros(20 * DEVICES, 1), gen)
        ends = []
        for name, sign in (("up", 1.0), ("down", -1.0)):
            one = torch.full((20 * DEVICES, 1), sign)
            start = silent.value(hidden)
            steps = torch.cat([silent.value(silent.pulse(hidden, one, gen)) - start for _ in range(REPEATS)])
            moments[f"step {name}"] = steps.mean().item()
            if sign > 0:
                moments["step spread"] = (steps.std() / steps.mean().abs()).item()
            far = cells
            # far beyond the range, and often, so that noisy devices come to their bounds too
            for _ in range(30):
                far = device.write(far, one * 1e3, gen)
            ends.append(device.value(far))
        top, bottom = (end.median().item() for end in ends)
        mean = (moments["step up"] - moments["step down"]) / 2
        moments |= {"upper bound": top, "lower bound": bottom, "states": (top - bottom) / mean if mean else 0.0}
        if silent is not device:
            moments["write noise"] = (device.value(cells) - silent.value(hidden)).std().item()
        if "top" in cells:
            moments["stuck"] = (cells["top"] == cells["bottom"]).double().mean().item()
    half = torch.full((20 * DEVICES, 1), 0.5)
    moments["programming sigma"] = device.value(device.program(half, gen)).std().item()
    return {key: value for key, value in moments.items() if abs(value) > 1e-6}
