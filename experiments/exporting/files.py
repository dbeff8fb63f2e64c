"""The files of one export, by format and part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from experiments.exporting.load import Held
from exports.graph.model import Model
from exports.programming.conductances import Mapping
from exports.programming.integers import NumberFormat
from hwmodels.errors import NeurofaError

FORMATS = ("hdf5", "onnx", "nir", "tables", "all")
PARTS = ("forward", "feedback", "learning", "all")


@dataclass(kw_only=True)
class Wanted:
    """What is exported.

    Args:
        format: one of :data:`FORMATS`.
        part: one of :data:`PARTS`; HDF5 always holds all of them.
        mapping: conductances, or None.
        numbers: whole-number copies, or None.
        compression: of HDF5, 0 to 9.
        vectors: probe vectors.
        convert_reset: for NIR.
        dt: of NIR, s.
        inputs: real data for probes and ranges; None: normal numbers.
    """

    format: str = "hdf5"
    part: str = "all"
    mapping: Mapping | None = None
    numbers: NumberFormat | None = None
    compression: int = 1
    vectors: int = 8
    convert_reset: bool = False
    dt: float | None = None
    inputs: Tensor | None = None

    def __post_init__(self) -> None:
        for key, words in (("format", FORMATS), ("part", PARTS)):
            if getattr(self, key) not in words:
                raise NeurofaError(f"got {key} '{getattr(self, key)}'; expected {', '.join(words)}; choose one")
        if self.format == "tables" and self.mapping is None:
            raise NeurofaError("got --format tables without tiles; expected their size; add --tile 256x256")


@dataclass
class Written:
    """What an export left."""

    files: list[Path] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    """What could not be said in a format, by file, with the reason."""
    notes: list[str] = field(default_factory=list)


def export(held: Held, model: Model, wanted: Wanted, out: Path) -> Written:
    """Write the files that were asked for.

    Args:
        held: the run.
        model: its neutral graph.
        wanted: formats and parts.
        out: the file, where exactly one is asked for and ``out`` has its suffix; else a folder.

    Raises:
        NeurofaError: nothing of what was asked for can be written; with several files, those that cannot are listed.
    """
    jobs = _jobs(held, model, wanted)
    written = Written()
    single = len(jobs) == 1 and out.suffix == Path(next(iter(jobs))).suffix and out.suffix != ""
    if not single:
        out.mkdir(parents=True, exist_ok=True)
    for name, job in jobs.items():
        path = out if single else out / name
        try:
            written.notes += job(path) or []
        except NeurofaError as error:
            if len(jobs) == 1:
                raise
            written.refused[name] = str(error)
            continue
        written.files.append(path)
    if not written.files:
        raise NeurofaError(next(iter(written.refused.values())))
    return written


Job = Callable[[Path], list[str] | None]


def _jobs(held: Held, model: Model, wanted: Wanted) -> dict[str, Job]:
    jobs: dict[str, Job] = {}
    parts = PARTS[:-1] if wanted.part == "all" else (wanted.part,)
    if wanted.format in ("hdf5", "all"):
        jobs["network.h5"] = lambda path: _hdf5(held, model, wanted, path)
    if wanted.format in ("onnx", "all"):
        jobs |= _onnx(held, model, wanted, parts)
    if wanted.format == "nir" or (wanted.format == "all" and model.spiking):
        jobs |= _nir(model, wanted, parts)
    if wanted.format == "tables" or (wanted.format == "all" and wanted.mapping is not None):
        jobs["tiles"] = lambda path: _tables(held, model, wanted, path)
    if not jobs:
        raise NeurofaError(f"got part '{wanted.part}' for {wanted.format}; expected forward or feedback; choose one")
    return jobs


def _hdf5(held: Held, model: Model, wanted: Wanted, path: Path) -> None:
    from exports.hdf5.write import Content, write
    from exports.programming.probes import of_learner

    probes = []
    if wanted.vectors:
        noisy = 32
        probes = of_learner(
            held.learner, count=wanted.vectors, repeats=noisy, seed=held.spec.seed, inputs=wanted.inputs
        )
    content = Content(
        mapping=wanted.mapping, numbers=wanted.numbers, vectors=wanted.vectors, seed=held.spec.seed,
        compression=wanted.compression,
    )  # fmt: skip
    write(path, model, probes, content)


def _onnx(held: Held, model: Model, wanted: Wanted, parts: tuple[str, ...]) -> dict[str, Job]:
    from exports.onnx import inference, learning, spiking
    from exports.onnx.builder import save

    jobs: dict[str, Job] = {}
    if "forward" in parts and model.spiking:
        jobs["step.onnx"] = lambda path: save(spiking.step(model), path)
        jobs["loop.onnx"] = lambda path: save(spiking.loop(model), path)
    elif "forward" in parts:
        jobs["inference.onnx"] = lambda path: save(inference.inference(model), path)
        if wanted.part == "all" or wanted.format == "all":
            jobs["inference_int8.onnx"] = lambda path: _int8(held, model, wanted, path)
    if "feedback" in parts:
        jobs["feedback.onnx"] = lambda path: save(learning.feedback(model), path)
    if "learning" in parts:
        jobs["learning.onnx"] = lambda path: save(learning.learning(model), path)
    return jobs


def _int8(held: Held, model: Model, wanted: Wanted, path: Path) -> list[str]:
    from exports.onnx.builder import save
    from exports.onnx.inference import inference_int8
    from exports.programming.probes import of_learner

    x, notes = wanted.inputs, list[str]()
    if x is None:
        x = of_learner(held.learner, count=64, repeats=1, seed=held.spec.seed)[0].inputs
        notes.append(
            f"{path.name}: ranges of activations are those of normal numbers, since the run's data are missing"
        )
    save(inference_int8(model, x), path)
    return notes


def _nir(model: Model, wanted: Wanted, parts: tuple[str, ...]) -> dict[str, Job]:
    from exports.nir import write as nir

    seen = "random spikes" if wanted.inputs is None else "data of the run"

    def forward(path: Path) -> list[str]:
        graph, changed = nir.forward(model, convert=wanted.convert_reset, dt=wanted.dt, inputs=wanted.inputs)
        nir.save(graph, path)
        return [
            f"{path.name}: layer '{m.layer}' resets to zero instead; {m.share:.2%} of its slots (tick, sample, neuron)"
            f" differ on {seen} ({m.spikes[0]} to {m.spikes[1]} spikes)"
            for m in changed
        ]

    jobs: dict[str, Job] = {}
    if "forward" in parts:
        jobs["forward.nir"] = forward
    if "feedback" in parts:
        jobs["feedback.nir"] = lambda path: nir.save(nir.feedback(model), path)
    return jobs


def _tables(held: Held, model: Model, wanted: Wanted, path: Path) -> list[str]:
    import tempfile

    from exports.hdf5.read import opened
    from exports.tables import write_tables

    path.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        whole = Path(folder) / "network.h5"
        _hdf5(held, model, replace(wanted, vectors=0), whole)
        with opened(whole) as stored:
            found = write_tables(stored, path)
    return [f"{path.name}: {len(found)} files, a CSV and an npz a tile"]
