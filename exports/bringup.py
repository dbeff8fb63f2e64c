"""Bring-up without hardware: a file's conductances programmed on a simulated chip, measured, and written to a file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from exports.hdf5.read import HardwareFile, StoredTile
from exports.hdf5.writer import Writer, create_file
from exports.programming.chip import Chip, Programming
from exports.programming.conductances import conductances_to_weights
from hwmodels.device import Device
from hwmodels.errors import NeurofaError
from neurofa.core.randomness import generator


@dataclass(frozen=True, kw_only=True)
class BringupResult:
    """How well the conductances of one matrix were programmed."""

    path: str
    """Path of the matrix in the exported file."""
    devices: int
    """Number of programmed devices."""
    within: int
    """Number of devices whose measured conductance is within its tolerance."""
    rounds: int
    """Largest number of write-verify rounds that a tile took."""

    @property
    def share(self) -> float:
        """Share of devices within tolerance."""
        return self.within / self.devices if self.devices else 1.0


@torch.no_grad()
def simulate_bringup(
    file: HardwareFile, device: Device, out: Path, how: Programming | None = None
) -> list[BringupResult]:
    """Program the conductances of an exported file on simulated devices, measure them, and write a measured file.

    The probe vectors of the file are multiplied with the measured weights, with the noise of the reads.

    Args:
        file: an exported network with conductances.
        device: model of the chip's elements.
        out: the measured file, written whole.
        how: number of rounds and reads, and the seed; None: the defaults.

    Returns:
        One result for each matrix.

    Raises:
        NeurofaError: a file without conductances, or a device whose elements cannot be written one by one.
    """
    how = how or Programming()
    chip, paths = Chip(device), file.tiled()
    if file.kind != "network" or not paths:
        raise NeurofaError(
            f"got '{file.path}' without conductances; expected an exported network with some; export with --tile"
            " 256x256"
        )
    with create_file(out, "measured") as writer:
        of = {"of": file.path.name, "of_manifest_sha256": str(file.h5.attrs["manifest_sha256"])}
        writer.group("measured", **of, device=str(device.full_spec), **asdict(how))
        writer.group("provenance", **dict(file["provenance"].attrs.items()))
        return [_bring_up_matrix(writer, file, path, chip, how) for path in paths]


def _bring_up_matrix(writer: Writer, file: HardwareFile, path: str, chip: Chip, how: Programming) -> BringupResult:
    gen = generator(how.seed, "bringup", path)
    about = file.attributes(f"{path}_tiles")
    inputs, outputs = about["inputs"], about["outputs"]
    more = {"tile": about["tile"], "inputs": inputs, "outputs": outputs, "device": str(chip.device.full_spec)}
    writer.group(f"{path}_tiles", **_map_attributes(about), **more)
    weights, variances = torch.zeros(outputs, inputs), torch.zeros(outputs, inputs)
    devices = within = rounds = 0
    for tile in file.tiles(path):
        where, own = f"{path}_tiles/{tile.name}", tile.attributes
        first_input, first_output = own["first_input"], own["first_output"]
        writer.group(where, **_map_attributes(own), first_input=first_input, first_output=first_output)
        reads: dict[str, Tensor] = {}
        for key, target in tile.conductances.items():
            reads[key], used = _program_plane(chip, tile, target, how, gen)
            mean = reads[key].mean(0).clamp(min=0)
            writer.tensor(f"{where}/{key}", mean, unit="S", meaning=f"conductances '{key}' as measured")
            writer.tensor(f"{where}/target_{key}", target, unit="S", meaning=f"conductances '{key}' as wanted")
            devices += mean.numel()
            within += int(((mean - target).abs() <= own["tolerance"]).sum())
            rounds = max(rounds, used)
        as_read = conductances_to_weights(own["map"], own["scale"], reads)
        rows, columns = as_read.shape[1:]
        # tiles hold inputs in rows, matrices outputs
        window = slice(first_output, first_output + columns), slice(first_input, first_input + rows)
        weights[window] = as_read.mean(0).t()
        variances[window] = as_read.var(0).t() if how.reads > 1 else 0.0
    meaning = "weights as measured"
    writer.tensor(path, weights.reshape(file.shape(path)), unit="1", meaning=meaning, role="measured")
    _play_probe(writer, file, path, weights, variances, gen)
    return BringupResult(path=path, devices=devices, within=within, rounds=rounds)


def _program_plane(
    chip: Chip, tile: StoredTile, target: Tensor, how: Programming, gen: torch.Generator
) -> tuple[Tensor, int]:
    """Program conductances (S) of one plane; return them as read, (reads, rows, columns), and the number of rounds."""
    low, span = tile.attributes["g_min"], tile.attributes["g_max"] - tile.attributes["g_min"]
    # half of the tolerance is left for the noise of the reads that measure
    cells, used = chip.program((target - low) / span, tile.attributes["tolerance"] / span / 2, how, gen)
    return chip.read(cells, how.reads, gen) * span + low, used


def _map_attributes(own: dict[str, Any]) -> dict[str, Any]:
    return {key: own[key] for key in ("map", "scale", "scale_unit", "g_min", "g_max", "tolerance")}


def _play_probe(
    writer: Writer, file: HardwareFile, path: str, weights: Tensor, variance: Tensor, gen: torch.Generator
) -> None:
    """Write the products of measured weights (n_out, n_in) with the file's probe vectors, with the noise of reads."""
    name = "probes/" + path.replace("/", ".")
    if name not in file:
        return
    x = file.tensor(f"{name}/input")
    writer.group(name, of=path, note="measured: one product each, with the noise of its reads")
    writer.tensor(f"{name}/input", x, unit="1", meaning="vectors that were sent in, one a row")
    for key in ("expected", "spread", "band"):
        value = file.tensor(f"{name}/output/{key}")
        writer.tensor(f"{name}/output/{key}", value, unit="1", meaning="as in the exported file")
    # one read of each weight for each vector: the variances of the products add up
    noise = (x.square() @ variance.t()).sqrt() * torch.randn(len(x), len(weights), generator=gen)
    writer.tensor(f"{name}/output/measured", x @ weights.t() + noise, unit="1", meaning="what came out")
