"""``neurofa inspect``: what is in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(inspect)


def inspect(
    file: Annotated[Path, typer.Argument(help="HDF5, ONNX or NIR file.", show_default=False)],
    picture: Annotated[Path | None, typer.Option(help="PNG of the matrices and of their conductances (HDF5).")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print an object on stdout, and nothing else there.")] = False,
) -> None:
    """Show what a file holds: layers, feedback, learning rule, datasets with shapes and units; matrices as a picture.

    [bold]Examples[/bold]

      neurofa inspect network.h5 --picture network.png

      neurofa inspect learning.onnx
    """
    suffix = file.suffix.lower()
    found = _onnx(file) if suffix == ".onnx" else _nir(file) if suffix == ".nir" else _hdf5(file, picture)
    if json:
        import json as encoder

        typer.echo(encoder.dumps(found, indent=2, default=str))
        return
    _print(found)


def _hdf5(file: Path, picture: Path | None) -> dict[str, Any]:
    from exports.hdf5.read import opened

    with opened(file) as stored:
        tables: dict[str, Any] = {}
        if stored.kind == "network":
            order = stored.attributes("layers")["order"]
            tables["layers"] = [{"name": name, **stored.attributes(f"layers/{name}")} for name in order]
            for key in ("feedback", "error_encoding", "learning", "converters"):
                if key in stored.file:
                    tables[key] = [stored.attributes(key)]
        else:
            tables["measured"] = [stored.attributes("measured")]
        tables["datasets"] = [
            {
                "path": path, "shape": list(stored.file[path].shape), "type": str(stored.file[path].dtype),
                "unit": stored.attributes(path).get("unit"), "meaning": stored.attributes(path).get("meaning"),
            }
            for path in stored.datasets() if "_tiles/" not in path
        ]  # fmt: skip
        tables["tiles"] = [
            {
                "matrix": path, "tiles": len(stored.file[f"{path}_tiles"]), "map": about["map"],
                "g_min_S": about["g_min"], "g_max_S": about["g_max"], "tolerance_S": about["tolerance"],
            }
            for path in stored.tiled() for about in [stored.attributes(f"{path}_tiles")]
        ]  # fmt: skip
        found: dict[str, Any] = {"file": str(file), "kind": stored.kind, **tables}
        if picture is not None:
            from experiments.charts.export import export_chart

            found["picture"] = str(picture) if export_chart(picture, stored) else None
    return found


def _onnx(file: Path) -> dict[str, Any]:
    from exports.onnx.runtime import Runtime
    from hwmodels.errors import NeurofaError

    if not file.is_file():
        raise NeurofaError(f"got '{file}', which is no file; expected an ONNX file; check the path")
    session = Runtime(str(file))
    ends = {
        "inputs": [{"name": p.name, "type": p.type, "shape": p.shape} for p in session.session.get_inputs()],
        "outputs": [{"name": p.name, "type": p.type, "shape": p.shape} for p in session.session.get_outputs()],
    }
    about = {
        k: v for k, v in session.metadata.items() if k in ("part", "format", "format_version", "run", "key", "rule")
    }
    return {"file": str(file), "kind": "onnx", **ends, "metadata": [about]}


def _nir(file: Path) -> dict[str, Any]:
    from exports.files.optional import need
    from hwmodels.errors import NeurofaError

    if not file.is_file():
        raise NeurofaError(f"got '{file}', which is no file; expected a NIR file; check the path")
    graph = need("nir").read(file)
    nodes = [
        {"name": name, "type": type(node).__name__, "input": _size(node.input_type), "output": _size(node.output_type)}
        for name, node in graph.nodes.items()
    ]
    return {"file": str(file), "kind": "nir", "nodes": nodes, "edges": [list(edge) for edge in graph.edges]}


def _size(found: Any) -> list[int]:
    return [int(n) for value in found.values() for n in value]


def _shapes(line: dict[str, Any]) -> str:
    ends = ("x".join(map(str, line[key])) for key in ("in_shape", "out_shape"))
    return " to ".join(ends)


def _rest(line: dict[str, Any]) -> str:
    shown = {key: value for key, value in line.items() if key not in ("name", "kind", "in_shape", "out_shape")}
    return ", ".join(f"{key}={value}" for key, value in shown.items())


def _print(found: dict[str, Any]) -> None:
    from rich.console import Console

    from experiments.tables import text_table

    console = Console()
    for title, lines in found.items():
        if not isinstance(lines, list):
            console.print(f"{title}: {lines}", markup=False, highlight=False, soft_wrap=True)
        elif title == "layers":
            rows = [[line["name"], line["kind"], _shapes(line), _rest(line)] for line in lines]
            console.print(text_table(title, ["name", "kind", "shape", "more"], rows, left=4))
        elif lines and isinstance(lines[0], dict) and len(lines) == 1:
            rows = [[key, str(value)] for key, value in lines[0].items()]
            console.print(text_table(title, ["what", "value"], rows, left=2))
        elif lines and isinstance(lines[0], dict):
            columns = list(dict.fromkeys(key for line in lines for key in line))
            rows = [[str(line.get(key, "")) for key in columns] for line in lines]
            console.print(text_table(title, columns, rows, left=len(columns)))
        elif lines:
            console.print(text_table(title, ["from", "to"], [[str(v) for v in line] for line in lines], left=2))
