"""``neurofa inspect``: the contents of a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments.commands._options import AsJson
from experiments.commands._output import print_json, print_table
from hwmodels.errors import NeurofaError

if TYPE_CHECKING:
    from exports.checks import FileCheck
    from exports.hdf5.read import HardwareFile


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command("inspect")(inspect_command)


def inspect_command(
    file: Annotated[Path, typer.Argument(help="HDF5, ONNX or NIR file.", show_default=False)],
    picture: Annotated[Path | None, typer.Option(help="PNG of the matrices and of their conductances (HDF5).")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a file holds: layers, feedback, learning rule, datasets with shapes and units; matrices as a picture.

    [bold]Examples[/bold]

      neurofa inspect network.h5 --picture network.png

      neurofa inspect learning.onnx
    """
    kind = file.suffix.lower().removeprefix(".")
    contents = _onnx(file) if kind == "onnx" else _nir(file) if kind == "nir" else _hdf5(file, picture)
    if as_json:
        print_json(contents)
    else:
        _show(contents)


def _hdf5(file: Path, picture: Path | None) -> dict[str, Any]:
    from experiments.charts.export import export_chart
    from exports.hdf5.checks import require_intact
    from exports.hdf5.read import open_hardware_file

    with open_hardware_file(file) as stored:
        require_intact(stored)
        tables: dict[str, Any] = {}
        if stored.kind == "network":
            order = stored.attributes("layers")["order"]
            tables["layers"] = [{"name": name, **stored.attributes(f"layers/{name}")} for name in order]
            for key in ("feedback", "error_encoding", "learning", "converters"):
                if key in stored:
                    tables[key] = [stored.attributes(key)]
        else:
            tables["measured"] = [stored.attributes("measured")]
        tables["datasets"] = [_dataset(stored, path) for path in stored.datasets() if "_tiles/" not in path]
        tables["tiles"] = [_tiles(stored, path) for path in stored.tiled()]
        contents: dict[str, Any] = {"file": str(file), "kind": stored.kind, **tables}
        if picture is not None:
            contents["picture"] = str(picture) if export_chart(picture, stored) else None
    return contents


def _dataset(stored: HardwareFile, path: str) -> dict[str, Any]:
    data, about = stored[path], stored.attributes(path)
    text = {key: about.get(key) for key in ("unit", "meaning")}
    return {"path": path, "shape": list(data.shape), "type": str(data.dtype), **text}


def _tiles(stored: HardwareFile, path: str) -> dict[str, Any]:
    about = stored.attributes(f"{path}_tiles")
    constants = {f"{key}_S": about[key] for key in ("g_min", "g_max", "tolerance")}
    return {"matrix": path, "tiles": len(stored[f"{path}_tiles"]), "map": about["map"], **constants}


def _onnx(file: Path) -> dict[str, Any]:
    from exports.onnx.digest import check_digest, read_onnx
    from exports.onnx.runtime import Runtime

    model = read_onnx(file)
    _require(file, check_digest(model))
    runtime = Runtime(model)
    ends = {"inputs": runtime.session.get_inputs(), "outputs": runtime.session.get_outputs()}
    tensors = {key: [{"name": t.name, "type": t.type, "shape": t.shape} for t in ts] for key, ts in ends.items()}
    shown = ("part", "format", "format_version", "run", "key", "rule")
    metadata = {key: value for key, value in runtime.metadata.items() if key in shown}
    return {"file": str(file), "kind": "onnx", **tensors, "metadata": [metadata]}


def _require(file: Path, check: FileCheck) -> None:
    if not check.ok:
        raise NeurofaError(f"got '{file}' ({check.detail}); expected a file as it was written; export anew")


def _nir(file: Path) -> dict[str, Any]:
    from exports.nir.checks import read_nir
    from exports.nir.digest import check_digest

    graph = read_nir(file)
    _require(file, check_digest(file))
    nodes = []
    for name, node in graph.nodes.items():
        sizes = {"input": _sizes(node.input_type), "output": _sizes(node.output_type)}
        nodes.append({"name": name, "type": type(node).__name__, **sizes})
    return {"file": str(file), "kind": "nir", "nodes": nodes, "edges": [list(edge) for edge in graph.edges]}


def _sizes(shapes: Any) -> list[int]:
    return [int(n) for shape in shapes.values() for n in shape]


def _show(contents: dict[str, Any]) -> None:
    from experiments.tables import cell_text

    for title, lines in contents.items():
        if not isinstance(lines, list):
            typer.echo(f"{title}: {lines}")
        elif title == "layers":
            rows = [[line["name"], line["kind"], _shapes(line), _rest(line)] for line in lines]
            print_table(title, ["name", "kind", "shape", "more"], rows, left=4)
        elif title == "edges":
            print_table(title, ["from", "to"], [[str(end) for end in line] for line in lines], left=2)
        elif len(lines) == 1:
            rows = [[key, cell_text(value)] for key, value in lines[0].items()]
            print_table(title, ["what", "value"], rows, left=2)
        elif lines:
            columns = list(dict.fromkeys(key for line in lines for key in line))
            rows = [[cell_text(line.get(key, "")) for key in columns] for line in lines]
            print_table(title, columns, rows, left=len(columns))


def _shapes(layer: dict[str, Any]) -> str:
    return " to ".join("x".join(map(str, layer[key])) for key in ("in_shape", "out_shape"))


def _rest(layer: dict[str, Any]) -> str:
    hidden = ("name", "kind", "in_shape", "out_shape")
    from experiments.tables import cell_text

    return ", ".join(f"{key}={cell_text(value)}" for key, value in layer.items() if key not in hidden)
