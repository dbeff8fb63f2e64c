"""A chip that is played by a device model: programmed with write-verify, measured, and written to a file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from exports.hdf5.read import Stored
from exports.hdf5.writer import Writer, create
from exports.programming.conductances import weights_of
from hwmodels.device import Cells, Device
from hwmodels.device_models.nested import device_chain
from hwmodels.device_models.programmed import Programmed
from hwmodels.errors import NeurofaError
from neurofa.core.randomness import generator

REACH = 0.6
"""Share of a pulsed device's mean range that is used: most devices get there, whatever their own bounds."""


@dataclass(frozen=True, kw_only=True)
class Programming:
    """How a chip is programmed and read.

    Args:
        rounds: most write-verify rounds; devices within tolerance are left alone.
        reads: reads that are averaged, to verify and to measure: one noisy read would have good devices written anew.
        seed: of the devices and all their noise.
    """

    rounds: int = 20
    reads: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rounds < 0 or self.reads < 1:
            raise NeurofaError(
                f"got rounds={self.rounds}, reads={self.reads}; expected 0 or more, 1 or more; raise them"
            )


@dataclass(frozen=True, kw_only=True)
class BringupResult:
    """What became of one matrix."""

    path: str
    devices: int
    within: int
    """Devices within their tolerance."""
    rounds: int
    """Most rounds that a tile took."""

    @property
    def share(self) -> float:
        """Of devices within tolerance."""
        return self.within / self.devices if self.devices else 1.0


class Chip:
    """Elements that each hold one conductance, as a share f of the range in which they are programmed.

    Memories that are made of conductances (``pcm``, ``hermes``, ``reram_wan``, ...) hold f on one device of their pair;
    their range in uS is scaled to the file's. Pulsed devices start at the low end of 0.6 times their mean range, and
    are pulsed from there.

    Args:
        device: the model.

    Raises:
        NeurofaError: a device that is written by vectors only.
    """

    def __init__(self, device: Device) -> None:
        if device.factored:
            raise NeurofaError(
                f"got --device {device.name}, which is written by outer products only; expected a device whose"
                " elements are written one by one; use the device inside it"
            )
        self.device = _unit(device)
        inner = device_chain(self.device)[-1]
        top, bottom = getattr(inner, "w_max", None), getattr(inner, "w_min", None)
        self.low, self.high, self.pulsed = 0.0, 1.0, False
        if top is not None and bottom is not None:
            self.low, self.high, self.pulsed = REACH * bottom, REACH * top, True
        self._pair = inner if isinstance(inner, Programmed) and inner is self.device else None

    def program(self, share: Tensor, tolerance: float, how: Programming, gen: torch.Generator) -> tuple[Cells, int]:
        """Write and verify until every element is within tolerance or the rounds are over.

        Args:
            share: wanted shares f, 0 to 1.
            tolerance: of f.
            how: rounds.
            gen: of the devices.

        Returns:
            The cells, and the rounds that it took.
        """
        wanted = self.low + share * (self.high - self.low)
        begin = torch.full_like(wanted, self.low) if self.pulsed else wanted
        cells, used = self.device.program(begin, gen), 0
        for used in range(how.rounds + 1):
            off = share - torch.stack([self.read(cells, gen) for _ in range(how.reads)]).mean(0)
            todo = off.abs() > tolerance
            if used == how.rounds or not bool(todo.any()):
                break
            # a pair is programmed anew to its target; pulses go from what was read
            ask = off * (self.high - self.low) if self._pair is None else wanted - self.device.value(cells)
            change = torch.where(todo, ask, torch.zeros_like(ask))
            cells = self.device.write(cells, change, gen)
        return cells, used

    def read(self, cells: Cells, gen: torch.Generator) -> Tensor:
        """Shares f as one read sees them."""
        if self._pair is not None:
            pair = self._pair
            now = pair.drifted(cells["plus"], cells["plus_drift"], cells["age"])
            sigma = pair.read_sigma(cells["plus"], now, cells["age"])
            return (torch.randn(now.shape, generator=gen) * sigma + now - pair.g_min) / (pair.g_max - pair.g_min)
        return (self.device.read(cells, gen) - self.low) / (self.high - self.low)


def _unit(device: Device) -> Device:
    """The same device with a full range of 1 in its own unit, and so the devices inside."""
    changes: dict[str, Any] = {}
    own: Any = device  # every device is a dataclass, which its base does not say
    for field in fields(own):
        value = getattr(device, field.name)
        if isinstance(value, Device):
            changes[field.name] = _unit(value)
        elif field.name in ("range", "scale") and value is None:
            changes[field.name] = 1.0
    found: Device = replace(own, **changes)
    return found


@torch.no_grad()
def bringup(stored: Stored, device: Device, out: Path, how: Programming | None = None) -> list[BringupResult]:
    """Program every conductance of a file, measure it, play its probes, and write what was measured.

    Args:
        stored: an exported network with conductances.
        device: what plays the chip's elements.
        out: the measured file, written whole.
        how: rounds, reads, seed.

    Returns:
        How many devices of each matrix came within their tolerance.

    Raises:
        NeurofaError: a file without conductances, or a device that cannot play.
    """
    how = how or Programming()
    chip, paths = Chip(device), stored.tiled()
    if stored.kind != "network" or not paths:
        raise NeurofaError(
            f"got '{stored.path}' without conductances; expected an exported network with some; export with --tile"
            " 256x256"
        )
    with create(out, "measured") as writer:
        writer.group(
            "measured", of=stored.path.name, of_manifest_sha256=str(stored.file.attrs["manifest_sha256"]),
            device=str(device.full_spec), **asdict(how),
        )  # fmt: skip
        writer.group("provenance", **dict(stored.file["provenance"].attrs.items()))
        return [_matrix(writer, stored, path, chip, how) for path in paths]


def _matrix(writer: Writer, stored: Stored, path: str, chip: Chip, how: Programming) -> BringupResult:
    gen = generator(how.seed, "bringup", path)
    about = stored.attributes(f"{path}_tiles")
    writer.group(f"{path}_tiles", **_limits(about), tile=about["tile"], inputs=about["inputs"],
                 outputs=about["outputs"], device=str(chip.device.full_spec))  # fmt: skip
    weights, spreads = (torch.zeros(about["outputs"], about["inputs"]) for _ in range(2))
    devices = within = most = 0
    for name, own, planes in stored.tiles(path):
        where = f"{path}_tiles/{name}"
        writer.group(where, **_limits(own), first_input=own["first_input"], first_output=own["first_output"])
        seen: dict[str, list[Tensor]] = {}
        for key, target in planes.items():
            if key == "faults":
                continue
            low, span = own["g_min"], own["g_max"] - own["g_min"]
            # half of the tolerance is left for the reads to come
            cells, used = chip.program((target - low) / span, own["tolerance"] / span / 2, how, gen)
            seen[key] = [chip.read(cells, gen) * span + low for _ in range(how.reads)]
            mean = torch.stack(seen[key]).mean(0).clamp(min=0)
            writer.tensor(f"{where}/{key}", mean, unit="S", meaning=f"conductances '{key}' as measured")
            writer.tensor(f"{where}/target_{key}", target, unit="S", meaning=f"conductances '{key}' as wanted")
            devices += mean.numel()
            within += int(((mean - target).abs() <= own["tolerance"]).sum())
            most = max(most, used)
        columns = slice(own["first_output"], own["first_output"] + _columns(planes))
        rows = slice(own["first_input"], own["first_input"] + _rows(planes))
        reads = torch.stack([
            weights_of(own["map"], own["scale"], {key: each[i] for key, each in seen.items()}) for i in range(how.reads)
        ])  # fmt: skip
        weights[columns, rows] = reads.mean(0).t()
        spreads[columns, rows] = reads.var(0).t() if how.reads > 1 else 0.0
    shape = stored.file[path].shape
    writer.tensor(path, weights.reshape(shape), unit="1", meaning="weights as measured", role="measured")
    _probe(writer, stored, path, weights, spreads, gen)
    return BringupResult(path=path, devices=devices, within=within, rounds=most)


def _columns(planes: dict[str, Tensor]) -> int:
    return max(g.shape[1] for g in planes.values())


def _rows(planes: dict[str, Tensor]) -> int:
    return next(iter(planes.values())).shape[0]


def _limits(own: dict[str, Any]) -> dict[str, Any]:
    return {key: own[key] for key in ("map", "scale", "scale_unit", "g_min", "g_max", "tolerance")}


def _probe(writer: Writer, stored: Stored, path: str, weights: Tensor, variance: Tensor, gen: torch.Generator) -> None:
    name = "probes/" + path.replace("/", ".")
    if name not in stored.file:
        return
    x = stored.tensor(f"{name}/input")
    writer.group(name, of=path, note="measured: one product each, with the noise of its reads")
    writer.tensor(f"{name}/input", x, unit="1", meaning="vectors that were sent in, one a row")
    for key in ("expected", "spread", "band"):
        value = stored.tensor(f"{name}/output/{key}")
        writer.tensor(f"{name}/output/{key}", value, unit="1", meaning="as in the exported file")
    noise = (x.square() @ variance.t()).sqrt() * torch.randn(len(x), len(weights), generator=gen)
    writer.tensor(f"{name}/output/measured", x @ weights.t() + noise, unit="1", meaning="what came out")
