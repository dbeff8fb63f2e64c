"""Energy, time and wear of one update: forward reads, the feedback projection, the weight writes.

Every number is a count of this network times a published figure, with the figure's source and how sure it is. What no
figure is known for is listed, never filled in.
"""

from __future__ import annotations

import math

from hwmodels.device import Device
from hwmodels.device_models.nested import device_chain
from hwmodels.devices.digital import Digital
from hwmodels.devices.fixed import Fixed
from hwmodels.figures import BANK_COLUMNS, BANK_ENERGY, BANK_ROWS, BANK_TIME, OPU_POWER
from hwmodels.profile import Profile
from hwmodels.projection import Programmable, Projection
from hwmodels.projections.crossbar import Crossbar
from hwmodels.projections.microring import Microring
from hwmodels.projections.opu import OPU
from neurofa.core.layer import ParameterFreeLayer
from neurofa.core.network import Network
from neurofa.core.rule import Chained, Direct, Rule
from neurofa.costs.counts import connections
from neurofa.costs.error_budget import hardware
from neurofa.costs.line import Cost, count, times
from neurofa.costs.memory_energy import reading, writing
from neurofa.costs.writes import Writes
from neurofa.rules.readout_only import ReadoutOnly

SAME_RATE = 1900.0
"""Frame rate that is remembered; any other one was given by the user, Hz."""


def costs(
    network: Network, rule: Rule, batch: int, writes: dict[str, Writes] | None = None, chip: Profile | None = None
) -> tuple[list[Cost], list[str]]:
    """What one update costs.

    Args:
        network: its layers and devices.
        rule: bound to the network.
        batch: samples in an update.
        writes: writes of a device in one update, by weight; None: not measured.
        chip: of digital arithmetic, for its energy of an operation.

    Returns:
        Costs, and what is not modelled.
    """
    missing = ["digital arithmetic beside the products: activations, derivatives, errors, optimizer", "moving data"]
    layers = {
        name: layer for name, layer in network.items() if not isinstance(layer, ParameterFreeLayer) and layer.synapses
    }
    sizes = [connections(layer, network.shapes[name]) for name, layer in layers.items()]
    held = {
        f"{name}.{key}": layer.synapses[key]
        for name, layer in layers.items() for key in layer.synapses if layer.synapses[key].weight.dim() > 1
    }  # fmt: skip
    weights = {key: synapses.weight.numel() for key, synapses in held.items()}
    device = next((s.device for s in held.values() if not s.exact), None)
    found = [count("forward", "products of weight and input", batch * sum(sizes), "samples × connections")]
    if device is None or _words(device):
        found += _digital("forward", batch * sum(sizes), chip, missing)
        missing.append("update: energy and time of digital memory: no figure")
    else:
        vectors = sum(size // max(1, _own(weights, name)) for name, size in zip(layers, sizes, strict=True))
        # the weights that a pass reads stand on the slow array of two
        found += reading("forward", getattr(device, "slow", device), batch * sum(sizes), batch * vectors, missing)
    found += _feedback(rule, batch, sizes, device, chip, missing)
    counted = {key: each for key, each in (writes or {}).items() if key in weights}
    if device is not None and counted:
        found += writing(device, counted, weights, missing)
    elif device is not None and not _words(device):
        missing.append(f"update: writes of {device.name}: not counted")
    return found, list(dict.fromkeys(missing))


def _words(device: Device) -> bool:
    """Whether a device is digital memory."""
    return isinstance(device_chain(device)[-1], Digital | Fixed)


def _own(weights: dict[str, int], layer: str) -> int:
    return sum(size for key, size in weights.items() if key.rpartition(".")[0] == layer)


def _digital(part: str, operations: int, chip: Profile | None, missing: list[str]) -> list[Cost]:
    if chip is None:
        missing.append(f"{part}: energy and time of digital products: no figure without a chip (--profile reckon)")
        return []
    missing.append(f"{part}: time on {chip.name}: no figure")
    if chip.operation_energy is None:
        missing.append(f"{part}: energy on {chip.name}: no figure")
        return []
    formula = "products × energy of a synaptic operation; every input sends one spike"
    return [times(part, f"energy on {chip.name}", operations, chip.operation_energy, formula)]


def _feedback(
    rule: Rule, batch: int, sizes: list[int], device: Device | None, chip: Profile | None, missing: list[str]
) -> list[Cost]:
    if isinstance(rule, Direct):
        width = max((part.stop for part in rule.feedback.slices.values()), default=0)
        if not width:
            return []
        projection = hardware(rule.feedback)
        n_in = rule.plan.outputs
        found = [count("feedback", "products of B and error", batch * n_in * width, f"samples × {n_in} × {width}")]
        if projection is None:
            return found + _digital("feedback", batch * n_in * width, chip, missing)
        return found + _projection(projection, batch, missing)
    if isinstance(rule, Chained):
        back = batch * sum(sizes[1:])
        found = [count("feedback", "products of return weight and error", back, "samples × connections but the lowest")]
        if device is None or _words(device):
            return found + _digital("feedback", back, chip, missing)
        missing.append("feedback: return weights on devices: energy and time are not modelled")
        return found
    if not isinstance(rule, ReadoutOnly):
        missing.append(f"feedback: signals of {rule.name}: not modelled")
    return []


def _projection(projection: Projection, batch: int, missing: list[str]) -> list[Cost]:
    n_in, n_out = projection.n_in, projection.n_out
    if isinstance(projection, Programmable):
        missing.append("feedback: programming B, once and not at every update")
    if isinstance(projection, OPU):
        missing.append("feedback: shares of light source, modulator, camera and host in the power")
        rate = projection.frame_rate
        sure = "remembered" if rate == SAME_RATE else "given"
        seconds = projection.latency(batch)
        formula = f"samples × {projection.frames} frames / {rate:g} Hz"
        return [
            count("feedback", "camera frames", batch * projection.frames, f"samples × {projection.frames}"),
            Cost(
                "feedback",
                "time of the frames",
                seconds,
                seconds,
                "s",
                formula,
                "opu(frame_rate=...), 1900 Hz by default",
                sure,
            ),
            times("feedback", "energy, at most", seconds, OPU_POWER, "power × time of the frames", "J"),
        ]
    if isinstance(projection, Microring):
        missing.append("feedback: converters and memory around the bank, where the published total leaves them out")
        tiles = math.ceil(n_in / BANK_ROWS) * math.ceil(n_out / BANK_COLUMNS)
        bank = f"banks of {BANK_ROWS} × {BANK_COLUMNS}"
        return [
            count("feedback", "products with a bank", batch * tiles, f"samples × {tiles} {bank}"),
            times("feedback", "time of the bank", batch * tiles, BANK_TIME, "products with a bank / 10 GHz"),
            times("feedback", "energy", 2 * batch * n_in * n_out, BANK_ENERGY, "2 operations a product"),
        ]
    if isinstance(projection, Crossbar):
        pieces = len(projection.pieces)
        conversions = count("feedback", "conversions (ADC)", batch * n_out * pieces, f"samples × {n_out} × {pieces}")
        if projection.device.exact:
            missing.append("feedback: energy and time of an array without a memory device (crossbar(device=...))")
            return [conversions]
        return [conversions, *reading("feedback", projection.device, batch * n_in * n_out, batch, missing)]
    missing.append(f"feedback: energy and time of {projection.name}: no figure")
    return []
