"""Seeded damage of files: bytes, and values of other types where a format has a structure."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
from safetensors import safe_open
from safetensors.numpy import save_file

Damage = Callable[[Path, random.Random], str]
"""Damages a file in place, and says how."""

VALUES: list[Any] = [None, True, -1, 3, 10**30, 0.5, float("nan"), "", "x", "9" * 40, [], [1, "a"], {}, {"a": 1}]


def damage_bytes(path: Path, draw: random.Random) -> str:
    """Flip, cut, blank, insert, swap or append bytes."""
    content = bytearray(path.read_bytes())
    how = draw.choice(["flip", "flip", "flip", "cut", "blank", "insert", "append", "empty", "swap"])
    at = draw.randrange(max(1, len(content)))
    size = draw.choice([1, 1, 4, 64, 1000])
    match how:
        case "flip":
            for _ in range(draw.choice([1, 1, 2, 8, 64])):
                content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        case "cut":
            del content[at:]
        case "blank":
            content[at : at + size] = bytes(len(content[at : at + size]))
        case "insert":
            content[at:at] = draw.randbytes(size)
        case "append":
            content += draw.randbytes(size)
        case "empty":
            content.clear()
        case "swap":
            other = draw.randrange(len(content))
            content[at : at + size], content[other : other + size] = (
                content[other : other + size],
                content[at : at + size],
            )
    path.write_bytes(content)
    return f"{how} at {at}"


def damage_hdf5(path: Path, draw: random.Random) -> str:
    """Change, retype, reshape, rename or remove one dataset, group or attribute."""
    try:
        file = h5py.File(path, "r+")
    except OSError:
        return damage_bytes(path, draw)
    with file:
        places: list[str] = []
        file.visit(places.append)
        place = draw.choice(["/", *places])
        item = file[place]
        how = draw.choice(["number", "number", "type", "shape", "remove", "rename", "attribute", "attribute"])
        if how == "attribute" and len(item.attrs):
            name = draw.choice(sorted(item.attrs))
            if draw.random() < 0.3:
                del item.attrs[name]
            else:
                item.attrs[name] = draw.choice([3, -1.5, float("nan"), "x", np.zeros(3), "[1", b"\xff"])
            return f"attribute {name} of {place}"
        if place == "/":
            return damage_bytes_of_closed(file, path, draw)
        if isinstance(item, h5py.Dataset) and how in ("number", "type", "shape"):
            values = np.atleast_1d(item[()])
            shape, attributes = item.shape, dict(item.attrs)
            if how == "number" and values.dtype.kind in "fiub" and values.size:
                index = np.unravel_index(draw.randrange(values.size), values.shape)
                values[index] = draw.choice([0, 1, -1, np.nan, 3.5]) if values.dtype.kind == "f" else values[index] == 0
                item[...] = values.reshape(shape)
                return f"number in {place}"
            del file[place]
            if how == "shape":
                file[place] = np.zeros((*values.shape, 2), np.float32)
            else:
                file[place] = draw.choice([np.array([b"text"] * 2), np.zeros(shape, "S8"), np.complex64(1), np.int8(1)])
            for name, value in attributes.items():
                file[place].attrs[name] = value
            return f"{how} of {place}"
        if how == "rename":
            file.move(place, f"{place}x")
        else:
            del file[place]
        return f"{how} {place}"


def damage_bytes_of_closed(file: Any, path: Path, draw: random.Random) -> str:
    """Close a file, and damage its bytes."""
    file.close()
    return damage_bytes(path, draw)


def damage_onnx(path: Path, draw: random.Random) -> str:
    """Change numbers, types, sizes, operators or edges of a graph."""
    try:
        model = onnx.load(path)
    except Exception:  # damaged before
        return damage_bytes(path, draw)
    graph = model.graph
    how = draw.choice(["numbers", "numbers", "type", "dims", "operator", "edge", "remove", "attribute", "metadata"])
    tensor, node = draw.choice(list(graph.initializer)), draw.choice(list(graph.node))
    match how:
        case "numbers":
            raw = bytearray(tensor.raw_data or b"\0")
            raw[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
            tensor.raw_data = bytes(raw)
        case "type":
            tensor.data_type = draw.choice([0, 1, 2, 3, 7, 8, 11, 99])
        case "dims":
            tensor.dims.append(draw.choice([0, 2, -1, 2**40]))
        case "operator":
            node.op_type = draw.choice(["Relu", "Nothing", "Add"])
        case "edge":
            node.input[:] = [draw.choice([value.name for value in graph.input])]
        case "remove":
            graph.node.remove(node)
        case "attribute":
            node.attribute.add(name="x", type=1, f=1.0)
        case "metadata":
            draw.choice(list(model.metadata_props)).value = draw.choice(["", "x", "9" * 40])
    path.write_bytes(model.SerializeToString())
    return how


def damage_value(content: Any, draw: random.Random) -> Any:
    """Replace, add or remove one value somewhere in a tree of JSON values."""
    if isinstance(content, dict) and content and draw.random() < 0.9:
        key = draw.choice(sorted(content))
        if draw.random() < 0.2:
            return {k: v for k, v in content.items() if k != key}
        return content | {key: damage_value(content[key], draw)}
    if isinstance(content, list) and content and draw.random() < 0.9:
        at = draw.randrange(len(content))
        return [*content[:at], damage_value(content[at], draw), *content[at + 1 :]]
    return draw.choice([value for value in VALUES if value is not content])


def damage_json(path: Path, draw: random.Random) -> str:
    """Change one value in a file of JSON, or of JSON lines."""
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        if path.suffix == ".jsonl":
            lines = [json.loads(line) for line in text.splitlines()]
            at = draw.randrange(len(lines))
            lines[at] = damage_value(lines[at], draw)
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        else:
            path.write_text(json.dumps(damage_value(json.loads(text), draw)))
    except (ValueError, IndexError):
        return damage_bytes(path, draw)
    return "a value"


def damage_tensors(path: Path, draw: random.Random) -> str:
    """Change metadata or tensors of a file of safetensors."""
    try:
        with safe_open(path, framework="np") as file:
            about = json.loads(file.metadata()["neurofa"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except Exception:  # damaged before
        return damage_bytes(path, draw)
    how = draw.choice(["metadata", "metadata", "number", "type", "shape", "remove"])
    name = draw.choice(sorted(tensors))
    values = tensors[name]
    match how:
        case "metadata":
            about = damage_value(about, draw)
        case "number" if values.size:
            raw = bytearray(values.tobytes())
            raw[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
            tensors[name] = np.frombuffer(bytes(raw), values.dtype).reshape(values.shape)
        case "type":
            tensors[name] = values.astype(draw.choice([np.int8, np.float64, np.int64]))
        case "shape":
            tensors[name] = np.zeros((*values.shape, 2), values.dtype)
        case _:
            del tensors[name]
    save_file(tensors, path, metadata={"neurofa": json.dumps(about)})
    return f"{how} ({name})"


def either(structured: Damage) -> Damage:
    """Damage bytes or structure."""

    def damage(path: Path, draw: random.Random) -> str:
        return (damage_bytes if draw.random() < 0.5 else structured)(path, draw)

    return damage
