"""A model written as one HDF5 file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from exports.graph.arrays import Array, Matrix
from exports.graph.model import Model
from exports.hdf5.writer import Writer, create_file
from exports.programming.conductances import MappedMatrix, TileMapping, map_matrix
from exports.programming.integers import NumberFormat, quantization_of
from exports.programming.probes import ProbeVectors, probe_matrix


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a file holds beside the floating-point arrays.

    Args:
        mapping: how matrices become conductances; None: no conductances.
        numbers: format of the whole-number copies; None: only weights that are digital words have one.
        vectors: probe vectors for every matrix; 0: none.
        seed: of the probe vectors.
        compression: level of gzip, 0 to 9.
    """

    mapping: TileMapping | None = None
    numbers: NumberFormat | None = None
    vectors: int = 4
    seed: int = 0
    compression: int = 1


def write_hdf5(path: Path, model: Model, probes: Sequence[ProbeVectors] = (), content: Content | None = None) -> None:
    """Write a model, whole or not at all; arrays are streamed, never copied as a whole.

    Args:
        path: of the file.
        model: the network with its feedback and learning rule.
        probes: probe vectors of network and feedback; those of the matrices are computed here.
        content: copies and probe vectors; None: the defaults.

    Raises:
        NeurofaError: a weight is NaN or infinite, or the place cannot be written.
    """
    content = content or Content()
    with create_file(path, "network", compression=content.compression) as writer:
        arrays = dict(stored_arrays(model))
        matrices = {array_path: array for array_path, array in arrays.items() if isinstance(array, Matrix)}
        _write_groups(writer, model)
        for array_path, array in arrays.items():
            _write_array(writer, array_path, array)
            if array_path in matrices:
                _write_copies(writer, array_path, matrices[array_path], content)
        for state, array in model.more.items():
            unit, meaning = array.unit, array.meaning
            state_path = "state/" + state.replace(":", "/")
            writer.tensor(state_path, array.values, finite=False, unit=unit, meaning=meaning, state=state)
        for probe in probes:
            _write_probe(writer, probe)
        if content.vectors:
            for array_path, matrix in matrices.items():
                mapped = None if content.mapping is None else map_matrix(matrix, content.mapping)
                probe = probe_matrix(array_path, matrix, mapped, count=content.vectors, seed=content.seed)
                _write_probe(writer, probe)


def stored_arrays(model: Model) -> Iterator[tuple[str, Array]]:
    """Yield all arrays of a model's nodes and feedback, each behind its path in a file; further state is left out."""
    for node in model.nodes:
        for key, array in node.arrays().items():
            yield f"layers/{node.name}/{key}", array
    if model.feedback is not None:
        for key, array in model.feedback.arrays().items():
            yield f"feedback/{key}", array


def _write_groups(writer: Writer, model: Model) -> None:
    """Write all plain values, as attributes of groups."""
    order = [node.name for node in model.nodes]
    writer.group("layers", order=order, input_shape=model.input_shape, outputs=model.outputs, loss=model.loss)
    for node in model.nodes:
        attributes = {"kind": node.kind, "in_shape": node.in_shape, "out_shape": node.out_shape} | node.constants()
        writer.group(f"layers/{node.name}", **_without_none(attributes))
    writer.group("converters", constants=model.converters, exact=not model.converters)
    feedback = model.feedback
    if feedback is None:
        writer.group("feedback", kind="none", convention="no error leaves the readout")
    else:
        writer.group("feedback", kind=feedback.kind, convention=feedback.convention)
        for path, attributes in feedback.attributes().items():
            writer.group(f"feedback/{path}".removesuffix("/"), **attributes)
    if model.error is not None:
        error = model.error
        writer.group("error_encoding", format=error.format, bits=float(error.bits), constants=error.constants)
    if model.learning is not None:
        attributes = asdict(model.learning)
        del attributes["plasticity"]  # no attribute of version 1
        writer.group("learning", **attributes)
    writer.group("provenance", **_without_none(model.provenance))


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _write_array(writer: Writer, path: str, array: Array) -> None:
    attributes: dict[str, Any] = {"axes": array.axes or None, "state": array.state or None}
    if isinstance(array, Matrix):
        attributes |= {"role": array.role, "device": array.device}
    writer.tensor(path, array.values, unit=array.unit, meaning=array.meaning, **attributes)


def _write_copies(writer: Writer, path: str, matrix: Matrix, content: Content) -> None:
    if content.numbers is not None or matrix.grid is not None:
        _write_integers(writer, path, matrix, content.numbers or NumberFormat())
    if content.mapping is not None:
        _write_tiles(writer, path, map_matrix(matrix, content.mapping))


def _write_integers(writer: Writer, path: str, matrix: Matrix, wanted: NumberFormat) -> None:
    group, quantization = f"{path}_quantized", quantization_of(matrix, wanted)
    form = quantization.format
    writer.group(group, bits=form.bits, per=form.per, lowest=form.ends[0], highest=form.ends[1])
    like = torch.empty(matrix.shape, dtype=form.dtype, device="meta")

    def codes(rows: slice) -> Tensor:
        return quantization.codes(matrix.values, rows)

    meaning = "whole numbers: weight = scale * (code - zero_point)"
    writer.blocks(f"{group}/codes", like, codes, unit="1", meaning=meaning, axes=matrix.axes or None)
    meaning = "weight of one step, one a row or one for all"
    writer.tensor(f"{group}/scale", quantization.scale, unit="1", meaning=meaning)
    meaning = "code of the weight 0, one a row or one for all"
    writer.tensor(f"{group}/zero_point", quantization.zero, unit="1", meaning=meaning)


def _write_tiles(writer: Writer, path: str, mapped: MappedMatrix) -> None:
    group, matrix, shared = f"{path}_tiles", mapped.matrix, mapped.attributes()
    outputs, inputs = matrix.flat.shape
    tile_size = mapped.mapping.tile
    writer.group(group, tile=tile_size, inputs=inputs, outputs=outputs, device=matrix.device, **shared)
    for tile in mapped.tiles():
        name = f"{group}/{tile.name}"
        writer.group(name, first_input=tile.row, first_output=tile.column, **shared)
        for plane, g in tile.planes.items():
            writer.tensor(f"{name}/{plane}", g, unit="S", meaning=f"conductances '{plane}', to be programmed")
        if tile.faults is not None:
            writer.tensor(f"{name}/faults", tile.faults, unit="1", meaning="true where an element cannot be written")


def _write_probe(writer: Writer, probe: ProbeVectors) -> None:
    group = "probes/" + probe.of.replace("/", ".")
    writer.group(group, of=probe.of, note=probe.note)
    writer.tensor(f"{group}/input", probe.inputs, unit="1", meaning="vectors to send in, one a row")
    for name, output in probe.outputs.items():
        for key, values, meaning in (
            ("expected", output.expected, "what should come out"),
            ("spread", output.spread, "one standard deviation of a working chip"),
            ("band", output.band, "largest |measured - expected| that passes"),
        ):
            writer.tensor(f"{group}/{name}/{key}", values, unit="1", meaning=meaning)
