"""Energy, time and wear of one update: forward reads, the feedback projection, the weight writes.

Every number is a count of this network times a published figure, with the figure's source and how sure it is. A
quantity without a figure is listed as missing and never filled in.
"""

from __future__ import annotations

from collections.abc import Mapping

from hwmodels.arrays.read_costs import read_costs
from hwmodels.device import Device
from hwmodels.figures import NO_FIGURES, CostLine, CostReport
from hwmodels.profile import Profile
from neurofa.core.capabilities import describe_path
from neurofa.core.layer import facts_of
from neurofa.core.network import Network
from neurofa.core.rule import Rule
from neurofa.costs.writes import UpdateWrites

GENERAL = ("digital arithmetic beside the products: activations, derivatives, errors, optimizer", "moving data")
"""Quantities that no report contains."""


def update_costs(
    network: Network,
    rule: Rule,
    batch: int,
    writes: Mapping[str, UpdateWrites] | None = None,
    chip: Profile | None = None,
) -> CostReport:
    """Return counts, energy, time and wear of one update of all weights, and the quantities without a published figure.

    Args:
        network: its layers and devices.
        rule: bound to the network.
        batch: samples in an update.
        writes: writes of one memory device in one update, by weight (``dense0.weight``); None: not measured.
        chip: digital chip, for its energy of an operation.
    """
    layers = {name: layer for name, layer in network.items() if layer.synapses}
    products = [batch * facts_of(layer).connections(network.shapes[name]) for name, layer in layers.items()]
    held = {
        f"{name}.{key}": layer.synapses[key]
        for name, layer in layers.items()
        for key in layer.synapses
        if layer.synapses[key].weight.dim() > 1
    }
    sizes = {key: synapses.weight.numel() for key, synapses in held.items()}
    device = next((s.device for s in held.values() if not s.exact), None)
    analog = device is not None and not device.describe().digital
    counted = CostLine.counted("products of weight and input", sum(products), "samples × connections")
    forward = CostReport((counted,))
    if device is None or not analog:
        forward += _digital_products(sum(products), chip)
        update = CostReport(missing=("energy and time of digital memory: no figure",))
    else:
        # a kernel is read at one position after the other
        per_layer = [sum(size for key, size in sizes.items() if key.rpartition(".")[0] == name) for name in layers]
        vectors = sum(n // batch // max(1, size) for n, size in zip(products, per_layer, strict=True))
        forward += read_costs(device.reading, sum(products), batch * vectors)
        update = CostReport()
    report = CostReport(missing=GENERAL) + forward.of("forward") + update.of("update")
    report += _feedback_costs(rule, batch, products, device if analog else None, chip).of("feedback")
    measured = {key: each for key, each in (writes or {}).items() if key in sizes}
    if device is not None and measured:
        report += write_costs(device, measured, sizes)
    elif device is not None and analog:
        report += CostReport(missing=(f"update: writes of {device.name}: not counted",))
    return CostReport(report.lines, tuple(dict.fromkeys(report.missing)))


def _digital_products(operations: int, chip: Profile | None) -> CostReport:
    if chip is None:
        return CostReport(missing=("energy and time of digital products: no figure without a chip (--profile reckon)",))
    time = f"time on {chip.name}: no figure"
    if chip.operation_energy is None:
        return CostReport(missing=(time, f"energy on {chip.name}: no figure"))
    formula = "products × energy of a synaptic operation; every input sends one spike"
    return CostReport((CostLine.scaled(f"energy on {chip.name}", operations, chip.operation_energy, formula),), (time,))


def _feedback_costs(
    rule: Rule, batch: int, products: list[int], array: Device | None, chip: Profile | None
) -> CostReport:
    """Return the costs of sending the errors of one update to all hidden layers.

    Args:
        rule: bound to its network.
        batch: samples.
        products: of weight and input in the forward pass, by layer.
        array: memory device of the forward weights; None: they are digital.
        chip: digital chip.
    """
    kind = describe_path(rule.declares).kind
    if kind == "direct":
        n_in, width = rule.plan.outputs, rule.feedback.width
        if not width:
            return CostReport()
        products_of_b = batch * n_in * width
        line = CostLine.counted("products of B and error", products_of_b, f"samples × {n_in} × {width}")
        hardware = rule.feedback.hardware()
        rest = _digital_products(products_of_b, chip) if hardware is None else hardware.pass_costs(batch)
        return CostReport((line,)) + rest
    if kind == "chained":
        back = sum(products[1:])
        formula = "samples × connections but the lowest"
        line = CostLine.counted("products of return weight and error", back, formula)
        if array is None:
            return CostReport((line,)) + _digital_products(back, chip)
        return CostReport((line,), ("return weights on devices: energy and time are not modelled",))
    return CostReport() if kind == "readout" else CostReport(missing=(f"signals of {rule.name}: not modelled",))


def write_costs(device: Device, writes: Mapping[str, UpdateWrites], sizes: Mapping[str, int]) -> CostReport:
    """Return the writes of one update with their energy and time, and the updates in the life of a device.

    Args:
        device: memory device that stores the weights.
        writes: writes of one device in one update, by weight.
        sizes: number of weights, by weight.
    """
    about = device.describe()
    known, elements, kind = about.figures, about.elements_per_write, about.write or "pulse"
    total, weights = sum(writes[key].mean * sizes[key] for key in writes), sum(sizes[key] for key in writes)
    mean, busiest = total / weights, max(each.busiest for each in writes.values())
    peak, ledger = max(each.peak for each in writes.values()), "ledger of some updates"
    lines = [
        CostLine.counted(f"{kind}s of a weight, mean", mean, ledger, "measured"),
        CostLine.counted(f"{kind}s of the busiest weight", busiest, ledger, "measured"),
        CostLine.counted(f"{kind}s of all weights", total, ledger, "measured"),
    ]
    missing, life = [], []
    if elements > 1:
        missing.append("the verifying reads and repeated tries of write-verify: number not known")
    if known == NO_FIGURES:
        missing.append(f"write energy, write time and endurance of {device.name}: no technology, no figure")
    if known.write_energy is not None:
        formula = f"{kind}s × {elements} devices × energy of one" if elements > 1 else f"{kind}s × energy of one"
        lines.append(CostLine.scaled("energy of the writes", total * elements, known.write_energy, formula))
    if known.write_time is not None:
        formula = f"most {kind}s of a weight in an update ({peak:.3g}) × time of one; all weights at once"
        lines.append(CostLine.scaled("time of the writes, at least", peak, known.write_time, formula))
    if known.endurance is not None and total:
        formula = f"endurance / {kind}s of that weight in an update"
        life = [
            CostLine.divided(f"updates of the {who} weight", known.endurance, number, formula)
            for who, number in (("mean", mean), ("busiest", busiest))
        ]
    return CostReport(tuple(lines), tuple(missing)).of("update") + CostReport(tuple(life)).of("life")
