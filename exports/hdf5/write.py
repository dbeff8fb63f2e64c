"""A model as one HDF5 file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exports.graph.arrays import Array, Matrix
from exports.graph.model import Model
from exports.graph.pathways import ChainedPath, DirectPath, Factors, UndescribedPath
from exports.hdf5.writer import Writer, create
from exports.programming.conductances import MICRO, Mapped, Mapping, mapped
from exports.programming.integers import NumberFormat, scales
from exports.programming.probes import ProbeVectors, of_matrix


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a file holds beside the floating-point arrays.

    Args:
        mapping: how matrices become conductances; None: no conductances.
        numbers: format of the whole-number copies; None: none, but for weights that are words.
        vectors: probe vectors for every matrix; 0: none.
        seed: of these.
        compression: level of gzip, 0 to 9.
    """

    mapping: Mapping | None = None
    numbers: NumberFormat | None = None
    vectors: int = 4
    seed: int = 0
    compression: int = 1


def write(path: Path, model: Model, probes: Sequence[ProbeVectors] = (), content: Content | None = None) -> None:
    """Write a model, whole or not at all; arrays are streamed, never copied as a whole.

    Args:
        path: of the file.
        model: the network with its feedback and learning rule.
        probes: of network and feedback.
        content: what else is written.

    Raises:
        NeurofaError: NaN or infinity, the extra is missing, or the place cannot be written.
    """
    content = content or Content()
    with create(path, "network", compression=content.compression) as writer:
        found = list(arrays_of(model))
        _frame(writer, model)
        for where, array in found:
            _array(writer, where, array, content)
        for state, array in model.more.items():
            where = "state/" + state.replace(":", "/")
            writer.tensor(where, array.values, unit=array.unit, meaning=array.meaning, finite=False, state=state)
        for probe in probes:
            _probe(writer, probe)
        if content.vectors:
            for where, array in found:
                if isinstance(array, Matrix):
                    chart = None if content.mapping is None else mapped(array, content.mapping)
                    _probe(writer, of_matrix(where, array, chart, count=content.vectors, seed=content.seed))


def arrays_of(model: Model) -> Iterator[tuple[str, Array]]:
    """Every array of a model with its path in a file, but for the state."""
    for node in model.nodes:
        for key, array in node.arrays().items():
            yield f"layers/{node.name}/{key}", array
    feedback = model.feedback
    if isinstance(feedback, DirectPath):
        if feedback.matrix is not None:
            yield "feedback/matrix", feedback.matrix
        if feedback.hardware is not None:
            for key, array in feedback.hardware.parameters.items():
                yield f"feedback/hardware/{key}", array
    elif isinstance(feedback, ChainedPath):
        for layer, beside in feedback.returns.items():
            for key, item in beside.items():
                if isinstance(item, Factors):
                    yield f"feedback/{layer}/{key}/P", item.p
                    yield f"feedback/{layer}/{key}/Q", item.q
                else:
                    yield f"feedback/{layer}/{key}/B", item


def _frame(writer: Writer, model: Model) -> None:
    """Groups with what is no array."""
    order = [node.name for node in model.nodes]
    writer.group("layers", order=order, input_shape=model.input_shape, outputs=model.outputs, loss=model.loss)
    for node in model.nodes:
        constants = {key: value for key, value in node.constants().items() if value is not None}
        writer.group(
            f"layers/{node.name}", kind=node.kind, in_shape=node.in_shape, out_shape=node.out_shape, **constants
        )
    writer.group("converters", constants=model.converters, exact=not model.converters)
    _feedback(writer, model.feedback)
    if model.error is not None:
        writer.group(
            "error_encoding", format=model.error.format, bits=float(model.error.bits), constants=model.error.constants
        )
    if model.learning is not None:
        known = model.learning
        writer.group(
            "learning", rule=known.rule, spec=known.spec, path=known.path, signal=known.signal,
            derivative=known.derivative, frozen=list(known.frozen), optimizer=known.optimizer,
            constants=known.constants, plastic=list(known.plastic),
        )  # fmt: skip
    writer.group("provenance", **{key: value for key, value in model.provenance.items() if value is not None})


def _feedback(writer: Writer, feedback: Any) -> None:
    if isinstance(feedback, DirectPath):
        said = "teaching signal of a layer = matrix[rows] @ error; the readout gets the error itself"
        writer.group("feedback", kind="direct", convention=said)
        for part in feedback.slices:
            writer.group(f"feedback/slices/{part.layer}", rows=part.rows, shape=part.shape, spread=part.spread)
        if feedback.hardware is not None:
            hardware = feedback.hardware
            writer.group("feedback/hardware", kind=hardware.kind, constants=hardware.constants, exact=hardware.exact)
    elif isinstance(feedback, ChainedPath):
        said = (
            "the error at a layer's input is its delta (error times derivative) sent back through B, oriented as the"
            " forward weights: delta @ B; or through two factors: (delta @ P) @ Q"
        )
        writer.group("feedback", kind="chained", convention=said, tied=feedback.tied)
    elif isinstance(feedback, UndescribedPath):
        writer.group("feedback", kind="undescribed", convention=f"as the rule {feedback.rule} says; see state")
    else:
        writer.group("feedback", kind="none", convention="no error leaves the readout")


def _array(writer: Writer, where: str, array: Array, content: Content) -> None:
    more: dict[str, Any] = {"axes": array.axes or None, "state": array.state or None}
    if isinstance(array, Matrix):
        more |= {"role": array.role, "device": array.device}
    writer.tensor(where, array.values, unit=array.unit, meaning=array.meaning, **more)
    if not isinstance(array, Matrix):
        return
    if content.numbers is not None or array.grid is not None:
        _quantised(writer, where, array, content.numbers or NumberFormat())
    if content.mapping is not None:
        _tiles(writer, where, mapped(array, content.mapping))


def _quantised(writer: Writer, where: str, array: Matrix, wanted: NumberFormat) -> None:
    found, below = scales(array, wanted), f"{where}_quantized"
    low, high = found.format.ends
    writer.group(below, bits=found.format.bits, per=found.format.per, lowest=low, highest=high)
    writer.blocks(
        f"{below}/codes", array.shape, found.format.dtype, lambda rows: found.codes(array.values, rows), unit="1",
        meaning="whole numbers: weight = scale * (code - zero_point)", axes=array.axes or None,
    )  # fmt: skip
    writer.tensor(f"{below}/scale", found.scale, unit="1", meaning="weight of one step, one a row or one for all")
    writer.tensor(f"{below}/zero_point", found.zero, unit="1", meaning="code of the weight 0, one a row or one for all")


def _tiles(writer: Writer, where: str, chart: Mapped) -> None:
    below = f"{where}_tiles"
    flat = chart.matrix.flat
    limits = {
        "map": chart.spec, "scale": chart.scale * MICRO, "scale_unit": "S per unit of weight",
        "g_min": chart.map.g_min * MICRO, "g_max": chart.map.g_max * MICRO, "tolerance": chart.tolerance,
    }  # fmt: skip
    writer.group(
        below,
        tile=chart.mapping.tile,
        inputs=flat.shape[1],
        outputs=flat.shape[0],
        device=chart.matrix.device,
        **limits,
    )
    for tile in chart.tiles():
        name = f"{below}/{tile.name}"
        writer.group(name, first_input=tile.row, first_output=tile.column, **limits)
        for plane, g in tile.planes.items():
            writer.tensor(f"{name}/{plane}", g, unit="S", meaning=f"conductances '{plane}', to be programmed")
        if tile.faults is not None:
            writer.tensor(f"{name}/faults", tile.faults, unit="1", meaning="true where an element cannot be written")


def _probe(writer: Writer, probe: ProbeVectors) -> None:
    below = "probes/" + probe.of.replace("/", ".")
    writer.group(below, of=probe.of, note=probe.note)
    writer.tensor(f"{below}/input", probe.inputs, unit="1", meaning="vectors to send in, one a row")
    for name, answer in probe.answers.items():
        where = f"{below}/{name}"
        writer.tensor(f"{where}/expected", answer.expected, unit="1", meaning="what should come out")
        writer.tensor(f"{where}/spread", answer.spread, unit="1", meaning="one standard deviation of a working chip")
        writer.tensor(f"{where}/band", answer.band, unit="1", meaning="largest |measured - expected| that passes")
